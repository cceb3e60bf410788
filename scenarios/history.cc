#include "scenarios/history.h"

#include <fmt/format.h>

#include <charconv>

#include "base/check.h"
#include "mvcc/hash_kv.h"
#include "mvcc/key_value.h"
#include "mvcc/range.h"

namespace quoin::scenarios {

namespace {

// Everything the store holds as of `revision`.
Result<State> read_state(const std::shared_ptr<const mvcc::ReadView>& view, int64_t revision) {
  using namespace std::literals;
  mvcc::RangeRequest all;
  all.key = all.range_end = "\0"sv;
  all.revision = revision;
  ASSIGN_OR_RETURN(mvcc::RangeScan scan, mvcc::RangeScan::start(view, all));
  State state;
  Result<> decoded;
  TRY(scan.run([&](std::string_view encoded) {
    auto kv = mvcc::decode_key_value(encoded);
    if (!kv) {
      decoded = kv.error();
      return false;
    }
    state[std::string(kv->key)] = {std::string(kv->value), kv->create_revision, kv->mod_revision, kv->version,
                                   kv->lease.v};
    return true;
  }));
  TRY(std::move(decoded));
  return state;
}

// What made `after` of `before`, judged by what is there and by modification revisions alone.
Effect difference(int64_t revision, const State& before, const State& after) {
  Effect effect;
  for (const auto& [key, k] : before) {
    if (!after.contains(key)) effect[key] = std::nullopt;
  }
  for (const auto& [key, k] : after) {
    if (k.mod == revision) effect[key] = Write{k.value, k.lease};
  }
  return effect;
}

std::string show(const Effect& effect) {
  std::string out;
  for (const auto& [key, write] : effect) {
    out += write ? fmt::format(" {}={:.24} (lease {:x})", key, write->value, write->lease)
                 : fmt::format(" -{}", key);
  }
  return out;
}

std::string first_difference(const State& want, const State& got) {
  for (const auto& [key, k] : want) {
    auto it = got.find(key);
    if (it == got.end()) return fmt::format("{} is missing", key);
    if (it->second == k) continue;
    const KeyState& g = it->second;
    return fmt::format(
        "{} is {:.24} ({} bytes, create {} mod {} version {} lease {:x}), was {:.24} ({} bytes, create {} "
        "mod {} version {} lease {:x})",
        key, g.value, g.value.size(), g.create, g.mod, g.version, g.lease, k.value, k.value.size(), k.create,
        k.mod, k.version, k.lease);
  }
  for (const auto& [key, k] : got) {
    if (!want.contains(key)) return fmt::format("{} ({:.24}) should not be there", key, k.value);
  }
  return "nothing";
}

std::string unequal_pair(const State& state) {
  for (const auto& [key, k] : state) {
    const std::string other = pair_of(key);
    if (other.empty()) continue;
    auto it = state.find(other);
    if (it == state.end() || it->second.value != k.value) return key;
  }
  return {};
}

}  // namespace

void apply_effect(const Effect& effect, int64_t revision, State* state) {
  for (const auto& [key, write] : effect) {
    if (!write) {
      state->erase(key);
      continue;
    }
    KeyState& k = (*state)[key];
    if (k.version == 0) k.create = revision;
    k.value = write->value;
    k.lease = write->lease;
    k.mod = revision;
    ++k.version;
  }
}

Effect Request::effect(const State& before) const {
  Effect e;
  switch (kind) {
    case Kind::kPut:
      e[key] = Write{value, lease};
      break;
    case Kind::kTxn: {
      auto it = before.find(key);
      const int64_t version = it == before.end() ? 0 : it->second.version;
      e = version < version_limit ? success : failure;
      // Deleting what is not there is no change.
      std::erase_if(e, [&](const auto& w) { return !w.second && !before.contains(w.first); });
      break;
    }
    case Kind::kDelete:
      for (auto it = before.lower_bound(key); it != before.end(); ++it) {
        if (end.empty() ? it->first != key : it->first >= end) break;
        e[it->first] = std::nullopt;
      }
      break;
    case Kind::kRevoke:
      for (const auto& [k, s] : before) {
        if (s.lease == lease) e[k] = std::nullopt;
      }
      break;
    case Kind::kCompact:
    case Kind::kGrant:
      break;
  }
  return e;
}

uint64_t writer_of(std::string_view value) {
  uint64_t number = 0;
  std::from_chars(value.data(), value.data() + value.size(), number);
  return number;
}

std::string pair_of(std::string_view key) {
  if (key.size() < 2 || key[key.size() - 2] != '/') return {};
  std::string other(key);
  other.back() = key.back() == 'a' ? 'b' : 'a';
  return other;
}

Request& History::add(Request request) {
  request.number = requests_.size() + 1;
  open_.insert(request.number);
  using Kind = Request::Kind;
  if (request.kind == Kind::kCompact) compaction_asked_ = std::max(compaction_asked_, request.revision);
  if (request.kind == Kind::kRevoke) leases_.erase(request.lease);
  if (request.kind == Kind::kGrant || request.kind == Kind::kRevoke) leases_maybe_.insert(request.lease);
  return requests_.emplace_back(std::move(request));
}

std::string History::acknowledge(Request& r, int64_t revision, int64_t deleted) {
  using Kind = Request::Kind;
  r.outcome = Request::Outcome::kAcknowledged;
  r.acknowledged_at = revision;
  r.deleted = deleted;
  ++acknowledged_;
  acknowledged_revision_ = std::max(acknowledged_revision_, revision);
  if (r.kind == Kind::kCompact) compaction_acknowledged_ = std::max(compaction_acknowledged_, r.revision);
  if (r.kind == Kind::kGrant) {
    leases_maybe_.erase(r.lease);
    leases_.insert(r.lease);
  }
  if (r.kind == Kind::kRevoke) {
    leases_maybe_.erase(r.lease);
    revoked_.insert(r.lease);
  }
  // It was taken for what made another revision.
  auto misplaced = [&] {
    return r.found_at != 0 && r.kind != Kind::kRevoke && (r.found_at != revision || deleted == 0);
  };
  if (misplaced()) give_back(r);
  if (r.found_at == 0) claim(r, revision);
  if (misplaced()) {
    return fmt::format("request {} is acknowledged with revision {}, but its effect stands at {}", r.number,
                       revision, r.found_at);
  }
  return {};
}

// A deletion does not say whose it is. One that was read before its answer came may have been taken for that
// of a request whose outcome nobody knows. One that deleted nothing has no revision: its answer has that of the moment.
void History::claim(Request& r, int64_t revision) {
  if (revision < 2 || revision > revision_) return;
  for (Request& other : requests_) {
    if (other.found_at != revision) continue;
    const bool certain = other.outcome != Request::Outcome::kUnknown && other.kind != Request::Kind::kRevoke;
    if (certain || !fits(r, revision, state_before(revision), effect_at(revision))) return;
    std::swap(r.found_at, other.found_at);
    open_.erase(r.number);
    open_.insert(other.number);
    return;
  }
}

State History::state_before(int64_t revision) const {
  State state;
  for (int64_t at = 2; at < revision; ++at) apply_effect(effect_at(at), at, &state);
  return state;
}

// Deletions don't say whose they are, and there may be several requests of unknown outcome that each of some
// revisions can be of. So who made what is a matching: whoever is found for one revision may have to be moved
// to another. Returns who made `revision`, with `found_at` still as it was before; null: nobody.
Request* History::rematch(int64_t revision, const State& before, const Effect& effect,
                          std::set<uint64_t>* tried) {
  for (const auto& [key, write] : effect) {
    if (write) return nullptr;
  }
  for (Request& r : requests_) {
    if (r.found_at == revision || tried->contains(r.number)) continue;
    if (!fits(r, revision, before, effect)) continue;
    tried->insert(r.number);
    if (r.found_at == 0) return &r;
    const bool certain = r.outcome != Request::Outcome::kUnknown && r.kind != Request::Kind::kRevoke;
    if (certain) continue;
    const int64_t left = r.found_at;
    Request* const other = rematch(left, state_before(left), effect_at(left), tried);
    if (other == nullptr) continue;
    other->found_at = left;
    open_.erase(other->number);
    return &r;
  }
  return nullptr;
}

// The revision that this request was found at is another's. False if nobody else can have made it.
bool History::give_back(Request& r) {
  std::set<uint64_t> tried{r.number};
  const int64_t revision = r.found_at;
  Request* const other = rematch(revision, state_before(revision), effect_at(revision), &tried);
  if (other == nullptr) return false;
  other->found_at = revision;
  open_.erase(other->number);
  r.found_at = 0;
  open_.insert(r.number);
  return true;
}

bool History::fits(const Request& r, int64_t revision, const State& before, const Effect& effect) const {
  if (r.outcome == Request::Outcome::kRefused) return false;
  if (r.outcome == Request::Outcome::kAcknowledged && r.kind != Request::Kind::kRevoke &&
      r.acknowledged_at != revision) {
    return false;
  }
  if (r.deleted >= 0 && static_cast<size_t>(r.deleted) != effect.size()) return false;
  return r.effect(before) == effect;
}

std::string History::refuse(Request& r) {
  r.outcome = Request::Outcome::kRefused;
  if (r.found_at == 0 || give_back(r)) return {};
  return fmt::format("request {} is refused, but its effect stands at {}", r.number, r.found_at);
}

History::Verdict History::check(const std::shared_ptr<const mvcc::ReadView>& view) {
  if (view->revision() < revision_) {
    return {fmt::format("the store went back from revision {} to {}", revision_, view->revision())};
  }
  if (view->revision() < acknowledged_revision_) {
    return {fmt::format("the store stands at revision {}, acknowledged was {}", view->revision(),
                        acknowledged_revision_)};
  }
  if (Verdict v = check_compaction(*view); !v.good()) return v;

  // Forward through all revisions; the old ones by sample, the new ones each.
  State state;
  const int64_t first_readable = std::max<int64_t>(view->compact_revision(), 1);
  for (int64_t r = 1; r <= view->revision(); ++r) {
    const bool known = r <= revision_;
    if (known && r >= 2) apply_effect(effect_at(r), r, &state);
    if (known && (r < first_readable || (r + 20 < revision_ && !prng_.chance(1, 10)))) continue;
    if (!known && r < first_readable) return {fmt::format("revision {} is compacted and was never read", r)};
    auto got = read_state(view, r);
    if (!got) return {fmt::format("reading revision {}: {}", r, got.error().text()), true};
    if (const std::string key = unequal_pair(*got); !key.empty()) {
      return {fmt::format("at revision {} the pair of {} is half there", r, key)};
    }
    if (!known) {
      if (std::string problem = learn(r, state, *got); !problem.empty()) return {std::move(problem)};
      apply_effect(effects_.back(), r, &state);
    }
    if (*got != state) return {fmt::format("revision {} changed: {}", r, first_difference(state, *got))};
  }
  newest_ = std::move(state);
  if (std::string problem = check_acknowledged(); !problem.empty()) return {std::move(problem)};
  return check_hashes(view);
}

History::Verdict History::check_compaction(const mvcc::ReadView& view) {
  const int64_t at = view.compact_revision();
  if (at < compaction_acknowledged_ || at < compacted_seen_) {
    return {fmt::format("the store is compacted at {}, but {} was acknowledged and {} seen", at,
                        compaction_acknowledged_, compacted_seen_)};
  }
  if (at > compaction_asked_)
    return {fmt::format("compacted at {}; nobody asked beyond {}", at, compaction_asked_)};
  compacted_seen_ = at;
  return {};
}

std::string History::learn(int64_t revision, const State& before, const State& after) {
  Effect effect = difference(revision, before, after);
  if (effect.empty()) return fmt::format("revision {} changed nothing", revision);
  std::string problem;
  Request* maker = who_made(revision, before, effect, &problem);
  if (maker == nullptr) return problem;
  maker->found_at = revision;
  open_.erase(maker->number);
  effects_.push_back(std::move(effect));
  revision_ = revision;
  return {};
}

Request* History::who_made(int64_t revision, const State& before, const Effect& effect,
                           std::string* problem) {
  // A value names its writer; deletions are anybody's whose effect this is.
  uint64_t named = 0;
  for (const auto& [key, write] : effect) {
    if (write) named = writer_of(write->value);
  }
  auto may_be = [&](const Request& r) { return r.found_at == 0 && fits(r, revision, before, effect); };
  if (named != 0 && named <= requests_.size()) {
    Request& r = requests_[named - 1];
    if (may_be(r)) return &r;
    *problem = fmt::format(
        "revision {} is not what request {} ({}, acknowledged at {}, found at {}) does:{}; expected:{}",
        revision, named, r.outcome == Request::Outcome::kRefused ? "refused" : "not refused",
        r.acknowledged_at, r.found_at, show(effect), show(r.effect(before)));
    return nullptr;
  }
  // Those acknowledged here come before those of which nothing is known.
  Request* unknown = nullptr;
  for (uint64_t n : open_) {
    Request& r = requests_[n - 1];
    if (!may_be(r)) continue;
    if (r.outcome == Request::Outcome::kAcknowledged && r.kind != Request::Kind::kRevoke) return &r;
    if (unknown == nullptr) unknown = &r;
  }
  if (unknown == nullptr) {
    std::set<uint64_t> tried;
    unknown = rematch(revision, before, effect, &tried);
  }
  if (unknown == nullptr)
    *problem = fmt::format("no request explains revision {}:{}", revision, show(effect));
  return unknown;
}

std::string History::check_acknowledged() {
  using Kind = Request::Kind;
  std::vector<uint64_t> settled;
  for (uint64_t n : open_) {
    const Request& r = requests_[n - 1];
    if (r.outcome == Request::Outcome::kRefused) settled.push_back(n);
    if (r.outcome != Request::Outcome::kAcknowledged) continue;
    // What changed nothing left no revision; each branch of our transactions writes something.
    const bool writes =
        r.kind == Kind::kPut || r.kind == Kind::kTxn || (r.kind == Kind::kDelete && r.deleted > 0);
    if (writes) {
      return fmt::format("request {} on {} was acknowledged at revision {} and is nowhere", r.number, r.key,
                         r.acknowledged_at);
    }
    settled.push_back(n);
  }
  for (uint64_t n : settled) open_.erase(n);
  for (const auto& [key, k] : newest_) {
    if (revoked_.contains(k.lease)) return fmt::format("{} outlived its revoked lease {:x}", key, k.lease);
  }
  return {};
}

History::Verdict History::check_hashes(const std::shared_ptr<const mvcc::ReadView>& view) {
  std::set<int64_t> revisions{view->revision()};
  for (const auto& [at, hash] : hashes_) {
    if (at.second == view->compact_revision()) revisions.insert(at.first);
  }
  while (revisions.size() > 6)
    revisions.erase(std::next(revisions.begin(), static_cast<int64_t>(prng_.below(revisions.size()))));
  for (int64_t r : revisions) {
    if (r < view->compact_revision()) continue;
    auto run = mvcc::HashKvRun::start(view, r);
    if (!run) return {fmt::format("HashKV at {}: {}", r, run.error().text()), true};
    for (;;) {
      auto done = run->step(1'000);
      if (!done) return {fmt::format("HashKV at {}: {}", r, done.error().text()), true};
      if (*done) break;
    }
    const mvcc::HashKvResult got = run->result();
    auto [it, fresh] = hashes_.try_emplace({r, got.compact_revision}, got.hash);
    if (!fresh && it->second != got.hash) {
      return {fmt::format("HashKV at {} (compacted at {}) was {:08x} and is {:08x}", r, got.compact_revision,
                          it->second, got.hash)};
    }
  }
  return {};
}

std::string History::check_leases(const std::vector<int64_t>& listed) const {
  const std::set<int64_t> there(listed.begin(), listed.end());
  for (int64_t lease : leases_) {
    if (!there.contains(lease)) return fmt::format("lease {:x} was granted and is not there", lease);
  }
  for (int64_t lease : there) {
    if (revoked_.contains(lease)) return fmt::format("lease {:x} was revoked and is there again", lease);
    if (!leases_.contains(lease) && !leases_maybe_.contains(lease)) {
      return fmt::format("lease {:x} was never asked for", lease);
    }
  }
  return {};
}

}  // namespace quoin::scenarios

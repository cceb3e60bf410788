#include "scenarios/traffic.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "mvcc/key_range.h"
#include "scenarios/requests.h"
#include "wire/message.h"
#include "wire/rpc.h"

namespace quoin::scenarios {

namespace pb = wire::etcdserverpb;
using RequestKind = Request::Kind;

namespace {

constexpr std::string_view kLeasePrefix = "lease/";

std::string lease_key(int64_t id) {
  return fmt::format("{}{}", kLeasePrefix, id);
}
// 0: no such key.
int64_t lease_of_key(std::string_view key) {
  int64_t id = 0;
  if (key.starts_with(kLeasePrefix))
    std::from_chars(key.data() + kLeasePrefix.size(), key.data() + key.size(), id);
  return id;
}

const char* name(RequestKind kind) {
  static constexpr const char* kNames[] = {"put", "txn", "delete", "compact", "grant", "revoke"};
  return kNames[static_cast<size_t>(kind)];
}

std::string show(const Effect& effect) {
  std::string out;
  for (const auto& [key, write] : effect) {
    out += write ? fmt::format(" {}={:.16}", key, write->value) : fmt::format(" -{}", key);
  }
  return out;
}

// Where everybody compacts all the time no watcher can fall behind by more than the members themselves make up for.
bool seldom_compacts(uint64_t seed) {
  return Prng(seed ^ 0xca7c4ull).chance(1, 3);
}

}  // namespace

Traffic::Traffic(Cluster& cluster, Truth& truth, Story& story, Edges& edges, uint64_t seed)
    : cluster_(cluster),
      truth_(truth),
      story_(story),
      edges_(edges),
      prng_(seed ^ 0x7afu),
      outstanding_max_(prng_.between(1, 24)),
      idle_one_in_(prng_.between(2, 8)) {}

void Traffic::fail(std::string problem) {
  if (!problem_.empty() || problem.empty()) return;
  problem_ = std::move(problem);
  story_.note("PROBLEM {}", problem_);
}

// ---- sending ----

void Traffic::tick(const std::vector<size_t>& usable) {
  if (usable.empty()) return;
  const io::MonotonicNs now = cluster_.world().now();
  for (auto& [id, lease] : leases_) {
    if (!lease.granted || now < lease.renew_next || now > lease.renew_until) continue;
    lease.renew_next = now + lease.ttl * io::kSecond / 3;
    renew(lease, usable[prng_.below(usable.size())]);
  }
  while (open_ < outstanding_max_) {
    draw_one(usable[prng_.below(usable.size())]);
    if (prng_.chance(1, idle_one_in_)) break;
  }
}

void Traffic::draw_one(size_t seat) {
  const uint64_t kind = prng_.below(100);
  if (kind < 62) {
    Op& op = add(Kind::kWrite, seat);
    const uint64_t number = op.number;
    op.request = draw_write();
    op.request.number = number;
    write(op);
    give_time(op, static_cast<int64_t>(prng_.between(50, 8'000)) * io::kMillisecond);
  } else if (kind < 97) {
    Op& op = add(kind < 85 ? Kind::kRead : Kind::kSerializable, seat);
    op.request.key = prng_.chance(1, 4) ? "\0" : fmt::format("key{}", prng_.below(kKeys));
    if (op.request.key.empty()) op.request.key = std::string(1, '\0'), op.request.end = std::string(1, '\0');
    read(op, op.kind == Kind::kSerializable);
    give_time(op, static_cast<int64_t>(prng_.between(50, 8'000)) * io::kMillisecond);
  } else {
    hash(seat);
  }
}

Traffic::Op& Traffic::add(Kind kind, size_t seat) {
  Op& op = ops_.emplace_back();
  op.number = ops_.size();
  op.kind = kind;
  op.seat = seat;
  op.begin = cluster_.world().now();
  op.at_least = newest_told_;
  op.was_leader = cluster_.member(seat).leader() == cluster_.member(seat).id();
  ++open_;
  ++counts_.sent;
  return op;
}

void Traffic::finish(Op& op, std::string_view how) {
  if (std::exchange(op.over, true)) return;
  --open_;
  story_.note("#{} {}", op.number, how);
}

// Whoever asked gives up: the outcome stays unknown.
void Traffic::give_time(Op& op, int64_t patience_ns) {
  cluster_.world().after(patience_ns, [this, &op] {
    if (op.over) return;
    if (op.kind == Kind::kWrite) ++counts_.unknown;
    if (op.was_leader && op.kind == Kind::kRead && cluster_.running(op.seat) &&
        cluster_.member(op.seat).leader() != cluster_.member(op.seat).id()) {
      edges_.met("leadership lost with a read round open");
    }
    finish(op, "unknown");
  });
}

std::string Traffic::draw_value(uint64_t number) {
  std::string value = fmt::format("{}:", number);
  value.resize(value.size() + prng_.below(prng_.chance(1, 40) ? 20'000 : 120), 'x');
  return value;
}

Effect Traffic::draw_branch(uint64_t number) {
  Effect e;
  const Write write{draw_value(number), 0};
  const uint64_t pair = prng_.below(kPairs);
  e[fmt::format("pair{}/a", pair)] = write;
  e[fmt::format("pair{}/b", pair)] = write;
  if (prng_.chance(1, 3)) {
    const uint64_t other = (pair + 1) % kPairs;
    e[fmt::format("pair{}/a", other)] = std::nullopt;
    e[fmt::format("pair{}/b", other)] = std::nullopt;
  }
  if (prng_.chance(1, 3)) e[fmt::format("key{}", prng_.below(kKeys))] = write;
  return e;
}

Request Traffic::draw_write() {
  Request r;
  const uint64_t number = ops_.size();
  const auto some_lease = [&]() -> int64_t {
    if (leases_.empty()) return 0;
    auto it = leases_.begin();
    std::advance(it, static_cast<std::ptrdiff_t>(prng_.below(leases_.size())));
    return it->second.granted ? it->first : 0;
  };
  const uint64_t kind = prng_.below(100);
  if (kind < 50) {
    r.kind = RequestKind::kPut;
    r.key = fmt::format("key{}", prng_.below(kKeys));
    r.value = draw_value(number);
    if (prng_.chance(1, 8)) r.lease = some_lease();
  } else if (kind < 75) {
    r.kind = RequestKind::kTxn;
    r.key = fmt::format("key{}", prng_.below(kKeys));
    r.version_limit = static_cast<int64_t>(prng_.below(6));
    r.success = draw_branch(number);
    r.failure = draw_branch(number);
  } else if (kind < 88) {
    r.kind = RequestKind::kDelete;
    const uint64_t at = prng_.below(kKeys);
    r.key = fmt::format("key{}", at);
    if (prng_.chance(1, 3)) r.end = fmt::format("key{}", std::min(at + 2, kKeys - 1));
    if (r.end == r.key) r.end.clear();
  } else if (kind < 91 && !(seldom_compacts(cluster_.world().seed()) && prng_.chance(39, 40)) &&
             truth_.revision() > std::max<int64_t>(compaction_asked_, 2)) {
    r.kind = RequestKind::kCompact;
    const int64_t from = std::max<int64_t>(compaction_asked_, 1);
    r.revision =
        from + 1 + static_cast<int64_t>(prng_.below(static_cast<uint64_t>(truth_.revision() - from)));
    compaction_asked_ = r.revision;
  } else if (kind < 97 || some_lease() == 0) {
    r.kind = RequestKind::kGrant;
    r.lease = next_lease_++;
    Lease& lease = leases_[r.lease];
    lease.id = r.lease;
    lease.ttl = static_cast<int64_t>(prng_.between(kTtlMin, kTtlMax));
  } else {
    r.kind = RequestKind::kRevoke;
    r.lease = leases_.rbegin()->first;
    leases_[r.lease].revoke_asked = true;
  }
  return r;
}

uint64_t Traffic::put_at(size_t seat, int64_t patience_ns) {
  Op& op = add(Kind::kWrite, seat);
  op.request.number = op.number;
  op.request.kind = RequestKind::kPut;
  op.request.key = "progress";
  op.request.value = draw_value(op.number);
  write(op);
  give_time(op, patience_ns);
  return op.number;
}

void Traffic::compact_at(size_t seat) {
  if (truth_.revision() <= std::max<int64_t>(compaction_asked_, 2)) return;
  Op& op = add(Kind::kWrite, seat);
  op.request.number = op.number;
  op.request.kind = RequestKind::kCompact;
  op.request.revision = compaction_asked_ = truth_.revision();
  write(op);
  give_time(op, 5 * io::kSecond);
}

void Traffic::write(Op& op) {
  Life& life = cluster_.life(op.seat);
  const uint64_t id = life.member().next_id();
  Blob bytes;
  if (op.request.kind == RequestKind::kGrant) {
    pb::InternalRaftRequest r;
    r.header.emplace().id = id;
    r.lease_grant.emplace().id = op.request.lease;
    r.lease_grant->ttl = leases_[op.request.lease].ttl;
    bytes = wire::encode_blob(r);
  } else {
    bytes = encode_proposal(id, op.request);
  }
  if (!op.was_leader && cluster_.member(op.seat).leader()) edges_.met("forwarded proposals");
  story_.note("#{} m{} {} {}{}", op.number, op.seat, name(op.request.kind), op.request.key,
              op.request.kind == RequestKind::kCompact ? fmt::format("{}", op.request.revision)
              : op.request.lease != 0                  ? fmt::format(" lease {}", op.request.lease)
                                                       : "");
  life.on_loop([this, &life, &op, id, bytes = std::move(bytes)]() mutable {
    life.port().propose(id, std::move(bytes), [this, &op](server::Answer a) { answered(op, a); });
  });
}

void Traffic::answered(Op& op, const server::Answer& answer) {
  Request& r = op.request;
  if (op.over) return;
  if (answer.error) {
    if (is_refusal(answer.error->code())) {
      r.outcome = Request::Outcome::kRefused;
      ++counts_.refused;
    } else {
      ++counts_.unknown;
    }
    return finish(op, answer.error->text());
  }
  r.outcome = Request::Outcome::kAcknowledged;
  ++counts_.acknowledged;
  if (r.kind == RequestKind::kDelete) {
    const auto response = wire::decode<pb::DeleteRangeResponse>(answer.body);
    if (!response) return fail(fmt::format("the answer to #{} can't be decoded", op.number));
    r.deleted = response->deleted;
  }
  op.succeeded = answer.count > 0;
  op.revision = answer.revision;
  const bool writes = r.kind == RequestKind::kPut || r.kind == RequestKind::kTxn || r.deleted > 0;
  if (writes) {
    r.acknowledged_at = answer.revision;
    if (answer.revision <= op.at_least) {
      fail(fmt::format("#{} is acknowledged at revision {}, {} was told of before it began", op.number,
                       answer.revision, op.at_least));
    }
    saw(answer.revision);
  }
  if (r.kind == RequestKind::kGrant) {
    Lease& lease = leases_[r.lease];
    lease.granted = true;
    lease.since = std::max(lease.since, op.begin);
    const io::MonotonicNs now = cluster_.world().now();
    lease.renew_until = now + static_cast<int64_t>(prng_.below(30)) * io::kSecond;
    lease.renew_next = now + lease.ttl * io::kSecond / 3;
    // Its key, which nobody else writes: it goes when the lease goes.
    if (cluster_.running(op.seat)) {
      Op& put = add(Kind::kWrite, op.seat);
      put.request.number = put.number;
      put.request.kind = RequestKind::kPut;
      put.request.key = lease_key(r.lease);
      put.request.value = draw_value(put.number);
      put.request.lease = r.lease;
      write(put);
      give_time(put, 4 * io::kSecond);
    }
  }
  finish(op, fmt::format("acknowledged at {}", answer.revision));
}

void Traffic::read(Op& op, bool serializable) {
  Life& life = cluster_.life(op.seat);
  story_.note("#{} m{} {}read {}", op.number, op.seat, serializable ? "serializable " : "",
              op.request.end.empty() ? op.request.key : "everything");
  const auto done = [this, &op, &life, serializable](Result<> confirmed) {
    if (op.over) return;
    if (!confirmed) {
      if (op.was_leader && life.member().leader() != life.member().id()) {
        edges_.met("leadership lost with a read round open");
      }
      return finish(op, confirmed.error().text());
    }
    const auto view = life.member().view();
    op.revision = view->revision();
    auto got = read_range(view, op.revision, op.request.key, op.request.end);
    if (!got) return fail(fmt::format("#{} at revision {}: {}", op.number, op.revision, got.error().text()));
    op.got = std::move(*got);
    ++counts_.reads;
    if (!serializable) {
      if (op.revision < op.at_least) {
        fail(fmt::format("#{}, a linearizable read at m{}, stands at {}, but {} was told of before it began",
                         op.number, op.seat, op.revision, op.at_least));
      }
      saw(op.revision);
    }
    finish(op, fmt::format("read at {}", op.revision));
  };
  life.on_loop([&life, serializable, done] {
    if (serializable) return done({});
    life.port().read_index(done);
  });
}

void Traffic::renew(Lease& lease, size_t seat) {
  Op& op = add(Kind::kRenew, seat);
  Life& life = cluster_.life(seat);
  story_.note("#{} m{} renew lease {}", op.number, seat, lease.id);
  const MemberId leader = life.member().leader();
  const Term term = life.member().term();
  life.on_loop([this, &life, &op, &lease, leader, term] {
    life.port().renew_lease(LeaseId(lease.id), [this, &life, &op, &lease, leader, term](Result<int64_t> ttl) {
      if (op.over) return;
      if (!ttl) return finish(op, ttl.error().text());
      edges_.met("lease renewed");
      // Whoever leads has said so, unless it may have slept over its fall.
      const bool same = leader && leader == life.member().leader() && term == life.member().term();
      if (same && !stood_still(leader, op.begin - 5 * io::kSecond))
        lease.since = std::max(lease.since, op.begin);
      finish(op, "renewed");
    });
  });
  give_time(op, 4 * io::kSecond);
}

bool Traffic::stood_still(MemberId id, io::MonotonicNs since) const {
  return std::ranges::any_of(paused_at_, [&](const auto& paused) {
    const auto& [seat, at] = paused;
    return at >= since && (!cluster_.running(seat) || cluster_.member(seat).id() == id);
  });
}

void Traffic::hash(size_t seat) {
  Op& op = add(Kind::kHash, seat);
  Life& life = cluster_.life(seat);
  const int64_t revision =
      prng_.chance(1, 2)
          ? 0
          : std::max<int64_t>(life.member().revision() - static_cast<int64_t>(prng_.below(5)), 1);
  life.member().hash_kv(revision, life.loop(), [this, &op](Result<server::Member::HashKv> got) {
    if (op.over) return;
    finish(op, "hashed");
    if (!got) return;
    const auto [known, fresh] = hashes_.try_emplace({got->hash_revision, got->compact_revision}, got->hash);
    if (!fresh) edges_.met("HashKV compared");
    if (known->second != got->hash) {
      fail(fmt::format("HashKV at revision {} (compacted at {}) is {:08x} at m{}, and {:08x} elsewhere",
                       got->hash_revision, got->compact_revision, got->hash, op.seat, known->second));
    }
  });
  give_time(op, 4 * io::kSecond);
}

// ---- checking ----

// What ended a lease is learned a moment later at the latest, so what is early then was early.
void Traffic::learned() {
  const io::MonotonicNs now = cluster_.world().now();
  for (; learned_ < truth_.revision(); ++learned_) {
    for (const TruthRecord& record : truth_.at(learned_ + 1).records) {
      const int64_t id = record.tombstone ? lease_of_key(record.key) : 0;
      if (id == 0) continue;
      const Lease& lease = leases_.at(id);
      if (lease.revoke_asked) continue;
      edges_.met("lease expired");
      // Clocks differ by 2 of 100 at most. A leader may learn of its fall a second after another one was elected,
      // which has given the lease its whole time anew.
      const io::MonotonicNs end = lease.since + lease.ttl * io::kSecond * 96 / 100 - 1'500 * io::kMillisecond;
      if (now >= end) continue;
      fail(fmt::format("lease {} of {} s ended by revision {} at {:.3f}, its time began at {:.3f}", id,
                       lease.ttl, learned_ + 1, static_cast<double>(now) / 1e9,
                       static_cast<double>(lease.since) / 1e9));
    }
  }
}

const Traffic::Op* Traffic::maker(int64_t revision, const State& before, const Effect& effect,
                                  const std::vector<const Op*>& told, std::vector<bool>* used,
                                  std::string* problem) const {
  uint64_t named = 0;
  for (const auto& [key, write] : effect) {
    if (write) named = writer_of(write->value);
  }
  const auto fits = [&](const Op& op) {
    return op.kind == Kind::kWrite && !(*used)[op.number - 1] &&
           op.request.outcome != Request::Outcome::kRefused &&
           (op.request.acknowledged_at == 0 || op.request.acknowledged_at == revision) &&
           op.request.effect(before) == effect;
  };
  if (named != 0) {
    if (named <= ops_.size() && fits(ops_[named - 1])) return &ops_[named - 1];
    *problem = fmt::format("revision {} is not what #{} does:{}", revision, named, show(effect));
    if (named <= ops_.size()) {
      const Op& op = ops_[named - 1];
      *problem +=
          fmt::format("; expected:{} ({}, acknowledged at {}{})", show(op.request.effect(before)),
                      op.request.outcome == Request::Outcome::kRefused ? "refused" : "not refused",
                      op.request.acknowledged_at, (*used)[named - 1] ? ", and it was made before" : "");
    }
    return nullptr;
  }
  for (const Op* op : told) {
    if (fits(*op)) return op;
  }
  // A lease's end is nobody's, or that of a revocation.
  std::optional<int64_t> lease;
  bool one = true;
  for (const auto& [key, write] : effect) {
    const auto k = before.find(key);
    if (k == before.end() || k->second.lease == 0 || (lease && *lease != k->second.lease)) one = false;
    if (k != before.end()) lease = k->second.lease;
  }
  if (one && lease) {
    Request end;
    end.kind = RequestKind::kRevoke;
    end.lease = *lease;
    if (end.effect(before) == effect) return nullptr;
  }
  for (const Op& op : ops_) {
    if (op.request.kind == RequestKind::kDelete && op.request.outcome == Request::Outcome::kUnknown &&
        fits(op))
      return &op;
  }
  *problem = fmt::format("no request explains revision {}:{}", revision, show(effect));
  return nullptr;
}

std::string Traffic::check_read(const Op& op, const State& state) const {
  State want;
  for (const auto& [key, k] : state) {
    if (mvcc::KeyRange{op.request.key, op.request.end}.contains(key)) want[key] = k;
  }
  if (want == op.got) return {};
  std::string what;
  for (const auto& [key, k] : want) {
    const auto got = op.got.find(key);
    if (got == op.got.end() || got->second != k) {
      what += fmt::format(" {} is of {}, not of {};", key, got == op.got.end() ? 0 : got->second.mod, k.mod);
    }
  }
  return fmt::format("#{}, a read at m{} at revision {}, did not see what is there:{}", op.number, op.seat,
                     op.revision, what.empty() ? " too much" : what);
}

std::string Traffic::settle() const {
  std::map<int64_t, std::vector<const Op*>> reads, told;
  for (const Op& op : ops_) {
    if (op.revision > truth_.revision()) {
      return fmt::format("#{} was told revision {}; the newest is {}", op.number, op.revision,
                         truth_.revision());
    }
    if (op.kind == Kind::kRead || op.kind == Kind::kSerializable) {
      if (op.revision != 0) reads[op.revision].push_back(&op);
    } else if (op.request.acknowledged_at != 0) {
      told[op.request.acknowledged_at].push_back(&op);
    }
  }
  State state;
  std::vector<bool> used(ops_.size());
  for (int64_t r = 1; r <= truth_.revision(); ++r) {
    const std::vector<const Op*>& acknowledged = told[r];
    if (acknowledged.size() > 1) {
      return fmt::format("#{} and #{} are both acknowledged at revision {}", acknowledged[0]->number,
                         acknowledged[1]->number, r);
    }
    if (r >= 2) {
      const Effect effect = truth_.effect(r);
      std::string problem;
      const Op* op = maker(r, state, effect, acknowledged, &used, &problem);
      if (!problem.empty()) return problem;
      if (op != nullptr) used[op->number - 1] = true;
      for (const Op* other : acknowledged) {
        if (other == op) continue;
        return fmt::format("#{} ({} {}) was acknowledged at revision {}, which is another's:{}",
                           other->number, name(other->request.kind), other->request.key, r, show(effect));
      }
      if (op != nullptr && op->request.kind == RequestKind::kTxn && !acknowledged.empty()) {
        const auto k = state.find(op->request.key);
        if (op->succeeded != ((k == state.end() ? 0 : k->second.version) < op->request.version_limit))
          return fmt::format("#{} took the other branch than its answer says", op->number);
      }
      apply_effect(effect, r, &state);
    }
    for (const Op* op : reads[r]) {
      if (std::string problem = check_read(*op, state); !problem.empty()) return problem;
    }
  }
  return {};
}

}  // namespace quoin::scenarios

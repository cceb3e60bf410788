#include "scenarios/workload.h"

#include <fmt/format.h>

#include "wire/message.h"
#include "wire/raft_internal.h"
#include "wire/rpc.h"

namespace quoin::scenarios {

namespace pb = wire::etcdserverpb;
using Kind = Request::Kind;

namespace {

constexpr uint64_t kKeys = 24, kPairs = 6;
constexpr int64_t kTtlSeconds = 1'000'000;  // far beyond any run: leases end by revocation alone

Blob encode_request(uint64_t id, const Request& r) {
  pb::InternalRaftRequest out;
  out.header.emplace().id = id;
  auto put = [](pb::PutRequest& p, const std::string& key, const Write& w) {
    p.key = key;
    p.value = w.value;
    p.lease = w.lease;
  };
  const Write own{r.value, r.lease};
  switch (r.kind) {
    case Kind::kPut:
      put(out.put.emplace(), r.key, own);
      return wire::encode_blob(out);
    case Kind::kDelete: {
      auto& d = out.delete_range.emplace();
      d.key = r.key;
      d.range_end = r.end;
      return wire::encode_blob(out);
    }
    case Kind::kTxn: {
      pb::TxnRequest& t = out.txn.emplace();
      pb::Compare& c = t.compare.emplace_back();
      c.key = r.key;
      c.target = pb::Compare::CompareTarget::kVersion;
      c.result = pb::Compare::CompareResult::kLess;
      c.set_version(r.version_limit);
      for (const auto& [branch, ops] :
           {std::pair(&r.success, &t.success), std::pair(&r.failure, &t.failure)}) {
        for (const auto& [key, write] : *branch) {
          if (write) {
            put(ops->emplace_back().set_request_put(), key, *write);
          } else {
            ops->emplace_back().set_request_delete_range().key = key;
          }
        }
      }
      return wire::encode_blob(out);
    }
    case Kind::kCompact:
      out.compaction.emplace().revision = r.revision;
      return wire::encode_blob(out);
    case Kind::kGrant: {
      auto& g = out.lease_grant.emplace();
      g.id = r.lease;
      g.ttl = kTtlSeconds;
      return wire::encode_blob(out);
    }
    case Kind::kRevoke:
      out.lease_revoke.emplace().id = r.lease;
      return wire::encode_blob(out);
  }
  return {};
}

// Whether an error says that nothing was done; after the others the request may still be carried out.
bool is_refusal(Code code) {
  switch (code) {
    case Code::kLeaseNotFound:
    case Code::kLeaseExist:
    case Code::kCompacted:
    case Code::kFutureRev:
    case Code::kTooManyRequests:
    case Code::kRequestTooLarge:
    case Code::kProposalDropped:
      return true;
    default:
      return false;
  }
}

}  // namespace

void Trace::note(std::string_view what, uint64_t a, uint64_t b) {
  auto mix = [this](uint64_t v) { hash_ = (hash_ ^ v) * 1099511628211ull; };
  for (char c : what) mix(static_cast<unsigned char>(c));
  mix(a);
  mix(b);
}

void Workload::start(Life& life, WorkloadOptions options) {
  life_ = &life;
  options_ = options;
  sent_ = outstanding_ = 0;
  life.on_loop([this] { pump(); });
}

void Workload::pump() {
  while (outstanding_ < options_.outstanding && sent_ < options_.requests) {
    ++sent_;
    ++outstanding_;
    if (prng_.chance(1, 60)) {
      maintain(*life_);
    } else if (prng_.chance(1, 40)) {
      auto done = std::make_shared<bool>(false);
      read(*life_, true, done);
    } else {
      send(*life_, history_.add(draw()), nullptr);
    }
    // Sometimes the client thinks, and the queue runs dry.
    if (prng_.chance(1, 30)) return;
  }
}

// What operators do beside clients. It must come to an end; what it did to the data is seen by reads.
void Workload::maintain(Life& life) {
  auto over = [this](bool ok) {
    trace_.note("maintained", ok, static_cast<uint64_t>(world_.now()));
    --outstanding_;
    pump();
  };
  switch (prng_.below(4)) {
    case 0:
    case 1:
      return life.member().defragment(life.loop(), [over](Result<> r) { over(r.has_value()); });
    case 2:
      return life.member().hash_kv(0, life.loop(),
                                   [over](Result<server::Member::HashKv> r) { over(r.has_value()); });
    default:
      return life.member().hash(life.loop(), [over](Result<backend::StateHash> r) { over(r.has_value()); });
  }
}

std::string Workload::draw_key() {
  return prng_.chance(1, 3) ? fmt::format("pair{}/a", prng_.below(kPairs))
                            : fmt::format("key{:02}", prng_.below(kKeys));
}

std::string Workload::draw_value() {
  std::string value = fmt::format("{}:", history_.next_number());
  const size_t bytes = prng_.chance(1, 25) ? options_.long_value_bytes : options_.value_bytes;
  const size_t size = value.size() + prng_.below(bytes + 1);
  while (value.size() < size) value.push_back(static_cast<char>('a' + value.size() % 26));
  return value;
}

Effect Workload::draw_branch() {
  Effect e;
  const int64_t lease = !history_.leases().empty() && prng_.chance(1, 4) ? *history_.leases().begin() : 0;
  const Write write{draw_value(), lease};
  const uint64_t pair = prng_.below(kPairs);
  e[fmt::format("pair{}/a", pair)] = write;
  e[fmt::format("pair{}/b", pair)] = write;
  if (prng_.chance(1, 3)) {
    const uint64_t other = (pair + 1) % kPairs;
    e[fmt::format("pair{}/a", other)] = std::nullopt;
    e[fmt::format("pair{}/b", other)] = std::nullopt;
  }
  if (prng_.chance(1, 3)) e[fmt::format("key{:02}", prng_.below(kKeys))] = write;
  return e;
}

Request Workload::draw() {
  Request r;
  const uint64_t kind = prng_.below(100);
  if (kind < 40) {
    r.kind = Kind::kPut;
    r.key = fmt::format("key{:02}", prng_.below(kKeys));
    r.value = draw_value();
    if (!history_.leases().empty() && prng_.chance(1, 4)) r.lease = *history_.leases().rbegin();
  } else if (kind < 75) {
    r.kind = Kind::kTxn;
    r.key = draw_key();
    r.version_limit = static_cast<int64_t>(prng_.below(6));
    r.success = draw_branch();
    r.failure = draw_branch();
  } else if (kind < 88) {
    r.kind = Kind::kDelete;
    const uint64_t at = prng_.below(kKeys);
    if (prng_.chance(1, 3)) {  // both keys of some pairs
      r.key = fmt::format("pair{}/", at % kPairs);
      r.end = fmt::format("pair{}0", prng_.between(at % kPairs, kPairs - 1));
    } else {
      r.key = fmt::format("key{:02}", at);
      if (prng_.chance(1, 2)) r.end = fmt::format("key{:02}", at + prng_.below(4) + 1);
    }
  } else if (kind < 92 && history_.revision() > std::max<int64_t>(history_.compacted_seen(), 2) &&
             (options_.compact_one_in == 1 || prng_.chance(1, options_.compact_one_in))) {
    // What has been read, so that every revision is looked at before it may go.
    r.kind = Kind::kCompact;
    const int64_t from = std::max<int64_t>(history_.compacted_seen(), 1);
    r.revision =
        from + 1 + static_cast<int64_t>(prng_.below(static_cast<uint64_t>(history_.revision() - from)));
  } else if (kind < 97 || history_.leases().empty()) {
    r.kind = Kind::kGrant;
    r.lease = next_lease_++;
  } else {
    r.kind = Kind::kRevoke;
    r.lease = *history_.leases().begin();
  }
  return r;
}

void Workload::send(Life& life, Request& request, std::shared_ptr<bool> acknowledged) {
  const uint64_t id = life.member().next_id();
  const bool pumped = acknowledged == nullptr;
  trace_.note("send", request.number, static_cast<uint64_t>(world_.now()));
  life.port().propose(id, encode_request(id, request),
                      [this, &request, pumped, acknowledged](server::Answer answer) {
                        answered(request, answer);
                        if (acknowledged && !answer.error) *acknowledged = true;
                        if (!pumped) return;
                        --outstanding_;
                        pump();
                      });
}

void Workload::answered(Request& request, const server::Answer& answer) {
  trace_.note("answer", request.number, static_cast<uint64_t>(world_.now()));
  if (answer.error) {
    trace_.note("error", static_cast<uint64_t>(answer.error->code()), 0);
    if (is_refusal(answer.error->code())) fail(history_.refuse(request));
    return;
  }
  trace_.note("acknowledged", request.number, static_cast<uint64_t>(answer.revision));
  int64_t deleted = -1;
  if (request.kind == Kind::kDelete) {
    auto response = wire::decode<pb::DeleteRangeResponse>(answer.body);
    if (!response) return fail(fmt::format("the answer to request {} can't be decoded", request.number));
    deleted = response->deleted;
  }
  fail(history_.acknowledge(request, answer.revision, deleted));
}

void Workload::put_once(Life& life, std::shared_ptr<bool> acknowledged) {
  life.on_loop([this, &life, acknowledged] {
    Request r;
    r.kind = Kind::kPut;
    r.key = "progress";
    r.value = fmt::format("{}:", history_.next_number());
    send(life, history_.add(std::move(r)), acknowledged);
  });
}

void Workload::read_once(Life& life, std::shared_ptr<bool> done) {
  life.on_loop([this, &life, done] { read(life, false, done); });
}

void Workload::read(Life& life, bool pumped, std::shared_ptr<bool> done) {
  const int64_t at_least = history_.acknowledged_revision();
  life.port().read_index([this, &life, done, at_least, pumped](Result<> confirmed) {
    trace_.note("read", confirmed.has_value(), static_cast<uint64_t>(world_.now()));
    if (confirmed) {
      ++reads_;
      const auto view = life.member().view();
      if (view->revision() < at_least) {
        fail(fmt::format("a linearizable read stands at {}, {} was acknowledged before it began",
                         view->revision(), at_least));
      }
      History::Verdict verdict = history_.check(view);
      unreadable_ |= verdict.unreadable;
      fail(std::move(verdict.problem));
      *done = true;
    }
    if (!pumped) return;
    --outstanding_;
    pump();
  });
}

}  // namespace quoin::scenarios

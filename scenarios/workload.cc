#include "scenarios/workload.h"

#include <fmt/format.h>

#include "scenarios/requests.h"
#include "wire/message.h"
#include "wire/rpc.h"

namespace quoin::scenarios {

namespace pb = wire::etcdserverpb;
using Kind = Request::Kind;

namespace {

constexpr uint64_t kKeys = 24, kPairs = 6;
constexpr uint64_t kCancelOneIn = 8;

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
  on_loop(life, [this] { pump(); });
}

// The loop on which requests are made and answered.
void Workload::on_loop(Life& life, Task task) {
  if (clients_ != nullptr) {
    clients_->loop().post(std::move(task));
  } else {
    life.on_loop(std::move(task));
  }
}

void Workload::pump() {
  if (life_ == nullptr) return;
  while (outstanding_ < options_.outstanding && sent_ < options_.requests) {
    ++sent_;
    ++outstanding_;
    if (clients_ != nullptr && prng_.chance(1, 6)) {
      operators_.one(*clients_, [this] {
        --outstanding_;
        pump();
      });
    } else if (clients_ == nullptr && prng_.chance(1, 60)) {
      maintain(*life_);
    } else if (prng_.chance(1, 40)) {
      auto done = std::make_shared<bool>(false);
      if (clients_ == nullptr) {
        read(*life_, true, done);
      } else {
        life_->on_loop([this, life = life_, done] { read(*life, true, done); });
      }
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
  const bool pumped = acknowledged == nullptr;
  trace_.note("send", request.number, static_cast<uint64_t>(world_.now()));
  auto done = [this, pumped, acknowledged](bool ok) {
    if (acknowledged && ok) *acknowledged = true;
    if (!pumped) return;
    --outstanding_;
    pump();
  };
  if (clients_ != nullptr) return call(request, !pumped, std::move(done));
  propose(life, request, std::move(done));
}

void Workload::propose(Life& life, Request& request, std::function<void(bool)> done) {
  const uint64_t id = life.member().next_id();
  life.port().propose(id, encode_proposal(id, request),
                      [this, &request, done = std::move(done)](server::Answer answer) {
                        answered(request, answer);
                        done(!answer.error);
                      });
}

void Workload::answered(Request& request, const server::Answer& answer) {
  trace_.note("answer", request.number, static_cast<uint64_t>(world_.now()));
  if (answer.error) {
    trace_.note("error", static_cast<uint64_t>(answer.error->code()), 0);
    if (is_refusal(answer.error->code())) fail(history_.refuse(request));
    return;
  }
  int64_t deleted = -1;
  if (request.kind == Kind::kDelete) {
    auto response = wire::decode<pb::DeleteRangeResponse>(answer.body);
    if (!response) return fail(fmt::format("the answer to request {} can't be decoded", request.number));
    deleted = response->deleted;
  }
  acknowledged(request, answer.revision, deleted);
}

// A call that is cancelled or cut stays of unknown outcome: it may be carried out, once, at any later time.
void Workload::call(Request& request, bool calm, std::function<void(bool)> done) {
  WireCall wire = encode_call(request);
  auto message = std::make_shared<std::string>();
  Client::Handler handler;
  handler.message = [message](std::string_view bytes) { *message = bytes; };
  handler.end = [this, &request, message, done = std::move(done)](GrpcStatus status, std::string_view text) {
    called(request, status, text, *message);
    done(status == GrpcStatus::kOk);
  };
  const auto client = calm ? clients_->steady() : clients_->any();
  const Client::CallId id = client->call(wire.method, wire.request, std::move(handler),
                                         {.timeout_ns = calm ? 0 : clients_->draw_timeout()});
  if (!calm) clients_->draw_cancel(client, id, kCancelOneIn);
}

void Workload::called(Request& request, GrpcStatus status, std::string_view text, std::string_view message) {
  trace_.note("answer", request.number, static_cast<uint64_t>(world_.now()));
  if (status != GrpcStatus::kOk) {
    trace_.note("error", static_cast<uint64_t>(status), text.size());
    if (is_refusal(text)) return fail(history_.refuse(request));
    if (request.found_at != 0) edges_.met("outcome unknown: found already");
    return;
  }
  const auto answer = decode_answer(request.kind, message);
  if (!answer) return fail(fmt::format("the answer to request {} can't be decoded", request.number));
  acknowledged(request, answer->revision, answer->deleted);
}

void Workload::acknowledged(Request& request, int64_t revision, int64_t deleted) {
  trace_.note("acknowledged", request.number, static_cast<uint64_t>(revision));
  fail(history_.acknowledge(request, revision, deleted));
}

void Workload::put_once(Life& life, std::shared_ptr<bool> acknowledged) {
  on_loop(life, [this, &life, acknowledged] {
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
    if (clients_ == nullptr) return pump();
    clients_->loop().post([this] { pump(); });
  });
}

}  // namespace quoin::scenarios

#include "scenarios/operators.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <deque>

#include "base/error_table.h"
#include "scenarios/image.h"
#include "scenarios/requests.h"
#include "wire/message.h"
#include "wire/rpc.h"

namespace quoin::scenarios {

namespace pb = wire::etcdserverpb;

namespace {
constexpr uint64_t kCancelOneIn = 4;
constexpr size_t kDigestBytes = 32;

pb::RangeRequest to_request(const ReadAsked& a) {
  pb::RangeRequest r;
  r.key = a.key;
  r.range_end = a.end;
  r.revision = a.revision;
  r.limit = a.limit;
  r.keys_only = a.keys_only;
  r.count_only = a.count_only;
  r.serializable = a.at_least == 0;
  return r;
}

std::string sha256(std::string_view bytes) {
  std::string digest(kDigestBytes, '\0');
  unsigned length = 0;
  CHECK_EQ(EVP_Digest(bytes.data(), bytes.size(), reinterpret_cast<unsigned char*>(digest.data()), &length,
                      EVP_sha256(), nullptr),
           1);
  return digest;
}
}  // namespace

void Operators::one(Clients& clients, Done done) {
  // An end that came already: the next call is made from a task of its own, so that this does not nest.
  Done later = [&loop = clients.loop(), done = std::move(done)] { loop.post([done] { done(); }); };
  Started (Operators::*const kinds[])(Clients&, Done) = {
      &Operators::range,    &Operators::range,      &Operators::range_stream, &Operators::range_stream,
      &Operators::snapshot, &Operators::keep_alive, &Operators::keep_alive,   &Operators::time_to_live,
      &Operators::leases,   &Operators::alarm,      &Operators::maintain};
  const Started started = (this->*kinds[prng_.below(std::size(kinds))])(clients, std::move(later));
  clients.draw_cancel(started.client, started.call, kCancelOneIn);
}

std::string Operators::settle() {
  if (std::string problem = reads_.settle(history_); !problem.empty()) fail(std::move(problem));
  return problem_;
}

Operators::Started Operators::unary(Clients& clients, std::string_view method, const std::string& request,
                                    std::function<std::string(std::string_view)> judge, Done done) {
  Client::Handler handler;
  handler.message = [this, judge = std::move(judge)](std::string_view bytes) { fail(judge(bytes)); };
  handler.end = [done = std::move(done)](GrpcStatus, std::string_view) { done(); };
  const auto client = clients.any();
  return {client, client->call(method, request, std::move(handler), {.timeout_ns = clients.draw_timeout()})};
}

// ---- reads ----

ReadAsked Operators::draw_read() {
  using namespace std::literals;
  ReadAsked a;
  switch (prng_.below(4)) {
    case 0:
      a.key = fmt::format("key{:02}", prng_.below(24));
      break;
    case 1:
      a.key = "pair";
      a.end = "pais";
      break;
    default:
      a.key = a.end = "\0"s;
  }
  if (prng_.chance(1, 3)) a.limit = static_cast<int64_t>(prng_.between(1, 20));
  a.keys_only = prng_.chance(1, 6);
  a.count_only = prng_.chance(1, 12);
  if (prng_.chance(2, 3)) a.at_least = history_.acknowledged_revision();
  if (history_.revision() > 2 && prng_.chance(1, 3)) {
    a.revision = static_cast<int64_t>(prng_.between(1, static_cast<uint64_t>(history_.revision())));
    edges_.met("read of an old revision");
  }
  return a;
}

void Operators::read_failed(const ReadAsked& asked, std::string_view text) {
  if (text == error_info(Code::kFutureRev).text) {
    // A serializable read may be older than what another answer told.
    if (asked.at_least != 0) fail(fmt::format("revision {} is said to be in the future", asked.revision));
  }
  if (text != error_info(Code::kCompacted).text) return;
  edges_.met("read of a compacted revision");
  if (asked.revision == 0) fail("a read of the newest revision is said to be of a compacted one");
  if (asked.revision >= history_.compaction_asked()) {
    fail(fmt::format("revision {} is said to be compacted", asked.revision));
  }
}

Operators::Started Operators::range(Clients& clients, Done done) {
  const ReadAsked asked = draw_read();
  Client::Handler handler;
  handler.message = [this, asked](std::string_view bytes) {
    const auto r = wire::decode<pb::RangeResponse>(bytes);
    if (!r || !r->header) return fail("an answer to a Range that can't be decoded");
    ReadGot got{r->header->revision, r->count, r->more, {}};
    for (const auto& kv : r->kvs) {
      if (!got.add(kv.bytes)) return fail("a key of a Range that can't be decoded");
    }
    fail(reads_.add(asked, std::move(got)));
  };
  handler.end = [this, asked, done = std::move(done)](GrpcStatus, std::string_view text) {
    read_failed(asked, text);
    done();
  };
  const auto client = clients.any();
  return {client, client->call("KV/Range", wire::encode_string(to_request(asked)), std::move(handler),
                               {.timeout_ns = clients.draw_timeout()})};
}

struct Operators::RangeRun {
  ReadAsked asked;
  ReadGot got;
  size_t chunks = 0;
  int64_t acknowledged_at_first = 0;
  bool last = false;
};

Operators::Started Operators::range_stream(Clients& clients, Done done) {
  auto run = std::make_shared<RangeRun>();
  run->asked = draw_read();
  Client::Handler handler;
  handler.message = [this, run](std::string_view bytes) {
    const auto m = wire::decode<pb::RangeStreamResponse>(bytes);
    if (!m || !m->range_response) return fail("a chunk that can't be decoded");
    const pb::RangeResponse& r = *m->range_response;
    if (run->last) return fail("a chunk after the last one");
    if (++run->chunks == 1) run->acknowledged_at_first = history_.acknowledged_revision();
    for (const auto& kv : r.kvs) {
      if (!run->got.add(kv.bytes)) return fail("a key of a chunk that can't be decoded");
    }
    if (!r.header) return;
    run->last = true;
    run->got.header_revision = r.header->revision;
    run->got.count = r.count;
    run->got.more = r.more;
  };
  handler.end = [this, run, done = std::move(done)](GrpcStatus status, std::string_view text) {
    if (run->chunks > 1) {
      edges_.met("range stream in several chunks");
      if (history_.acknowledged_revision() > run->acknowledged_at_first) {
        edges_.met("range stream: writes between chunks");
      }
    }
    // A stream that outlives its revision ends with this error at any chunk.
    if (text == error_info(Code::kCompacted).text && run->asked.revision == 0) {
      edges_.met("range stream overtaken by a compaction");
    } else {
      read_failed(run->asked, text);
    }
    if (status == GrpcStatus::kOk) {
      fail(run->last ? reads_.add(run->asked, std::move(run->got)) : "a RangeStream without a last chunk");
    }
    done();
  };
  const auto client = clients.any();
  return {client, client->call("KV/RangeStream", wire::encode_string(to_request(run->asked)),
                               std::move(handler), {.timeout_ns = clients.draw_timeout()})};
}

// ---- leases ----

// Granted for sure, or one that nobody has.
int64_t Operators::draw_lease() {
  const auto& leases = history_.leases();
  if (leases.empty() || prng_.chance(1, 4)) return prng_.chance(1, 2) ? 1 : 999'999;
  auto it = leases.begin();
  std::advance(it, prng_.below(leases.size()));
  return *it;
}

struct Operators::KeepAliveRun {
  struct Asked {
    int64_t lease;
    bool granted;
    bool revoked;
  };
  std::deque<Asked> asked;
  std::shared_ptr<Client> client;
  Client::CallId call = 0;
  size_t more = 0;  // requests that follow, each after an answer
};

Operators::Started Operators::keep_alive(Clients& clients, Done done) {
  auto run = std::make_shared<KeepAliveRun>();
  auto request = [this, run] {
    const int64_t lease = draw_lease();
    run->asked.push_back({lease, history_.leases().contains(lease), history_.revoked(lease)});
    pb::LeaseKeepAliveRequest r;
    r.id = lease;
    return wire::encode_string(r);
  };
  Client::Handler handler;
  handler.message = [this, run, request](std::string_view bytes) {
    const auto r = wire::decode<pb::LeaseKeepAliveResponse>(bytes);
    if (!r || !r->header) return fail("an answer to a keepalive that can't be decoded");
    if (run->asked.empty()) return fail("a keepalive that nobody asked for");
    const KeepAliveRun::Asked asked = run->asked.front();
    run->asked.pop_front();
    if (r->id != asked.lease)
      return fail(fmt::format("lease {:x} is kept alive, asked was {:x}", r->id, asked.lease));
    edges_.met(r->ttl == 0 ? "keepalive of an unknown lease" : "keepalive of a granted lease");
    if (asked.revoked && r->ttl != 0)
      return fail(fmt::format("revoked lease {:x} is kept alive", asked.lease));
    // It was granted before the request was sent, and no revocation was sent up to now.
    if (asked.granted && history_.leases().contains(asked.lease) && r->ttl != kTtlSeconds) {
      return fail(fmt::format("lease {:x} is kept alive for {} s", asked.lease, r->ttl));
    }
    if (run->more > 0) {
      --run->more;
      run->client->send(run->call, request());
    } else if (run->asked.empty()) {
      run->client->half_close(run->call);
    }
  };
  handler.end = [this, run, done = std::move(done)](GrpcStatus status, std::string_view) {
    if (status == GrpcStatus::kOk && !run->asked.empty()) fail("a keepalive stream ends without its answers");
    done();
  };
  run->client = clients.any();
  run->more = prng_.below(4);
  run->call = run->client->call("Lease/LeaseKeepAlive", request(), std::move(handler), {.half_close = false});
  const uint64_t at_once = prng_.below(4);
  for (uint64_t i = 0; i < at_once; ++i) run->client->send(run->call, request());
  return {run->client, run->call};
}

Operators::Started Operators::time_to_live(Clients& clients, Done done) {
  pb::LeaseTimeToLiveRequest request;
  request.id = draw_lease();
  request.keys = true;
  const bool granted = history_.leases().contains(request.id), revoked = history_.revoked(request.id);
  auto judge = [this, granted, revoked, id = request.id](std::string_view bytes) -> std::string {
    const auto r = wire::decode<pb::LeaseTimeToLiveResponse>(bytes);
    if (!r || !r->header || r->id != id) return "an answer to LeaseTimeToLive that can't be right";
    if (revoked && r->ttl >= 0) return fmt::format("revoked lease {:x} has {} s to live", id, r->ttl);
    if (!granted || !history_.leases().contains(id)) return {};
    if (r->granted_ttl != kTtlSeconds || r->ttl <= 0 || r->ttl > kTtlSeconds) {
      return fmt::format("lease {:x} has {} of {} s to live", id, r->ttl, r->granted_ttl);
    }
    return {};
  };
  return unary(clients, "Lease/LeaseTimeToLive", wire::encode_string(request), judge, std::move(done));
}

Operators::Started Operators::leases(Clients& clients, Done done) {
  const std::set<int64_t> before = history_.leases();
  auto judge = [this, before](std::string_view bytes) -> std::string {
    const auto r = wire::decode<pb::LeaseLeasesResponse>(bytes);
    if (!r || !r->header) return "an answer to LeaseLeases that can't be decoded";
    std::set<int64_t> there;
    for (const auto& lease : r->leases) there.insert(lease.id);
    for (const int64_t lease : before) {
      if (history_.leases().contains(lease) && !there.contains(lease)) {
        return fmt::format("lease {:x} was granted and is not listed", lease);
      }
    }
    return {};
  };
  return unary(clients, "Lease/LeaseLeases", {}, judge, std::move(done));
}

// ---- maintenance ----

struct Operators::SnapshotRun {
  std::string bytes;
  uint64_t remaining = UINT64_MAX;
  bool digest = false;

  std::string take(const pb::SnapshotResponse& r) {
    if (digest) return "bytes after the checksum of a snapshot";
    if (remaining == 0) {
      digest = true;
      return r.blob == sha256(bytes) && r.remaining_bytes == 0 ? "" : "a snapshot with a wrong checksum";
    }
    if (remaining != UINT64_MAX && r.remaining_bytes + r.blob.size() != remaining) {
      return fmt::format("a snapshot of which {} bytes remain after {} more; {} remained before",
                         r.remaining_bytes, r.blob.size(), remaining);
    }
    remaining = r.remaining_bytes;
    bytes += r.blob;
    return {};
  }
  // As a disk of its own shows it.
  std::string check() const {
    if (!digest) return "a snapshot without a checksum";
    sim::World world(1);
    sim::SimDisk disk(world);
    disk.put_file(kDbPath, bytes);
    const std::string findings = check_db_image(world, disk);
    return findings.empty() ? "" : "a snapshot is no sound database: " + findings;
  }
};

Operators::Started Operators::snapshot(Clients& clients, Done done) {
  auto run = std::make_shared<SnapshotRun>();
  Client::Handler handler;
  handler.message = [this, run](std::string_view bytes) {
    const auto r = wire::decode<pb::SnapshotResponse>(bytes);
    if (!r) return fail("a part of a snapshot that can't be decoded");
    fail(run->take(*r));
  };
  handler.end = [this, run, done = std::move(done)](GrpcStatus status, std::string_view) {
    if (status == GrpcStatus::kOk) {
      edges_.met("snapshot whole");
      fail(run->check());
    }
    done();
  };
  const auto client = clients.any();
  return {client, client->call("Maintenance/Snapshot", {}, std::move(handler),
                               {.timeout_ns = clients.draw_timeout()})};
}

Operators::Started Operators::alarm(Clients& clients, Done done) {
  auto judge = [](std::string_view bytes) -> std::string {
    const auto r = wire::decode<pb::AlarmResponse>(bytes);
    if (!r || !r->header) return "an answer to Alarm that can't be decoded";
    return r->alarms.empty() ? "" : "an alarm without a reason";
  };
  return unary(clients, "Maintenance/Alarm", {}, judge, std::move(done));
}

Operators::Started Operators::maintain(Clients& clients, Done done) {
  const auto nothing = [](std::string_view) -> std::string { return {}; };
  switch (prng_.below(4)) {
    case 0:
      return unary(clients, "Maintenance/Defragment", {}, nothing, std::move(done));
    case 1:
      return unary(clients, "Maintenance/Hash", {}, nothing, std::move(done));
    case 2:
      return unary(clients, "Maintenance/HashKV", {}, nothing, std::move(done));
    default:
      return unary(clients, "Maintenance/Status", {}, nothing, std::move(done));
  }
}

}  // namespace quoin::scenarios

// Clients of streams that send and do not read, and what they get once they read again.
#include "v3rpc/services_test.h"
#include "v3rpc/snapshot_stream.h"
#include "v3rpc/watch_service.h"

namespace quoin::v3rpc {
namespace {

class StreamFlowTest : public ServicesTest {
 protected:
  // Output of one stream that waits: its queue, one message over it, and the client's windows.
  static constexpr size_t kUnreadMax = 512 << 10;

  explicit StreamFlowTest(const Limits& limits = {})
      : ServicesTest(test_config(), 1, limits),
        writing_(std::make_unique<grpc::ServerConnection>(*context_, grpc::PeerInfo{"127.0.0.1:2", {}}, *this,
                                                          process_.clock().monotonic())),
        writer_(std::make_unique<grpc::test::RawClient>()) {
    client_->read = false;
  }
  ~StreamFlowTest() override { writing_.reset(); }
  void carry() override {
    ServicesTest::carry();
    ServicesTest::carry(*writing_, *writer_);
  }
  grpc::test::RawClient::Headers path(std::string_view p) { return grpc::test::RawClient::post(p); }
  template <class Request>
  static std::string framed(const Request& request) {
    return grpc::test::framed(wire::encode_string(request));
  }
  static std::string create(std::string_view key, int64_t start, int64_t id, bool fragment = false,
                            bool prev_kv = false) {
    pb::WatchRequest r;
    auto& c = r.set_create_request();
    c.key = key;
    c.watch_id = id;
    c.start_revision = start;
    c.fragment = fragment;
    c.prev_kv = prev_kv;
    return framed(r);
  }
  // Writes over a connection of its own, whose client reads.
  template <class Request>
  void write(std::string_view method, const Request& request) {
    const auto id = writer_->request(path(method), framed(request), true);
    run_until([&] { return writer_->streams[id]->ended; });
    ASSERT_EQ(writer_->streams[id]->status(), "0 ");
  }
  void put(std::string_view key, const std::string& value, int times = 1) {
    for (int i = 0; i < times; ++i) {
      pb::PutRequest put;
      put.key = key;
      put.value = value;
      write("/etcdserverpb.KV/Put", put);
    }
  }
  // For conditions that cost much to ask.
  void await(const std::function<bool()>& done) {
    for (int i = 0; i < 200 && !done(); ++i) settle(20 * io::kMillisecond);
    ASSERT_TRUE(done());
  }
  std::vector<pb::WatchResponse> watched(http2::StreamId id) {
    std::vector<pb::WatchResponse> out;
    for (const std::string_view m : messages(stream(id).body))
      out.push_back(*wire::decode<pb::WatchResponse>(m));
    return out;
  }
  static int64_t revision_of(const wire::mvccpb::Event& event) {
    return wire::decode<wire::mvccpb::KeyValue>(event.kv->bytes)->mod_revision;
  }
  // Revisions of one watcher's events, in the order they came.
  static std::vector<int64_t> revisions(const std::vector<pb::WatchResponse>& responses, int64_t watch_id) {
    std::vector<int64_t> out;
    for (const auto& r : responses) {
      if (r.watch_id != watch_id) continue;
      for (const auto& e : r.events) out.push_back(revision_of(e));
    }
    return out;
  }

  std::unique_ptr<grpc::ServerConnection> writing_;
  std::unique_ptr<grpc::test::RawClient> writer_;
};

TEST_F(StreamFlowTest, WatchRequestsOfAClientThatDoesNotRead) {
  constexpr int kRequests = 100'000;
  std::string requests;
  for (int i = 0; i < kRequests; ++i) requests += create("k", 0, 0);
  const size_t sent = requests.size();
  const auto id = client_->request(path("/etcdserverpb.Watch/Watch"), requests, false);
  settle();
  EXPECT_LT(connection_->held_bytes(), kUnreadMax);
  EXPECT_GT(stream(id).to_send.size(), sent / 2);  // stopped by the stream's window
  // Nothing is lost by it.
  read_on(id);
  await([&] { return messages(stream(id).body).size() >= kRequests; });
  int64_t next = 0;
  for (const auto& r : watched(id)) {
    ASSERT_TRUE(r.created);
    ASSERT_EQ(r.watch_id, next++);
  }
  EXPECT_TRUE(stream(id).to_send.empty());
}

TEST_F(StreamFlowTest, ProgressRequestsOfAClientThatDoesNotRead) {
  constexpr int kRequests = 60'000;
  pb::WatchRequest progress;
  progress.set_progress_request();
  std::string requests = create("k", 0, 0);
  for (int i = 0; i < kRequests; ++i) requests += framed(progress);
  const size_t sent = requests.size();
  const auto id = client_->request(path("/etcdserverpb.Watch/Watch"), requests, false);
  settle();
  EXPECT_LT(connection_->held_bytes(), kUnreadMax);
  EXPECT_GT(stream(id).to_send.size(), sent / 2);
  read_on(id);
  run_until([&] { return stream(id).to_send.empty(); });
}

// Large requests fill the way through apply long before they are many.
// A client that comes back sends the watches of its stream in one go; one task takes some of them.
TEST_F(StreamFlowTest, ATaskTakesABoundedNumberOfWatchRequests) {
  std::string requests;
  for (int i = 0; i < 1'000; ++i) requests += create("key", 0, 0);
  const auto id = client_->request(path("/etcdserverpb.Watch/Watch"), requests, false);
  client_->read = true;
  bool carried = false;
  loop_.post([&] {
    carry();
    carried = true;
  });
  while (!carried) world_.step();
  const size_t taken = WatchService::kRequestsInFlightMax * requests.size() / 1'000;
  EXPECT_GE(connection_->held_bytes(), requests.size() - taken);
  run_until([&] { return messages(stream(id).body).size() >= 1'000; });
}

TEST_F(StreamFlowTest, LargeWatchRequestsAreBoundedInBytes) {
  const std::string key(1 << 20, 'k');
  std::string requests;
  for (int i = 0; i < 20; ++i) requests += create(key, 0, 0);
  const auto id = client_->request(path("/etcdserverpb.Watch/Watch"), requests, false);
  // In one task of the loop, in which apply does nothing.
  bool carried = false;
  loop_.post([&] {
    carry();
    carried = true;
  });
  while (!carried) world_.step();
  EXPECT_GT(stream(id).to_send.size(), 15u << 20);
  EXPECT_LT(connection_->held_bytes(), 4u << 20);
  run_until([&] { return messages(stream(id).body).size() >= 20; });
}

TEST_F(StreamFlowTest, KeepalivesOfAClientThatDoesNotRead) {
  pb::LeaseGrantRequest grant;
  grant.id = 5;
  grant.ttl = 1000;
  const auto granted = call("/etcdserverpb.Lease/LeaseGrant", grant);
  run_until([&] { return stream(granted).ended; });
  constexpr int kRequests = 60'000;
  pb::LeaseKeepAliveRequest alive;
  std::string requests;
  for (int i = 0; i < kRequests; ++i) {
    alive.id = 5 + i % 2;  // the other one does not exist
    requests += framed(alive);
  }
  const size_t sent = requests.size();
  const auto id = client_->request(path("/etcdserverpb.Lease/LeaseKeepAlive"), requests, true);
  settle();
  EXPECT_LT(connection_->held_bytes(), kUnreadMax);
  EXPECT_GT(stream(id).to_send.size(), sent / 4);
  // All are answered, in order.
  read_on(id);
  run_until([&] { return stream(id).ended; });
  EXPECT_EQ(stream(id).status(), "0 ");
  const auto answers = messages(stream(id).body);
  ASSERT_EQ(answers.size(), static_cast<size_t>(kRequests));
  for (int i = 0; i < kRequests; ++i) {
    const auto r = wire::decode<pb::LeaseKeepAliveResponse>(answers[i]);
    ASSERT_EQ(r->id, 5 + i % 2);
    ASSERT_EQ(r->ttl, i % 2 == 0 ? 1000 : 0);
  }
}

// More than the sink of a stream holds: apply is refused, the watcher falls behind, and gets every event once
// the client reads.
TEST_F(StreamFlowTest, ASlowWatcherCostsABoundAndGetsEverything) {
  constexpr int kPuts = 60;
  const auto id = client_->request(path("/etcdserverpb.Watch/Watch"), create("big", 0, 1), false);
  settle();
  const int64_t first = member_->view()->revision() + 1;
  put("big", std::string(1 << 20, 'v'), kPuts);
  settle();
  // One message is on its way and one more may pass; each has a megabyte.
  EXPECT_LE(rpc_metrics_.pending_events.value(), static_cast<double>(Limits{}.watch_queue_bytes >> 20) + 2);
  EXPECT_GE(rpc_metrics_.pending_events.value(), 8);
  read_on(id);
  std::vector<int64_t> want;
  for (int i = 0; i < kPuts; ++i) want.push_back(first + i);
  await([&] { return revisions(watched(id), 1).size() >= want.size(); });
  EXPECT_EQ(revisions(watched(id), 1), want);
  EXPECT_EQ(rpc_metrics_.pending_events.value(), 0);
  // And is up to date again: what comes now is sent at once.
  put("big", "small");
  await([&] { return revisions(watched(id), 1).size() > want.size(); });
}

// The watcher before, cancelled while its past was being read, says nothing under an id that is another's.
TEST_F(StreamFlowTest, AReusedIdGetsNothingOfTheOneBefore) {
  client_->read = true;
  put("a", "v", 300);
  for (int n = 0; n < 40; ++n) {
    SCOPED_TRACE(n);
    pb::WatchRequest cancel;
    cancel.set_cancel_request().watch_id = 7;
    const auto id = client_->request(path("/etcdserverpb.Watch/Watch"), create("a", 2, 7), false);
    for (int step = 0; step < n; ++step) {
      world_.step();
      if (step % 3 == 0) run_until([] { return true; });
    }
    client_->send(id, framed(cancel) + create("a", 0, 7), false);
    settle(100 * io::kMillisecond);
    put("a", "now");
    settle(100 * io::kMillisecond);
    const auto responses = watched(id);
    size_t at = 0;
    while (at < responses.size() && !responses[at].canceled) ++at;
    ASSERT_LT(at, responses.size());
    const std::vector<pb::WatchResponse> after(responses.begin() + static_cast<ptrdiff_t>(at),
                                               responses.end());
    ASSERT_EQ(revisions(after, 7), std::vector<int64_t>{member_->view()->revision()});
    client_->session.reset(id, http2::ErrorCode::kCancel);
  }
}

class FragmentTest : public StreamFlowTest {
 protected:
  // One revision whose events are a response of several fragments.
  void put_many(size_t value_bytes) {
    pb::TxnRequest txn;
    const std::string value(value_bytes, 'v');
    std::deque<std::string> keys;
    for (int i = 0; i < 14; ++i) {
      auto& put = txn.success.emplace_back().set_request_put();
      put.key = keys.emplace_back(fmt::format("f{:02}", i));
      put.value = value;
    }
    write("/etcdserverpb.KV/Txn", txn);
  }
  static std::string create_fragmenting(int64_t start) {
    pb::WatchRequest r;
    auto& c = r.set_create_request();
    c.key = "f";
    c.range_end = "g";
    c.watch_id = 1;
    c.start_revision = start;
    c.fragment = true;
    c.prev_kv = true;
    return framed(r);
  }
  // A fragment is followed by the rest of its response; each watcher's events come once and in order.
  void expect_whole(const std::vector<pb::WatchResponse>& responses, int64_t first, int64_t last) {
    bool open = false;
    int64_t owner = -1, revision = 0;
    size_t fragments = 0;
    std::map<int64_t, int> events;
    for (const auto& r : responses) {
      if (open) {
        ASSERT_EQ(r.watch_id, owner) << "within a fragmented response";
        if (!r.events.empty()) {
          ASSERT_EQ(revision_of(r.events.front()), revision);
        }
      }
      open = r.fragment;
      owner = r.watch_id;
      fragments += r.fragment ? 1 : 0;
      if (!r.events.empty()) revision = revision_of(r.events.back());
      if (r.watch_id != 1) continue;
      for (const auto& e : r.events) ++events[revision_of(e)];
    }
    EXPECT_FALSE(open);
    EXPECT_GT(fragments, 0u);
    for (int64_t at = first; at <= last; ++at) EXPECT_EQ(events[at], 14) << at;
  }
};

// The fragments are read out of the past; other watchers of the stream have something to say meanwhile.
TEST_F(FragmentTest, NothingComesBetweenFragmentsOfACatchUp) {
  put_many(90'000);
  put_many(90'000);
  const int64_t first = member_->view()->revision();
  put("other", "v", 300);  // more than apply reads itself
  const auto id = client_->request(path("/etcdserverpb.Watch/Watch"),
                                   create("b", 0, 2) + create_fragmenting(first), false);
  settle();
  put("b", "between");
  settle();
  read_on(id);
  await([&] { return revisions(watched(id), 1).size() >= 14 && revisions(watched(id), 2).size() == 1; });
  settle();
  expect_whole(watched(id), first, first);
}

// Apply sends the fragments, to a stream whose sink is full somewhere among them.
TEST_F(FragmentTest, ASinkThatIsFullTakesTheRestOfAResponse) {
  for (const size_t value : {84'000, 90'000, 95'000, 99'000}) {
    SCOPED_TRACE(value);
    put_many(value);
    const auto id = client_->request(path("/etcdserverpb.Watch/Watch"), create_fragmenting(0), false);
    settle();
    client_->read = false;
    const int64_t first = member_->view()->revision() + 1;
    for (int i = 0; i < 14; ++i) put_many(value);
    const int64_t last = member_->view()->revision();
    settle();
    read_on(id);
    await([&] { return revisions(watched(id), 1).size() >= 14 * static_cast<size_t>(last - first + 1); });
    settle();
    expect_whole(watched(id), first, last);
    client_->session.reset(id, http2::ErrorCode::kCancel);
    settle();
  }
}

// Chunks of one answer show one revision, whatever is written between them.
TEST_F(StreamFlowTest, RangeStreamOfAClientThatDoesNotRead) {
  client_->read = true;
  fill();
  const int64_t revision = member_->view()->revision();
  client_->read = false;
  for (const int64_t limit : {0, -1, 15'000}) {
    SCOPED_TRACE(limit);
    pb::RangeRequest r = everything();
    r.revision = 0;
    r.limit = limit;
    const int64_t now = member_->view()->revision();
    const auto id = call("/etcdserverpb.KV/RangeStream", r);
    settle();
    EXPECT_LT(connection_->held_bytes(), limit < 0 ? 8u << 20 : kUnreadMax);
    EXPECT_FALSE(stream(id).ended);
    put("k000000", "changed");
    put("k019999", "changed");
    put("k00", fmt::format("new {}", limit));
    put("k02", "new");
    settle();
    read_on(id);
    run_until([&] { return stream(id).ended; });
    ASSERT_EQ(stream(id).status(), "0 ");
    std::vector<std::string> keys;
    const auto chunks = messages(stream(id).body);
    EXPECT_EQ(chunks.size() == 1, limit < 0);
    for (size_t i = 0; i < chunks.size(); ++i) {
      const auto chunk = *wire::decode<pb::RangeStreamResponse>(chunks[i])->range_response;
      for (const auto& kv : chunk.kvs) {
        const auto decoded = *wire::decode<wire::mvccpb::KeyValue>(kv.bytes);
        EXPECT_LE(decoded.mod_revision, now);
        keys.emplace_back(decoded.key);
      }
      ASSERT_EQ(chunk.header.has_value(), i + 1 == chunks.size());
      if (!chunk.header) continue;
      EXPECT_EQ(chunk.header->revision, now);
      EXPECT_EQ(chunk.count, kKeys + (now > revision ? 2 : 0));
    }
    EXPECT_TRUE(std::is_sorted(keys.begin(), keys.end()));
    EXPECT_EQ(std::adjacent_find(keys.begin(), keys.end()), keys.end());
    EXPECT_EQ(keys.size(), limit > 0 ? 15'000u : kKeys + (now > revision ? 2u : 0u));
    client_->read = false;
  }
}

TEST_F(StreamFlowTest, SnapshotOfAClientThatDoesNotRead) {
  client_->read = true;
  fill();
  client_->read = false;
  const auto id = call("/etcdserverpb.Maintenance/Snapshot", pb::SnapshotRequest{});
  settle();
  EXPECT_LT(connection_->held_bytes(), kUnreadMax + (256u << 10));
  EXPECT_FALSE(stream(id).ended);
  put("k000000", "changed");
  read_on(id);
  run_until([&] { return stream(id).ended; });
  ASSERT_EQ(stream(id).status(), "0 ");
  const auto all = messages(stream(id).body);
  ASSERT_GT(all.size(), 20u);
  uint64_t total = 0;
  for (const std::string_view m : all) total += wire::decode<pb::SnapshotResponse>(m)->blob.size();
  total -= 32;  // the digest
  uint64_t sent = 0;
  for (size_t i = 0; i < all.size(); ++i) {
    const auto r = *wire::decode<pb::SnapshotResponse>(all[i]);
    if (i + 1 < all.size()) sent += r.blob.size();
    EXPECT_EQ(r.remaining_bytes, total - sent) << i;
    EXPECT_EQ(r.version, "3.6.0");
  }
}

// A client that takes nothing keeps the copy, and all pages freed since, only so long.
TEST_F(StreamFlowTest, AStalledSnapshotIsGivenUp) {
  client_->read = true;
  fill();
  settle(10 * io::kSecond);
  client_->read = false;
  const auto id = call("/etcdserverpb.Maintenance/Snapshot", pb::SnapshotRequest{});
  settle();
  EXPECT_EQ(calls_.size(), 1u);
  world_.run_for(SnapshotStreamHandler::kSlowMaxNs - 60 * io::kSecond);
  EXPECT_EQ(calls_.size(), 1u);
  EXPECT_EQ(rpc_metrics_.snapshots_given_up.value(), 0u);
  world_.run_for(120 * io::kSecond);
  EXPECT_EQ(calls_.size(), 0u);
  EXPECT_EQ(rpc_metrics_.snapshots_given_up.value(), 1u);
  read_on(id);
  run_until([&] { return stream(id).ended; });
  EXPECT_EQ(stream(id).status(), "8 etcdserver: snapshot given up, the client reads too slowly");
}

class PinnedSnapshotTest : public StreamFlowTest {
 protected:
  static constexpr uint64_t kPinned = 4 << 20;
  PinnedSnapshotTest() : StreamFlowTest({.snapshot_pinned_bytes = kPinned}) {}
};

// What the copy pins can't be used again, so the file grows by what is written meanwhile. Then the time is short.
TEST_F(PinnedSnapshotTest, AStalledSnapshotIsGivenUpForWhatItPins) {
  client_->read = true;
  fill();
  settle(10 * io::kSecond);
  client_->read = false;
  const auto id = call("/etcdserverpb.Maintenance/Snapshot", pb::SnapshotRequest{});
  settle();
  const auto before = member_->status().db_size;
  world_.run_for(2 * SnapshotStreamHandler::kPaceCheckNs);
  EXPECT_EQ(calls_.size(), 1u) << "nothing is pinned yet";
  for (int i = 0; i < 6; ++i) put(fmt::format("large{}", i), std::string(1 << 20, 'v'));
  settle(io::kSecond);
  ASSERT_GT(member_->status().db_size, before + kPinned);
  world_.run_for(SnapshotStreamHandler::kPaceCheckNs);
  EXPECT_EQ(calls_.size(), 0u);
  EXPECT_EQ(rpc_metrics_.snapshots_given_up.value(), 1u);
  EXPECT_TRUE(log_.contains("gave up sending database snapshot"));
  read_on(id);
  run_until([&] { return stream(id).ended; });
  EXPECT_EQ(stream(id).status(), "8 etcdserver: snapshot given up, the client reads too slowly");
}

// One that reads slowly, but reads, gets all of it.
TEST_F(StreamFlowTest, ASlowSnapshotIsNotGivenUp) {
  client_->read = true;
  for (int i = 0; i < 12; ++i) put(fmt::format("large{}", i), std::string(1 << 20, 'v'));
  client_->read = false;
  const auto id = call("/etcdserverpb.Maintenance/Snapshot", pb::SnapshotRequest{});
  settle();
  size_t given = 0;
  for (int i = 0; i < 100 && !stream(id).ended; ++i) {
    world_.run_for(SnapshotStreamHandler::kSlowMaxNs / 5);

    for (int n = 0; n < 16; ++n) {  // half a megabyte
      const size_t bytes = std::min<size_t>(stream(id).body.size() - given, 32 << 10);
      given += bytes;
      client_->session.consume_connection(bytes);
      client_->session.consume_stream(id, bytes);
      run_until([] { return true; });
      settle(10 * io::kMillisecond);
    }
  }
  EXPECT_TRUE(stream(id).ended);
  EXPECT_EQ(stream(id).status(), "0 ");
}

// Many streams catch up with a long past at once: each step is a turn, so another call waits for one.
TEST_F(StreamFlowTest, AMassReconnectKeepsNobodyWaiting) {
  client_->read = true;
  fill();
  put("other", "v", 300);  // more than apply reads itself
  std::vector<http2::StreamId> watches;
  pb::WatchRequest r;
  auto& c = r.set_create_request();
  c.key = "k";
  c.range_end = "l";
  c.start_revision = 2;
  for (int i = 0; i < 20; ++i) {
    watches.push_back(client_->request(path("/etcdserverpb.Watch/Watch"), framed(r), false));
  }
  size_t most = 0;
  run_until([&] {
    most = std::max(most, services_->steps_waiting());
    return most >= 15;
  });
  // However many steps wait, one of them is a task of the loop.
  EXPECT_LT(loop_.queued(), 8u);
  const auto single = call("/etcdserverpb.KV/Range", one());
  run_until([&] { return stream(single).ended; });
  EXPECT_GE(services_->steps_waiting(), 10u);
  await([&] {
    return std::all_of(watches.begin(), watches.end(), [&](http2::StreamId id) {
      return stream(id).body.size() > size_t{kKeys} * 30 && revisions(watched(id), 0).size() == kKeys;
    });
  });
}

}  // namespace
}  // namespace quoin::v3rpc

// Databases between members.
#include "base/coding.h"
#include "peer/cluster_test.h"
#include "peer/snapshot_sender.h"
#include "raft/codec.h"

namespace quoin::peer {
namespace {

struct Pair {
  explicit Pair(uint64_t seed, Options options = {}) : c(seed) { c.form(2, std::move(options)); }
  Node& a() { return c[1]; }
  Node& b() { return c[2]; }
  std::shared_ptr<FakeSource> send(uint64_t size, uint64_t index = 5) {
    auto source = std::make_shared<FakeSource>(size);
    a().transport().send_snapshot(snapshot_message(a(), b(), index), source);
    return source;
  }
  bool outcome(size_t n) {
    return c.until([&] { return a().member.snapshots_sent.size() == n; }, 3600 * io::kSecond);
  }
  std::string file(const std::string& path) {
    auto bytes = b().disk.visible_bytes(path);
    CHECK(bytes.has_value(), "{}", bytes.error().text());
    return std::move(*bytes);
  }
  size_t files() {
    auto names = b().fs.list("/snap");
    CHECK(names.has_value());
    return names->size();
  }
  Cluster c;
};

TEST(Snapshots, ArriveWhole) {
  for (uint64_t size : {uint64_t{1}, uint64_t{256 << 10}, uint64_t{3'000'001}}) {
    Pair p(size);
    const auto source = p.send(size);
    ASSERT_TRUE(p.outcome(1));
    EXPECT_EQ(p.a().member.snapshots_sent[0], std::pair(p.b().id, false));
    ASSERT_EQ(p.b().member.kept.size(), 1u);
    EXPECT_EQ(p.b().member.kept[0].second, Index{5});
    const std::string got = p.file(p.b().member.kept[0].first);
    ASSERT_EQ(got.size(), size);
    for (uint64_t i = 0; i < size; ++i) ASSERT_EQ(got[i], FakeSource::at(i)) << i;
    ASSERT_EQ(p.b().member.processed.size(), 1u);
    EXPECT_EQ(raft::encode_string(p.b().member.processed[0]),
              raft::encode_string(snapshot_message(p.a(), p.b(), 5)));
    EXPECT_LE(source->largest, SnapshotSender::kPieceBytes);
    EXPECT_EQ(source.use_count(), 1);  // nobody holds it any more

    const size_t total = size + raft::encoded_size(p.b().member.processed[0]);
    EXPECT_TRUE(p.a().log.contains(
        fmt::format("info sending database snapshot snapshot-index=5 remote-peer-id=102 bytes={} size={}B",
                    total, total)));
    EXPECT_TRUE(p.a().log.contains("info sent database snapshot snapshot-index=5 remote-peer-id=102"));
    EXPECT_TRUE(p.b().log.contains(
        "info receiving database snapshot local-member-id=102 remote-snapshot-sender-id=101 "
        "incoming-snapshot-index=5 incoming-snapshot-message-size-bytes="));
    EXPECT_TRUE(p.b().log.contains(fmt::format(
        "info received and saved database snapshot local-member-id=102 remote-snapshot-sender-id=101 "
        "incoming-snapshot-index=5 incoming-snapshot-size-bytes={} incoming-snapshot-size={}B download-took=",
        size, size)));
    EXPECT_EQ(p.a().metric("etcd_network_snapshot_send_success", "102"), 1);
    EXPECT_EQ(p.a().metric("etcd_network_snapshot_send_inflights_total", "102"), 0);
    EXPECT_EQ(p.a().metric("etcd_network_snapshot_send_total_duration_seconds", "102"), 1);
    EXPECT_TRUE(p.b().log.contains(fmt::format(
        "info saved database snapshot to disk path=/snap/0000000000000005.snap.db bytes={} size={}B", size,
        size)));
    EXPECT_EQ(p.b().metric("etcd_snap_db_fsync_duration_seconds"), 1);
    EXPECT_EQ(p.b().metric("etcd_snap_db_save_total_duration_seconds"), 1);
    EXPECT_EQ(p.b().metric("etcd_network_snapshot_receive_success", "101"), 1);
    EXPECT_EQ(p.b().metric("etcd_network_snapshot_receive_inflights_total", "101"), 0);
    EXPECT_EQ(p.b().metric("etcd_network_snapshot_receive_total_duration_seconds", "101"), 1);
    EXPECT_GE(p.b().metric("etcd_network_peer_received_bytes_total", "101"), static_cast<double>(total));
  }
}

TEST(Snapshots, MessagesGoOnMeanwhile) {
  Pair p(2);
  p.send(200 << 20);
  for (int i = 0; i < 50; ++i) {
    std::vector<raft::Message> batch;
    batch.push_back(message(raft::MessageType::kHeartbeat, p.a(), p.b(), 1));
    p.a().transport().send(std::move(batch));
    const size_t want = p.b().member.messages.size() + 1;
    ASSERT_TRUE(p.c.until([&] { return p.b().member.messages.size() == want; }, io::kSecond / 10));
  }
  EXPECT_TRUE(p.a().member.snapshots_sent.empty());
  ASSERT_TRUE(p.outcome(1));
}

// However it ends: both sides let go of everything, raft hears of it, and the next one passes.
TEST(Snapshots, ACutEndsBothSides) {
  for (int how = 0; how < 5; ++how) {
    Pair p(10 + static_cast<uint64_t>(how));
    const auto source = p.send(20 << 20);
    ASSERT_TRUE(p.c.until([&] { return source->reads > 20; }));
    switch (how) {
      case 0:
        p.c.net.reset_all("m1", "m2");
        break;
      case 1:
        source->fail_at = 0;
        break;
      case 2:
        p.a().transport().remove(p.b().id);
        break;
      case 3:
        p.c.net.partition("m1", "m2");
        break;
      case 4:
        p.b().kill(true);  // its machine is gone, nobody says so
        break;
    }
    ASSERT_TRUE(p.outcome(1)) << how;
    EXPECT_EQ(p.a().member.snapshots_sent[0], std::pair(p.b().id, true));
    EXPECT_TRUE(
        p.a().log.contains("warn failed to send database snapshot snapshot-index=5 remote-peer-id=102"));
    EXPECT_EQ(p.a().metric("etcd_network_snapshot_send_failures", "102"), 1);
    EXPECT_EQ(p.a().metric("etcd_network_snapshot_send_inflights_total", "102"), 0);
    EXPECT_GE(p.a().member.unreachables[p.b().id], 1);
    p.c.world.run_for(io::kSecond);
    EXPECT_EQ(source.use_count(), 1) << how;
    if (how == 4) continue;
    p.c.net.heal_all();
    p.c.world.run_for(20 * io::kSecond);
    EXPECT_EQ(p.files(), 0u) << how;
    EXPECT_TRUE(p.b().member.kept.empty());
    EXPECT_EQ(p.b().metric("etcd_network_snapshot_receive_inflights_total", "101"), 0);
    if (how == 2) p.a().know(2);
    p.c.world.run_for(io::kSecond);
    p.send(1 << 20, 6);
    ASSERT_TRUE(p.outcome(2));
    EXPECT_EQ(p.a().member.snapshots_sent[1], std::pair(p.b().id, false));
  }
}

TEST(Snapshots, ADiskThatFailsIsToldAndLeavesNoFile) {
  Pair p(20);
  p.b().disk.set_byte_limit(1 << 20);
  const auto source = p.send(10 << 20);
  ASSERT_TRUE(p.outcome(1));
  EXPECT_EQ(p.a().member.snapshots_sent[0], std::pair(p.b().id, true));
  EXPECT_LT(source->reads, 39);  // it stopped early
  EXPECT_TRUE(
      p.b().log.contains("warn failed to save incoming database snapshot local-member-id=102 "
                         "remote-snapshot-sender-id=101 incoming-snapshot-index=5 error="));
  EXPECT_EQ(p.b().metric("etcd_network_snapshot_receive_failures", "101"), 1);
  p.c.world.run_for(10 * io::kSecond);
  EXPECT_EQ(p.files(), 0u);
}

TEST(Snapshots, WhatTheMemberRefusesIsToldInEtcdsWords) {
  Pair p(21);
  p.b().member.keep_result = Error(Code::kIo, "rename: no such file or directory");
  p.send(1000);
  ASSERT_TRUE(p.outcome(1));
  p.b().member.keep_result = {};
  p.b().member.process_result = Error(Code::kIo, "cannot process message to mismatch member");
  p.send(1000);
  ASSERT_TRUE(p.outcome(2));
  for (const auto& [id, failed] : p.a().member.snapshots_sent) EXPECT_TRUE(failed);
  EXPECT_EQ(p.a().log.count("error=unexpected http status Internal Server Error while posting to "
                            "\"http://m2:2380/raft/snapshot\""),
            2u);
  EXPECT_TRUE(
      p.b().log.contains("warn failed to process Raft message local-member-id=102 "
                         "remote-snapshot-sender-id=101 error=cannot process message to mismatch member"));
}

TEST(Snapshots, OneAtATimeAndOnlyToPeers) {
  Pair p(22);
  const auto first = p.send(20 << 20, 5);
  const auto second = p.send(20 << 20, 6);
  ASSERT_TRUE(p.outcome(1));
  EXPECT_EQ(p.a().member.snapshots_sent[0], std::pair(p.b().id, true));
  EXPECT_EQ(second.use_count(), 1);
  EXPECT_EQ(second->reads, 0);
  ASSERT_TRUE(p.outcome(2));
  EXPECT_EQ(p.a().member.snapshots_sent[1], std::pair(p.b().id, false));
  raft::Message m = snapshot_message(p.a(), p.b(), 7);
  m.to = MemberId{9};
  p.a().transport().send_snapshot(std::move(m), first);
  ASSERT_TRUE(p.outcome(3));
  EXPECT_EQ(p.a().member.snapshots_sent[2], std::pair(MemberId{9}, true));
}

TEST(Snapshots, ARateIsKept) {
  Options options;
  options.snapshot_bytes_per_second = 1 << 20;
  Pair p(23, options);
  const io::MonotonicNs began = p.c.world.now();
  p.send(10 << 20);
  ASSERT_TRUE(p.outcome(1));
  EXPECT_GE(p.c.world.now() - began, 9 * io::kSecond);
  EXPECT_LE(p.c.world.now() - began, 12 * io::kSecond);
  EXPECT_FALSE(p.a().member.snapshots_sent[0].second);
}

// A receiver whose disk is slow: the sender reads no further than what may wait.
TEST(Snapshots, ASlowReceiverHoldsTheSender) {
  Pair p(24);
  p.b().disk.latencies().write = {200'000'000, 200'000'000};
  const auto source = p.send(50 << 20);
  p.c.world.run_for(io::kSecond);
  // Windows of the socket, of the body and of the sender, and what was written.
  EXPECT_LE(source->reads, 20);
  p.b().disk.latencies().write = {1'000, 2'000};
  ASSERT_TRUE(p.outcome(1));
  EXPECT_FALSE(p.a().member.snapshots_sent[0].second);
}

std::string post(const std::string& body, const std::string& more = "") {
  return "POST /raft/snapshot HTTP/1.1\r\nHost: m2\r\nX-Server-From: 101\r\nX-Server-Version: 3.6.14\r\n"
         "X-Min-Cluster-Version: 3.0.0\r\nX-Etcd-Cluster-Id: c1\r\n" +
         more + fmt::format("Content-Length: {}\r\n\r\n", body.size()) + body;
}

TEST(Snapshots, WhatIsNoSnapshotIsRefused) {
  Pair p(25);
  const std::string refused =
      "HTTP/1.1 400 Bad Request\r\n"
      "X-Etcd-Cluster-Id: c1\r\nContent-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: "
      "nosniff\r\n";
  const auto body_of = [](const std::string& answer) { return answer.substr(answer.find("\r\n\r\n") + 4); };
  const auto ask = [&](const std::string& body) {
    const std::string answer = converse(p.c, p.a(), "m2", post(body), io::kSecond);
    EXPECT_EQ(answer.substr(0, refused.size()), refused) << answer;
    const std::string text = body_of(answer);
    return text.substr(0, text.find('\n'));
  };
  EXPECT_EQ(ask(be64(65u << 20)), "failed to decode raft message (rafthttp: error limit exceeded)");
  EXPECT_EQ(ask(be64(100) + "x"), "failed to decode raft message (unexpected EOF)");
  EXPECT_EQ(ask(be64(100)), "failed to decode raft message (EOF)");
  EXPECT_EQ(ask(""), "failed to decode raft message (EOF)");
  const std::string heartbeat = raft::encode_string(message(raft::MessageType::kHeartbeat, p.a(), p.b()));
  std::string framed = be64(heartbeat.size());
  framed += heartbeat;
  EXPECT_EQ(ask(framed), "wrong raft message type");
  EXPECT_EQ(p.b().metric("etcd_network_snapshot_receive_failures", "0"), 4);
  EXPECT_EQ(p.b().metric("etcd_network_snapshot_receive_failures", "101"), 1);
  const std::string other =
      converse(p.c, p.a(), "m2", "GET /raft/snapshot HTTP/1.1\r\nHost: m2\r\n\r\n", io::kSecond);
  EXPECT_TRUE(other.starts_with("HTTP/1.1 405 Method Not Allowed\r\nAllow: POST\r\n")) << other;
  EXPECT_EQ(p.b().metric("etcd_network_snapshot_receive_failures", "UNKNOWN_SNAPSHOT_SENDER"), 1);
  EXPECT_EQ(p.files(), 0u);
}

}  // namespace
}  // namespace quoin::peer

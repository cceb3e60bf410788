// Messages between members: streams, pipelines, and what happens to them when the network fails.
#include <algorithm>

#include "peer/cluster_test.h"
#include "peer/pipeline.h"

namespace quoin::peer {
namespace {

using raft::MessageType;

std::vector<uint64_t> indexes(const std::vector<raft::Message>& messages) {
  std::vector<uint64_t> out;
  for (const raft::Message& m : messages) out.push_back(m.index.v);
  return out;
}

TEST(Streams, ComeUpAndSaySo) {
  Cluster c(1);
  c.form(2);
  Node &a = c[1], &b = c[2];
  const std::vector<std::string> begin{
      "info starting remote peer remote-peer-id=102",
      "info started HTTP pipelining with remote peer local-member-id=101 remote-peer-id=102",
      "info started stream writer with remote peer local-member-id=101 remote-peer-id=102",
      "info started stream writer with remote peer local-member-id=101 remote-peer-id=102",
      "info started remote peer remote-peer-id=102",
      "info started stream reader with remote peer stream-reader-type=stream MsgApp v2 local-member-id=101 "
      "remote-peer-id=102"};
  ASSERT_GE(a.log.lines().size(), begin.size());
  EXPECT_EQ(std::vector<std::string>(a.log.lines().begin(), a.log.lines().begin() + 6), begin);
  EXPECT_TRUE(a.log.contains(
      "info added remote peer local-member-id=101 remote-peer-id=102 remote-peer-urls=[http://m2:2380]"));
  EXPECT_TRUE(a.log.contains("info set message encoder from=101 to=102 stream-type=stream MsgApp v2"));
  EXPECT_EQ(a.log.count("info peer became active peer-id=102"), 1u);
  for (const char* type : {"stream-writer-type=stream MsgApp v2", "stream-reader-type=stream MsgApp v2",
                           "stream-writer-type=stream Message", "stream-reader-type=stream Message"}) {
    EXPECT_EQ(a.log.count(fmt::format("info established TCP streaming connection with remote peer {} "
                                      "local-member-id=101 remote-peer-id=102",
                                      type)),
              1u);
  }
  EXPECT_TRUE(a.transport().active_since(b.id).has_value());
  EXPECT_FALSE(a.transport().active_since(MemberId{5}).has_value());
  EXPECT_EQ(a.metric("etcd_network_active_peers", "102"), 1);
}

TEST(Streams, CarryMessagesInOrder) {
  Cluster c(2);
  c.form(2);
  Node &a = c[1], &b = c[2];
  std::vector<uint64_t> appends, others;
  for (uint64_t i = 1; i <= 500; ++i) {
    std::vector<raft::Message> batch;
    batch.push_back(message(MessageType::kApp, a, b, i, i % 7 == 0 ? 5000 : 20));
    batch.push_back(message(MessageType::kHeartbeat, a, b, i));
    batch.push_back(message(MessageType::kHeartbeat, a, a, i));
    batch.back().to = MemberId{0};  // raft's way to say: not after all
    batch.push_back(message(MessageType::kHeartbeat, a, a, i));
    batch.back().to = MemberId{77};  // nobody
    a.transport().send(std::move(batch));
    appends.push_back(i);
    others.push_back(i);
    c.world.run_for(20'000);
  }
  ASSERT_TRUE(c.until([&] { return b.member.messages.size() == 1000; }));
  std::vector<uint64_t> got_appends, got_others;
  for (const raft::Message& m : b.member.messages) {
    (m.type == MessageType::kApp ? got_appends : got_others).push_back(m.index.v);
    EXPECT_EQ(m.from, a.id);
    EXPECT_EQ(m.to, b.id);
  }
  EXPECT_EQ(got_appends, appends);
  EXPECT_EQ(got_others, others);
  EXPECT_TRUE(b.member.processed.empty());  // nothing took the pipeline
  EXPECT_TRUE(
      a.log.contains("debug ignored message send request; unknown remote peer target type=MsgHeartbeat "
                     "unknown-target-peer-id=4d"));
  EXPECT_EQ(a.metric("etcd_network_peer_sent_failures_total"), 0);
  // What one counts as sent the other counts as received; link heartbeats come from nobody.
  const double beats = b.metric("etcd_network_peer_received_bytes_total", "0");
  EXPECT_EQ(a.metric("etcd_network_peer_sent_bytes_total", "102"),
            b.metric("etcd_network_peer_received_bytes_total", "101") + beats);
  EXPECT_EQ(a.metric("quoin_peer_send_queue_bytes"), 0);
  EXPECT_EQ(a.metric("quoin_peer_inbox_bytes"), 0);
  EXPECT_EQ(b.metric("quoin_peer_received_bytes"), 0);
}

TEST(Streams, LiveOnHeartbeatsAlone) {
  Cluster c(4);
  c.form(3);
  c.world.run_for(120 * io::kSecond);
  for (int i = 1; i <= 3; ++i) {
    EXPECT_EQ(c[i].log.count("warn"), 0u) << c[i].log.lines().back();
    EXPECT_TRUE(c[i].member.messages.empty());
    EXPECT_GT(c[i].metric("etcd_network_peer_received_bytes_total", "0"), 20 * 70 * 4 * 0.9);
  }
}

TEST(Streams, APartitionIsNoticedAndHealed) {
  Cluster c(5);
  c.form(2);
  Node &a = c[1], &b = c[2];
  c.net.partition("m1", "m2");
  const io::MonotonicNs cut = c.world.now();
  ASSERT_TRUE(
      c.until([&] { return !a.transport().active_since(b.id) && !b.transport().active_since(a.id); }));
  EXPECT_LE(c.world.now() - cut, 8 * io::kSecond);
  EXPECT_GE(
      a.log.count(
          "warn peer became inactive (message send to peer failed) peer-id=102 error=failed to read 102 on "
          "stream"),
      1u);
  EXPECT_TRUE(a.log.contains("i/o timeout"));
  EXPECT_EQ(a.metric("etcd_network_disconnected_peers_total", "102"), 1);
  EXPECT_EQ(a.metric("etcd_network_active_peers", "102"), 0);
  c.world.run_for(10 * io::kSecond);
  c.net.heal_all();
  ASSERT_TRUE(c.until([&] { return a.transport().active_since(b.id) && b.transport().active_since(a.id); }));
  c.world.run_for(2 * io::kSecond);
  b.member.messages.clear();
  for (uint64_t i = 1; i <= 10; ++i) {
    std::vector<raft::Message> batch;
    batch.push_back(message(MessageType::kApp, a, b, i, 10));
    a.transport().send(std::move(batch));
  }
  ASSERT_TRUE(c.until([&] { return b.member.messages.size() == 10; }));
}

TEST(Streams, AMemberThatDiedIsInactiveAtOnceAndComesBack) {
  Cluster c(6);
  c.form(3);
  Node& a = c[1];
  c[2].kill();
  const io::MonotonicNs died = c.world.now();
  ASSERT_TRUE(c.until([&] { return !a.transport().active_since(MemberId{0x102}); }));
  EXPECT_LE(c.world.now() - died, io::kSecond);
  c.world.run_for(3 * io::kSecond);
  EXPECT_GE(a.member.unreachables[MemberId{0x102}], 1);
  // Dialed at most once in 100 ms on each of two streams.
  EXPECT_LE(a.log.count("debug dial stream reader from=101 to=102"), 70u);
  EXPECT_TRUE(a.log.contains("connection refused"));
  c.nodes.push_back(std::make_unique<Node>(c, 2, Options{}));
  c.nodes.back()->know(3);
  ASSERT_TRUE(c.until([&] { return a.transport().active_since(MemberId{0x102}).has_value(); }));
  EXPECT_TRUE(a.transport().active_since(MemberId{0x103}).has_value());
}

// Whatever is lost, what arrives is in order, and nothing arrives twice on streams.
TEST(Streams, StayInOrderWhenConnectionsBreak) {
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    Cluster c(100 + seed);
    c.form(2);
    Node &a = c[1], &b = c[2];
    for (uint64_t i = 1; i <= 400; ++i) {
      std::vector<raft::Message> batch;
      batch.push_back(message(MessageType::kApp, a, b, i, 100 + i % 3 * 3000));
      a.transport().send(std::move(batch));
      c.world.run_for(5 * io::kMillisecond);
      if (c.world.prng().chance(1, 40)) c.net.reset_all("m1", "m2");
    }
    c.world.run_for(20 * io::kSecond);
    const std::vector<uint64_t> got = indexes(b.member.messages);
    EXPECT_TRUE(std::is_sorted(got.begin(), got.end())) << "seed " << seed;
    EXPECT_TRUE(std::adjacent_find(got.begin(), got.end()) == got.end()) << "seed " << seed;
    EXPECT_GT(got.size(), 200u);
    EXPECT_GE(a.member.unreachables[b.id], 1);
    for (const raft::Message& m : b.member.messages) {
      ASSERT_EQ(m.entries.size(), 1u);
      EXPECT_EQ(m.entries[0].index, m.index + 1);
    }
    EXPECT_EQ(a.metric("quoin_peer_send_queue_bytes"), 0);
  }
}

// What the two ends of a msgapp stream remember belongs to one connection.
TEST(Streams, ANewConnectionBeginsAnew) {
  Cluster c(18);
  c.form(2);
  Node &a = c[1], &b = c[2];
  for (uint64_t i = 1; i <= 9; ++i) {
    if (i % 3 == 0) {
      const size_t before =
          a.log.count("established TCP streaming connection") + b.log.count("established TCP streaming");
      c.net.reset_all("m1", "m2");
      ASSERT_TRUE(c.until([&] {
        return a.log.count("established TCP streaming connection") +
                   b.log.count("established TCP streaming") ==
               before + 8;
      }));
    }
    std::vector<raft::Message> batch;
    batch.push_back(message(MessageType::kApp, a, b, i, 10));
    a.transport().send(std::move(batch));
    ASSERT_TRUE(c.until([&] { return b.member.messages.size() == i; }));
    EXPECT_EQ(b.member.messages.back().index, Index{i});
    EXPECT_EQ(b.member.messages.back().term, Term{1});
    EXPECT_EQ(b.member.messages.back().log_term, Term{1});
  }
}

TEST(Streams, AReaderThatDoesNotFollowIsNotReadAndThenDropped) {
  Options options;
  options.received_bytes_max = 1u << 20;
  options.stream_bytes_max = 4u << 20;
  Cluster c(7);
  c.form(2, options);
  Node &a = c[1], &b = c[2];
  b.member.hold = true;
  uint64_t sent = 0;
  const auto send = [&](int n) {
    for (int i = 0; i < n; ++i) {
      std::vector<raft::Message> batch;
      batch.push_back(message(MessageType::kApp, a, b, ++sent, 100'000));
      a.transport().send(std::move(batch));
    }
    c.world.run_for(io::kSecond);
  };
  send(30);
  // At the bound, but for what was read in one piece and what the socket holds.
  EXPECT_LE(b.metric("quoin_peer_received_bytes"), (1 << 20) + 300'000);
  EXPECT_EQ(a.member.unreachables[b.id], 0);
  send(60);
  EXPECT_GE(a.member.unreachables[b.id], 1);
  EXPECT_TRUE(
      a.log.contains("warn dropped internal Raft message since sending buffer is full message-type=MsgApp "
                     "local-member-id=101 from=101 remote-peer-id=102 remote-peer-name=stream MsgApp v2 "
                     "remote-peer-active=true"));
  EXPECT_LE(a.metric("quoin_peer_send_queue_bytes"), 4 << 20);
  EXPECT_EQ(a.metric("etcd_network_peer_sent_failures_total", "102"), a.member.unreachables[b.id]);
  // The other stream is not held up.
  std::vector<raft::Message> batch;
  batch.push_back(message(MessageType::kHeartbeat, a, b, 1));
  const size_t before = b.member.messages.size();
  a.transport().send(std::move(batch));
  c.world.run_for(io::kSecond);
  EXPECT_EQ(b.member.messages.size(), before + 1);
  // Nothing was taken for the write time-out.
  c.world.run_for(10 * io::kSecond);
  EXPECT_TRUE(a.log.contains("failed to write 102 on stream MsgApp v2 (write tcp"));
  // Raft takes what it was given: everything goes on.
  b.member.hold = false;
  b.member.held.clear();
  b.member.messages.clear();
  c.world.run_for(3 * io::kSecond);
  send(5);
  ASSERT_TRUE(
      c.until([&] { return !b.member.messages.empty() && b.member.messages.back().index.v == sent; }));
  EXPECT_EQ(b.metric("quoin_peer_received_bytes"), 0);
}

// Proposals wait for a leader and may fill their share; votes and appends pass them.
TEST(Streams, ProposalsAreDroppedAndKeepNobodyWaiting) {
  Options options;
  options.received_bytes_max = 1u << 20;
  Cluster c(8);
  c.form(2, options);
  Node &a = c[1], &b = c[2];
  b.member.hold = true;
  for (uint64_t i = 1; i <= 30; ++i) {
    std::vector<raft::Message> batch;
    batch.push_back(message(MessageType::kProp, a, b, i, 100'000));
    a.transport().send(std::move(batch));
  }
  c.world.run_for(io::kSecond);
  EXPECT_LE(b.member.messages.size(), 11u);
  EXPECT_GT(b.metric("quoin_peer_proposals_dropped_total"), 15);
  EXPECT_TRUE(
      b.log.contains("warn dropped internal Raft message since receiving buffer is full (overloaded network) "
                     "message-type=MsgProp"));
  const size_t before = b.member.messages.size();
  std::vector<raft::Message> batch;
  batch.push_back(message(MessageType::kVote, a, b, 7));
  a.transport().send(std::move(batch));
  c.world.run_for(io::kSecond);
  ASSERT_EQ(b.member.messages.size(), before + 1);
  EXPECT_EQ(b.member.messages.back().type, MessageType::kVote);
}

TEST(Streams, AMessageLargerThanTheBoundsPasses) {
  Options options;
  options.received_bytes_max = 1000;
  options.stream_bytes_max = 1000;
  options.inbox_bytes_max = 1000;
  Cluster c(9);
  c.form(2, options);
  Node &a = c[1], &b = c[2];
  for (uint64_t i = 1; i <= 3; ++i) {
    std::vector<raft::Message> batch;
    batch.push_back(message(MessageType::kApp, a, b, i, 3'000'000));
    a.transport().send(std::move(batch));
    ASSERT_TRUE(c.until([&] { return b.member.messages.size() == i; }));
    c.world.run_for(io::kSecond);
  }
}

TEST(Streams, WhatTheLoopDoesNotTakeOverIsBounded) {
  Options options;
  options.inbox_bytes_max = 100'000;
  Cluster c(10);
  c.form(2, options);
  Node &a = c[1], &b = c[2];
  std::vector<raft::Message> batch;
  for (uint64_t i = 1; i <= 30; ++i) batch.push_back(message(MessageType::kApp, a, b, i, 10'000));
  a.transport().send(std::move(batch));
  EXPECT_EQ(a.metric("quoin_peer_inbox_dropped_total"), 21);
  EXPECT_EQ(a.member.unreachables[b.id], 21);
  EXPECT_LE(a.metric("quoin_peer_inbox_bytes"), 100'000);
  ASSERT_TRUE(c.until([&] { return b.member.messages.size() == 9; }));
  EXPECT_EQ(a.metric("quoin_peer_inbox_bytes"), 0);
}

TEST(Streams, ARemovedMemberIsToldSo) {
  Cluster c(11);
  Node &a = c.add(1), &b = c.add(2);
  a.member.removed_members.insert(b.id);
  b.know(2);
  ASSERT_TRUE(c.until([&] { return b.member.found_removed_calls > 0; }));
  EXPECT_TRUE(
      a.log.contains("warn rejected stream from remote peer because it was removed local-member-id=101 "
                     "remote-peer-id-stream-handler=101 remote-peer-id-from=102"));
}

TEST(Streams, AnotherClusterIsRefused) {
  Cluster c(12);
  Node &a = c.add(1), &b = c.add(2, {}, ClusterId{0xc2});
  b.know(2);
  ASSERT_TRUE(c.until([&] { return b.log.contains("due to cluster ID mismatch"); }));
  EXPECT_TRUE(
      a.log.contains("warn request cluster ID mismatch local-member-id=101 local-member-cluster-id=c1 "
                     "local-member-server-version=3.6.16 local-member-server-minimum-cluster-version=3.0.0 "
                     "remote-peer-server-name=102 remote-peer-server-version=3.6.16 "
                     "remote-peer-server-minimum-cluster-version=3.0.0 remote-peer-cluster-id=c2"));
  EXPECT_TRUE(
      b.log.contains("warn request sent was ignored by remote peer due to cluster ID mismatch "
                     "remote-peer-id=101 remote-peer-cluster-id=c1 local-member-id=102 "
                     "local-member-cluster-id=c2 error=cluster ID mismatch"));
  std::vector<raft::Message> batch;
  batch.push_back(message(MessageType::kVote, b, a, 1));
  b.transport().send(std::move(batch));
  ASSERT_TRUE(c.until([&] { return b.member.unreachables[a.id] == 1; }));
  EXPECT_TRUE(
      b.log.contains("error request sent was ignored due to cluster ID mismatch remote-peer-id=101 "
                     "remote-peer-cluster-id=c1 local-member-cluster-id=c2"));
  EXPECT_TRUE(a.member.processed.empty());
  EXPECT_FALSE(a.log.contains("added new remote peer"));
}

TEST(Streams, AnUnknownMemberBecomesARemoteThatIsAnswered) {
  Cluster c(13);
  Node &a = c.add(1), &b = c.add(2);
  b.know(2);
  ASSERT_TRUE(c.until([&] { return a.log.contains("added new remote peer"); }));
  EXPECT_TRUE(
      a.log.contains("warn failed to find remote peer in cluster local-member-id=101 "
                     "remote-peer-id-stream-handler=101 remote-peer-id-from=102 cluster-id=c1"));
  EXPECT_TRUE(a.log.contains(
      "info added new remote peer local-member-id=101 remote-peer-id=102 remote-peer-urls=[http://m2:2380]"));
  c.world.run_for(10 * io::kMillisecond);
  EXPECT_FALSE(b.transport().active_since(a.id).has_value());
  EXPECT_TRUE(
      b.log.contains("debug peer deactivated again peer-id=101 error=failed to dial 101 on stream MsgApp v2 "
                     "(peer 101 failed to find local node 102)"));
  std::vector<raft::Message> batch;
  for (uint64_t i = 1; i <= 20; ++i) batch.push_back(message(MessageType::kAppResp, a, b, i));
  a.transport().send(std::move(batch));
  ASSERT_TRUE(c.until([&] { return b.member.processed.size() == 20; }));
  // As a peer it gets its streams.
  a.know(2);
  ASSERT_TRUE(c.until([&] { return a.transport().active_since(b.id) && b.transport().active_since(a.id); }));
  c.world.run_for(io::kSecond);
  EXPECT_EQ(a.log.count("established TCP streaming connection"), 4u);
}

TEST(Pipeline, IsBoundedAndGoesOnAfterFailures) {
  Options options;
  options.pipeline_messages_max = 8;
  Cluster c(14);
  Node &a = c.add(1, options), &b = c.add(2);
  a.transport().add_remote(b.id, {b.url});
  c.world.run_for(io::kMillisecond);
  b.member.never_answer = true;
  std::vector<raft::Message> batch;
  for (uint64_t i = 1; i <= 20; ++i) batch.push_back(message(MessageType::kAppResp, a, b, i));
  a.transport().send(std::move(batch));
  ASSERT_TRUE(c.until([&] { return b.member.processed.size() == 4; }));
  c.world.run_for(io::kSecond);
  EXPECT_EQ(b.member.processed.size(), 4u);
  EXPECT_EQ(a.log.count("warn dropped Raft message since sending buffer is full (overloaded network)"), 8u);
  b.member.never_answer = false;
  b.member.held.clear();
  for (auto& done : b.member.unanswered) done({});
  ASSERT_TRUE(c.until([&] { return b.member.processed.size() == 12; }));
  c.world.run_for(io::kSecond);
  EXPECT_EQ(a.metric("quoin_peer_send_queue_bytes"), 0);
  EXPECT_EQ(b.metric("quoin_peer_posted_bytes"), 0);
  EXPECT_EQ(a.metric("etcd_network_peer_sent_bytes_total", "102"),
            b.metric("etcd_network_peer_received_bytes_total", "101"));

  b.member.process_result = Error(Code::kIo, "cannot process message to mismatch member");
  batch.clear();
  batch.push_back(message(MessageType::kAppResp, a, b, 1));
  a.transport().send(std::move(batch));
  ASSERT_TRUE(c.until([&] { return a.member.unreachables[b.id] == 1; }));
  // The answer, a 500, has no end, as etcd's has none.
  EXPECT_TRUE(a.log.contains("failed to write 102 on pipeline (unexpected EOF)"));
  EXPECT_TRUE(b.log.contains(
      "warn failed to process Raft message local-member-id=102 error=cannot process message to "
      "mismatch member"));
}

// A forwarded proposal that came twice would be applied twice.
TEST(Pipeline, APostThatWasTakenIsNotSentAgain) {
  for (const bool silent : {false, true}) {
    SCOPED_TRACE(silent);
    Cluster c(17);
    Node &a = c.add(1), &b = c.add(2);
    a.transport().add_remote(b.id, {b.url});
    c.world.run_for(io::kMillisecond);
    const auto post = [&] {
      std::vector<raft::Message> one;
      one.push_back(message(MessageType::kProp, a, b, 1));
      a.transport().send(std::move(one));
    };
    post();
    ASSERT_TRUE(c.until([&] { return b.member.processed.size() == 1; }));
    c.world.run_for(io::kSecond);  // the connection is kept
    b.member.never_answer = true;
    post();
    ASSERT_TRUE(c.until([&] { return b.member.processed.size() == 2; }));
    const io::MonotonicNs began = c.world.now();
    if (!silent) c.net.reset_all("m1", "m2");
    ASSERT_TRUE(c.until([&] { return a.member.unreachables[b.id] == 1; }));
    EXPECT_LE(c.world.now() - began, Pipeline::kSilenceNs + io::kSecond);
    c.world.run_for(2 * Pipeline::kSilenceNs);
    EXPECT_EQ(b.member.processed.size(), 2u);
    // One that could not leave goes out on a new connection.
    b.member.never_answer = false;
    post();
    ASSERT_TRUE(c.until([&] { return b.member.processed.size() == 3; }));
    EXPECT_EQ(a.member.unreachables[b.id], 1);
  }
}

TEST(Peers, AreUpdatedRemovedAndAddedAgain) {
  Cluster c(15);
  c.form(2);
  Node &a = c[1], &b = c[2];
  a.log.clear();
  a.transport().remove(b.id);
  a.transport().remove(b.id);
  c.world.run_for(io::kSecond);
  const std::vector<std::string> end{
      "info stopping remote peer remote-peer-id=102",
      "warn closed TCP streaming connection with remote peer stream-writer-type=stream MsgApp v2 "
      "remote-peer-id=102",
      "info stopped TCP streaming connection with remote peer stream-writer-type=stream MsgApp v2 "
      "remote-peer-id=102",
      "warn closed TCP streaming connection with remote peer stream-writer-type=stream Message "
      "remote-peer-id=102",
      "info stopped TCP streaming connection with remote peer stream-writer-type=stream Message "
      "remote-peer-id=102",
      "info stopped HTTP pipelining with remote peer local-member-id=101 remote-peer-id=102",
      "info stopped stream reader with remote peer stream-reader-type=stream MsgApp v2 local-member-id=101 "
      "remote-peer-id=102",
      "info stopped stream reader with remote peer stream-reader-type=stream Message local-member-id=101 "
      "remote-peer-id=102",
      "info stopped remote peer remote-peer-id=102",
      "info removed remote peer local-member-id=101 removed-remote-peer-id=102",
      "warn skipped removing already removed peer local-member-id=101 removed-remote-peer-id=102"};
  ASSERT_GE(a.log.lines().size(), end.size());
  EXPECT_EQ(std::vector<std::string>(a.log.lines().begin(), a.log.lines().begin() + 11), end);
  EXPECT_FALSE(a.transport().active_since(b.id).has_value());
  EXPECT_EQ(a.metric("etcd_network_active_peers", "102"), 0);
  a.know(2);
  ASSERT_TRUE(c.until([&] { return a.transport().active_since(b.id) && b.transport().active_since(a.id); }));
  EXPECT_EQ(a.metric("etcd_network_active_peers", "102"), 1);
  a.transport().remove_all();
  a.know(2);
  c.world.run_for(io::kSecond);
  EXPECT_TRUE(a.transport().active_since(b.id).has_value());

  // To another address: used when the streams are dialed again, and by the probes.
  c.add(3);
  a.transport().update(b.id, {"http://m3:2380"});
  c.world.run_for(io::kMillisecond);
  EXPECT_TRUE(
      a.log.contains("info updated remote peer local-member-id=101 updated-remote-peer-id=102 "
                     "updated-remote-peer-urls=[http://m3:2380]"));
  c.net.reset_all("m1", "m2");
  ASSERT_TRUE(c.until([&] { return a.log.contains("address=http://m3:2380/raft/stream/msgapp/101"); }));
}

TEST(Peers, TheNextUrlIsTriedAfterAFailure) {
  Cluster c(16);
  Node &a = c.add(1), &b = c.add(2);
  b.know(2);
  a.transport().add(b.id, {"https://m2:2380", "http://nohost:2380", "http://m2:1", "http://m2:2380"});
  ASSERT_TRUE(c.until([&] { return a.transport().active_since(b.id) && b.transport().active_since(a.id); }));
  EXPECT_TRUE(a.log.contains("no such host"));
}

TEST(Peers, StopEndsEverything) {
  Cluster c(17);
  c.form(3);
  Node &a = c[1], &b = c[2];
  std::vector<raft::Message> batch;
  for (uint64_t i = 1; i <= 50; ++i) batch.push_back(message(MessageType::kApp, a, b, i, 100'000));
  a.transport().send(std::move(batch));
  a.transport().send_snapshot(snapshot_message(a, b, 5), std::make_shared<FakeSource>(10 << 20));
  c.world.run_for(5 * io::kMillisecond);
  bool stopped = false, asked = false;
  a.transport().fetch("http://m2:2380", {.path = "/raft/probing"}, a.raft,
                      [&](Result<server::PeerAnswer> answer) {
                        asked = true;
                        EXPECT_EQ(answer.error().code(), Code::kStopped);
                      });
  a.transport().stop([&] { stopped = true; });
  ASSERT_TRUE(c.until([&] { return stopped && asked; }));
  EXPECT_EQ(a.member.snapshots_sent, (std::vector<std::pair<MemberId, bool>>{{b.id, true}}));
  EXPECT_EQ(a.metric("quoin_peer_send_queue_bytes"), 0);
  // Whoever comes now is dropped, and nothing is sent any more.
  a.know(3);
  a.transport().send_snapshot(snapshot_message(a, b, 5), std::make_shared<FakeSource>(1));
  EXPECT_EQ(converse(c, b, "m1", "GET /raft/probing HTTP/1.1\r\nHost: m1\r\n\r\n"), "<end>");
  c.world.run_for(10 * io::kSecond);
  EXPECT_FALSE(a.transport().active_since(b.id).has_value());
}

}  // namespace
}  // namespace quoin::peer

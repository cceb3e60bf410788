// One node alone, fed by hand with what its peers would send.
#include "raft/rawnode.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/prng.h"
#include "raft/memory_storage.h"

namespace quoin::raft {
namespace {

class Node {
 public:
  explicit Node(uint64_t voters) {
    auto origin = std::make_shared<Snapshot>();
    for (uint64_t i = 1; i <= voters; ++i) origin->metadata.conf_state.voters.push_back(MemberId{i});
    origin->metadata.index = Index{1};
    origin->metadata.term = Term{1};
    EXPECT_TRUE(storage_.apply_snapshot(origin));
    Config c;
    c.id = MemberId{1};
    c.pre_vote = c.check_quorum = false;
    c.async_storage_writes = true;
    node = std::make_unique<RawNode>(c, storage_, prng_, observer_);
  }
  // Makes everything durable; what is for others is returned.
  std::vector<Message> settle() {
    std::vector<Message> sent;
    while (node->has_ready()) {
      Ready rd = node->ready();
      std::move(rd.messages.begin(), rd.messages.end(), std::back_inserter(sent));
      std::move(rd.read_states.begin(), rd.read_states.end(), std::back_inserter(read_states));
      if (!rd.hard_state.empty()) storage_.set_hard_state(rd.hard_state);
      storage_.append(std::move(rd.entries));
      for (Message& m : rd.append_responses) {
        if (m.to == MemberId{1}) {
          EXPECT_TRUE(node->step(std::move(m)));
        } else {
          sent.push_back(std::move(m));
        }
      }
    }
    return sent;
  }
  Message from(uint64_t peer, MessageType type) const {
    Message m;
    m.type = type;
    m.from = MemberId{peer};
    m.to = MemberId{1};
    m.term = node->raft().term();
    return m;
  }
  // Elected by `votes` others, with its first entry committed.
  void lead(uint64_t votes) {
    ASSERT_TRUE(node->campaign());
    settle();
    for (uint64_t i = 2; i < 2 + votes; ++i) {
      ASSERT_TRUE(node->step(from(i, MessageType::kVoteResp)));
    }
    settle();
    ASSERT_EQ(node->raft().role(), Role::kLeader);
    for (uint64_t i = 2; i < 2 + votes; ++i) {
      Message m = from(i, MessageType::kAppResp);
      m.index = node->raft().log().last_index();
      ASSERT_TRUE(node->step(std::move(m)));
    }
    settle();
    ASSERT_EQ(node->raft().log().committed(), node->raft().log().last_index());
  }

  std::vector<ReadState> read_states;
  std::unique_ptr<RawNode> node;

 private:
  MemoryStorage storage_;
  Prng prng_{1};
  Observer observer_;
};

// Whoever sends read after read while no majority answers takes a bounded amount of memory.
TEST(RawNode, ReadsOfOthersAreBounded) {
  for (const bool early : {false, true}) {
    Node n(3);
    if (early) {
      ASSERT_TRUE(n.node->campaign());
      n.settle();
      ASSERT_TRUE(n.node->step(n.from(2, MessageType::kVoteResp)));
      n.settle();
      ASSERT_EQ(n.node->raft().role(), Role::kLeader);
    } else {
      n.lead(1);
    }
    constexpr size_t kBound = 1024;
    for (size_t i = 0; i < 5 * kBound; ++i) {
      Message m = n.from(2, MessageType::kReadIndex);
      m.entries.emplace_back().data = Blob::copy(std::to_string(i));
      ASSERT_TRUE(n.node->step(std::move(m)));
      if (i % 100 == 0) n.settle();
    }
    n.node->read_index(Blob::copy("own"));  // is not refused for it
    n.settle();
    if (early) {
      Message m = n.from(2, MessageType::kAppResp);
      m.index = n.node->raft().log().last_index();
      ASSERT_TRUE(n.node->step(std::move(m)));
      n.settle();
    }
    Message ack = n.from(2, MessageType::kHeartbeatResp);
    ack.context = Blob::copy("own");
    ASSERT_TRUE(n.node->step(std::move(ack)));
    const auto sent = n.settle();
    const auto answers = static_cast<size_t>(std::count_if(
        sent.begin(), sent.end(), [](const Message& m) { return m.type == MessageType::kReadIndexResp; }));
    EXPECT_EQ(answers, kBound) << early;
    ASSERT_EQ(n.read_states.size(), 1u) << early;
  }
}

// A leader that was replaced without knowing it would answer old data, were less than a majority enough.
TEST(RawNode, AReadIndexIsAnsweredByAMajorityOfFive) {
  Node n(5);
  n.lead(2);
  n.node->read_index(Blob::copy("ctx"));
  int asked = 0;
  for (const Message& m : n.settle()) asked += m.type == MessageType::kHeartbeat;
  EXPECT_EQ(asked, 4);
  auto acknowledge = [&](uint64_t peer, std::string_view context) {
    Message m = n.from(peer, MessageType::kHeartbeatResp);
    m.context = Blob::copy(context);
    ASSERT_TRUE(n.node->step(std::move(m)));
    n.settle();
  };
  acknowledge(2, "ctx");
  EXPECT_TRUE(n.read_states.empty()) << "two of five";
  acknowledge(2, "ctx");
  EXPECT_TRUE(n.read_states.empty()) << "the same once more";
  acknowledge(3, "");
  EXPECT_TRUE(n.read_states.empty()) << "about another heartbeat";
  acknowledge(4, "ctx");
  ASSERT_EQ(n.read_states.size(), 1u);
  EXPECT_EQ(n.read_states[0].context.view(), "ctx");
  EXPECT_EQ(n.read_states[0].index, n.node->raft().log().committed());
  acknowledge(5, "ctx");
  EXPECT_EQ(n.read_states.size(), 1u);
}

// Whoever led before may have committed, and told its clients of, more than this one knows; its own first commit tells.
TEST(RawNode, ASingleVoterAnswersNoReadBeforeItsFirstCommit) {
  Node n(1);
  Message removed =
      n.from(2, MessageType::kHeartbeat);  // of the leader before, in a later term than the log's
  removed.term = Term{5};
  ASSERT_TRUE(n.node->step(std::move(removed)));
  n.settle();
  ASSERT_TRUE(n.node->campaign());
  while (n.node->raft().role() != Role::kLeader && n.node->has_ready()) {
    Ready rd = n.node->ready();
    for (Message& m : rd.append_responses) ASSERT_TRUE(n.node->step(std::move(m)));
  }
  ASSERT_EQ(n.node->raft().role(), Role::kLeader);
  const Index before = n.node->raft().log().committed();
  n.node->read_index(Blob::copy("early"));
  n.settle();
  ASSERT_EQ(n.read_states.size(), 1u);
  EXPECT_GT(n.read_states[0].index, before);
}

// What no correct member sends is refused, whatever it would do.
TEST(RawNode, ImpossibleMessagesAreRefused) {
  Node n(3);
  Message vote = n.from(2, MessageType::kVote);
  vote.term = Term{0};
  EXPECT_EQ(n.node->step(std::move(vote)).error().code(), Code::kMalformed);
  Message pre_vote = n.from(2, MessageType::kPreVote);
  pre_vote.term = Term{0};
  EXPECT_EQ(n.node->step(std::move(pre_vote)).error().code(), Code::kMalformed);

  Message snap = n.from(2, MessageType::kSnap);
  snap.term = Term{2};
  auto snapshot = std::make_shared<Snapshot>();
  snapshot->metadata.index = Index{100};
  snapshot->metadata.term = Term{2};
  snapshot->metadata.conf_state.voters = {MemberId{1}, MemberId{2}};
  snapshot->metadata.conf_state.learners = {MemberId{2}};
  snap.snapshot = snapshot;
  EXPECT_EQ(n.node->step(std::move(snap)).error().code(), Code::kMalformed);
  EXPECT_EQ(n.node->raft().log().last_index(), Index{1});

  n.lead(1);
  EXPECT_EQ(n.node->step(n.from(2, MessageType::kProp)).error().code(), Code::kMalformed);
  EXPECT_EQ(n.node->propose(std::vector<Entry>{}).error().code(), Code::kMalformed);
  Message ack = n.from(3, MessageType::kAppResp);
  ack.index = Index{1000};
  EXPECT_EQ(n.node->step(std::move(ack)).error().code(), Code::kMalformed);
  n.settle();
  EXPECT_EQ(n.node->raft().role(), Role::kLeader);
}

}  // namespace
}  // namespace quoin::raft

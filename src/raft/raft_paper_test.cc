// Sentences of the raft paper (Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm",
// extended version), each as a test; and Readys as their users see them.
#include <gtest/gtest.h>

#include "base/prng.h"
#include "raft/codec.h"
#include "raft/memory_storage.h"
#include "raft/rawnode.h"

namespace quoin::raft {
namespace {

constexpr MemberId kOne{1}, kTwo{2}, kThree{3};

// One node of a configuration, with a log of the given terms (indexes from 1).
class Node {
 public:
  explicit Node(std::vector<uint64_t> log_terms = {}, int voters = 3, Config config = {}) {
    Snapshot origin;
    for (int i = 1; i <= voters; ++i)
      origin.metadata.conf_state.voters.push_back(MemberId{static_cast<uint64_t>(i)});
    // A configuration without a snapshot: index 0 has no meaning for the storage, but the state is read from
    // it.
    storage_.conf_state = origin.metadata.conf_state;
    std::vector<Entry> log;
    for (uint64_t t : log_terms) log.push_back({Term{t}, Index{log.size() + 1}, EntryType::kNormal, Blob()});
    if (!log.empty()) storage_.set_hard_state({log.back().term, kNoMember, Index{0}});
    storage_.append(std::move(log));
    config.id = kOne;
    raw = std::make_unique<RawNode>(config, storage_, prng_, observer_);
  }

  // Carries out Readys until there is none; returns what was sent.
  std::vector<Message> settle() {
    std::vector<Message> sent;
    while (raw->has_ready()) {
      Ready rd = raw->ready();
      if (!rd.hard_state.empty()) storage_.set_hard_state(rd.hard_state);
      storage_.append(std::move(rd.entries));
      for (Message& m : rd.messages) sent.push_back(std::move(m));
      for (Entry& e : rd.committed_entries) applied.push_back(std::move(e));
      raw->advance();
    }
    return sent;
  }
  std::vector<Message> receive(Message m) {
    EXPECT_TRUE(raw->step(std::move(m)).has_value());
    return settle();
  }
  void lead() {
    EXPECT_TRUE(raw->campaign().has_value());
    settle();
    const bool pre_vote = raw->raft().role() == Role::kPreCandidate;
    if (pre_vote) receive(answer(MessageType::kPreVoteResp, kTwo, raw->raft().term() + 1));
    if (raw->raft().role() == Role::kCandidate)
      receive(answer(MessageType::kVoteResp, kTwo, raw->raft().term()));
    ASSERT_EQ(raw->raft().role(), Role::kLeader);
  }
  static Message answer(MessageType type, MemberId from, Term term) {
    Message m;
    m.type = type;
    m.from = from;
    m.to = kOne;
    m.term = term;
    return m;
  }

  struct ConfStorage : MemoryStorage {
    InitialState initial_state() const override {
      return {MemoryStorage::initial_state().hard_state, conf_state};
    }
    ConfState conf_state;
  };
  std::unique_ptr<RawNode> raw;
  std::vector<Entry> applied;

 private:
  ConfStorage storage_;
  Prng prng_{1};
  Observer observer_;
};

Config plain() {
  Config c;
  c.pre_vote = c.check_quorum = false;
  return c;
}

Message append(Term term, EntryId previous, std::vector<Entry> entries, Index commit) {
  Message m = Node::answer(MessageType::kApp, kTwo, term);
  m.log_term = previous.term;
  m.index = previous.index;
  m.entries = std::move(entries);
  m.commit = commit;
  return m;
}
Message vote_request(Term term, MemberId from, EntryId last) {
  Message m = Node::answer(MessageType::kVote, from, term);
  m.log_term = last.term;
  m.index = last.index;
  return m;
}

// 5.1: "If a server receives a request with a stale term number, it rejects the request."
TEST(Paper, StaleTermIsRejected) {
  Node n({1, 3}, 3, plain());
  n.receive(
      append(Term{2}, {Term{3}, Index{2}}, {{Term{2}, Index{3}, EntryType::kNormal, Blob()}}, Index{0}));
  EXPECT_EQ(n.raw->raft().log().last_index(), Index{2});
  EXPECT_EQ(n.raw->raft().term(), Term{3});
}

// 5.1: "If a candidate or leader discovers that its term is out of date, it immediately reverts to follower
// state."
TEST(Paper, LeaderRevertsToFollowerAtAHigherTerm) {
  Node n({}, 3, plain());
  n.lead();
  n.receive(append(Term{7}, {}, {}, Index{0}));
  EXPECT_EQ(n.raw->raft().role(), Role::kFollower);
  EXPECT_EQ(n.raw->raft().term(), Term{7});
  EXPECT_EQ(n.raw->raft().lead(), kTwo);
}

// 5.2: "Each server will vote for at most one candidate in a given term, on a first-come-first-served basis."
TEST(Paper, OneVotePerTerm) {
  Node n({1}, 3, plain());
  const auto first = n.receive(vote_request(Term{5}, kTwo, {Term{1}, Index{1}}));
  const auto second = n.receive(vote_request(Term{5}, kThree, {Term{1}, Index{9}}));
  const auto again = n.receive(vote_request(Term{5}, kTwo, {Term{1}, Index{1}}));
  ASSERT_EQ(first.size(), 1u);
  EXPECT_FALSE(first[0].reject);
  ASSERT_EQ(second.size(), 1u);
  EXPECT_TRUE(second[0].reject);
  ASSERT_EQ(again.size(), 1u);
  EXPECT_FALSE(again[0].reject);
}

// 5.2: "Raft uses randomized election timeouts to ensure that split votes are rare"; "chosen randomly from a
// fixed interval": [election timeout, 2 * election timeout).
TEST(Paper, ElectionTimeoutsAreSpread) {
  std::vector<int> seen(20);
  Config c = plain();
  Node n({}, 3, c);
  for (int i = 0; i < 2000; ++i) {
    n.receive(Node::answer(MessageType::kHeartbeat, kTwo, Term{static_cast<uint64_t>(i) + 1}));
    const int t = n.raw->raft().randomized_election_ticks();
    ASSERT_GE(t, 10);
    ASSERT_LT(t, 20);
    ++seen[static_cast<size_t>(t)];
  }
  for (int t = 10; t < 20; ++t) EXPECT_GT(seen[static_cast<size_t>(t)], 100) << t;
}

// 5.4.1: "If the logs have last entries with different terms, then the log with the later term is more
// up-to-date. If the logs end with the same term, then whichever log is longer is more up-to-date."
TEST(Paper, VotesGoToUpToDateLogsOnly) {
  const struct {
    std::vector<uint64_t> own;
    EntryId candidate;
    bool granted;
  } kCases[] = {
      {{1}, {Term{1}, Index{1}}, true},     {{1}, {Term{1}, Index{2}}, true},
      {{1, 1}, {Term{1}, Index{1}}, false}, {{1, 1}, {Term{2}, Index{1}}, true},
      {{1, 1}, {Term{2}, Index{2}}, true},  {{2}, {Term{1}, Index{2}}, false},
      {{2, 2}, {Term{2}, Index{1}}, false}, {{1, 2}, {Term{1}, Index{5}}, false},
  };
  for (const auto& c : kCases) {
    Node n(c.own, 3, plain());
    const auto sent = n.receive(vote_request(Term{9}, kTwo, c.candidate));
    ASSERT_EQ(sent.size(), 1u);
    EXPECT_EQ(!sent[0].reject, c.granted);
  }
}

// 5.3, figure 7: "the leader must find the latest log entry where the two logs agree, delete any entries in
// the follower's log after that point, and send the follower all of the leader's entries after that point."
TEST(Paper, FollowerTakesTheLeadersLog) {
  const std::vector<uint64_t> kLeader = {1, 1, 1, 4, 4, 5, 5, 6, 6, 6};
  const std::vector<std::vector<uint64_t>> kFollowers = {
      {1, 1, 1, 4, 4, 5, 5, 6, 6},          {1, 1, 1, 4},          {1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6},
      {1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7}, {1, 1, 1, 4, 4, 4, 4}, {1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3},
  };
  for (const auto& terms : kFollowers) {
    Node leader(kLeader, 3, plain());
    leader.receive(Node::answer(MessageType::kHeartbeat, kTwo, Term{7}));
    leader.lead();
    Node follower(terms, 3, plain());
    // The two talk to each other until nothing is left to say; the follower is member 3 to the leader.
    std::vector<Message> down, up;
    leader.raw->report_unreachable(kThree);
    leader.raw->tick();
    down = leader.settle();
    int rounds = 0;
    for (; rounds < 20 && !down.empty(); ++rounds) {
      up.clear();
      for (Message& m : down) {
        if (m.to != kThree) continue;
        m.from = kTwo;
        m.to = kOne;
        for (Message& r : follower.receive(std::move(m))) {
          r.from = kThree;
          r.to = kOne;
          up.push_back(std::move(r));
        }
      }
      down.clear();
      for (Message& m : up) {
        for (Message& r : leader.receive(std::move(m))) down.push_back(std::move(r));
      }
    }
    const RaftLog& x = leader.raw->raft().log();
    const RaftLog& y = follower.raw->raft().log();
    ASSERT_EQ(y.last_index(), x.last_index());
    for (Index i{1}; i <= x.last_index(); ++i) ASSERT_EQ(y.term_or_zero(i), x.term_or_zero(i)) << i.v;
    // A round trip for each term that differs at most, and few to finish.
    EXPECT_LE(rounds, 8);
  }
}

// 5.4.2, figure 8: "Raft never commits log entries from previous terms by counting replicas. Only log entries
// from the leader's current term are committed by counting replicas."
TEST(Paper, EarlierTermsAreCommittedIndirectly) {
  Node n({1, 2}, 3, plain());
  n.lead();
  ASSERT_EQ(n.raw->raft().term(), Term{3});
  Message ack = Node::answer(MessageType::kAppResp, kTwo, Term{3});
  ack.index = Index{2};
  n.receive(ack);
  EXPECT_EQ(n.raw->raft().log().committed(), Index{0});
  ack.index = Index{3};
  n.receive(ack);
  EXPECT_EQ(n.raw->raft().log().committed(), Index{3});
  EXPECT_EQ(n.applied.size(), 3u);
}

// 5.3: "The leader keeps track of the highest index it knows to be committed, and it includes that index in
// future AppendEntries RPCs (including heartbeats) so that the other servers eventually find out."
TEST(Paper, CommitIndexTravelsWithAppends) {
  Node n({}, 3, plain());
  n.lead();
  n.receive([] {
    Message ack = Node::answer(MessageType::kAppResp, kTwo, Term{1});
    ack.index = Index{1};
    return ack;
  }());
  ASSERT_TRUE(n.raw->propose(Blob::copy("x")).has_value());
  bool seen = false;
  for (const Message& m : n.settle())
    seen |= m.type == MessageType::kApp && m.to == kTwo && m.commit == Index{1};
  EXPECT_TRUE(seen);
}

// Thesis 9.6: a server "would only increment its term if it first learned from a majority of the cluster that
// they would be willing to grant the candidate their votes".
TEST(Paper, PreVoteLeavesTheTermAlone) {
  Config c;
  Node n({}, 3, c);
  ASSERT_TRUE(n.raw->campaign().has_value());
  n.settle();
  EXPECT_EQ(n.raw->raft().role(), Role::kPreCandidate);
  EXPECT_EQ(n.raw->raft().term(), Term{0});
  n.receive(Node::answer(MessageType::kPreVoteResp, kTwo, Term{1}));
  EXPECT_EQ(n.raw->raft().role(), Role::kCandidate);
  EXPECT_EQ(n.raw->raft().term(), Term{1});
}

// ---- users' view ----

TEST(RawNodeBootstrap, FirstReadyCarriesTheFoundingEntries) {
  MemoryStorage storage;
  Prng prng(1);
  Observer observer;
  Config c;
  c.id = kTwo;
  RawNode node(c, storage, prng, observer);
  const Peer peers[] = {{kOne, Blob::copy("a")}, {kTwo, Blob::copy("b")}};
  ASSERT_TRUE(node.bootstrap(peers).has_value());
  Ready rd = node.ready();
  EXPECT_TRUE(rd.must_sync);
  EXPECT_EQ(rd.hard_state, (HardState{Term{1}, kNoMember, Index{2}}));
  ASSERT_EQ(rd.entries.size(), 2u);
  ASSERT_EQ(rd.committed_entries.size(), 2u);
  const auto change = decode_conf_change(rd.entries[1].data);
  ASSERT_TRUE(change.has_value());
  EXPECT_EQ(change->node_id, kTwo);
  EXPECT_EQ(change->context.view(), "b");
  storage.append(std::move(rd.entries));
  for (const Entry& e : rd.committed_entries) node.apply_conf_change(*decode_conf_change(e.data), e.index);
  node.advance();
  EXPECT_EQ(node.status().config->voters.incoming, (MemberSet{kOne, kTwo}));
  EXPECT_TRUE(node.raft().promotable());
  EXPECT_FALSE(node.bootstrap(peers).has_value()) << "the log is not empty any more";
}

TEST(RawNode, RefusesWhatMustNotComeFromOutside) {
  Node n;
  for (const MessageType local : {MessageType::kHup, MessageType::kBeat, MessageType::kStorageApply,
                                  MessageType::kSnapStatus, MessageType::kCheckQuorum}) {
    EXPECT_FALSE(n.raw->step(Node::answer(local, kTwo, Term{0})).has_value());
  }
  const Result<> stranger = n.raw->step(Node::answer(MessageType::kAppResp, MemberId{9}, Term{1}));
  ASSERT_FALSE(stranger.has_value());
  EXPECT_EQ(stranger.error().code(), Code::kNotFound);
  const Result<> gap =
      n.raw->step(append(Term{1}, {}, {{Term{1}, Index{2}, EntryType::kNormal, Blob()}}, Index{0}));
  ASSERT_FALSE(gap.has_value());
  EXPECT_EQ(gap.error().code(), Code::kMalformed);
}

TEST(RawNode, MalformedChangeIsRefusedWhole) {
  Node n;
  n.lead();
  const Index before = n.raw->raft().log().last_index();
  std::vector<Entry> batch(2);
  batch[0].data = Blob::copy("fine");
  batch[1].type = EntryType::kConfChange;
  batch[1].data = Blob::copy("\x08");
  const Result<> r = n.raw->propose(std::move(batch));
  ASSERT_FALSE(r.has_value());
  EXPECT_EQ(r.error().code(), Code::kMalformed);
  EXPECT_EQ(n.raw->raft().log().last_index(), before);
}

TEST(RawNode, ProposedDataIsNeverCopied) {
  Config c = plain();
  c.async_storage_writes = true;
  MemoryStorage storage;
  Snapshot origin;
  origin.metadata = {{.voters = {kOne}}, Index{1}, Term{1}};
  ASSERT_TRUE(storage.apply_snapshot(std::make_shared<const Snapshot>(origin)).has_value());
  Prng prng(1);
  Observer observer;
  c.id = kOne;
  RawNode node(c, storage, prng, observer);
  const auto run = [&](std::vector<Entry>* applied) {
    while (node.has_ready()) {
      Ready rd = node.ready();
      storage.append(std::move(rd.entries));
      for (Message& m : rd.append_responses) EXPECT_TRUE(node.step(std::move(m)).has_value());
      if (!rd.needs_apply()) continue;
      node.applied(rd.committed_entries.back().index, encoded_size(rd.committed_entries),
                   payload_size(rd.committed_entries));
      for (Entry& e : rd.committed_entries) applied->push_back(e);
    }
  };
  std::vector<Entry> applied;
  ASSERT_TRUE(node.campaign().has_value());
  run(&applied);
  const Blob data = Blob::copy("one copy");
  ASSERT_TRUE(node.propose(data).has_value());
  run(&applied);
  ASSERT_FALSE(applied.empty());
  EXPECT_EQ(applied.back().data.view().data(), data.view().data());
}

}  // namespace
}  // namespace quoin::raft

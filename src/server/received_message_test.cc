// Messages that no member sends: none of them ends the member, and each is refused by name.
#include "server/received_message.h"

#include <gtest/gtest.h>

#include "raft/codec.h"
#include "server/life_test.h"
#include "server/line_limit.h"

namespace quoin::server {
namespace {

using raft::MessageType;

constexpr MemberId kOther{0xbad};

// One voter, which leads, and a peer port that takes what a test makes up.
class Hostile : public ::testing::Test {
 protected:
  Hostile() : life(world, disk, life_config()) {
    life.put("a", "1");
    life.put("b", "2");
  }
  MemberId self() { return life.member().id(); }
  raft::Message from_other(MessageType type) {
    raft::Message m;
    m.type = type;
    m.from = kOther;
    m.to = self();
    m.term = life.member().term();
    return m;
  }
  void send(raft::Message m) {
    std::vector<raft::Message> one;
    one.push_back(std::move(m));
    life.member().peer_handler().received(std::move(one), nullptr);
    life.pass(io::kSecond / 10);
  }
  // The reason, by the way of a POST; empty: taken.
  std::string post(raft::Message m) {
    std::string text;
    bool answered = false;
    life.member().peer_handler().process(std::move(m), nullptr, life.loop(), [&](Result<> r) {
      answered = true;
      if (!r) text = r.error().text();
    });
    EXPECT_TRUE(life.run_until([&] { return answered; }));
    life.pass(io::kSecond / 10);
    return text;
  }
  // On both ways, and the member serves on.
  void refused(const raft::Message& m, std::string_view why) {
    SCOPED_TRACE(why);
    const size_t before = life.log.count("rejected Raft message");
    send(m);
    EXPECT_EQ(life.log.count("rejected Raft message"), before + 1);
    EXPECT_TRUE(life.log.contains(why));
    EXPECT_NE(post(m).find(why), std::string::npos) << post(m);
    life.pass(2 * io::kSecond);
    serves();
  }
  void serves() {
    EXPECT_FALSE(life.failed);
    EXPECT_EQ(life.member().leader(), self());
    life.put("c", "3");
  }
  static raft::Entry entry(uint64_t term, uint64_t index, std::string_view data = "") {
    return {Term{term}, Index{index}, raft::EntryType::kNormal, Blob::copy(data)};
  }
  raft::Message snapshot(uint64_t index) {
    raft::Message m = from_other(MessageType::kSnap);
    auto s = std::make_shared<raft::Snapshot>();
    s->metadata.index = Index{index};
    s->metadata.term = m.term;
    s->metadata.conf_state.voters = {self(), kOther};
    m.snapshot = s;
    return m;
  }

  sim::World world{1};
  sim::SimDisk disk{world};
  Life life;
};

TEST_F(Hostile, WhatOnlyAMemberTellsItself) {
  for (const MessageType type :
       {MessageType::kHup, MessageType::kBeat, MessageType::kUnreachable, MessageType::kSnapStatus,
        MessageType::kCheckQuorum, MessageType::kStorageAppend, MessageType::kStorageAppendResp,
        MessageType::kStorageApply, MessageType::kStorageApplyResp, MessageType::kForgetLeader}) {
    refused(from_other(type), "raft: cannot step raft local message");
  }
}

TEST_F(Hostile, WrongEnds) {
  for (const MemberId from : {MemberId{}, self(), raft::kAppendThread, raft::kApplyThread}) {
    raft::Message m = from_other(MessageType::kHeartbeat);
    m.from = from;
    refused(m, "a message from another member claims to be from");
  }
  raft::Message m = from_other(MessageType::kHeartbeat);
  m.to = MemberId{};
  refused(m, "mismatch member");
}

// A follower answers its leader. A leader that has its own id would be answered by a message to itself.
TEST_F(Hostile, AHigherTermInItsOwnName) {
  raft::Message m = from_other(MessageType::kHeartbeat);
  m.from = self();
  m.term = m.term + 1;
  refused(m, "claims to be from");
}

TEST_F(Hostile, NumbersThatWouldWrap) {
  for (const uint64_t term :
       {UINT64_MAX, UINT64_MAX - 1, kNumberMax + 1, life.member().term().v + kTermAheadMax + 1}) {
    for (const MessageType type : {MessageType::kHeartbeat, MessageType::kPreVote, MessageType::kVote,
                                   MessageType::kApp, MessageType::kAppResp}) {
      raft::Message m = from_other(type);
      m.term = Term{term};
      refused(m, "is impossibly far ahead");
    }
  }
  raft::Message m = from_other(MessageType::kApp);
  m.index = Index{UINT64_MAX};
  refused(m, "is impossibly large");
  m = from_other(MessageType::kHeartbeat);
  m.commit = Index{UINT64_MAX};
  refused(m, "is impossibly large");
  m = from_other(MessageType::kAppResp);
  m.reject_hint = Index{UINT64_MAX};
  refused(m, "is impossibly large");
  refused(snapshot(UINT64_MAX), "is impossibly large");
}

TEST_F(Hostile, NoTerm) {
  for (const MessageType type :
       {MessageType::kApp, MessageType::kHeartbeat, MessageType::kVote, MessageType::kPreVote,
        MessageType::kAppResp, MessageType::kTimeoutNow, MessageType::kTransferLeader,
        MessageType::kReadIndexResp, MessageType::kHeartbeatResp}) {
    raft::Message m = from_other(type);
    m.term = Term{};
    refused(m, "a message of this type has a term");
  }
}

TEST_F(Hostile, AppendsOfTermsThatCannotBe) {
  const uint64_t term = life.member().term().v + 1;
  const uint64_t last = life.member().status().committed.v;
  raft::Message m = from_other(MessageType::kApp);
  m.term = Term{term};
  m.index = Index{last};
  m.log_term = Term{term - 1};
  for (const raft::Entry& e : {entry(0, last + 1), entry(term + 1, last + 1), entry(term - 2, last + 1)}) {
    m.entries = {e};
    refused(m, "cannot be");
  }
  m.entries.clear();
  m.log_term = Term{term + 1};
  refused(m, "behind an entry of term");
}

TEST_F(Hostile, ProposalsThatWouldEndWhoAppliesThem) {
  raft::Message m = from_other(MessageType::kProp);
  m.term = Term{};
  refused(m, "a proposal without entries");
  m.entries = {entry(0, 0, "\xff\xff junk")};
  refused(m, "entry holds neither kind of request");
  m.entries = {entry(0, 0, std::string_view("\x1a\x02\x0a\x00", 4))};  // a put without a header
  refused(m, "a request without an id or a header");
  m.entries[0].type = raft::EntryType::kConfChangeV2;
  refused(m, "an entry type that members cannot apply");
  const auto change = [&](raft::ConfChangeType type, MemberId id, std::string_view context) {
    raft::ConfChange cc;
    cc.type = type, cc.node_id = id, cc.context = Blob::copy(context);
    m.entries = {{Term{}, Index{}, raft::EntryType::kConfChange, raft::encode_blob(cc)}};
    return m;
  };
  refused(change(raft::ConfChangeType::kAddNode, MemberId{5}, "{"), "json");
  refused(change(raft::ConfChangeType::kAddNode, MemberId{5}, R"({"id":6})"), "names member 6");
  refused(change(raft::ConfChangeType::kAddNode, MemberId{5}, R"({"id":5,"isLearner":true})"),
          "is not what its context says");
  refused(change(raft::ConfChangeType::kRemoveNode, self(), ""), "removes the only voter");
}

TEST_F(Hostile, ReadIndexRequestsOfOddContexts) {
  raft::Message m = from_other(MessageType::kReadIndex);
  m.term = Term{};
  refused(m, "a read index request of 0 contexts");
  m.entries = {entry(0, 0)};
  refused(m, "a read index request of 1 contexts, the first of 0 bytes");
  m.entries = {entry(0, 0, std::string(kContextMax + 1, 'x'))};
  refused(m, "the first of 257 bytes");
  m = from_other(MessageType::kHeartbeatResp);
  m.context = Blob::copy(std::string(kContextMax + 1, 'x'));
  refused(m, "a heartbeat with a context of 257 bytes");
}

// A follower passes it on to its leader; no encoder has a place for them.
TEST_F(Hostile, Responses) {
  raft::Message m = from_other(MessageType::kProp);
  m.term = Term{};
  m.entries = {entry(0, 0, std::string(100'000, 'x'))};
  m.responses.emplace_back();
  refused(m, "a message with responses");
}

TEST_F(Hostile, SnapshotsThatCannotBe) {
  raft::Message m = from_other(MessageType::kSnap);
  refused(m, "a snapshot message without a snapshot");
  refused(snapshot(0), "a snapshot message without a snapshot");
  const auto altered = [&](auto&& alter) {
    raft::Message m = snapshot(1000);
    auto s = std::make_shared<raft::Snapshot>(*m.snapshot);
    alter(s->metadata);
    m.snapshot = s;
    return m;
  };
  refused(altered([](auto& meta) { meta.term = Term{}; }), "a snapshot of term 0");
  refused(altered([](auto& meta) { meta.term = meta.term + 1; }), "a snapshot of term");
  refused(altered([](auto& meta) { meta.conf_state = {}; }), "a snapshot of a cluster of 0 voters");
  refused(altered([](auto& meta) { meta.conf_state.voters.resize(1'000'000); }),
          "a snapshot of a cluster of 1000000 voters");
}

// On an ordinary stream or as a plain POST nothing follows the message. Whoever took it over would look for a file that
// is not there, at this start and at every later one.
TEST_F(Hostile, ASnapshotWithoutItsDatabase) {
  raft::Message m = snapshot(1000);
  m.term = m.term + 1;
  refused(m, "a snapshot at index 1000 without its database");
}

// Nor with a file behind it that is no database, or only a part of one.
TEST_F(Hostile, ASnapshotWithSomethingElseForADatabase) {
  std::string whole;
  {
    bool read = false;
    life.member().snapshot(life.loop(), [&](Result<std::shared_ptr<backend::SnapshotSource>> source) {
      ASSERT_TRUE(source);
      whole.resize((*source)->size());
      ASSERT_TRUE((*source)->read(0, std::span<char>(whole)));
      read = true;
    });
    ASSERT_TRUE(life.run_until([&] { return read; }));
  }
  std::string altered = whole;
  altered[30] = static_cast<char>(altered[30] + 1);
  PeerHandler& peer = life.member().peer_handler();
  const auto keep = [&](const std::string& bytes, uint64_t index) {
    const std::string path = peer.new_snapshot_path();
    std::optional<Result<>> kept;
    peer.snapshot_executor().post([&] {
      auto file = peer.snapshot_files().open(path, {.write = true, .create = true, .truncate = true});
      ASSERT_TRUE(file && (bytes.empty() || (*file)->write_at(0, bytes)) && (*file)->sync());
      file->reset();
      peer.keep_snapshot(path, Index{index}, life.loop(), [&](Result<> r) { kept = std::move(r); });
    });
    EXPECT_TRUE(life.run_until([&] { return kept.has_value(); }));
    EXPECT_EQ(life.files().exists(path).value(), false);
    return *kept ? std::string() : std::string(kept->error().text());
  };
  EXPECT_EQ(keep("", 1000), "no database: 0 bytes");
  EXPECT_EQ(keep(std::string(100'000, 'x'), 1000), "no database: invalid database");
  EXPECT_EQ(keep(altered, 1000).substr(0, 12), "no database:");
  EXPECT_NE(keep(whole.substr(0, whole.size() - 1), 1000).find("cut at"), std::string::npos);
  raft::Message m = snapshot(1000);
  m.term = m.term + 1;
  refused(m, "a snapshot at index 1000 without its database");

  // The whole one is kept, and lets one message pass, of its index alone.
  EXPECT_EQ(keep(whole, 1001), "");
  refused(m, "a snapshot at index 1000 without its database");
  m = snapshot(1001);  // of the term that this member leads in: raft itself ignores it
  EXPECT_EQ(post(m), "");
  refused(m, "a snapshot at index 1001 without its database");
}

TEST_F(Hostile, AFloodFillsNoLog) {
  const size_t before = life.log.count("rejected Raft message");
  for (int i = 0; i < 1000; ++i) {
    std::vector<raft::Message> one{from_other(MessageType::kHup)};
    life.member().peer_handler().received(std::move(one), nullptr);
  }
  life.pass(2 * io::kSecond);
  EXPECT_EQ(life.log.count("rejected Raft message"), before + LineLimit::kLinesMax);
  send(from_other(MessageType::kHup));
  EXPECT_TRUE(life.log.contains(fmt::format("lines-kept-back={}", 1000 - LineLimit::kLinesMax)));
  serves();
}

}  // namespace
}  // namespace quoin::server

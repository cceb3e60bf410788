// The memory log, the unstable tail, and the follower's window.
#include <gtest/gtest.h>

#include <deque>
#include <map>

#include "base/prng.h"
#include "raft/describe.h"
#include "raft/memory_storage.h"
#include "raft/rawnode.h"
#include "raft/render.h"
#include "raft/tracker/inflights.h"
#include "raft/unstable.h"

namespace quoin::raft {
namespace {

Entry entry(uint64_t term, uint64_t index) {
  return {Term{term}, Index{index}, EntryType::kNormal, Blob()};
}
std::vector<Entry> entries(uint64_t term, uint64_t from, uint64_t to) {
  std::vector<Entry> out;
  for (uint64_t i = from; i < to; ++i) out.push_back(entry(term, i));
  return out;
}

// A log as a map from index to term.
struct SlowLog {
  std::map<Index, Term> terms{{Index{0}, Term{0}}};  // the first one is the compaction point
  Index first() const { return terms.begin()->first + 1; }
  Index last() const { return terms.rbegin()->first; }
};

TEST(MemoryStorage, AgreesWithAMap) {
  Prng rng(5);
  for (int run = 0; run < 50; ++run) {
    MemoryStorage log;
    SlowLog twin;
    for (uint64_t step = 1; step < 200; ++step) {
      if (rng.chance(2, 3)) {
        // Over what is there, from below the compaction point on if need be.
        const uint64_t lo = twin.first().v > 3 ? twin.first().v - 3 : 1;
        const uint64_t from = rng.between(lo, twin.last().v + 1);
        const uint64_t to = from + rng.below(6);
        log.append(entries(step, from, to));
        for (uint64_t i = std::max(from, twin.first().v); i < to; ++i) {
          // The first one that counts cuts off what was there from its place on.
          if (i == std::max(from, twin.first().v))
            twin.terms.erase(twin.terms.lower_bound(Index{i}), twin.terms.end());
          twin.terms[Index{i}] = Term{step};
        }
      } else if (twin.last() >= twin.first()) {
        const Index at{rng.between(twin.first().v, twin.last().v)};
        ASSERT_TRUE(log.compact(at).has_value());
        twin.terms.erase(twin.terms.begin(), twin.terms.find(at));
        ASSERT_EQ(log.compact(at).error().code(), Code::kLogCompacted);
      }
      ASSERT_EQ(log.first_index(), twin.first());
      ASSERT_EQ(log.last_index(), twin.last());
      ASSERT_EQ(log.bytes(), (twin.terms.size() - 1) * sizeof(Entry));
      for (const auto& [i, t] : twin.terms) ASSERT_EQ(*log.term(i), t) << i.v;
      ASSERT_EQ(log.term(twin.last() + 1).error().code(), Code::kLogUnavailable);
      if (twin.first() == Index{1}) continue;
      ASSERT_EQ(log.term(twin.first() - 2).error().code(), Code::kLogCompacted);
    }
  }
}

TEST(MemoryStorage, ReadsAtLeastOneEntryWithinTheLimit) {
  MemoryStorage log;
  log.append(entries(1, 1, 6));
  const uint64_t each = encoded_size(entry(1, 1));
  const struct {
    uint64_t bytes_max;
    size_t count;
  } kCases[] = {{0, 1}, {each - 1, 1}, {each, 1}, {2 * each - 1, 1}, {2 * each, 2}, {kUnlimited, 4}};
  for (const auto& c : kCases) {
    std::vector<Entry> out;
    ASSERT_TRUE(log.entries(Index{1}, Index{5}, c.bytes_max, out).has_value());
    EXPECT_EQ(out.size(), c.count) << c.bytes_max;
  }
  ASSERT_TRUE(log.compact(Index{3}).has_value());
  std::vector<Entry> out;
  EXPECT_EQ(log.entries(Index{3}, Index{5}, 0, out).error().code(), Code::kLogCompacted);
}

TEST(MemoryStorage, BytesAreCountedAndBoundACompaction) {
  MemoryStorage log;
  std::vector<Entry> es = entries(1, 1, 11);
  for (Entry& e : es) e.data = Blob::copy(std::string(1000, 'x'));
  const uint64_t each = sizeof(Entry) + 1000;
  log.append(es);
  EXPECT_EQ(log.bytes(), 10 * each);
  EXPECT_EQ(log.compaction_within(10 * each, Index{10}), Index{0}) << "nothing to do";
  EXPECT_EQ(log.compaction_within(10 * each - 1, Index{10}), Index{1});
  EXPECT_EQ(log.compaction_within(4 * each, Index{10}), Index{6});
  EXPECT_EQ(log.compaction_within(4 * each, Index{2}), Index{2}) << "no further than the snapshot";
  EXPECT_EQ(log.compaction_within(0, Index{10}), Index{10});
  ASSERT_TRUE(log.compact(Index{6}));
  EXPECT_EQ(log.bytes(), 4 * each);
  std::vector<Entry> other = entries(2, 8, 9);
  log.append(other);
  EXPECT_EQ(log.bytes(), each + sizeof(Entry)) << "7 and the new 8 are left";
  auto snapshot = std::make_shared<Snapshot>();
  snapshot->metadata.index = Index{20};
  snapshot->metadata.term = Term{2};
  ASSERT_TRUE(log.apply_snapshot(snapshot));
  EXPECT_EQ(log.bytes(), 0u);
}

TEST(MemoryStorage, SnapshotsMoveForwardOnly) {
  MemoryStorage log;
  log.append(entries(1, 1, 10));
  const ConfState cs{.voters = {MemberId{1}}};
  ASSERT_TRUE(log.create_snapshot(Index{5}, &cs, Blob::copy("five")).has_value());
  EXPECT_FALSE(log.create_snapshot(Index{5}, &cs, Blob()).has_value());
  const auto next = log.create_snapshot(Index{7}, nullptr, Blob::copy("seven"));
  ASSERT_TRUE(next.has_value());
  EXPECT_EQ((*next)->metadata.conf_state, cs) << "unchanged where none is given";
  EXPECT_EQ((*next)->metadata.term, Term{1});
  EXPECT_FALSE(log.apply_snapshot(*next).has_value());
  auto far = std::make_shared<Snapshot>(**next);
  far->metadata.index = Index{20};
  ASSERT_TRUE(log.apply_snapshot(far).has_value());
  EXPECT_EQ(log.first_index(), Index{21});
  EXPECT_EQ(log.last_index(), Index{20});
}

// Spec 15: an acknowledgement counts only for the entry it was given for.
TEST(Unstable, AcknowledgementsOfReplacedEntriesAreIgnored) {
  struct Lines : RenderingObserver {
    bool enabled(LineLevel) const override { return true; }
    void line(LineLevel, std::string_view text) override { last = text; }
    std::string last;
  } lines;
  Unstable u(Index{5}, lines);
  auto first = entries(1, 5, 8);
  u.truncate_and_append(first);
  u.accept_in_progress();
  EXPECT_TRUE(u.next_entries().empty());
  auto second = entries(2, 6, 9);
  u.truncate_and_append(second);
  EXPECT_EQ(lines.last, "truncate the unstable entries before index 6");
  EXPECT_EQ(u.next_entries().size(), 3u);
  u.stable_to({Term{1}, Index{7}});
  EXPECT_EQ(lines.last,
            "entry at (index,term)=(7,1) mismatched with entry at (7,2) in unstable log; ignoring");
  EXPECT_EQ(u.offset(), Index{5});
  u.stable_to({Term{1}, Index{5}});
  EXPECT_EQ(u.offset(), Index{6});
  u.stable_to({Term{1}, Index{5}});
  EXPECT_EQ(lines.last, "entry at index 5 missing from unstable log; ignoring");
  auto snapshot = std::make_shared<Snapshot>();
  snapshot->metadata.index = Index{30};
  snapshot->metadata.term = Term{3};
  u.restore(snapshot);
  u.stable_to({Term{3}, Index{30}});
  EXPECT_EQ(lines.last, "entry at index 30 matched unstable snapshot; ignoring");
  u.stable_snapshot_to(Index{29});
  EXPECT_NE(u.snapshot(), nullptr);
  u.stable_snapshot_to(Index{30});
  EXPECT_EQ(u.snapshot(), nullptr);
}

TEST(Inflights, AgreesWithAQueue) {
  Prng rng(6);
  for (int run = 0; run < 100; ++run) {
    const size_t messages_max = rng.between(1, 40);
    const uint64_t bytes_max = rng.chance(1, 2) ? 0 : rng.between(1, 100);
    tracker::Inflights window(messages_max, bytes_max);
    std::deque<std::pair<Index, uint64_t>> twin;
    uint64_t bytes = 0;
    Index last;
    for (int step = 0; step < 300; ++step) {
      const bool full = twin.size() == messages_max || (bytes_max != 0 && bytes >= bytes_max);
      ASSERT_EQ(window.full(), full);
      ASSERT_EQ(window.count(), twin.size());
      if (!full && rng.chance(2, 3)) {
        last = last + rng.between(1, 3);
        const uint64_t size = rng.below(20);
        window.add(last, size);
        twin.emplace_back(last, size);
        bytes += size;
      } else if (rng.chance(1, 30)) {
        window.reset();
        twin.clear();
        bytes = 0;
      } else {
        const Index to{rng.between(last.v > 10 ? last.v - 10 : 0, last.v)};
        window.free_to(to);
        for (; !twin.empty() && twin.front().first <= to; twin.pop_front()) bytes -= twin.front().second;
      }
    }
  }
}

TEST(Config, Validation) {
  const auto text = [](Config c) { return validate(c) ? "" : std::string(validate(c).error().text()); };
  Config ok;
  ok.id = MemberId{1};
  EXPECT_EQ(text(ok), "");
  EXPECT_EQ(text({}), "cannot use none as id");
  Config c = ok;
  c.id = kApplyThread;
  EXPECT_EQ(text(c), "cannot use local target as id");
  c = ok;
  c.heartbeat_ticks = 0;
  EXPECT_EQ(text(c), "heartbeat tick must be greater than 0");
  c = ok;
  c.election_ticks = 1;
  EXPECT_EQ(text(c), "election tick must be greater than heartbeat tick");
  c = ok;
  c.inflight_messages_max = 0;
  EXPECT_EQ(text(c), "max inflight messages must be greater than 0");
  c = ok;
  c.inflight_bytes_max = 10;
  EXPECT_EQ(text(c), "max inflight bytes must be >= max message size");
  c = ok;
  c.read_only = ReadOnlyOption::kLeaseBased;
  c.check_quorum = false;
  EXPECT_EQ(text(c), "CheckQuorum must be enabled when ReadOnlyOption is ReadOnlyLeaseBased");
}

TEST(LeaderWatch, TellsChangesOnce) {
  struct Lines : RenderingObserver {
    bool enabled(LineLevel) const override { return true; }
    void line(LineLevel, std::string_view text) override { all += std::string(text) + "\n"; }
    std::string all;
  } lines;
  MemoryStorage storage;
  Prng prng(1);
  Observer quiet;
  Config c;
  c.id = MemberId{0xa};
  RawNode node(c, storage, prng, quiet);
  LeaderWatch watch;
  EXPECT_FALSE(watch.turn(node, lines));
  const auto heartbeat = [&](uint64_t from, uint64_t term) {
    Message m;
    m.type = MessageType::kHeartbeat;
    m.from = MemberId{from};
    m.term = Term{term};
    EXPECT_TRUE(node.step(std::move(m)).has_value());
    EXPECT_TRUE(watch.turn(node, lines));
    EXPECT_FALSE(watch.turn(node, lines));
  };
  heartbeat(0xb, 2);
  heartbeat(0xc, 3);
  node.forget_leader();
  EXPECT_TRUE(watch.turn(node, lines));
  EXPECT_EQ(lines.all,
            "raft.node: a elected leader b at term 2\n"
            "raft.node: a changed leader from b to c at term 3\n"
            "raft.node: a lost leader c at term 3\n");
}

}  // namespace
}  // namespace quoin::raft

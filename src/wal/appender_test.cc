#include "wal/appender.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>

#include "wal/record.h"
#include "wal/wal_test_util.h"

namespace quoin::wal {
namespace {

// A prepared segment may come and go; what counts are the names of segments.
std::vector<std::string> segments(LogMachine& m) {
  std::vector<std::string> out;
  for (const std::string& name : m.files()) {
    if (name.ends_with(".wal")) out.push_back(name);
  }
  return out;
}

void expect_entries(const Contents& contents, uint64_t first, uint64_t last) {
  ASSERT_EQ(contents.entries.size(), last + 1 - first);
  for (size_t i = 0; i < contents.entries.size(); ++i) {
    EXPECT_EQ(contents.entries[i].index, quoin::Index(first + i));
    EXPECT_EQ(contents.entries[i].data.view(), fmt::format("value {}", first + i));
  }
}
std::vector<raft::Entry> entries(uint64_t term, uint64_t first, uint64_t last) {
  std::vector<raft::Entry> out;
  for (uint64_t i = first; i <= last; ++i) out.push_back(entry(term, i, fmt::format("value {}", i)));
  return out;
}

// The types of the records of a segment, in order (wal/record.h).
std::string record_types(const std::string& file) {
  std::string out;
  for (size_t at = 0; at + kFrameHeadBytes < file.size();) {
    uint64_t head;  // little-endian, as the machine
    memcpy(&head, file.data() + at, sizeof head);
    const uint64_t length = head & ((uint64_t{1} << 56) - 1);
    if (length == 0) break;
    out += "?mescp"[static_cast<size_t>(file[at + kFrameHeadBytes + 1])];  // entry, state, crc, snapshot
    at += kFrameHeadBytes + (length + 7) / 8 * 8;
  }
  return out;
}

TEST(Appender, WhatIsAcknowledgedIsReadBack) {
  LogMachine m(1);
  m.create("metadata");
  m.save(state(1, 5, 0), entries(1, 1, 3));
  m.save(state(1, 5, 3), entries(1, 4, 4));
  m.save_snapshot(snapshot(3, 1));
  m.crash();
  const Contents c = m.must_open();
  EXPECT_EQ(c.metadata.view(), "metadata");
  EXPECT_EQ(c.hard_state, state(1, 5, 3));
  EXPECT_TRUE(c.snapshot_found);
  EXPECT_EQ(c.last_index, quoin::Index(4));
  expect_entries(c, 1, 4);
  auto valid = valid_snapshots(m.machine.fs(), LogMachine::kDir, m.machine.log());
  ASSERT_TRUE(valid.has_value());
  ASSERT_EQ(valid->size(), 2u);
  EXPECT_EQ((*valid)[1].index, quoin::Index(3));
  EXPECT_EQ((*valid)[1].conf_state, snapshot(3, 1).conf_state);
  m.restart();
  expect_entries(m.must_open(snapshot(3, 1)), 4, 4);
  m.restart();
  EXPECT_TRUE(
      text(m.open({quoin::Index(3), quoin::Term(9), {}})).starts_with("wal: snapshot mismatch: in file"));
}

TEST(Appender, BatchesQueuedDuringASyncShareTheNext) {
  LogMachine m(2);
  m.create();
  m.machine.run_until([] { return false; }, 100 * io::kMillisecond);  // the next segment is prepared
  const uint64_t syncs = m.machine.disk().syncs_done();
  std::string order;
  for (int i = 0; i < 10; ++i) {
    m.appender->save(state(1, 1, 0), entries(1, static_cast<uint64_t>(i) + 1, static_cast<uint64_t>(i) + 1),
                     [&order, i] { order += static_cast<char>('0' + i); });
  }
  EXPECT_EQ(order, "") << "never inside the call";
  EXPECT_GT(m.appender->queued_bytes(), 0u);
  EXPECT_TRUE(m.appender->busy_since().has_value());
  ASSERT_TRUE(m.machine.run_until([&] { return order.size() == 10; }));
  EXPECT_EQ(order, "0123456789");
  EXPECT_EQ(m.machine.disk().syncs_done() - syncs, 2u) << "the first alone, then nine together";
  EXPECT_EQ(m.appender->queued_bytes(), 0u);
  EXPECT_FALSE(m.appender->busy_since().has_value());
  EXPECT_EQ(m.probe.fsync_seconds.bucket(0) + m.probe.fsync_seconds.bucket(1) +
                m.probe.fsync_seconds.bucket(2) + m.probe.fsync_seconds.bucket(3),
            2u);
  m.crash();
  expect_entries(m.must_open(), 1, 10);
}

// Also where the term is the same, so that the hard state alone would not be synced.
TEST(Appender, AReceivedSnapshotsHardStateStandsBeforeTheEntriesBehindIt) {
  for (const bool at_once : {true, false}) {
    LogMachine m(1);
    m.create();
    m.save(state(1, 1, 2), entries(1, 1, 3));
    const std::string before = record_types(m.file(segments(m)[0]));
    m.appender->save_snapshot(snapshot(50, 1), nullptr);
    m.appender->save(state(1, 1, 50), {}, nullptr);
    if (!at_once) m.machine.run_until([] { return false; }, 100 * io::kMillisecond);
    m.save(state(1, 1, 51), entries(1, 51, 52));
    EXPECT_EQ(record_types(m.file(segments(m)[0])), before + "psees");
  }
}

// The leader is told of a received snapshot when this is acknowledged. A record beyond the commit counts for nothing, so
// the commit must be there by then, though neither term nor vote has changed.
TEST(Appender, AReceivedSnapshotIsThereOnceItsHardStateIsAcknowledged) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    LogMachine m(seed);
    m.create();
    m.save(state(2, 0, 0), {});
    m.appender->save_snapshot(snapshot(50, 2), nullptr);
    if (seed % 2 == 0) m.machine.run_until([] { return false; }, 100 * io::kMillisecond);
    bool done = false;
    m.appender->save(state(2, 0, 50), {}, nullptr);
    m.appender->save(state(2, 0, 50), {}, [&] { done = true; });
    ASSERT_TRUE(m.machine.run_until([&] { return done; }));
    m.crash();
    const auto valid = valid_snapshots(m.machine.fs(), LogMachine::kDir, m.machine.log());
    ASSERT_TRUE(valid.has_value());
    EXPECT_EQ(valid->back().index, quoin::Index(50)) << "seed " << seed;
  }
}

TEST(Appender, ACommitAloneIsNotSyncedAndGoesWithTheNextBatch) {
  LogMachine m(3);
  m.create();
  m.save(state(2, 1, 0), entries(2, 1, 2));
  m.machine.run_until([] { return false; }, 100 * io::kMillisecond);
  const uint64_t ops = m.machine.disk().ops_done();
  m.save(state(2, 1, 1), {});
  m.save(state(2, 1, 2), {});
  EXPECT_EQ(m.machine.disk().ops_done(), ops);
  const uint64_t syncs = m.machine.disk().syncs_done();
  m.save(state(3, 1, 2), {});  // a term is synced
  EXPECT_EQ(m.machine.disk().syncs_done(), syncs + 1);
  m.save(state(3, 1, 3), entries(3, 3, 3));
  m.save({}, entries(3, 4, 4));
  m.save(state(3, 1, 4), {});
  m.crash();
  EXPECT_EQ(m.must_open().hard_state, state(3, 1, 3)) << "the last commit was only in memory";
  m.save(state(3, 1, 4), {});
  m.close();
  m.crash();
  EXPECT_EQ(m.must_open().hard_state, state(3, 1, 4)) << "close() writes it";
  m.close(state(3, 1, 5));
  m.crash();
  EXPECT_EQ(m.must_open().hard_state, state(3, 1, 5));
}

TEST(Appender, AHardStateStandsBeforeTheSnapshotRecordThatNeedsIt) {
  LogMachine m(4);
  m.create();
  m.save(state(1, 1, 0), entries(1, 1, 9));
  m.save(state(1, 1, 9), {});
  m.save_snapshot(snapshot(9, 1));
  m.crash();
  auto valid = valid_snapshots(m.machine.fs(), LogMachine::kDir, m.machine.log());
  ASSERT_TRUE(valid.has_value());
  EXPECT_EQ(valid->back().index, quoin::Index(9)) << "a record beyond the last commit would not count";
  EXPECT_TRUE(record_types(m.file(segments(m)[0])).ends_with("sp")) << "wherever the write is cut off";
}

// Term and vote outlive the segments they were written to, also over a restart in between.
TEST(Appender, EverySegmentBeginsWithTheHardState) {
  LogMachine m(4, {.segment_bytes = 4096});
  m.create();
  m.save(state(3, 7, 0), {entry(3, 1)});
  uint64_t last = 1;
  const auto fill = [&] {
    for (int i = 0; i < 40; ++i) m.save({}, {entry(3, ++last, std::string(200, 'x'))});
  };
  fill();
  m.restart();
  m.must_open();
  fill();
  m.save(state(3, 7, last), {});
  m.save_snapshot(snapshot(last, 3));
  m.appender->release_lock_to(quoin::Index(last));
  bool purged = false;
  m.appender->purge(1, [&](Result<> r) { purged = r.has_value(); });
  ASSERT_TRUE(m.machine.run_until([&] { return purged; }));
  for (const std::string& name : segments(m)) {
    EXPECT_TRUE(record_types(m.file(name)).starts_with("cms")) << name;
  }
  m.crash();
  EXPECT_EQ(m.must_open(snapshot(last, 3)).hard_state, state(3, 7, last));
}

// A vote that is acknowledged and then forgotten can be given twice in one term.
TEST(Appender, AVoteAloneIsSynced) {
  LogMachine m(3);
  m.create();
  m.save(state(2, 0, 0), entries(2, 1, 2));
  m.save(state(2, 5, 0), {});
  m.crash();
  EXPECT_EQ(m.must_open().hard_state, state(2, 5, 0));
}

raft::Entry conf_change_entry(uint64_t term, uint64_t index) {
  raft::Entry e = entry(term, index, fmt::format("value {}", index));
  e.type = raft::EntryType::kConfChange;
  return e;
}

// A commit that waits in memory is in the log before the next configuration change: whoever keeps the second
// change knows that the first is committed, wherever a crash cuts the write off.
TEST(Appender, TheCommitOfOneChangeStandsBeforeTheNextChange) {
  LogMachine m(1);
  m.create();
  m.save(state(1, 1, 0), {conf_change_entry(1, 1)});
  m.save(state(1, 1, 1), {});
  m.save({}, {conf_change_entry(1, 2)});
  EXPECT_EQ(record_types(m.file(segments(m)[0])), "cmpesse");
}

// Of two voters the one that is left must not wait for the one that was removed. Nothing else may follow that change.
TEST(Appender, TheCommitOfAChangeIsSynced) {
  for (const bool again : {false, true}) {
    LogMachine m(4);
    m.create();
    m.save(state(1, 1, 0), {entry(1, 1), conf_change_entry(1, 2), entry(1, 3)});
    if (again) {
      m.crash();
      ASSERT_EQ(m.must_open().last_index, quoin::Index(3));
    }
    m.save(state(1, 1, 1), {});
    m.crash();
    EXPECT_EQ(m.must_open().hard_state, state(1, 1, 0)) << "that of an ordinary entry waits in memory";
    m.save(state(1, 1, 2), {});
    m.crash();
    EXPECT_EQ(m.must_open().hard_state, state(1, 1, 2));
    m.save(state(1, 1, 3), {});
    m.crash();
    EXPECT_EQ(m.must_open().hard_state, state(1, 1, 2));
  }
  // A change that another leader's entries replaced is none.
  LogMachine m(4);
  m.create();
  m.save(state(1, 1, 0), {entry(1, 1), conf_change_entry(1, 2)});
  m.save(state(2, 1, 0), {entry(2, 2)});
  m.save(state(2, 1, 2), {});
  m.crash();
  EXPECT_EQ(m.must_open().hard_state, state(2, 1, 0));
}

// A follower that was behind gets both changes, and the commit of the first, in one batch.
TEST(Appender, TheCommitOfOneChangeStandsBeforeTheNextChangeOfItsBatch) {
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    SCOPED_TRACE(seed);
    LogMachine m(seed);
    m.create();
    m.save(state(1, 1, 1), entries(1, 1, 2));
    std::vector<raft::Entry> batch = {entry(2, 3, std::string(700, 'x')), conf_change_entry(2, 4),
                                      entry(2, 5, std::string(700, 'x')), conf_change_entry(2, 6),
                                      entry(2, 7, std::string(700, 'x'))};
    m.appender->save(state(2, 1, 5), std::move(batch), nullptr);
    m.machine.run_until([] { return false; }, static_cast<int64_t>(seed) * 2 * io::kMicrosecond);
    m.crash();
    const Contents c = m.must_open();
    EXPECT_LE(c.hard_state.commit, c.last_index);
    if (c.last_index >= quoin::Index(6)) {
      EXPECT_GE(c.hard_state.commit, quoin::Index(5));
    }
  }
  LogMachine m(1);
  m.create();
  m.save(state(1, 1, 0), {entry(1, 1)});
  m.save(state(2, 1, 4), {conf_change_entry(2, 2), conf_change_entry(2, 3), entry(2, 4)});
  EXPECT_EQ(record_types(m.file(segments(m)[0])), "cmpessesees");
  // What founds a cluster is there as a whole, or has not begun.
  LogMachine founder(2);
  founder.create();
  founder.save(state(1, 0, 2), {conf_change_entry(1, 1), conf_change_entry(1, 2)});
  EXPECT_EQ(record_types(founder.file(segments(founder)[0])), "cmpees");
}

// The record of a received snapshot comes first, then the hard state that covers it. Torn between the two,
// the record does not count and the log opens as it was.
TEST(Appender, AReceivedSnapshotTornBeforeItsHardStateIsIgnored) {
  int torn = 0, whole = 0;
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(seed);
    LogMachine m(seed);
    m.create();
    m.save(state(1, 1, 2), entries(1, 1, 3));
    m.appender->save_snapshot(snapshot(50, 2), nullptr);
    m.appender->save(state(2, 1, 50), {}, nullptr);
    m.appender->save({}, entries(2, 51, 52), nullptr);
    m.machine.run_until([] { return false; }, static_cast<int64_t>(seed) * 20 * io::kMicrosecond);
    m.crash();
    auto valid = valid_snapshots(m.machine.fs(), LogMachine::kDir, m.machine.log());
    ASSERT_TRUE(valid.has_value());
    const Contents c = m.must_open(valid->back());
    EXPECT_LE(c.hard_state.commit, c.last_index) << "a commit that nothing in the log bears out";
    ++(valid->back().index == quoin::Index(50) ? whole : torn);
  }
  EXPECT_GT(torn, 0);
  EXPECT_GT(whole, 0);
}

TEST(Appender, CutsFullSegmentsReleasesAndPurgesThem) {
  LogMachine m(5, {.segment_bytes = 4096});
  m.create();
  for (uint64_t i = 1; i <= 100; ++i) {
    m.save(state(1, 1, i - 1), {entry(1, i, std::string(200, 'x'))});
  }
  const auto names = segments(m);
  ASSERT_GT(names.size(), 5u);
  EXPECT_EQ(m.appender->locked_segments(), names);
  EXPECT_EQ(m.machine.log().count("created a new WAL segment path=/data/wal/"), names.size() - 1);
  // The state that stands at the head of each segment is the last one before it.
  uint64_t sequence;
  quoin::Index index;
  ASSERT_TRUE(parse_segment_name(names[2], &sequence, &index));
  EXPECT_EQ(sequence, 2u);

  bool purged = false;
  m.appender->purge(3, [&](Result<> r) { purged = r.has_value(); });
  ASSERT_TRUE(m.machine.run_until([&] { return purged; }));
  EXPECT_EQ(segments(m), names) << "all are locked";
  EXPECT_TRUE(m.machine.log().contains("failed to lock file"));

  m.save(state(1, 1, 100), {});
  m.save_snapshot(snapshot(60, 1));
  m.appender->release_lock_to(quoin::Index(60));
  const auto locked = m.appender->locked_segments();
  ASSERT_LT(locked.size(), names.size());
  ASSERT_TRUE(parse_segment_name(locked[0], &sequence, &index));
  EXPECT_LT(index, quoin::Index(60));
  ASSERT_TRUE(parse_segment_name(locked[1], &sequence, &index));
  EXPECT_GE(index, quoin::Index(60));
  purged = false;
  m.appender->purge(locked.size() + 1, [&](Result<> r) { purged = r.has_value(); });
  ASSERT_TRUE(m.machine.run_until([&] { return purged; }));
  EXPECT_EQ(segments(m).size(), locked.size() + 1);
  purged = false;
  m.appender->purge(1, [&](Result<> r) { purged = r.has_value(); });
  ASSERT_TRUE(m.machine.run_until([&] { return purged; }));
  EXPECT_EQ(segments(m), locked) << "up to the first that is locked";
  m.crash();
  const Contents c = m.must_open(snapshot(60, 1));
  EXPECT_EQ(c.entries.size(), 40u);
  EXPECT_EQ(c.hard_state.commit, quoin::Index(100));
  m.save(state(1, 1, 100), {entry(1, 101)});
}

TEST(Appender, AnotherProcessKeepsItsSegments) {
  LogMachine m(6, {.segment_bytes = 512});
  m.create();
  for (uint64_t i = 1; i <= 20; ++i) m.save(state(1, 1, i), {entry(1, i, std::string(200, 'x'))});
  m.appender->release_lock_to(quoin::Index(20));
  const auto names = segments(m);
  auto other = m.machine.fs().open(std::string(LogMachine::kDir) + "/" + names[1], {.write = true});
  ASSERT_TRUE(other.has_value() && (*other)->lock_ofd().has_value());
  bool purged = false;
  m.appender->purge(1, [&](Result<> r) { purged = r.has_value(); });
  ASSERT_TRUE(m.machine.run_until([&] { return purged; }));
  EXPECT_EQ(segments(m).front(), names[1]);
}

TEST(Appender, LeftoverOfAPreparedSegmentIsNotReadAsRecords) {
  LogMachine m(7, {.segment_bytes = 2048});
  m.create();
  m.save(state(1, 1, 1), entries(1, 1, 1));
  // Someone else's prepared file with valid records in it, of another log's sequence.
  const std::string old = m.file(segments(m)[0]).substr(0, 4096);
  m.restart();
  for (const char* name : {"0.tmp", "1.tmp"}) m.put(name, old + old);
  m.must_open();
  for (uint64_t i = 2; i <= 60; ++i) m.save(state(1, 1, i), entries(1, i, i));
  m.crash();
  expect_entries(m.must_open(), 1, 60);
}

TEST(Appender, CloseRemovesThePreparedSegment) {
  LogMachine m(8);
  m.create();
  m.save(state(1, 1, 1), entries(1, 1, 1));
  m.machine.run_until([] { return false; }, 100 * io::kMillisecond);
  EXPECT_EQ(m.files().size(), 2u);
  m.close();
  EXPECT_EQ(m.files(), std::vector<std::string>{segment_name(0, quoin::Index(0))});
}

// A stop waits for close(): it ends whatever the disk does, before or after it was asked for.
TEST(Appender, CloseCompletesWithTheErrorOfAFailedLog) {
  for (const bool failed_before : {true, false}) {
    for (const uint32_t op : {sim::kWrite, sim::kSync}) {
      SCOPED_TRACE(failed_before);
      LogMachine m(21);
      m.create();
      m.save(state(1, 1, 0), entries(1, 1, 1));
      m.machine.disk().inject({.ops = op, .path_contains = ".wal"});
      m.appender->save(state(1, 1, 0), entries(1, 2, 2), nullptr);
      if (failed_before) {
        ASSERT_TRUE(m.machine.run_until([&] { return m.failure.has_value(); }));
      }
      std::optional<Result<>> closed;
      m.appender->close(state(1, 1, 1), [&](Result<> r) { closed = std::move(r); });
      EXPECT_FALSE(closed.has_value()) << "never inside the call";
      ASSERT_TRUE(m.machine.run_until([&] { return closed.has_value(); }));
      ASSERT_FALSE(closed->has_value());
      EXPECT_EQ(closed->error().code(), Code::kIo);
    }
  }
}

// Housekeeping never ends a member: what can't be opened now is told and left for the next time.
TEST(Appender, ASegmentThatCannotBeOpenedIsPurgedLater) {
  LogMachine m(22, {.segment_bytes = 512});
  m.create();
  for (uint64_t i = 1; i <= 20; ++i) m.save(state(1, 1, i), {entry(1, i, std::string(200, 'x'))});
  m.machine.run_until([] { return false; }, 100 * io::kMillisecond);
  m.appender->release_lock_to(quoin::Index(20));
  const auto names = segments(m);
  std::optional<Result<>> purged;
  m.machine.disk().inject({.ops = sim::kOpen, .path_contains = ".wal"});
  m.appender->purge(1, [&](Result<> r) { purged = std::move(r); });
  ASSERT_TRUE(m.machine.run_until([&] { return purged.has_value(); }));
  EXPECT_TRUE(purged->has_value());
  EXPECT_EQ(segments(m), names);
  EXPECT_TRUE(m.machine.log().contains("failed to lock file"));
  purged.reset();
  m.appender->purge(1, [&](Result<> r) { purged = std::move(r); });
  ASSERT_TRUE(m.machine.run_until([&] { return purged.has_value(); }));
  EXPECT_LT(segments(m).size(), names.size());
  EXPECT_FALSE(m.failure.has_value());
}

TEST(Appender, FailedSyncIsReportedOnceAndNothingIsAcknowledgedAfterIt) {
  for (const uint32_t op : {sim::kWrite, sim::kSync}) {
    LogMachine m(9);
    m.create();
    m.save(state(1, 1, 0), entries(1, 1, 1));
    m.machine.disk().inject({.ops = op, .path_contains = ".wal"});
    int acknowledged = 0;
    m.appender->save(state(1, 1, 0), entries(1, 2, 2), [&] { ++acknowledged; });
    m.appender->save(state(1, 1, 0), entries(1, 3, 3), [&] { ++acknowledged; });
    ASSERT_TRUE(m.machine.run_until([&] { return m.failure.has_value(); }));
    EXPECT_EQ(m.failure->code(), Code::kIo);
    m.failure.reset();
    m.appender->save(state(1, 1, 0), entries(1, 4, 4), [&] { ++acknowledged; });
    m.machine.run_until([&] { return m.failure.has_value(); }, io::kSecond);
    EXPECT_FALSE(m.failure.has_value());
    EXPECT_EQ(acknowledged, 0);
    m.crash();
    const Contents c = m.must_open();
    ASSERT_GE(c.entries.size(), 1u);
    EXPECT_LE(c.entries.size(), 3u);
  }
}

// The process ends between the rename of a new segment and the sync of its directory, the system lives on:
// the next process sees the segment, and what it acknowledges there must outlive a power loss.
TEST(Appender, ASegmentWhoseNameWasNotSyncedIsMadeDurableByTheNextOpen) {
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    SCOPED_TRACE(seed);
    LogMachine m(seed, {.segment_bytes = 4 << 10});
    m.create();
    m.machine.disk().inject({.ops = sim::kSyncDir});
    uint64_t last = 0;
    while (!m.failure) {
      ++last;
      bool done = false;
      m.appender->save(state(1, 1, 0), {entry(1, last, std::string(500, 'x'))}, [&] { done = true; });
      m.machine.run_until([&] { return done || m.failure.has_value(); });
    }
    m.restart();
    ASSERT_EQ(m.must_open().entries.size(), last);
    m.save(state(1, 1, 0), {entry(1, last + 1, "acknowledged")});
    m.crash();
    const Contents c = m.must_open();
    ASSERT_EQ(c.entries.size(), last + 1);
    EXPECT_EQ(c.entries.back().data.view(), "acknowledged");
  }
}

TEST(Appender, AFullDiskFailsTheCutAndLosesNothing) {
  LogMachine m(10, {.segment_bytes = 64 << 10});
  m.create();
  uint64_t acknowledged = 0;
  for (uint64_t i = 1; i <= 1000 && !m.failure; ++i) {
    // The first segment gives its preallocated room back when it is cut.
    if (i == 100) m.machine.disk().set_byte_limit(300 << 10);
    m.appender->save(state(1, 1, 0), {entry(1, i, std::string(1000, 'x'))}, [&] { ++acknowledged; });
    m.machine.run_until([&] { return acknowledged == i || m.failure.has_value(); });
  }
  ASSERT_TRUE(m.failure.has_value());
  EXPECT_EQ(m.failure->code(), Code::kNoSpaceOnDevice);
  m.crash();
  m.machine.disk().set_byte_limit(UINT64_MAX);
  EXPECT_GE(m.must_open().entries.size(), acknowledged);
}

TEST(Appender, UnsafeNoFsyncNeverSyncsASegment) {
  LogMachine m(11, {.unsafe_no_fsync = true});
  m.create();
  m.machine.run_until([] { return false; }, 100 * io::kMillisecond);
  const uint64_t syncs = m.machine.disk().syncs_done();
  for (uint64_t i = 1; i <= 10; ++i) m.save(state(1, 1, i), entries(1, i, i));
  EXPECT_EQ(m.machine.disk().syncs_done(), syncs);
  m.restart();
  expect_entries(m.must_open(), 1, 10);
}

TEST(Appender, OverwrittenEntriesAreReplacedAndGapsRefused) {
  LogMachine m(12);
  m.create();
  m.save(state(1, 1, 2), entries(1, 1, 8));
  m.save(state(2, 1, 2), entries(2, 5, 6));
  m.restart();
  auto c = m.must_open();
  expect_entries(c, 1, 6);
  EXPECT_EQ(c.entries[4].term, quoin::Term(2));
  EXPECT_EQ(c.last_index, quoin::Index(6));
  m.save(state(2, 1, 2), {entry(2, 9)});
  m.restart();
  const std::string error = text(m.open());
  EXPECT_TRUE(
      error.starts_with("wal: slice bounds out of range, snapshot[Index: 0, Term: 0], current "
                        "entry[Index: 9, Term: 2], len(ents): 6: in file "))
      << error;
}

// Crashes at every operation of a run with cuts, one image after each: whatever was acknowledged by then is
// there, what follows is a prefix of what was saved, and the log can be appended to.
TEST(Appender, CrashAtEveryPointKeepsWhatWasAcknowledged) {
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    LogMachine m(seed, {.segment_bytes = 3000});
    m.create();
    uint64_t acknowledged = 0, saved = 0;
    uint64_t acknowledged_snapshot = 0;
    struct Image {
      std::unique_ptr<sim::SimDisk> disk;
      uint64_t acknowledged, saved, snapshot;
    };
    std::vector<Image> images;
    Prng prng(seed);
    m.machine.disk().set_hook([&](sim::Op, std::string_view) {
      images.push_back({m.machine.disk().crash_image(prng), acknowledged, saved, acknowledged_snapshot});
    });
    for (int round = 0; round < 25; ++round) {
      const uint64_t n = prng.between(1, 4);
      std::vector<raft::Entry> batch;
      for (uint64_t i = 0; i < n; ++i) {
        ++saved;
        batch.push_back(entry(1, saved, fmt::format("{}:{}", saved, std::string(prng.below(700), 'd'))));
      }
      m.appender->save(state(1, 1, acknowledged), std::move(batch), [&, to = saved] { acknowledged = to; });
      if (round % 6 == 5) {
        const uint64_t at = acknowledged;
        m.appender->save(state(1, 1, at), {}, {});
        m.appender->save_snapshot(snapshot(at, 1), [&, at] { acknowledged_snapshot = at; });
      }
      for (uint64_t steps = prng.below(12); steps > 0; --steps) m.machine.world().step();
    }
    ASSERT_TRUE(m.machine.run_until([&] { return acknowledged == saved; }));
    m.machine.disk().set_hook(nullptr);
    ASSERT_GT(images.size(), 50u);

    for (size_t i = 0; i < images.size(); ++i) {
      SCOPED_TRACE(fmt::format("seed {} image {}", seed, i));
      sim::SimFileSystem fs(*images[i].disk, m.machine.executor());
      sim::LogSink log;
      auto valid = valid_snapshots(fs, LogMachine::kDir, log);
      ASSERT_TRUE(valid.has_value()) << valid.error().text();
      quoin::Index newest;
      for (const SnapshotRecord& s : *valid) newest = std::max(newest, s.index);
      EXPECT_GE(newest, quoin::Index(images[i].snapshot));
      auto opened = open(fs, LogMachine::kDir, {}, {quoin::Index(images[i].acknowledged)}, log);
      ASSERT_TRUE(opened.has_value()) << opened.error().text();
      const auto& got = opened->contents.entries;
      ASSERT_GE(got.size(), images[i].acknowledged);
      ASSERT_LE(got.size(), images[i].saved);
      for (size_t k = 0; k < got.size(); ++k) {
        ASSERT_EQ(got[k].index, quoin::Index(k + 1));
        ASSERT_TRUE(got[k].data.view().starts_with(fmt::format("{}:", k + 1)));
      }
      // Going on from here gives a log that reads.
      Appender next(fs, m.machine.executor(), m.machine.process().clock(), log, m.probe, m.options,
                    std::move(opened->tail), [](Error) {});
      bool done = false;
      next.save(state(2, 1, 1), {entry(2, got.size() + 1, "next"), entry(2, got.size() + 2, "after")},
                [&] { done = true; });
      ASSERT_TRUE(m.machine.run_until([&] { return done; }));
      auto contents = read(fs, LogMachine::kDir, {}, log);
      ASSERT_TRUE(contents.has_value()) << contents.error().text();
      ASSERT_EQ(contents->entries.size(), got.size() + 2);
    }
  }
}

// One log over many lives, each ended by a crash at a random moment, with snapshots, releases, purges and
// slow syncs in between. What was acknowledged in any life is there in all later ones.
TEST(Appender, ManyLivesOfOneLog) {
  for (uint64_t seed = 1; seed <= 25; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    LogMachine m(seed, {.segment_bytes = 2500});
    m.machine.disk().latencies().slow_one_in = 5;
    m.create();
    Prng prng(seed);
    std::map<uint64_t, std::string> acknowledged;  // by index
    uint64_t last = 0, commit = 0, term = 1;
    SnapshotRecord start;
    for (int life = 0; life < 8; ++life) {
      ++term;
      for (uint64_t round = prng.between(1, 15); round > 0; --round) {
        std::vector<raft::Entry> batch;
        std::map<uint64_t, std::string> written;
        for (uint64_t n = prng.between(1, 3); n > 0; --n) {
          ++last;
          written[last] = fmt::format("{}/{} {}", term, last, std::string(prng.below(400), 'd'));
          batch.push_back(entry(term, last, written[last]));
        }
        m.appender->save(state(term, 1, commit), std::move(batch),
                         [&acknowledged, &commit, written, to = last] {
                           for (const auto& [index, data] : written) acknowledged[index] = data;
                           commit = to;
                         });
        if (prng.chance(1, 6) && commit > start.index.v) {
          // Of the term of its entry, as every snapshot.
          const SnapshotRecord record = snapshot(commit, std::stoull(acknowledged.at(commit)));
          m.appender->save(state(term, 1, commit), {}, {});
          m.appender->save_snapshot(record, [&m, &start, record] {
            start = record;
            m.appender->release_lock_to(record.index);
            m.appender->purge(2, {});
          });
        }
        for (uint64_t steps = prng.below(25); steps > 0; --steps) m.machine.world().step();
      }
      m.crash();
      auto valid = valid_snapshots(m.machine.fs(), LogMachine::kDir, m.machine.log());
      ASSERT_TRUE(valid.has_value()) << text(valid);
      ASSERT_FALSE(valid->empty());
      ASSERT_GE(valid->back().index, start.index);
      start = valid->back();
      auto opened =
          m.open(start, {quoin::Index(acknowledged.empty() ? 0 : acknowledged.rbegin()->first), false});
      ASSERT_TRUE(opened.has_value()) << text(opened);
      std::map<uint64_t, std::string> got;
      for (const raft::Entry& e : opened->contents.entries) got[e.index.v] = e.data.view();
      for (const auto& [index, data] : acknowledged) {
        if (index <= start.index.v) continue;
        ASSERT_EQ(got[index], data) << index;
      }
      last = std::max(start.index.v, got.empty() ? 0 : got.rbegin()->first);
      commit = std::max(start.index.v, opened->contents.hard_state.commit.v);
      ASSERT_LE(commit, last);
      m.append_to(std::move(*opened));
    }
  }
}

// Fails the first operation, then the second, ... until the run is clean: each time either an error is
// reported or everything is acknowledged, and what is acknowledged is there after a crash.
TEST(Appender, FailingEveryOperationInTurn) {
  bool clean = false;
  for (uint64_t n = 0; !clean; ++n) {
    ASSERT_LT(n, 500u);
    LogMachine m(n, {.segment_bytes = 3000});
    m.create();
    m.machine.disk().inject({.ops = sim::kChangingOps, .skip = n});
    uint64_t acknowledged = 0;
    for (uint64_t i = 1; i <= 30; ++i) {
      m.appender->save(state(1, 1, i - 1), {entry(1, i, std::string(300, 'x'))},
                       [&, i] { acknowledged = i; });
      if (i % 3 == 0) m.machine.run_until([&] { return acknowledged == i || m.failure.has_value(); });
    }
    clean = m.machine.run_until([&] { return acknowledged == 30 || m.failure.has_value(); }) && !m.failure &&
            m.machine.disk().ops_done() < n;
    ASSERT_TRUE(acknowledged == 30 || m.failure.has_value());
    m.crash();
    auto opened = m.open();
    ASSERT_TRUE(opened.has_value()) << n << ": " << opened.error().text();
    EXPECT_GE(opened->contents.entries.size(), acknowledged) << n;
  }
}

}  // namespace
}  // namespace quoin::wal

// Logs whose end is torn or damaged: what is cut, what is refused, and what stands beyond the damage.
#include <gtest/gtest.h>

#include "raft/codec.h"
#include "wal/record.h"
#include "wal/segment_reader.h"
#include "wal/wal.h"
#include "wal/wal_test_util.h"

namespace quoin::wal {
namespace {

const std::string kFirst = segment_name(0, quoin::Index(0));

// Where the frame of an entry begins in the first segment.
uint64_t frame_of_entry(LogMachine& m, uint64_t index) {
  auto file = m.machine.fs().open(std::string(LogMachine::kDir) + "/" + kFirst, {});
  CHECK(file.has_value());
  SegmentReader reader(**file, kFirst, *(*file)->size(), 0, true);
  while (true) {
    auto record = reader.next();
    CHECK(record.has_value() && record->has_value());
    if ((*record)->type == RecordType::kCrc) reader.set_crc((*record)->crc);
    if ((*record)->type != RecordType::kEntry) continue;
    if (raft::decode_entry((*record)->data)->index == quoin::Index(index)) return (*record)->offset;
  }
}

// A log whose last record is damaged in some way, and what becomes of it (spec storage-formats 3.6).
TEST(WalRepair, TornAndCorruptTails) {
  // Entries 1..3, the last one spanning several sectors.
  LogMachine base(9);
  base.create();
  base.save(state(1, 1, 1), {entry(1, 1, std::string(300, 'a'))});
  base.save(state(1, 1, 1), {entry(1, 2, std::string(300, 'b'))});
  base.restart();
  const uint64_t end2 = base.open()->tail.offset;
  base.must_open();
  base.save(state(1, 1, 1), {entry(1, 3, std::string(2000, 'c'))});
  base.restart();
  const uint64_t end3 = base.open()->tail.offset;
  const std::string good = base.file(kFirst).substr(0, end3 + 8192);  // the rest is zeros as well

  struct Case {
    const char* what;
    std::function<void(std::string&)> damage;
    size_t entries;     // left after opening
    std::string error;  // "" : opens; the repaired file is kept
    bool repaired;
  };
  const uint64_t sector = (end2 / 512 + 2) * 512;
  const Case cases[] = {
      {"nothing", [](std::string&) {}, 3, "", false},
      {"length field zeroed", [&](std::string& s) { s.replace(end2, 8, 8, '\0'); }, 2, "", false},
      {"cut in the length field", [&](std::string& s) { s.resize(end2 + 5); }, 2, "", true},
      {"cut in the record", [&](std::string& s) { s.resize(end2 + 100); }, 2, "", true},
      {"cut before the padding", [&](std::string& s) { s.resize(end3 - 1); }, 2, "", true},
      {"length beyond the file", [&](std::string& s) { s[end2 + 5] = '\x7f'; }, 2, "", true},
      {"a sector of zeros", [&](std::string& s) { s.replace(sector, 512, 512, '\0'); }, 2, "", true},
      {"zeros from a sector on",
       [&](std::string& s) { s.replace(sector, end3 - sector, end3 - sector, '\0'); }, 2, "", true},
      {"record zeroed behind its length",
       [&](std::string& s) { s.replace(end2 + 8, end3 - end2 - 8, end3 - end2 - 8, '\0'); }, 2, "", true},
      {"half a sector of zeros", [&](std::string& s) { s.replace(sector, 256, 256, '\0'); }, 0,
       fmt::format("position: {}", end2), false},
      {"a flipped bit", [&](std::string& s) { s[end2 + 200] ^= 4; }, 0, fmt::format("position: {}", end2),
       false},
      {"a flipped bit in an earlier record", [&](std::string& s) { s[end2 - 100] ^= 4; }, 0,
       "position: ", false},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.what);
    LogMachine m(10);
    std::string bytes = good;
    c.damage(bytes);
    m.put(kFirst, bytes);
    auto opened = m.open();
    if (!c.error.empty()) {
      ASSERT_FALSE(opened.has_value());
      EXPECT_EQ(opened.error().code(), Code::kCorruption);
      EXPECT_NE(opened.error().text().find("in file '" + kFirst + "'"), std::string_view::npos);
      EXPECT_NE(opened.error().text().find(c.error), std::string_view::npos) << opened.error().text();
      EXPECT_EQ(m.file(kFirst), bytes) << "left as it is";
      continue;
    }
    ASSERT_TRUE(opened.has_value()) << text(opened);
    EXPECT_EQ(opened->contents.entries.size(), c.entries);
    EXPECT_EQ(m.machine.log().count("repaired WAL"), c.repaired ? 1u : 0u);
    if (c.repaired) {
      EXPECT_EQ(m.file(kFirst + ".broken"), bytes);
      EXPECT_EQ(m.file(kFirst).size(), end2);
    }
    const uint64_t next = c.entries + 1;
    m.append_to(std::move(*opened));
    m.save(state(1, 1, 1), {entry(1, next, "after")});
    m.crash();
    EXPECT_EQ(m.must_open().entries.size(), next);
    EXPECT_EQ(text(read(m.machine.fs(), LogMachine::kDir, {}, m.machine.log())), "ok");
  }
}

TEST(WalRepair, TornTailInAnEarlierSegmentIsCorruption) {
  LogMachine m(11, {.segment_bytes = 1024});
  m.create();
  for (uint64_t i = 1; i <= 12; ++i) m.save(state(1, 1, 1), {entry(1, i, std::string(200, 'x'))});
  m.restart();
  const std::string first = m.file(kFirst);
  m.put(kFirst, first.substr(0, first.size() - 3));
  auto opened = m.open();
  ASSERT_FALSE(opened.has_value());
  EXPECT_EQ(opened.error().code(), Code::kCorruption);
  EXPECT_NE(opened.error().text().find("unexpected EOF: in file '" + kFirst + "'"), std::string_view::npos)
      << opened.error().text();
}

TEST(WalRepair, RefusesToCutWhatIsKnownToHaveBeenAcknowledged) {
  LogMachine base(12);
  base.create();
  for (uint64_t i = 1; i <= 6; ++i) base.save(state(1, 1, i - 1), {entry(1, i, std::string(700, 'x'))});
  base.save(state(1, 1, 6), {});
  base.save_snapshot(snapshot(6, 1));
  base.restart();
  const uint64_t end = base.open()->tail.offset;
  const std::string good = base.file(kFirst).substr(0, end + 8192);  // the rest is zeros as well
  const uint64_t frame4 = frame_of_entry(base, 4);
  const uint64_t sector = (frame4 / 512 + 1) * 512;  // inside entry 4

  std::string torn = good;
  torn.replace(sector, 512, 512, '\0');
  std::string torn_without_record = torn;  // the snapshot record is gone too
  torn_without_record.resize(end - 40);
  std::string zero_length = good;
  // A follower's: nothing of it is committed yet, but each entry was a write of its own.
  LogMachine follower(12);
  follower.create();
  for (uint64_t i = 1; i <= 6; ++i) follower.save(state(i, 1, 0), {entry(i, i, std::string(700, 'x'))});
  follower.restart();
  std::string uncommitted = follower.file(kFirst).substr(0, follower.open()->tail.offset + 8192);
  uncommitted.replace((frame_of_entry(follower, 4) / 512 + 1) * 512, 512, 512, '\0');

  // Behind the damage nothing but one write: entry 6 and a hard state that commits 5.
  std::string hard_state_alone = good;
  const uint64_t frame5 = frame_of_entry(base, 5), frame6 = frame_of_entry(base, 6);
  const uint64_t hole = (frame5 / 512 + 1) * 512;
  hard_state_alone.replace(hole, frame6 - hole, frame6 - hole, '\0');
  hard_state_alone.resize(frame6 + 700 + 80);
  hard_state_alone += std::string(8192, '\0');

  struct Case {
    const char* what;
    std::string bytes;
    OpenOptions options;
    bool refused;
    const char* proof;
  };
  zero_length.replace(frame4, 8, 8, '\0');
  const Case cases[] = {
      {"consistent index", torn_without_record, {quoin::Index(5), false}, true, "(consistent index)"},
      {"snapshot record", torn, {quoin::Index(0), false}, true, "(snapshot record beyond the damage)"},
      {"zeroed length field",
       zero_length,
       {quoin::Index(0), false},
       true,
       "(snapshot record beyond the damage)"},
      {"allowed", torn, {quoin::Index(6), true}, false, ""},
      {"hard state",
       hard_state_alone,
       {quoin::Index(0), false, true},
       true,
       "(hard state beyond the damage)"},
      {"not alone", hard_state_alone, {quoin::Index(0), false, false}, false, ""},
      {"a later write",
       uncommitted,
       {quoin::Index(0), false},
       true,
       "(a later write stands beyond the damage)"},
      {"allowed without a record", torn_without_record, {quoin::Index(0), true}, false, ""},
      {"nothing beyond",
       good.substr(0, sector) + std::string(8192, '\0'),
       {quoin::Index(3), false},
       false,
       ""},
      {"clean", good, {quoin::Index(6), false}, false, ""},
      {"clean end before the db", good, {quoin::Index(9), false}, true, "(consistent index)"},
      {"the same, allowed", good, {quoin::Index(9), true}, false, ""},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.what);
    LogMachine m(13);
    m.put(kFirst, c.bytes);
    auto opened = m.open({}, c.options);
    EXPECT_EQ(!opened.has_value(), c.refused) << text(opened);
    if (opened) continue;
    EXPECT_EQ(opened.error().code(), Code::kCorruption);
    EXPECT_NE(opened.error().text().find(c.proof), std::string_view::npos) << opened.error().text();
    EXPECT_NE(opened.error().text().find("file '" + kFirst + "' breaks off at position"),
              std::string_view::npos);
    EXPECT_EQ(m.file(kFirst), c.bytes) << "left as it is";
  }
}

// One write of many records, of which a power loss kept a later sector and lost an earlier one: no record of it
// was acknowledged, so it is cut without a word.
TEST(WalRepair, AHoleInTheLastWriteIsATornTail) {
  LogMachine base(14);
  base.create();
  base.save(state(1, 1, 1), {entry(1, 1)});
  base.save(state(1, 1, 2), {entry(1, 2)});
  std::vector<raft::Entry> batch;
  for (uint64_t i = 3; i <= 8; ++i) batch.push_back(entry(1, i, std::string(700, 'x')));
  base.save(state(1, 1, 3), batch);
  base.restart();
  std::string bytes = base.file(kFirst).substr(0, base.open()->tail.offset + 8192);
  bytes.replace((frame_of_entry(base, 5) / 512 + 1) * 512, 512, 512, '\0');
  LogMachine m(15);
  m.put(kFirst, bytes);
  auto opened = m.open({}, {quoin::Index(2), false});
  ASSERT_TRUE(opened) << text(opened);
  EXPECT_EQ(opened->contents.entries.size(), 4u);
}

// What one write may hold: a hard state before a batch with a configuration change, and commits that etcd had left
// unsynced. A hole in front of them is a torn tail.
TEST(WalRepair, AHardStateInTheMidstOfAWriteIsNoLaterWrite) {
  for (const bool own : {true, false}) {
    SCOPED_TRACE(own ? "a configuration change in a group" : "etcd's commits in front of entries");
    LogMachine base(16);
    base.create();
    base.save(state(1, 1, 1), {entry(1, 1)});
    base.restart();
    auto opened = base.open();
    const uint64_t begin = opened->tail.offset;
    BatchEncoder encoder(opened->tail.crc);
    std::vector<raft::Entry> entries;  // the encoder keeps views
    for (uint64_t i = 2; i <= 4; ++i) entries.push_back(entry(1, i, std::string(700, 'x')));
    if (own) {
      entries[1].type = raft::EntryType::kConfChange;
      encoder.add_entry(entries[0]);
      encoder.add_state(state(1, 1, 1));
    } else {
      for (uint64_t commit = 2; commit < 20; ++commit) encoder.add_state(state(1, 1, commit));
      encoder.add_entry(entries[0]);
    }
    encoder.add_entry(entries[1]);
    encoder.add_entry(entries[2]);
    encoder.add_state(state(1, 1, 20));
    std::string bytes = base.file(kFirst).substr(0, begin);
    for (const std::string_view part : encoder.parts()) bytes += part;
    bytes += std::string(8192, '\0');
    const uint64_t hole = (begin / 512 + 1) * 512;
    bytes.replace(hole, 512, 512, '\0');
    LogMachine m(17);
    m.put(kFirst, bytes);
    auto again = m.open({}, {quoin::Index(1), false});
    EXPECT_TRUE(again) << text(again);
  }
}

// Between two runs of entries with their hard states something may be lost, too: here the configuration change because
// of which the first hard state stands where it stands. Nothing shows then that the second run is a later write.
TEST(WalRepair, WhatIsLostBetweenTwoRunsMayJoinThem) {
  for (const bool lost : {true, false}) {
    SCOPED_TRACE(lost ? "the change is lost" : "nothing is lost between");
    LogMachine base(21);
    base.create();
    base.save(state(1, 1, 1), {entry(1, 1)});
    base.restart();
    auto opened = base.open();
    const uint64_t begin = opened->tail.offset;
    BatchEncoder encoder(opened->tail.crc);
    std::vector<raft::Entry> entries;  // the encoder keeps views
    for (uint64_t i = 2; i <= 5; ++i) entries.push_back(entry(1, i, std::string(1500, 'x')));
    entries[2].type = raft::EntryType::kConfChange;
    encoder.add_entry(entries[0]);
    encoder.add_entry(entries[1]);
    encoder.add_state(state(1, 1, 2));
    const uint64_t change = begin + encoder.bytes();
    if (lost) encoder.add_entry(entries[2]);
    const uint64_t behind = begin + encoder.bytes();
    encoder.add_entry(entries[3]);
    encoder.add_state(state(1, 1, 4));
    std::string bytes = base.file(kFirst).substr(0, begin);
    for (const std::string_view part : encoder.parts()) bytes += part;
    bytes += std::string(8192, '\0');
    bytes.replace((begin / 512 + 1) * 512, 512, 512, '\0');
    bytes.replace(change, behind - change, behind - change, '\0');
    LogMachine m(22);
    m.put(kFirst, bytes);
    const auto again = m.open({}, {quoin::Index(1), false});
    EXPECT_EQ(again.has_value(), lost) << text(again);
  }
}

// The record of a received snapshot goes to the log with what was queued in front of it: a hole there is a torn tail.
// Whoever made the snapshot itself had synced all that it is of: there it is damage.
TEST(WalRepair, ARecordBehindAHoleProvesSomethingOfAnOwnSnapshotAlone) {
  for (const bool own : {true, false}) {
    SCOPED_TRACE(own ? "made here" : "received");
    LogMachine base(18);
    base.create();
    base.save(state(1, 1, 1), {entry(1, 1)});
    base.restart();
    auto opened = base.open();
    const uint64_t begin = opened->tail.offset;
    BatchEncoder encoder(opened->tail.crc);
    std::vector<raft::Entry> entries;  // the encoder keeps views
    for (uint64_t i = 2; i <= 4; ++i) entries.push_back(entry(1, i, std::string(700, 'x')));
    for (const raft::Entry& e : entries) encoder.add_entry(e);
    const raft::Entry behind = entry(2, 51);
    if (own) {
      encoder.add_state(state(1, 1, 4));
      encoder.add_snapshot(snapshot(4, 1));
    } else {
      encoder.add_state(state(2, 0, 1));
      encoder.add_snapshot(snapshot(50, 2));
      encoder.add_state(state(2, 0, 50));
      encoder.add_entry(behind);
      encoder.add_state(state(2, 0, 51));
    }
    std::string bytes = base.file(kFirst).substr(0, begin);
    for (const std::string_view part : encoder.parts()) bytes += part;
    bytes += std::string(8192, '\0');
    bytes.replace((begin / 512 + 1) * 512, 512, 512, '\0');
    LogMachine m(19);
    m.put(kFirst, bytes);
    auto again = m.open({}, {quoin::Index(1), false});
    EXPECT_EQ(again.has_value(), !own) << text(again);
    if (own) {
      EXPECT_NE(again.error().text().find("(snapshot record beyond the damage)"), std::string_view::npos)
          << again.error().text();
    } else if (again) {
      EXPECT_EQ(again->contents.entries.size(), 1u);
      EXPECT_EQ(again->contents.hard_state, state(1, 1, 1));
      LogMachine knows_better(20);
      knows_better.put(kFirst, bytes);
      const auto refused = knows_better.open({}, {quoin::Index(50), false});
      ASSERT_FALSE(refused.has_value()) << "the database holds the snapshot";
      EXPECT_EQ(refused.error().code(), Code::kCorruption);
    }
  }
}

// Flips every byte of a log of two segments, one at a time. Each flip is reported by file and position, or
// (in the last segment) cut as a torn tail is, or changes nothing that is read. Counted apart; a lost entry
// without an error is allowed in the second class only.
TEST(WalRepair, EveryFlippedByteIsReportedOrListed) {
  LogMachine base(14, {.segment_bytes = 2048});
  base.create();
  for (uint64_t i = 1; i <= 12; ++i) {
    base.save(state(1, 1, i - 1), {entry(1, i, fmt::format("{}:{}", i, std::string(20 * i, 'v')))});
  }
  base.save_snapshot(snapshot(4, 1));
  base.save(state(1, 1, 12), {entry(1, 13, "last")});
  base.restart();
  const auto names = base.files();
  std::vector<std::pair<std::string, std::string>> good;
  for (const std::string& name : names) {
    if (name.ends_with(".wal")) good.push_back({name, base.file(name)});
  }
  ASSERT_EQ(good.size(), 2u);
  const Contents expected = base.open()->contents;
  ASSERT_EQ(expected.entries.size(), 13u);

  std::map<std::string, int> outcome;
  for (size_t segment = 0; segment < good.size(); ++segment) {
    const std::string& bytes = good[segment].second;
    const size_t used = bytes.find_last_not_of('\0') + 1;
    for (size_t at = 0; at < used; ++at) {
      std::string damaged = bytes;
      damaged[at] = static_cast<char>(damaged[at] ^ (1 << (at % 8)));
      LogMachine m(15);
      m.put(good[0].first, segment == 0 ? damaged : good[0].second);
      m.put(good[1].first, segment == 1 ? damaged : good[1].second);
      auto opened = m.open({}, {quoin::Index(13), false});
      if (!opened) {
        const std::string error(opened.error().text());
        const bool named = error.find(good[segment].first) != std::string::npos ||
                           // A damaged first segment may show only when the next one restates the checksum.
                           error.find("in file '") != std::string::npos;
        EXPECT_TRUE(named) << error << " at " << at;
        ++outcome[error.find("damaged tail") != std::string::npos ? "refused" : "reported"];
        continue;
      }
      const bool same = opened->contents.entries.size() == 13 &&
                        opened->contents.hard_state == expected.hard_state &&
                        opened->contents.entries.back().data.view() == "last";
      if (same) {
        ++outcome["harmless"];
        continue;
      }
      // A length field that points beyond the file, in the last record: a hard state that only moved the
      // commit, which may be lost at any time.
      EXPECT_EQ(segment, 1u) << "lost without a word at " << at;
      EXPECT_EQ(opened->contents.entries.size(), 13u);
      EXPECT_EQ(opened->contents.entries.back().data.view(), "last");
      EXPECT_EQ(opened->contents.hard_state, state(1, 1, 11));
      ++outcome["cut"];
    }
  }
  EXPECT_LE(outcome["cut"], 8);
  EXPECT_GT(outcome["reported"], 2000);
  // Padding, and the bits of a length field that nobody reads.
  EXPECT_LT(outcome["harmless"], 200);
  RecordProperty("cut", outcome["cut"]);
  RecordProperty("reported", outcome["reported"]);
  RecordProperty("refused", outcome["refused"]);
  RecordProperty("harmless", outcome["harmless"]);
}

}  // namespace
}  // namespace quoin::wal

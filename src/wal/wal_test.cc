#include "wal/wal.h"

#include <gtest/gtest.h>

#include "base/coding.h"
#include "base/crc32c.h"
#include "raft/codec.h"
#include "wal/record.h"
#include "wal/segment_reader.h"
#include "wal/wal_test_util.h"

namespace quoin::wal {
namespace {

const std::string kFirst = segment_name(0, quoin::Index(0));

std::string unhex(std::string_view digits) {
  std::string out, clean;
  for (char c : digits) {
    if (c != ' ' && c != '|') clean += c;
  }
  CHECK(clean.size() % 2 == 0);
  for (size_t i = 0; i < clean.size(); i += 2) {
    uint64_t v = 0;
    CHECK(parse_hex(std::string_view(clean).substr(i, 2), &v));
    out += static_cast<char>(v);
  }
  return out;
}

std::string bytes_of(const BatchEncoder& encoder) {
  std::string out;
  for (std::string_view part : encoder.parts()) out += part;
  return out;
}

TEST(WalNames, SegmentNames) {
  EXPECT_EQ(segment_name(1, quoin::Index(0x63)), "0000000000000001-0000000000000063.wal");
  uint64_t sequence;
  quoin::Index index;
  EXPECT_TRUE(parse_segment_name("000000000000000a-00000000000000ff.wal", &sequence, &index));
  EXPECT_EQ(sequence, 10u);
  EXPECT_EQ(index, quoin::Index(255));
  for (std::string_view bad :
       {"0.tmp", "000000000000000a-00000000000000ff.wal.broken", "000000000000000a_00000000000000ff.wal",
        "00000000000000g0-00000000000000ff.wal", "a-b.wal", ""}) {
    EXPECT_FALSE(parse_segment_name(bad, &sequence, &index)) << bad;
  }
}

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

// The examples of spec storage-formats 3.2, from files of a real etcd.
TEST(WalFormat, BytesOfTheSheet) {
  BatchEncoder encoder(0);
  encoder.add_crc();
  const std::string metadata = unhex("08 8df2f48ec1f7a6d7bd01 10 aaf4e5f599f3ebe7d101");
  encoder.add_metadata(metadata);
  encoder.add_snapshot({});
  const std::string expected =
      unhex("0400 0000 0000 0084 0804 1000 0000 0000") +
      unhex("1f00 0000 0000 0081 0801 10c0 eee0 5a 1a16 08 8df2f48ec1f7a6d7bd01 10 aaf4e5f599f3ebe7d101 00") +
      unhex("0d00 0000 0000 0083 0805 10b6 f7e4 58 1a04 0800 1000 000000");
  EXPECT_EQ(hex_bytes(bytes_of(encoder)), hex_bytes(expected));
  EXPECT_EQ(encoder.crc(), 0x0b193bb6u);

  // The head of the second segment.
  BatchEncoder second(0x6c51b2c8);
  second.add_crc();
  EXPECT_EQ(hex_bytes(bytes_of(second)), hex_bytes(unhex("0800 0000 0000 0000 0804 10c8 e5c6 e206")));

  // A hard state and an empty entry: their data, behind a checksum that depends on what the sheet leaves out.
  const auto data_of = [](const BatchEncoder& e) {
    const std::string frame = bytes_of(e);
    EXPECT_EQ(frame.size() % 8, 0u);
    return hex_bytes(frame.substr(frame.find("\x1a\x06"), 8));
  };
  BatchEncoder third(0), fourth(0);
  third.add_state(state(1, 0, 1));
  EXPECT_EQ(data_of(third), "1a06080110001801");
  fourth.add_entry(entry(2, 2));
  EXPECT_EQ(data_of(fourth), "1a06080010021802");
}

TEST(WalFormat, LargeDataIsReferredToAndSmallDataCopied) {
  const std::string data(3000, 'L');
  BatchEncoder by_parts(7), by_copy(7);
  const raft::Entry large = entry(3, 9, data), small = entry(3, 10, "small");
  by_parts.add_entry(large);
  by_parts.add_entry(small);
  bool referred = false;
  for (std::string_view part : by_parts.parts()) referred |= part.data() == large.data.view().data();
  EXPECT_TRUE(referred);
  EXPECT_EQ(by_parts.parts().size(), 3u);
  EXPECT_EQ(bytes_of(by_parts).size(), by_parts.bytes());
  const uint32_t crc = by_parts.crc();
  by_parts.clear();
  EXPECT_TRUE(by_parts.empty());
  EXPECT_EQ(by_parts.crc(), crc) << "the rolling checksum goes on";
}

TEST(WalCreate, MakesTheFirstSegmentDurable) {
  LogMachine m(1);
  EXPECT_FALSE(*exists(m.machine.fs(), LogMachine::kDir));
  auto created = create(m.machine.fs(), LogMachine::kDir, "meta", m.machine.log());
  ASSERT_TRUE(created.has_value()) << text(created);
  EXPECT_TRUE(created->contents.snapshot_found);
  EXPECT_EQ(created->tail.segments.size(), 1u);
  EXPECT_EQ(*m.machine.fs().permissions(LogMachine::kDir), 0700u);
  created = OpenedLog{};
  m.crash();
  EXPECT_TRUE(*exists(m.machine.fs(), LogMachine::kDir));
  EXPECT_EQ(m.file(kFirst).size(), kSegmentBytes);
  EXPECT_EQ(text(create(m.machine.fs(), LogMachine::kDir, "meta", m.machine.log())), "file already exists");
  EXPECT_EQ(m.must_open().metadata.view(), "meta");
}

TEST(WalCreate, ACrashAtAnyPointLeavesAllOrNothing) {
  bool finished = false;
  for (uint64_t n = 0; !finished; ++n) {
    ASSERT_LT(n, 40u);
    LogMachine m(n);
    m.machine.disk().lose_power_after(n);
    finished = create(m.machine.fs(), LogMachine::kDir, "meta", m.machine.log()).has_value();
    m.crash();
    auto there = exists(m.machine.fs(), LogMachine::kDir);
    ASSERT_TRUE(there.has_value());
    if (finished) {
      EXPECT_TRUE(*there);
    }
    if (!*there) m.create();
    m.restart();
    EXPECT_EQ(m.must_open().metadata.view(), "meta");
  }
}

TEST(WalCreate, FailureLeavesNothing) {
  LogMachine m(3);
  m.machine.disk().set_byte_limit(1 << 20);
  auto created = create(m.machine.fs(), LogMachine::kDir, "meta", m.machine.log());
  ASSERT_FALSE(created.has_value());
  EXPECT_EQ(created.error().code(), Code::kNoSpaceOnDevice);
  EXPECT_EQ(m.machine.disk().list_visible(), std::vector<std::string>{"/data/"});
}

TEST(WalOpen, NamesAndSelection) {
  LogMachine m(4);
  EXPECT_EQ(m.open().error().code(), Code::kFileNotFound);
  ASSERT_TRUE(m.machine.fs().make_dir(LogMachine::kDir, 0700).has_value());
  EXPECT_EQ(text(m.open()), "openAtIndex failed: [openAtIndex] selectWALFiles failed: wal: file not found");
  EXPECT_EQ(text(valid_snapshots(m.machine.fs(), LogMachine::kDir, m.machine.log())), "wal: file not found");
  m.put(segment_name(3, quoin::Index(10)), "");
  m.put("something.else", "");
  EXPECT_EQ(text(m.open({quoin::Index(7), quoin::Term(1), {}})),
            "openAtIndex failed: [openAtIndex] selectWALFiles failed: wal: file not found which matches the "
            "snapshot index '7'");
  EXPECT_TRUE(m.machine.log().contains("warn ignored file in WAL directory path=something.else"));
  m.put(segment_name(5, quoin::Index(20)), "");
  auto gap = m.open({quoin::Index(10), quoin::Term(1), {}});
  ASSERT_FALSE(gap.has_value());
  EXPECT_NE(gap.error().text().find("do not increase continuously"), std::string_view::npos);
  EXPECT_TRUE(m.open({quoin::Index(20), quoin::Term(1), {}}).has_value())
      << "only what follows must be whole";
}

TEST(WalOpen, LockedByAnotherProcess) {
  LogMachine m(5);
  m.create();
  EXPECT_EQ(text(m.open()),
            "openAtIndex failed: [openAtIndex] openWALFiles failed: fileutil: file already locked");
  EXPECT_EQ(text(read(m.machine.fs(), LogMachine::kDir, {}, m.machine.log())), "ok")
      << "reading takes no lock";
}

TEST(WalOpen, StaleBytesBehindTheEndAreZeroed) {
  LogMachine m(6);
  m.create();
  m.save(state(1, 1, 1), {entry(1, 1, "one")});
  m.restart();
  auto opened = m.open();
  ASSERT_TRUE(opened.has_value());
  const uint64_t end = opened->tail.offset;
  opened = OpenedLog{};
  std::string bytes = m.file(kFirst).substr(0, end + 8192);
  // A valid record that does not follow: 16 bytes behind the end.
  BatchEncoder stale(0);
  stale.add_entry(entry(9, 9, "stale"));
  bytes.replace(end + 16, stale.bytes(), bytes_of(stale));
  m.put(kFirst, bytes);
  m.must_open();
  EXPECT_EQ(m.file(kFirst).size(), bytes.size());
  EXPECT_EQ(m.file(kFirst).find_first_not_of('\0', end), std::string::npos);
  m.save(state(1, 1, 1), {entry(1, 2)});
  m.restart();
  EXPECT_EQ(m.must_open().entries.size(), 2u);
}

// The log went on beyond the snapshot's index once, and a later leader replaced it from there or below. Read from that
// snapshot, the replaced entries must not come back: with their old terms at the end, the member would vote for
// candidates that lack what was committed.
TEST(WalRead, EntriesReplacedAtOrBelowTheStartStayGone) {
  const SnapshotRecord snapshot{quoin::Index(3), quoin::Term(4), raft::ConfState{}};
  struct Case {
    const char* what;
    std::function<void(BatchEncoder&)> write;
    std::vector<uint64_t> left;  // indexes
  };
  const auto old = [](BatchEncoder& e) {
    for (uint64_t i = 1; i <= 6; ++i) e.add_entry(entry(1, i));
  };
  const Case cases[] = {
      {"at the start",
       [&](BatchEncoder& e) {
         old(e);
         e.add_entry(entry(4, 3));
         e.add_state(state(4, 1, 3));
         e.add_snapshot(snapshot);
       },
       {}},
      {"below it",
       [&](BatchEncoder& e) {
         old(e);
         e.add_entry(entry(4, 2));
         e.add_entry(entry(4, 3));
         e.add_state(state(4, 1, 3));
         e.add_snapshot(snapshot);
       },
       {}},
      {"behind the record",
       [&](BatchEncoder& e) {
         old(e);
         e.add_entry(entry(4, 3));
         e.add_entry(entry(4, 4));
         e.add_state(state(4, 1, 3));
         e.add_snapshot(snapshot);
         e.add_entry(entry(5, 5));
       },
       {4, 5}},
      {"received",
       [&](BatchEncoder& e) {
         old(e);
         e.add_snapshot(snapshot);
         e.add_state(state(4, 1, 3));
       },
       {}},
      {"received, going on",
       [&](BatchEncoder& e) {
         old(e);
         e.add_snapshot(snapshot);
         e.add_state(state(4, 1, 3));
         e.add_entry(entry(4, 4));
       },
       {4}},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.what);
    LogMachine m(7);
    BatchEncoder e(0);
    e.add_crc();
    e.add_metadata("meta");
    e.add_snapshot({});
    c.write(e);
    m.put(kFirst, bytes_of(e));
    const auto contents = read(m.machine.fs(), LogMachine::kDir, snapshot, m.machine.log());
    ASSERT_TRUE(contents.has_value()) << contents.error().text();
    std::vector<uint64_t> left;
    for (const raft::Entry& entry : contents->entries) left.push_back(entry.index.v);
    EXPECT_EQ(left, c.left);
    EXPECT_EQ(contents->last_index.v, c.left.empty() ? 3 : c.left.back());
  }
}

TEST(WalRead, ConflictsAndUnknownRecords) {
  struct Case {
    const char* what;
    std::function<void(BatchEncoder&)> write;
    const char* error;
  };
  const Case cases[] = {
      {"metadata", [](BatchEncoder& e) { e.add_metadata("other"); }, "wal: conflicting metadata found"},
      {"term",
       [](BatchEncoder& e) {
         e.add_snapshot({quoin::Index(0), quoin::Term(3), {}});
       },
       "wal: snapshot mismatch"},
      {"gap", [](BatchEncoder& e) { e.add_entry(entry(4, 7)); },
       "wal: slice bounds out of range, snapshot[Index: 0, Term: 0], current entry[Index: 7, Term: 4], "
       "len(ents): "
       "0"},
      {"same metadata", [](BatchEncoder& e) { e.add_metadata("meta"); }, "ok"},
  };
  for (const Case& c : cases) {
    LogMachine m(7);
    BatchEncoder e(0);
    e.add_crc();
    e.add_metadata("meta");
    e.add_snapshot({});
    const uint64_t before = e.bytes();
    c.write(e);
    m.put(kFirst, bytes_of(e));
    const std::string error = c.error == std::string("ok")
                                  ? "ok"
                                  : fmt::format("{}: in file '{}' at position: {}", c.error, kFirst, before);
    EXPECT_EQ(text(read(m.machine.fs(), LogMachine::kDir, {}, m.machine.log())), error) << c.what;
    EXPECT_EQ(text(m.open()), error) << c.what;
  }
}

TEST(WalRead, UnknownTypeAndMissingSnapshotRecord) {
  LogMachine m(8);
  // type 6, crc 0, no data; the rolling checksum is still 0.
  m.put(kFirst, unhex("0400 0000 0000 0084 0804 1000 0000 0000 0400 0000 0000 0084 0806 1000 0000 0000"));
  EXPECT_EQ(text(m.open()), "unexpected block type 6: in file '" + kFirst + "' at position: 16");
  LogMachine n(8);
  n.put(kFirst, unhex("0400 0000 0000 0084 0804 1000 0000 0000"));
  EXPECT_EQ(text(verify(n.machine.fs(), LogMachine::kDir, {}, n.machine.log())), "wal: snapshot not found");
  auto opened = n.open();
  ASSERT_TRUE(opened.has_value()) << "etcd's start-up loses this error";
  EXPECT_FALSE(opened->contents.snapshot_found);
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

TEST(WalRead, BlocksAreSharedByEntriesAndRecordsMayBeLarger) {
  LogMachine m(16);
  m.create();
  std::vector<raft::Entry> entries;
  for (uint64_t i = 1; i <= 40; ++i) {
    entries.push_back(
        entry(1, i, std::string(i == 20 ? 3 * kReadBlockBytes : 40'000, static_cast<char>('a' + i % 26))));
  }
  m.save(state(1, 1, 1), entries);
  m.crash();
  const Contents c = m.must_open();
  ASSERT_EQ(c.entries.size(), 40u);
  for (size_t i = 0; i < 40; ++i) EXPECT_EQ(c.entries[i].data.view(), entries[i].data.view()) << i;
}

TEST(WalValidSnapshots, OnlyUpToTheLastCommitAndBehindAGap) {
  LogMachine m(17, {.segment_bytes = 1024});
  m.create();
  for (uint64_t i = 1; i <= 20; ++i) {
    m.save(state(1, 1, i), {entry(1, i, std::string(150, 'x'))});
    if (i % 5 == 0) m.save_snapshot(snapshot(i, 1));
  }
  m.save_snapshot(snapshot(21, 1));  // received, and its hard state never came
  m.restart();
  const auto indexes = [&] {
    auto valid = valid_snapshots(m.machine.fs(), LogMachine::kDir, m.machine.log());
    EXPECT_TRUE(valid.has_value()) << text(valid);
    std::vector<uint64_t> out;
    if (valid) {
      for (const auto& s : *valid) out.push_back(s.index.v);
    }
    return out;
  };
  EXPECT_EQ(indexes(), (std::vector<uint64_t>{0, 5, 10, 15, 20}));
  // A removal of the second segment that survived a crash alone.
  auto names = m.files();
  std::erase_if(names, [](const std::string& name) { return !name.ends_with(".wal"); });
  ASSERT_TRUE(m.machine.fs().remove(std::string(LogMachine::kDir) + "/" + names[1]).has_value());
  EXPECT_EQ(indexes(), (std::vector<uint64_t>{10, 15, 20}));
}

}  // namespace
}  // namespace quoin::wal

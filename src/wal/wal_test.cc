#include "wal/wal.h"

#include <gtest/gtest.h>

#include "base/coding.h"
#include "base/crc32c.h"
#include "wal/record.h"
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

// A start falls back on an older snapshot where the newest file is damaged. If that one was received in place of entries of
// a leader that lost, those must not count as committed.
TEST(WalRead, EntriesThatAReceivedSnapshotReplacedAreRefusedFromBeforeIt) {
  const SnapshotRecord snapshot{quoin::Index(3), quoin::Term(4), raft::ConfState{}};
  const auto read_with = [&](const std::function<void(BatchEncoder&)>& write) {
    LogMachine m(7);
    BatchEncoder e(0);
    e.add_crc();
    e.add_metadata("meta");
    e.add_snapshot({});
    for (uint64_t i = 1; i <= 6; ++i) e.add_entry(entry(1, i));
    e.add_state(state(4, 1, 1));
    e.add_snapshot(snapshot);
    write(e);
    m.put(kFirst, bytes_of(e));
    const std::string error = text(m.open());
    EXPECT_EQ(text(read(m.machine.fs(), LogMachine::kDir, {}, m.machine.log())), error);
    return error;
  };
  EXPECT_EQ(read_with([](BatchEncoder& e) {
              e.add_state(state(4, 1, 3));
              e.add_entry(entry(4, 4));
            }),
            "wal: the snapshot of index 3 replaced entries, and the log is read from index 0");
  // Torn before the commit: the record counts for nothing, and the leader goes on with entries.
  EXPECT_EQ(read_with([](BatchEncoder&) {}), "ok");
  EXPECT_EQ(read_with([](BatchEncoder& e) {
              for (uint64_t i = 2; i <= 5; ++i) e.add_entry(entry(4, i));
              e.add_state(state(4, 1, 5));
            }),
            "ok");
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

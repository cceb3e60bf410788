#include "bolt/db.h"

#include <gtest/gtest.h>

#include <thread>

#include "bolt/compact_copy.h"
#include "bolt/snapshot_stream.h"
#include "bolt/testing/memory_fs.h"
#include "bolt/testing/model.h"

namespace quoin::bolt {
namespace {

using testing::MemoryFs;
using testing::Model;
using testing::read_model;

using Findings = std::vector<std::string>;

class DbTest : public ::testing::Test {
 protected:
  DbTest() {
    options_.reserve_bytes = 1u << 30;
    options_.growth_bytes = 64 << 10;
    options_.cut_slack_bytes = 64 << 10;
  }
  void open() {
    db_.reset();
    auto db = Db::open(fs_, "db", options_);
    ASSERT_TRUE(db) << db.error().text();
    db_ = std::move(*db);
  }
  std::unique_ptr<WriteTx> begin() {
    auto tx = db_->begin_write();
    EXPECT_TRUE(tx) << tx.error().text();
    return tx ? std::move(*tx) : nullptr;
  }
  Result<> commit(std::unique_ptr<WriteTx> tx) {
    Result<> result = Code::kStopped;
    db_->commit(std::move(tx), [&](Result<> r) { result = std::move(r); });
    fs_.run();
    return result;
  }
  void fill(const std::string& bucket, int from, int to, const std::string& value) {
    auto tx = begin();
    Bucket* b = *tx->create_bucket(bucket);
    for (int i = from; i < to; ++i) ASSERT_TRUE(b->put(fmt::format("{:06}", i), value));
    ASSERT_TRUE(commit(std::move(tx)));
  }
  void erase(const std::string& bucket, int from, int to) {
    auto tx = begin();
    WriteCursor c = (*tx->bucket(bucket))->cursor();
    auto more = c.seek(fmt::format("{:06}", from));
    while (more && *more && c.key() < fmt::format("{:06}", to)) more = c.erase();
    ASSERT_TRUE(more);
    ASSERT_TRUE(commit(std::move(tx)));
  }
  std::optional<std::string> get(const std::string& bucket, const std::string& key) {
    const auto tx = db_->begin_read();
    auto v = tx->get(bucket, key);
    EXPECT_TRUE(v) << v.error().text();
    return v && *v ? std::optional(std::string(**v)) : std::nullopt;
  }
  Model model() { return *read_model(db_->begin_read()->root()); }

  MemoryFs fs_;
  Options options_;
  std::unique_ptr<Db> db_;
};

TEST_F(DbTest, NewFileIsFourPages) {
  open();
  const std::string bytes = fs_.contents("db");
  EXPECT_EQ(bytes.size(), 4u * 4096);
  std::string_view why;
  EXPECT_EQ(Meta::read(bytes.data(), &why)->txid, TxId(0));
  EXPECT_EQ(Meta::read(bytes.data() + 4096, &why)->txid, TxId(1));
  EXPECT_EQ(begin()->txid(), TxId(2));
  EXPECT_EQ(db_->check(), Findings());
  EXPECT_TRUE(db_->stats().freelist_saved);
}

TEST_F(DbTest, CommitWritesDataThenSyncsThenWritesTheMeta) {
  open();
  Findings journal;
  fs_.journal = &journal;
  fill("key", 0, 1, "v");
  // Root leaf to the lowest page that is not in use, then meta slot txid mod 2.
  EXPECT_EQ(journal, (Findings{"allocate 65536", "write 16384 4096", "sync", "write 0 4096", "sync"}));
  journal.clear();
  fill("key", 0, 1, "w");
  // Transaction 2 freed the empty list (page 2) and the first root (3).
  EXPECT_EQ(journal, (Findings{"write 8192 4096", "sync", "write 4096 4096", "sync"}));
  journal.clear();
  options_.no_sync = true;
  open();
  fill("key", 0, 1, "x");
  EXPECT_EQ(journal.back(), "write 0 4096");
  EXPECT_EQ(std::count(journal.begin(), journal.end(), "sync"), 0);
}

TEST_F(DbTest, SurvivesReopening) {
  open();
  fill("key", 0, 5000, std::string(50, 'v'));
  fill("meta", 0, 2, "small");
  const Model before = model();
  for (bool save : {false, true, true}) {
    ASSERT_TRUE(db_->close_blocking(save));
    open();
    EXPECT_EQ(db_->stats().freelist_saved, save);
    EXPECT_EQ(model(), before);
    EXPECT_EQ(db_->check(), Findings());
  }
  fill("meta", 0, 1, "changed");
  EXPECT_FALSE(db_->stats().freelist_saved);
  EXPECT_EQ(db_->check(), Findings());
}

TEST_F(DbTest, SecondOpenIsLockedOut) {
  open();
  auto second = Db::open(fs_, "db", options_);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code(), Code::kLocked);
  Options read_only = options_;
  read_only.read_only = true;
  EXPECT_FALSE(Db::open(fs_, "db", read_only));
  // A view that lives on keeps the lock: its pages must stay.
  auto view = db_->begin_read();
  db_.reset();
  EXPECT_FALSE(Db::open(fs_, "db", options_));
  view.reset();
  EXPECT_TRUE(Db::open(fs_, "db", read_only));
  open();
}

TEST_F(DbTest, ReadOnlyRefusesToWrite) {
  open();
  fill("key", 0, 10, "v");
  db_.reset();
  options_.read_only = true;
  open();
  EXPECT_EQ(get("key", "000003"), "v");
  EXPECT_EQ(db_->begin_write().error().code(), Code::kUnsupported);
  EXPECT_EQ(db_->check(), Findings());
}

TEST_F(DbTest, ArgumentTexts) {
  open();
  auto tx = begin();
  Bucket* b = *tx->create_bucket("b");
  EXPECT_EQ(b->put("", "v").error().text(), "key required");
  EXPECT_EQ(b->put(std::string(32769, 'k'), "v").error().text(), "key too large");
  EXPECT_TRUE(b->put(std::string(32768, 'k'), "v"));
  EXPECT_EQ(tx->root().put("b", "v").error().text(), "incompatible value");
  EXPECT_EQ(tx->root().erase("b").error().text(), "incompatible value");
  EXPECT_TRUE(b->put("item", "v"));
  EXPECT_EQ(b->create_bucket("item").error().text(), "incompatible value");
  EXPECT_EQ(b->create_bucket("").error().text(), "bucket name required");
  EXPECT_EQ(b->delete_bucket("none").error().text(), "bucket not found");
  EXPECT_TRUE(b->erase("none"));
  EXPECT_FALSE(*b->get("none"));
  EXPECT_EQ(*tx->bucket("none"), nullptr);
  ASSERT_TRUE(commit(std::move(tx)));
  EXPECT_FALSE(get("b", "none"));
  EXPECT_FALSE(get("none", "none"));
  EXPECT_EQ(get("b", "item"), "v");
}

TEST_F(DbTest, CursorWalksBothWays) {
  open();
  fill("key", 0, 2000, std::string(30, 'v'));
  const auto tx = db_->begin_read();
  Cursor c = (*tx->bucket("key"))->cursor();
  int n = 0;
  for (auto more = c.first(); *more; more = c.next()) EXPECT_EQ(c.key(), fmt::format("{:06}", n++));
  EXPECT_EQ(n, 2000);
  EXPECT_FALSE(c.valid());
  for (auto more = c.last(); *more; more = c.prev()) EXPECT_EQ(c.key(), fmt::format("{:06}", --n));
  EXPECT_EQ(n, 0);
  ASSERT_TRUE(*c.seek("001234x"));
  EXPECT_EQ(c.key(), "001235");
  ASSERT_TRUE(*c.prev());
  EXPECT_EQ(c.key(), "001234");
  EXPECT_FALSE(*c.seek("1"));
  ASSERT_TRUE(*c.seek(""));
  EXPECT_EQ(c.key(), "000000");
}

TEST_F(DbTest, DroppedTransactionLeavesNoTrace) {
  open();
  fill("key", 0, 100, "v");
  const Stats before = db_->stats();
  {
    auto tx = begin();
    ASSERT_TRUE((*tx->bucket("key"))->put("000001", "changed"));
    EXPECT_TRUE(tx->changed());
    ASSERT_TRUE(tx->delete_bucket("key"));
  }
  EXPECT_EQ(get("key", "000001"), "v");
  fill("other", 0, 1, "v");
  EXPECT_EQ(db_->check(), Findings());
  EXPECT_EQ(db_->stats().txid, before.txid + 1);
}

TEST_F(DbTest, AppendsFillPages) {
  open();
  for (int i = 0; i < 20; ++i) {
    auto tx = begin();
    Bucket* b = *tx->create_bucket("key");
    b->set_fill_percent(kFillSequential);
    for (int k = 0; k < 1000; ++k)
      ASSERT_TRUE(b->put(fmt::format("{:08}", i * 1000 + k), std::string(100, 'v')));
    ASSERT_TRUE(commit(std::move(tx)));
  }
  // 20,000 items of 124 bytes take 606 full pages.
  EXPECT_LT(db_->stats().hwm_pages, 606 / 0.85);
  EXPECT_EQ(db_->check(), Findings());
}

TEST_F(DbTest, ReadersSeeTheirCommitAndHoldItsPages) {
  open();
  fill("key", 0, 1000, "old");
  auto view = db_->begin_read();
  for (int i = 0; i < 10; ++i) fill("key", 0, 1000, fmt::format("new{}", i));
  EXPECT_EQ(db_->stats().open_readers, 1u);
  EXPECT_EQ(**view->get("key", "000500"), "old");
  EXPECT_EQ(get("key", "000500"), "new9");
  // Old pages wait for the view; those between view and now do not.
  const uint64_t with_view = db_->stats().hwm_pages;
  for (int i = 0; i < 10; ++i) fill("key", 0, 1000, fmt::format("new{}", i));
  EXPECT_EQ(db_->stats().hwm_pages, with_view);
  const uint64_t pending = db_->stats().pending_pages;
  std::thread([&] { view.reset(); }).join();
  EXPECT_EQ(db_->stats().open_readers, 0u);
  fill("key", 0, 1, "x");
  EXPECT_LT(db_->stats().pending_pages, pending);
  EXPECT_EQ(db_->check(), Findings());
}

TEST_F(DbTest, ReadsDuringACommitSeeTheStateBefore) {
  open();
  fill("key", 0, 10, "before");
  auto tx = begin();
  ASSERT_TRUE((*tx->bucket("key"))->put("000005", "after"));
  bool done = false;
  db_->commit(std::move(tx), [&](Result<> r) { done = r.has_value(); });
  while (!done) {
    EXPECT_EQ(get("key", "000005"), "before");
    ASSERT_TRUE(fs_.run_one());
  }
  EXPECT_EQ(get("key", "000005"), "after");
}

TEST_F(DbTest, HighWaterMarkGoesDownAndTheFileIsCutLater) {
  open();
  fill("low", 0, 10, "v");
  fill("key", 0, 20000, std::string(50, 'v'));
  const Stats full = db_->stats();
  auto view = db_->begin_read();
  erase("key", 0, 20000);
  EXPECT_GE(db_->stats().hwm_pages, full.hwm_pages);  // pending, not free
  fill("low", 0, 1, "v");
  EXPECT_GE(db_->stats().hwm_pages, full.hwm_pages);  // the view needs them
  view.reset();
  fill("low", 0, 1, "v");  // moves the root, which stood at the end meanwhile, to a low page
  fill("low", 0, 1, "v");
  const Stats lowered = db_->stats();
  EXPECT_LT(lowered.hwm_pages, 20u);
  EXPECT_EQ(lowered.file_bytes, full.file_bytes);  // the meta in the other slot reaches further
  Findings journal;
  fs_.journal = &journal;
  fill("low", 0, 1, "v");
  EXPECT_EQ(journal.back(), "truncate 65536");
  EXPECT_EQ(db_->stats().file_bytes, 65536u);
  EXPECT_EQ(fs_.contents("db").size(), 65536u);
  EXPECT_EQ(db_->check(), Findings());
  fill("key", 0, 20000, std::string(50, 'w'));
  EXPECT_EQ(get("key", "019999"), std::string(50, 'w'));
  EXPECT_EQ(db_->check(), Findings());
}

TEST_F(DbTest, ACommitCutsOffABoundedPart) {
  options_.cut_bytes_max = 256 << 10;
  open();
  fill("key", 0, 20000, std::string(50, 'v'));
  const uint64_t full = db_->stats().file_bytes;
  ASSERT_GT(full, 5 * options_.cut_bytes_max);
  erase("key", 0, 20000);
  uint64_t before = full;
  int cuts = 0;
  for (int i = 0; i < 40; ++i) {
    fill("low", 0, 1, "v");
    const uint64_t now = db_->stats().file_bytes;
    ASSERT_LE(before - now, options_.cut_bytes_max);
    if (now < before) ++cuts;
    before = now;
  }
  EXPECT_GE(cuts, 5);
  EXPECT_EQ(before, 65536u);
  EXPECT_EQ(db_->check(), Findings());
}

TEST_F(DbTest, ViewKeepsTheFileFromBeingCut) {
  open();
  fill("key", 0, 20000, std::string(50, 'v'));
  erase("key", 100, 20000);
  fill("key", 0, 1, "v");
  auto view = db_->begin_read();  // its HWM reaches to the end, though its pages do not
  for (int i = 0; i < 5; ++i) fill("key", 0, 1, "v");
  EXPECT_LT(db_->stats().hwm_pages, view->meta().hwm.v);
  EXPECT_GE(db_->stats().file_bytes, view->size_bytes());
  view.reset();
  fill("key", 0, 1, "v");
  EXPECT_EQ(db_->stats().file_bytes, 65536u);
}

TEST_F(DbTest, OutgrowingTheReservationIsALimit) {
  options_.reserve_bytes = 1 << 20;
  open();
  fill("key", 0, 100, "v");
  auto tx = begin();
  ASSERT_TRUE((*tx->bucket("key"))->put("big", std::string(2 << 20, 'v')));
  EXPECT_EQ(commit(std::move(tx)).error().code(), Code::kLimit);
  EXPECT_EQ(db_->begin_write().error().code(), Code::kLimit);
  EXPECT_EQ(get("key", "000001"), "v");
  open();
  EXPECT_EQ(db_->check(), Findings());
}

TEST_F(DbTest, OutgrowingTheReservationWritesNothing) {
  options_.reserve_bytes = 1 << 20;
  open();
  fill("key", 0, 100, "v");
  const std::string before = fs_.contents("db");
  auto tx = begin();
  ASSERT_TRUE((*tx->bucket("key"))->put("big", std::string(2 << 20, 'v')));
  const auto result = commit(std::move(tx));
  EXPECT_NE(result.error().text().find("1048576 bytes of address space are reserved for it"),
            std::string_view::npos)
      << result.error().text();
  EXPECT_TRUE(fs_.contents("db") == before);
  // With more room the same commit goes through.
  options_.reserve_bytes = 1 << 23;
  open();
  tx = begin();
  ASSERT_TRUE((*tx->bucket("key"))->put("big", std::string(2 << 20, 'v')));
  EXPECT_TRUE(commit(std::move(tx)));
  EXPECT_EQ(db_->check(), Findings());
}

TEST_F(DbTest, DeadAfterAFailedCommit) {
  open();
  fill("key", 0, 100, "v");
  fs_.fail_at = fs_.operations + 2;
  auto tx = begin();
  ASSERT_TRUE((*tx->bucket("key"))->put("000001", "new"));
  EXPECT_EQ(commit(std::move(tx)).error().code(), Code::kIo);
  EXPECT_EQ(db_->begin_write().error().code(), Code::kIo);
  EXPECT_EQ(get("key", "000001"), "v");
  EXPECT_EQ(db_->close_blocking(true).error().code(), Code::kIo);
}

TEST_F(DbTest, DestroyedWhileACommitRuns) {
  open();
  auto tx = begin();
  ASSERT_TRUE(tx->create_bucket("key"));
  db_->commit(std::move(tx), [](Result<>) { ADD_FAILURE() << "completed"; });
  fs_.run_one();
  db_.reset();  // what is queued in the file system now belongs to nobody
}

TEST_F(DbTest, SnapshotStreamIsADatabase) {
  open();
  fill("key", 0, 3000, "v");
  fill("key", 1000, 1500, "w");
  const Model expected = model();
  SnapshotStream stream(db_->begin_read());
  fill("key", 0, 3000, "later");
  // In pieces of an odd size.
  std::string bytes(stream.size_bytes(), '\0');
  for (size_t at = 0; at < bytes.size();) {
    const size_t n = std::min<size_t>(777, bytes.size() - at);
    stream.read(at, std::span(bytes.data() + at, n));
    at += n;
  }
  std::string_view why;
  const uint64_t t = stream.tx().txid().v;
  EXPECT_EQ(Meta::read(bytes.data(), &why)->txid, TxId(t));
  EXPECT_EQ(Meta::read(bytes.data() + 4096, &why)->txid, TxId(t - 1));
  fs_.set_contents("copy", bytes);
  auto copy = Db::open(fs_, "copy", options_);
  ASSERT_TRUE(copy) << copy.error().text();
  EXPECT_EQ(*read_model((*copy)->begin_read()->root()), expected);
  // Both metas sit in slots of the wrong parity or the right one; writing goes on either way.
  for (int i = 0; i < 3; ++i) {
    auto tx = (*copy)->begin_write();
    ASSERT_TRUE((*(*tx)->bucket("key"))->put("new", std::to_string(i)));
    ASSERT_TRUE((*copy)->commit_blocking(std::move(*tx)));
    EXPECT_EQ((*copy)->check(), Findings());
  }
}

TEST_F(DbTest, CompactCopyHoldsTheSameAndLess) {
  open();
  fill("a", 0, 3000, std::string(100, 'v'));
  fill("b", 0, 20, "v");
  erase("a", 10, 2900);
  {
    auto tx = begin();
    Bucket* nested = *(*tx->create_bucket("c"))->create_bucket("nested");
    for (int i = 0; i < 500; ++i) ASSERT_TRUE(nested->put(std::to_string(i), "n"));
    ASSERT_TRUE((*tx->bucket("c"))->put("zz", "after the nested bucket"));
    ASSERT_TRUE(tx->create_bucket("empty"));
    ASSERT_TRUE(commit(std::move(tx)));
  }
  auto to = Db::open(fs_, "to", options_);
  ASSERT_TRUE(to);
  CompactCopy copy(db_->begin_read(), **to, {.items_max = 100});
  int steps = 0;
  for (; !copy.finished(); ++steps) {
    bool ok = false;
    copy.step([&](Result<> r) { ok = r.has_value(); });
    fs_.run();
    ASSERT_TRUE(ok);
  }
  EXPECT_GE(steps, 7);
  EXPECT_EQ(*read_model((*to)->begin_read()->root()), model());
  EXPECT_EQ((*to)->check(), Findings());
  EXPECT_LT((*to)->stats().size_in_use_bytes(), db_->stats().size_bytes() / 2);
}

// Each page size a file may have is found, whichever meta is whole.
TEST_F(DbTest, PageSizes) {
  for (uint32_t page_size = kPageSizeMin; page_size <= 65536; page_size *= 2) {
    options_.page_size = page_size;
    fs_.set_contents("db", "");
    open();
    EXPECT_EQ(db_->page_size(), page_size);
    fill("key", 0, 300, std::string(300, 'v'));
    db_.reset();
    options_.page_size = 4096;
    const std::string bytes = fs_.contents("db");
    for (size_t broken : {size_t{0}, size_t{page_size}}) {
      std::string damaged = bytes;
      damaged[broken + 30] = 3;  // one bit alone would be mended
      fs_.set_contents("db", damaged);
      open();
      EXPECT_EQ(db_->page_size(), page_size);
      EXPECT_EQ(db_->check(), Findings());
    }
  }
}

// The commit behind the newest meta was under way and took pages of the one before it. If a bit of the newest meta flips
// then, the meta before names pages that are another's, and nothing in them tells.
TEST_F(DbTest, AFlippedBitOfTheNewestMetaIsMended) {
  open();
  fill("key", 0, 200, "v");
  fill("key", 0, 100, "w");
  const Model expected = model();
  const uint64_t slot = db_->stats().txid.v % 2;
  db_.reset();
  const std::string bytes = fs_.contents("db");
  for (size_t bit = kPageHeaderBytes * 8; bit < (kPageHeaderBytes + kMetaBytes) * 8; ++bit) {
    std::string damaged = bytes;
    damaged[slot * 4096 + bit / 8] ^= static_cast<char>(1 << bit % 8);
    fs_.set_contents("db", damaged);
    open();
    EXPECT_EQ(model(), expected) << "bit " << bit;
    db_.reset();
    EXPECT_TRUE(fs_.contents("db").substr(slot * 4096, 80) == bytes.substr(slot * 4096, 80)) << "bit " << bit;
  }
}

TEST_F(DbTest, BothMetasBroken) {
  open();
  fill("key", 0, 10, "v");
  db_.reset();
  std::string bytes = fs_.contents("db");
  bytes[30] = bytes[4096 + 70] = 3;
  fs_.set_contents("db", bytes);
  auto db = Db::open(fs_, "db", options_);
  ASSERT_FALSE(db);
  EXPECT_EQ(db.error().code(), Code::kCorruption);
  EXPECT_EQ(db.error().text(), "db: page 0: checksum error");
  fs_.set_contents("db", "short");
  EXPECT_EQ(Db::open(fs_, "db", options_).error().text(), "db: file size too small 5");
}

TEST_F(DbTest, TruncatedFileIsReported) {
  open();
  fill("key", 0, 1000, std::string(50, 'v'));
  const uint64_t size = db_->stats().size_bytes();
  ASSERT_TRUE(db_->close_blocking(true));
  db_.reset();
  const std::string bytes = fs_.contents("db");
  fs_.set_contents("db", bytes.substr(0, size / 2));
  auto db = Db::open(fs_, "db", options_);
  ASSERT_FALSE(db);
  EXPECT_EQ(db.error().code(), Code::kCorruption);
}

// Readers on many threads check pages for the first time together, while commits go on.
TEST_F(DbTest, ReadersOnManyThreads) {
  open();
  fill("key", 0, 20000, std::string(20, 'v'));
  open();  // nothing is known to be sound, or known by the walk
  ASSERT_TRUE(db_->close_blocking(true));
  open();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([view = db_->begin_read(), t]() mutable {
      for (int i = 0; i < 20000; ++i) {
        const std::string key = fmt::format("{:06}", (i * 7919 + t) % 20000);
        auto v = view->get("key", key);
        ASSERT_TRUE(v && *v && **v == std::string(20, 'v'));
      }
      view.reset();
    });
  }
  for (int i = 0; i < 20; ++i) fill("key", i * 1000, i * 1000 + 1000, "changed");
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(db_->stats().open_readers, 0u);
  EXPECT_EQ(db_->check(), Findings());
}

}  // namespace
}  // namespace quoin::bolt

// Any bytes opened as a database: walked, checked, written to.
#include <cstddef>
#include <cstdint>

#include "bolt/db.h"
#include "bolt/testing/memory_fs.h"

namespace {

using namespace quoin;
using namespace quoin::bolt;

constexpr uint32_t kPageSize = 1024;
constexpr size_t kItemsMax = 100'000;  // a walk ends by itself; this bounds a fuzzer's patience

// Makes the metas fit their checksums, so that mutations reach what they name.
void repair_metas(std::string* bytes) {
  for (size_t slot = 0; slot < 2; ++slot) {
    const size_t at = slot * kPageSize;
    if (bytes->size() < at + kPageHeaderBytes + kMetaBytes) return;
    char* p = bytes->data() + at;
    store_le<uint32_t>(p + 16, kMagic);
    store_le<uint32_t>(p + 20, kVersion);
    store_le<uint32_t>(p + 24, kPageSize);
    store_le<uint64_t>(p + 72, fnv1a64({p + 16, 56}));
  }
}

Result<size_t> walk(const BucketView& bucket, size_t depth) {
  size_t n = 0;
  Cursor c = bucket.cursor();
  ASSIGN_OR_RETURN(bool more, c.first());
  for (; more && n < kItemsMax; ++n) {
    if (c.is_bucket() && depth < 8) {
      ASSIGN_OR_RETURN(const auto nested, bucket.bucket(c.key()));
      if (nested) {
        ASSIGN_OR_RETURN(const size_t inside, walk(*nested, depth + 1));
        n += inside;
      }
    }
    ASSIGN_OR_RETURN(more, c.next());
  }
  ASSIGN_OR_RETURN(more, c.last());
  for (size_t back = 0; more && back < kItemsMax; ++back) {
    ASSIGN_OR_RETURN(more, c.prev());
  }
  return n;
}

void ask_for_owners(Db& db) {
  const uint64_t pages = std::min<uint64_t>(db.stats().hwm_pages, 64);
  for (PageId id; id.v < pages; ++id) {
    OwnerSearch search = db.find_owner(id);
    for (int steps = 0; steps < 8; ++steps) {
      const auto owner = search.step(50);
      if (!owner || *owner) break;
    }
  }
}

Result<> write_to(Db& db) {
  ASSIGN_OR_RETURN(auto tx, db.begin_write());
  Cursor c = tx->root().read_cursor();
  std::vector<std::string> names;
  ASSIGN_OR_RETURN(bool more, c.first());
  for (; more && names.size() < 100;) {
    if (c.is_bucket()) names.emplace_back(c.key());
    ASSIGN_OR_RETURN(more, c.next());
  }
  for (size_t i = 0; i < names.size(); ++i) {
    if (i % 3 == 2) {
      TRY(tx->delete_bucket(names[i]));
      continue;
    }
    ASSIGN_OR_RETURN(Bucket* const b, tx->bucket(names[i]));
    WriteCursor w = b->cursor();
    ASSIGN_OR_RETURN(more, w.first());
    for (size_t k = 0; more && k < 1000 && !w.is_bucket(); ++k) {
      ASSIGN_OR_RETURN(more, w.erase());
    }
    TRY(b->put("new key", std::string(2000, 'v')));
  }
  TRY(db.commit_blocking(std::move(tx)));
  return db.close_blocking(true);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string bytes(reinterpret_cast<const char*>(data), size);
  if (!bytes.empty() && bytes[0] % 2 == 0) repair_metas(&bytes);
  testing::MemoryFs fs;
  fs.track_durability = false;
  fs.set_contents("db", bytes);
  Options options;
  options.page_size = kPageSize;
  options.reserve_bytes = 1u << 26;
  options.growth_bytes = 16 * kPageSize;
  options.check_all = size % 2 == 0;
  auto db = Db::open(fs, "db", options);
  if (!db) return 0;
  ask_for_owners(**db);
  static_cast<void>((*db)->check());
  static_cast<void>(walk((*db)->begin_read()->root(), 0));
  static_cast<void>(write_to(**db));
  return 0;
}

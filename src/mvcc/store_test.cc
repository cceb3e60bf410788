// The store against a slow twin: a map of histories, on random operations with reads of the past, counts,
// sorts, compactions, restarts and replacements.
#include "mvcc/store.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <thread>

#include "base/crc32c.h"
#include "base/prng.h"
#include "mvcc/fake_backend_test.h"
#include "mvcc/fake_leases_test.h"
#include "mvcc/hash_kv.h"
#include "mvcc/key_entry.h"
#include "mvcc/key_range.h"
#include "mvcc/key_value.h"

namespace quoin::mvcc {
namespace {

struct TwinKv {
  std::string key, value;
  int64_t create = 0, mod = 0, sub = 0, version = 0, lease = 0;
  friend bool operator==(const TwinKv&, const TwinKv&) = default;
};

struct TwinVersion {
  TwinKv kv;
  bool live;
};

TwinKv decoded(std::string_view bytes, int64_t sub = 0) {
  const auto kv = decode_key_value(bytes);
  CHECK(kv.has_value());
  return {
      std::string(kv->key), std::string(kv->value), kv->create_revision, kv->mod_revision, sub, kv->version,
      kv->lease.v};
}

// What the sheet says, as plainly as possible.
struct Twin {
  std::map<std::string, std::vector<TwinVersion>> keys;
  int64_t revision = 1, compacted = -1;

  const TwinKv* at(const std::string& key, int64_t revision_at) const {
    const auto it = keys.find(key);
    if (it == keys.end()) return nullptr;
    const TwinKv* found = nullptr;
    for (const TwinVersion& v : it->second) {
      if (v.kv.mod <= revision_at) found = v.live ? &v.kv : nullptr;
    }
    return found;
  }
  std::vector<TwinKv> range(const KeyRange& r, int64_t revision_at) const {
    std::vector<TwinKv> out;
    for (const auto& [key, history] : keys) {
      if (!r.contains(key)) continue;
      if (const TwinKv* kv = at(key, revision_at)) out.push_back(*kv);
    }
    return out;
  }
};

struct Answer {
  std::vector<TwinKv> kvs;
  int64_t count = 0;
  bool more = false;
  friend bool operator==(const Answer&, const Answer&) = default;
};

void PrintTo(const Answer& a, std::ostream* out) {
  *out << "count " << a.count << " more " << a.more;
  for (const TwinKv& kv : a.kvs) *out << fmt::format(" {}={}@{}/{}", kv.key, kv.value, kv.mod, kv.version);
}

Result<Answer> twin_answer(const Twin& twin, const RangeRequest& q) {
  int64_t at = q.revision;
  if (at > twin.revision) return Code::kFutureRev;
  if (at <= 0) at = twin.revision;
  if (at < twin.compacted) return Code::kCompacted;
  std::vector<TwinKv> all = twin.range({q.key, q.range_end}, at);
  Answer a;
  a.count = static_cast<int64_t>(all.size());
  if (q.count_only) return a;
  const bool filters =
      q.max_mod_revision || q.min_mod_revision || q.max_create_revision || q.min_create_revision;
  if (q.limit > 0 && q.sort_order == SortOrder::kNone && !filters &&
      all.size() > static_cast<size_t>(q.limit) + 1) {
    all.resize(static_cast<size_t>(q.limit) + 1);
  }
  std::erase_if(all, [&](const TwinKv& kv) {
    return (q.max_mod_revision && kv.mod > q.max_mod_revision) ||
           (q.min_mod_revision && kv.mod < q.min_mod_revision) ||
           (q.max_create_revision && kv.create > q.max_create_revision) ||
           (q.min_create_revision && kv.create < q.min_create_revision);
  });
  const bool descending = q.sort_order == SortOrder::kDescend;
  std::stable_sort(all.begin(), all.end(), [&](const TwinKv& x, const TwinKv& y) {
    const TwinKv& a1 = descending ? y : x;
    const TwinKv& b1 = descending ? x : y;
    switch (q.sort_target) {
      case SortTarget::kKey:
        return a1.key < b1.key;
      case SortTarget::kVersion:
        return a1.version < b1.version;
      case SortTarget::kCreate:
        return a1.create < b1.create;
      case SortTarget::kMod:
        return a1.mod < b1.mod;
      case SortTarget::kValue:
        return a1.value < b1.value;
    }
    return false;
  });
  if (q.limit > 0 && all.size() > static_cast<size_t>(q.limit)) {
    all.resize(static_cast<size_t>(q.limit));
    a.more = true;
  }
  a.kvs = std::move(all);
  for (TwinKv& kv : a.kvs) kv.sub = 0;
  return a;
}

Result<Answer> finish(RangeScan scan, size_t step, Prng* renew_with,
                      const std::function<std::shared_ptr<const ReadView>()>& newer) {
  Answer a;
  for (;;) {
    ASSIGN_OR_RETURN(const bool done, scan.step(step, [&](std::string_view bytes) {
      a.kvs.push_back(decoded(bytes));
      return renew_with == nullptr || !renew_with->chance(1, 5);
    }));
    if (done) break;
    if (renew_with && newer && renew_with->chance(1, 2)) TRY(scan.renew(newer()));
  }
  a.count = scan.count();
  a.more = scan.more();
  return a;
}

class Rig {
 public:
  explicit Rig(uint64_t seed) : prng(seed) { open(); }
  void open() {
    leases.of.clear();
    registry = std::make_unique<metrics::Registry>();
    auto r = Store::restore(*backend, leases, *registry);
    ASSERT_TRUE(r) << r.error().text();
    store = std::move(*r);
  }

  std::string key() {
    return fmt::format("{}{:02}", prng.chance(1, 2) ? "pod/" : "svc/node/", prng.below(40));
  }
  std::string end_for(const std::string& from) {
    switch (prng.below(5)) {
      case 0:
        return "";
      case 1:
        return std::string(1, '\0');
      case 2:
        return from;
      default:
        return key();
    }
  }

  // One transaction of a few changes, on both.
  void transaction() {
    WriteTxn& txn = store->begin();
    const int64_t main = twin.revision + 1;
    int64_t sub = 0;
    for (uint64_t n = prng.between(1, 3); n > 0; --n) {
      if (prng.chance(3, 4)) {
        PutRequest q;
        const std::string k = key(), v = fmt::format("v{}", prng.below(50));
        q.key = k;
        q.value = v;
        q.lease = LeaseId(prng.chance(1, 4) ? static_cast<int64_t>(prng.between(1, 3)) : 0);
        q.ignore_value = prng.chance(1, 8);
        q.ignore_lease = prng.chance(1, 8);
        q.prev_kv = prng.chance(1, 2);
        const TwinKv* old = twin.at(k, main);
        const auto r = txn.put(q);
        if (!old && (q.ignore_value || q.ignore_lease)) {
          ASSERT_FALSE(r);
          ASSERT_EQ(r.error().code(), Code::kKeyNotFound);
          continue;
        }
        ASSERT_TRUE(r);
        ASSERT_EQ(r->revision, (Revision{main, sub}));
        ASSERT_EQ(r->prev_kv.has_value(), q.prev_kv && old);
        if (r->prev_kv) {
          TwinKv before = *old;
          before.sub = 0;
          ASSERT_EQ(decoded(*r->prev_kv), before);
        }
        TwinKv kv{k,
                  q.ignore_value ? old->value : v,
                  old ? old->create : main,
                  main,
                  sub++,
                  old ? old->version + 1 : 1,
                  q.ignore_lease ? old->lease : q.lease.v};
        twin.keys[k].push_back({kv, true});
      } else {
        const std::string a = key(), b = end_for(a);
        std::vector<TwinKv> want = twin.range({a, b}, main), got;
        const auto prev = [&](std::string_view bytes) {
          got.push_back(decoded(bytes));
          return true;
        };
        const auto r = prng.chance(1, 2) ? txn.delete_range(a, b, prev) : delete_in_steps(txn, a, b, prev);
        ASSERT_TRUE(r);
        ASSERT_EQ(*r, static_cast<int64_t>(want.size()));
        for (TwinKv& kv : want) {
          twin.keys[kv.key].push_back({TwinKv{kv.key, "", 0, main, sub++, 0, 0}, false});
          kv.sub = 0;
        }
        ASSERT_EQ(got, want);
      }
      if (prng.chance(1, 4)) {
        // Within the transaction its own changes are seen.
        Twin now = twin;
        if (sub > 0) now.revision = main;
        RangeRequest q = random_request();
        auto scan = txn.range(q);
        compare(q, now, std::move(scan), nullptr);
      }
      ASSERT_EQ(txn.revision(), sub > 0 ? main : twin.revision);
    }
    if (sub > 0) twin.revision = main;
    ASSERT_EQ(store->end(), twin.revision);
    std::map<std::string, LeaseId, std::less<>> attached;
    for (const auto& [k, history] : twin.keys) {
      if (history.back().live && history.back().kv.lease) attached[k] = LeaseId(history.back().kv.lease);
    }
    ASSERT_EQ(leases.of, attached);
  }

  Result<int64_t> delete_in_steps(WriteTxn& txn, const std::string& a, const std::string& b,
                                  const KvVisitor& prev) {
    RangeDelete range(txn, a, b);
    for (;;) {
      const size_t keys = prng.between(1, 5);
      size_t left = keys;
      const int64_t before = range.deleted();
      ASSIGN_OR_RETURN(const bool done, range.step(&left, prev));
      CHECK_LE(range.deleted() - before, static_cast<int64_t>(keys));
      if (done) return range.deleted();
    }
  }

  RangeRequest random_request() {
    key_a = key();
    key_b = end_for(key_a);
    RangeRequest q;
    q.key = key_a;
    q.range_end = key_b;
    if (prng.chance(1, 3)) q.limit = static_cast<int64_t>(prng.between(1, 12));
    if (prng.chance(1, 2))
      q.revision = static_cast<int64_t>(prng.below(static_cast<uint64_t>(twin.revision) + 2));
    q.count_only = prng.chance(1, 6);
    q.sort_order = static_cast<SortOrder>(prng.below(3));
    q.sort_target = static_cast<SortTarget>(prng.below(5));
    auto bound = [&](int64_t* v) {
      if (prng.chance(1, 8)) *v = static_cast<int64_t>(prng.below(static_cast<uint64_t>(twin.revision))) - 1;
    };
    bound(&q.max_mod_revision);
    bound(&q.min_mod_revision);
    bound(&q.max_create_revision);
    bound(&q.min_create_revision);
    return q;
  }

  void compare(const RangeRequest& q, const Twin& want_of, Result<RangeScan> scan, Prng* renew) {
    const Result<Answer> want = twin_answer(want_of, q);
    if (!scan) {
      ASSERT_FALSE(want) << "revision " << q.revision;
      ASSERT_EQ(scan.error().code(), want.error().code());
      return;
    }
    ASSERT_TRUE(want) << "revision " << q.revision << " compacted " << want_of.compacted;
    const auto got = finish(std::move(*scan), renew ? prng.between(1, 7) : 1000, renew,
                            [this] { return store->publish(); });
    ASSERT_TRUE(got) << got.error().text();
    ASSERT_EQ(*got, *want) << fmt::format("[{}, {}) rev {} limit {} order {} target {}", q.key, q.range_end,
                                          q.revision, q.limit, static_cast<int>(q.sort_order),
                                          static_cast<int>(q.sort_target));
  }

  void read() {
    const RangeRequest q = random_request();
    compare(q, twin, RangeScan::start(store->publish(), q), prng.chance(1, 2) ? &prng : nullptr);
  }

  void compact() {
    const int64_t r = static_cast<int64_t>(prng.below(static_cast<uint64_t>(twin.revision) + 2));
    const auto result = store->compact(
        r, [] {}, [] {});
    if (r <= twin.compacted) {
      ASSERT_EQ(result.error().code(), Code::kCompacted);
    } else if (r > twin.revision) {
      ASSERT_EQ(result.error().code(), Code::kFutureRev);
    } else {
      ASSERT_TRUE(result);
      twin.compacted = r;
    }
  }

  // After all compactions: exactly the records that the rule of spec 8 keeps.
  void check_records() {
    std::set<std::pair<int64_t, int64_t>> want, got;
    for (const auto& [k, history] : twin.keys) {
      const TwinVersion* newest = nullptr;
      for (const TwinVersion& v : history) {
        if (v.kv.mod <= twin.compacted) {
          newest = &v;
        } else {
          want.emplace(v.kv.mod, v.kv.sub);
        }
      }
      if (newest && (newest->live || newest->kv.mod == twin.compacted))
        want.emplace(newest->kv.mod, newest->kv.sub);
    }
    for (size_t i = 0; i < backend->records().size; ++i) {
      const Revision r = backend->records().all[i].revision;
      got.emplace(r.main, r.sub);
    }
    ASSERT_EQ(got, want);
  }

  Prng prng;
  std::unique_ptr<FakeBackend> backend = std::make_unique<FakeBackend>();
  FakeLeases leases;
  std::unique_ptr<metrics::Registry> registry;
  std::unique_ptr<Store> store;
  Twin twin;
  std::string key_a, key_b;
};

class StoreTwin : public ::testing::TestWithParam<uint64_t> {};

TEST_P(StoreTwin, RandomOperations) {
  Rig rig(GetParam());
  std::vector<std::shared_ptr<const ReadView>> held;
  for (int step = 0; step < 1500; ++step) {
    SCOPED_TRACE(fmt::format("seed {} step {}", GetParam(), step));
    const uint64_t what = rig.prng.below(100);
    if (what < 50) {
      ASSERT_NO_FATAL_FAILURE(rig.transaction());
    } else if (what < 85) {
      ASSERT_NO_FATAL_FAILURE(rig.read());
    } else if (what < 87) {
      ASSERT_NO_FATAL_FAILURE(rig.compact());
    } else if (what < 92) {
      rig.backend->run();
      while (rig.store->maintain(rig.prng.between(1, 50))) {
      }
    } else if (what < 93) {
      // A crash: what was appended is there, a compaction got part of the way.
      held.clear();
      rig.store.reset();
      rig.backend->crash(rig.prng.below(40));
      ASSERT_NO_FATAL_FAILURE(rig.open());
      ASSERT_EQ(rig.store->revision(), rig.twin.revision);
      ASSERT_EQ(rig.store->compact_revision(), rig.twin.compacted);
    } else if (what < 96) {
      held.push_back(rig.store->publish());
    } else if (!held.empty()) {
      // An old view answers as it did, whatever was compacted since.
      const auto view = held[rig.prng.below(held.size())];
      Twin then = rig.twin;
      then.revision = view->revision();
      then.compacted = view->compact_revision();
      for (auto& [key, history] : then.keys) {
        std::erase_if(history, [&](const TwinVersion& v) { return v.kv.mod > then.revision; });
      }
      const RangeRequest q = rig.random_request();
      ASSERT_NO_FATAL_FAILURE(rig.compare(q, then, RangeScan::start(view, q), nullptr));
      if (rig.prng.chance(1, 2))
        held.erase(held.begin() + static_cast<std::ptrdiff_t>(rig.prng.below(held.size())));
    }
  }
  held.clear();
  while (rig.backend->run()) {
  }
  while (rig.store->maintain(100)) {
  }
  ASSERT_NO_FATAL_FAILURE(rig.check_records());
  ASSERT_NO_FATAL_FAILURE(rig.open());
  for (int i = 0; i < 200; ++i) ASSERT_NO_FATAL_FAILURE(rig.read());
}
INSTANTIATE_TEST_SUITE_P(Seeds, StoreTwin, ::testing::Range<uint64_t>(1, 13));

// ---- restart ----

TEST(Restore, NamesTheRecordThatIsDamaged) {
  FakeBackend backend;
  FakeLeases leases;
  metrics::Registry registry;
  backend.append({2, 0}, false,
                 encode_key_value({.key = "a", .create_revision = 2, .mod_revision = 2, .version = 1}));
  backend.append({3, 1}, false, Blob::copy("\x0a\x09zz"));
  const auto r = Store::restore(backend, leases, registry);
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code(), Code::kCorruption);
  EXPECT_NE(r.error().text().find("3_1"), std::string_view::npos) << r.error().text();
}

// Values that the store itself never writes end the start with the record's place, not the process.
TEST(Restore, NamesARecordThatNoStoreWrites) {
  const auto record = [](int64_t version) {
    return encode_key_value({.key = "a", .create_revision = 2, .mod_revision = 2, .version = version});
  };
  const auto refused = [](Revision revision, const Blob& value) -> std::string {
    FakeBackend backend;
    FakeLeases leases;
    metrics::Registry registry;
    backend.append(revision, false, value);
    const auto r = Store::restore(backend, leases, registry);
    if (r) return "accepted";
    EXPECT_EQ(r.error().code(), Code::kCorruption);
    return std::string(r.error().text());
  };
  EXPECT_EQ(refused({2, 0}, record(1)), "accepted");
  EXPECT_NE(refused({2, int64_t{1} << 32}, record(1)).find("2_4294967296"), std::string::npos);
  EXPECT_NE(refused({INT64_MAX - 1, 0}, record(1)).find("9223372036854775806_0"), std::string::npos);
  for (const int64_t version : {int64_t{0}, int64_t{-1}, RevisionNode::kVersionMax + 1}) {
    EXPECT_NE(refused({2, 0}, record(version)).find("2_0"), std::string::npos) << version;
  }
  FakeBackend backend;
  FakeLeases leases;
  metrics::Registry registry;
  backend.put(backend::Bucket::kMeta, "scheduledCompactRev", backend::RevisionKey({INT64_MAX - 1, 0}).view());
  const auto r = Store::restore(backend, leases, registry);
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code(), Code::kCorruption);
  EXPECT_NE(r.error().text().find("scheduledCompactRev"), std::string_view::npos);
}

// What etcd's `snapshot restore --bump-revision 1000 --mark-compacted` leaves, twice.
TEST(Restore, ARecordWithoutBytesRaisesTheRevision) {
  FakeBackend backend;
  FakeLeases leases;
  metrics::Registry registry;
  backend.append({2, 0}, false,
                 encode_key_value({.key = "a", .create_revision = 2, .mod_revision = 2, .version = 1}));
  backend.append({1002, 0}, false, Blob());
  backend.append({2002, 0}, false, Blob());
  backend.put(backend::Bucket::kMeta, "scheduledCompactRev", backend::RevisionKey({2002, 0}).view());
  auto store = Store::restore(backend, leases, registry);
  ASSERT_TRUE(store) << store.error().text();
  EXPECT_EQ((*store)->revision(), 2002);
  EXPECT_EQ((*store)->compact_revision(), 2002);
  backend.run();
  while ((*store)->maintain(100)) backend.run();
  // The compaction keeps the newest record of the empty key.
  EXPECT_TRUE((*store)->publish()->parts().records->record({2002, 0}));
  EXPECT_FALSE(backend.view()->record({1002, 0}));
  auto hash = HashKvRun::start((*store)->publish(), 0);
  ASSERT_TRUE(hash);
  ASSERT_TRUE(*hash->step(100));
  uint32_t expected = crc32c(0, "key");
  expected = crc32c(expected, backend::RevisionKey({2, 0}).view());
  expected = crc32c(expected, (*backend.view()->record({2, 0})));
  expected = crc32c(expected, backend::RevisionKey({2002, 0}).view());
  EXPECT_EQ(hash->result().hash, expected);
  WriteTxn& txn = (*store)->begin();
  ASSERT_TRUE(txn.put({"b", "x", LeaseId{}}));
  EXPECT_EQ((*store)->end(), 2003);
}

TEST(Restore, MarksRaiseTheRevision) {
  FakeBackend backend;
  FakeLeases leases;
  metrics::Registry registry;
  backend.put(backend::Bucket::kMeta, "finishedCompactRev", backend::RevisionKey({7, 0}).view());
  backend.put(backend::Bucket::kMeta, "scheduledCompactRev", backend::RevisionKey({9, 0}).view());
  auto store = std::move(*Store::restore(backend, leases, registry));
  EXPECT_EQ(store->revision(), 9);
  EXPECT_EQ(store->compact_revision(), 9);
  backend.run();
  EXPECT_EQ(*backend.get(backend::Bucket::kMeta, "finishedCompactRev"), backend::RevisionKey({9, 0}).view());
}

TEST(KeyValue, WithoutItsValue) {
  const Blob b = encode_key_value({.key = "k",
                                   .create_revision = 300,
                                   .mod_revision = 4,
                                   .version = 1,
                                   .value = "vvv",
                                   .lease = LeaseId(-1)});
  const auto parts = without_value(b.view());
  ASSERT_TRUE(parts);
  const std::string joined = std::string(parts->before) + std::string(parts->behind);
  const auto kv = decode_key_value(joined);
  ASSERT_TRUE(kv);
  EXPECT_EQ(kv->value, "");
  EXPECT_EQ(kv->create_revision, 300);
  EXPECT_EQ(kv->lease, LeaseId(-1));
  EXPECT_EQ(*decode_key(b.view()), "k");
  EXPECT_FALSE(without_value("\x0a\x05zz").has_value());
  EXPECT_FALSE(decode_key("\x0a\x05zz").has_value());
}

}  // namespace
}  // namespace quoin::mvcc

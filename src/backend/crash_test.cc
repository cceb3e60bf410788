// Random operations and crashes against a slow twin: what is found after a crash is exactly the state as of
// the consistent index found with it, and nothing acknowledged is missing; views read the right bytes
// meanwhile.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "backend/backend.h"
#include "backend/member_test.h"
#include "base/coding.h"

namespace quoin::backend {
namespace {

using Records = std::map<Revision, std::pair<bool, std::string>>;

// The state as apply sees it after one entry.
struct Model {
  Records records;
  std::map<std::pair<Bucket, std::string>, std::string> pairs;
  int64_t compacted = 0;  // highest revision a compaction was asked for
  int64_t main = 1;
};

// Drops every third revision at or below the one compacted.
bool kept(Revision r) {
  return r.main % 3 != 0;
}
class DropThirds : public Compactor {
 public:
  bool keep(std::string_view, Revision r, bool, std::string_view) override { return kept(r); }
};

struct HeldView {
  std::shared_ptr<const View> view;
  Records records;
  int64_t compacted;
};

class RandomRun {
 public:
  RandomRun(Kind kind, uint64_t seed) : m_(kind, seed), prng_(seed * 77 + 1) {
    m_.options.batch_limit = prng_.between(3, 60);
    m_.options.compaction_batch_limit = prng_.between(5, 40);
    m_.options.compaction_sleep_ns = static_cast<int64_t>(prng_.below(4)) * io::kMillisecond;
    m_.options.batch_interval_ns = static_cast<int64_t>(prng_.between(1, 20)) * io::kMillisecond;
  }

  static int defrags, compactions;
  void go() {
    for (int life = 0; life < 6 && !::testing::Test::HasFatalFailure(); ++life) {
      ASSERT_NO_FATAL_FAILURE(m_.open());
      ASSERT_NO_FATAL_FAILURE(recover());
      const uint64_t entries = prng_.between(1, 250);
      for (uint64_t i = 0; i < entries; ++i) {
        ASSERT_NO_FATAL_FAILURE(step());
      }
      views_.clear();
      if (prng_.chance(1, 3)) {
        m_.close();
        acknowledged_ = Index(index_);
      } else {
        m_.crash();
      }
      defragmenting_ = compacting_ = false;
    }
  }

 private:
  Backend& b() { return *m_.backend; }

  void step() {
    if (prng_.chance(1, 3)) m_.world.run_for(static_cast<int64_t>(prng_.below(4 * io::kMillisecond)));
    if (b().full()) {
      ASSERT_NO_FATAL_FAILURE(m_.wait([&] { return !b().full(); }));
    }
    m_.on_apply([&] { entry(); });
    if (prng_.chance(1, 20)) m_.on_apply([&] { maintenance(); });
    if (prng_.chance(1, 8)) {
      m_.on_apply([&] { views_.push_back({b().view(), model_.records, model_.compacted}); });
      if (views_.size() > 6) views_.erase(views_.begin());
    }
    if (!views_.empty() && prng_.chance(1, 8)) check_view(views_[prng_.below(views_.size())]);
    if (prng_.chance(1, 20)) check_pairs();
    ASSERT_FALSE(m_.failure) << m_.failure->text();
  }

  void entry() {
    ++index_;
    const uint64_t n = prng_.below(6);
    if (n > 0) ++model_.main;
    for (uint64_t i = 0; i < n; ++i) {
      const Revision r{model_.main, static_cast<int64_t>(i)};
      const bool tombstone = prng_.chance(1, 5);
      const std::string value(prng_.below(prng_.chance(1, 20) ? 9000 : 50),
                              static_cast<char>('a' + prng_.below(26)));
      b().append(r, tombstone, Blob::copy(value));
      model_.records[r] = {tombstone, value};
    }
    for (uint64_t i = prng_.below(3); i > 0; --i) {
      const Bucket bucket = prng_.chance(1, 2) ? Bucket::kLease : Bucket::kAuthUsers;
      const std::string key = fmt::format("k{}", prng_.below(40));
      if (prng_.chance(1, 3)) {
        b().erase(bucket, key);
        model_.pairs.erase({bucket, key});
      } else {
        const std::string value = fmt::format("v{}", prng_.below(1000));
        b().put(bucket, key, value);
        model_.pairs[{bucket, key}] = value;
      }
    }
    if (prng_.chance(1, 30)) {
      const std::string conf = fmt::format("{{\"voters\":[{}]}}", index_);
      b().set_conf_state(conf);
      model_.pairs[{Bucket::kMeta, "confState"}] = conf;
    }
    b().set_consistent_index(Index(index_), Term(3));
    history_[index_] = model_;
    if (prng_.chance(1, 10)) {
      b().commit([this, i = index_] {
        EXPECT_GE(b().durable_index(), Index(i));
        acknowledged_ = std::max(acknowledged_, Index(i));
      });
    }
  }

  void maintenance() {
    switch (prng_.below(3)) {
      case 0:
        if (compacting_) return;
        compacting_ = true;
        model_.compacted = std::max(model_.compacted, model_.main - static_cast<int64_t>(prng_.below(10)));
        history_[index_].compacted = model_.compacted;
        b().compact(model_.compacted, std::make_shared<DropThirds>(), [this] {
          compacting_ = false;
          ++compactions;
        });
        return;
      case 1:
        if (defragmenting_) return;
        defragmenting_ = true;
        b().defragment([this](Result<> r) {
          if (!r) {
            EXPECT_EQ(r.error().code(), Code::kStopped);
          }
          if (r) ++defrags;
          defragmenting_ = false;
        });
        return;
      case 2:
        b().snapshot([this, i = index_](Result<std::shared_ptr<SnapshotSource>> r) {
          ASSERT_TRUE(r);
          EXPECT_GE((*r)->consistent_index(), Index(i));
          check_copy(**r);
        });
        return;
    }
  }

  // A copy holds the state of the entry it names: no less, and nothing of a later one.
  void check_copy(const SnapshotSource& copy) {
    const uint64_t index = copy.consistent_index().v;
    ASSERT_TRUE(index == 0 || history_.count(index));
    const auto want = index == 0 ? decltype(Model::pairs)() : history_.at(index).pairs;
    std::map<std::pair<Bucket, std::string>, std::string> got;
    for (const Bucket bucket : {Bucket::kLease, Bucket::kAuthUsers}) {
      ASSERT_TRUE(copy.scan(bucket, [&](std::string_view k, std::string_view v) {
        got[{bucket, std::string(k)}] = v;
        return true;
      }));
    }
    if (!copy.conf_state().empty()) got[{Bucket::kMeta, "confState"}] = copy.conf_state();
    EXPECT_TRUE(got == want);
  }

  // Records above `compacted`, or kept by every compaction, must be there; others may be.
  void check_records(const View& view, const Records& want, int64_t compacted) {
    auto it = want.begin();
    Revision last{-1, 0};
    auto r =
        view.scan_records({0, 0}, {1 << 30, 0}, [&](Revision rev, bool tombstone, std::string_view value) {
          EXPECT_LT(last, rev);
          last = rev;
          while (it != want.end() && it->first < rev) {
            EXPECT_TRUE(it->first.main <= compacted && !kept(it->first)) << it->first.main << " missing";
            ++it;
          }
          EXPECT_TRUE(it != want.end() && it->first == rev) << rev.main << "/" << rev.sub << " unexpected";
          if (it == want.end() || it->first != rev) return false;
          EXPECT_EQ(it->second.first, tombstone);
          EXPECT_TRUE(it->second.second == value) << rev.main;
          ++it;
          return true;
        });
    ASSERT_TRUE(r) << r.error().text();
    for (; it != want.end(); ++it) ASSERT_TRUE(it->first.main <= compacted && !kept(it->first));
  }

  void check_view(const HeldView& held) {
    check_records(*held.view, held.records, held.compacted);
    for (int i = 0; i < 5 && !held.records.empty(); ++i) {
      auto it = held.records.lower_bound(
          {static_cast<int64_t>(prng_.below(held.records.rbegin()->first.main + 1)), 0});
      if (it == held.records.end() || (it->first.main <= held.compacted && !kept(it->first))) continue;
      const auto got = held.view->record(it->first);
      if (it->second.first) {
        EXPECT_EQ(got.error().code(), Code::kNotFound);
      } else {
        ASSERT_TRUE(got);
        EXPECT_TRUE(*got == it->second.second);
      }
    }
  }

  void check_pairs() {
    std::map<std::pair<Bucket, std::string>, std::string> got;
    for (const Bucket bucket : {Bucket::kLease, Bucket::kAuthUsers, Bucket::kMeta, Bucket::kMembers}) {
      ASSERT_TRUE(b().scan(bucket, "", "", [&](std::string_view k, std::string_view v) {
        if (bucket != Bucket::kMeta || k == "confState") got[{bucket, std::string(k)}] = v;
        EXPECT_EQ(b().get(bucket, k), v);
        return true;
      }));
    }
    ASSERT_TRUE(got == model_.pairs);
  }

  void recover() {
    const uint64_t found = b().consistent_index().v;
    ASSERT_GE(found, acknowledged_.v);
    index_ = found;
    if (found == 0) {
      model_ = {};
    } else {
      ASSERT_TRUE(history_.count(found));
      // Compaction is not part of an entry: one asked for later may have begun to delete.
      int64_t compacted = 0;
      for (const auto& [i, model] : history_) compacted = std::max(compacted, model.compacted);
      model_ = history_[found];
      model_.compacted = compacted;
    }
    history_.erase(history_.upper_bound(found), history_.end());
    if (found != 0) history_[found] = model_;
    check_records(*b().view(), model_.records, model_.compacted);
    check_pairs();
  }

  Member m_;
  Prng prng_;
  Model model_;
  uint64_t index_ = 0;
  Index acknowledged_;
  std::map<uint64_t, Model> history_;
  std::vector<HeldView> views_;
  bool compacting_ = false, defragmenting_ = false;
};

int RandomRun::defrags = 0;
int RandomRun::compactions = 0;

class CrashTest : public ::testing::TestWithParam<Kind> {};
INSTANTIATE_TEST_SUITE_P(Engines, CrashTest, ::testing::Values(Kind::kMemory, Kind::kBolt), kind_name);

TEST_P(CrashTest, TheStateFoundIsThatOfTheIndexFound) {
  for (uint64_t seed = 1; seed <= 6 && !HasFailure(); ++seed) {
    SCOPED_TRACE(seed);
    RandomRun(GetParam(), seed).go();
  }
  // The runs met what they are for.
  EXPECT_GT(RandomRun::defrags, 5);
  EXPECT_GT(RandomRun::compactions, 5);
}

// Power is lost at the first operation on the disk, then at the second, until a run ends by itself.
class PowerLoss {
 public:
  // False: the run came to its end.
  static bool at(uint64_t operation) {
    Member m(Kind::kBolt, operation + 1);
    m.options.compaction_batch_limit = 20;
    m.open();
    m.disk.lose_power_after(operation);
    uint64_t index = 0, acknowledged = 0;
    bool defragmented = false, compacted = false;
    Backend& b = *m.backend;
    const auto entry = [&] {
      ++index;
      b.append({static_cast<int64_t>(index) + 1, 0}, false,
               Blob::copy(std::string(200, static_cast<char>('a' + index % 26))));
      b.put(Bucket::kLease, fmt::format("k{}", index % 7), std::to_string(index));
      b.set_consistent_index(Index(index), Term(1));
    };
    const auto pass = [&](int entries, bool maintain) {
      m.on_apply([&] {
        for (int i = 0; i < entries; ++i) entry();
        b.commit([&, i = index] { acknowledged = i; });
        if (!maintain) return;
        b.compact(60, std::make_shared<DropThirds>(), [&] { compacted = true; });
        b.defragment([&](Result<> r) { defragmented = r.has_value(); });
      });
      m.world.run_for(2 * io::kMillisecond);
    };
    pass(100, false);
    pass(1, true);
    for (int i = 0; i < 30 && !(defragmented && compacted) && !m.disk.power_lost(); ++i) pass(3, false);
    m.world.run_for(50 * io::kMillisecond);
    const bool lost = m.disk.power_lost();
    EXPECT_TRUE(lost || (defragmented && compacted));
    EXPECT_FALSE(m.failure);
    m.crash();
    m.open();
    const uint64_t found = m.backend->consistent_index().v;
    EXPECT_GE(found, acknowledged);
    EXPECT_LE(found, index);
    const auto view = m.backend->view();
    for (uint64_t i = 1; i <= index; ++i) {
      const auto r = view->record({static_cast<int64_t>(i) + 1, 0});
      const bool may_be_gone = i + 1 <= 60 && !kept({static_cast<int64_t>(i) + 1, 0});
      if (i > found) {
        EXPECT_FALSE(r) << i;
      } else if (!may_be_gone || r) {
        EXPECT_TRUE(r && *r == std::string(200, static_cast<char>('a' + i % 26))) << i;
      }
    }
    for (uint64_t i = found; i + 7 > found && i > 0; --i) {
      EXPECT_EQ(m.backend->get(Bucket::kLease, fmt::format("k{}", i % 7)), std::to_string(i));
    }
    const auto names = m.fs->list("/data/member/snap");
    EXPECT_TRUE(names && names->size() == 1 && names->front().name == "db");
    return lost;
  }
};

TEST(PowerLossTest, AtEveryOperationOfCommitsCompactionAndDefragment) {
  uint64_t n = 0;
  while (n < 2000 && !HasFailure() && PowerLoss::at(n)) {
    ++n;
    if (HasFailure()) ADD_FAILURE() << "power lost after " << n - 1 << " operations";
  }
  EXPECT_GT(n, 60u);
}

}  // namespace
}  // namespace quoin::backend

// A backend in memory, for tests of what stands on it. Records are kept in order; a view is a prefix of them.
// What the real one does on the file strand happens in run(): callbacks of commits and compactions, in the
// order asked.
//
// Model of a restart: everything appended is there; a compaction may have got as far as the test says.
#pragma once
#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "base/check.h"

namespace quoin::mvcc {

class FakeBackend final : public backend::Backend {
 public:
  struct Record {
    Revision revision;
    bool tombstone;
    Blob value;
  };
  struct Records {
    explicit Records(size_t max) : all(new Record[max]) {}
    std::unique_ptr<Record[]> all;
    size_t size = 0;
  };
  static constexpr size_t kRecordsMax = 1u << 17;

  explicit FakeBackend(size_t records_max = kRecordsMax)
      : records_max_(records_max), records_(std::make_shared<Records>(records_max)) {}

  class FakeView final : public backend::View {
   public:
    FakeView(std::shared_ptr<const Records> records, size_t size)
        : records_(std::move(records)), size_(size) {}
    using View::record;
    Result<std::string_view> record(Revision revision, Hint*) const override {
      const Record* r = at(revision);
      if (r == end() || r->revision != revision || r->tombstone) return Code::kNotFound;
      return r->value.view();
    }
    Result<> scan_records(Revision from, Revision to, const backend::RecordVisitor& visit) const override {
      for (const Record* r = at(from); r != end() && r->revision < to; ++r) {
        if (!visit(r->revision, r->tombstone, r->value.view())) break;
      }
      return {};
    }

   private:
    const Record* end() const { return records_->all.get() + size_; }
    const Record* at(Revision revision) const {
      return std::lower_bound(static_cast<const Record*>(records_->all.get()), end(), revision,
                              [](const Record& r, Revision v) { return r.revision < v; });
    }
    std::shared_ptr<const Records> records_;
    size_t size_;
  };

  void append(Revision revision, bool tombstone, Blob value) override {
    CHECK(records_->size == 0 || records_->all[records_->size - 1].revision < revision);
    CHECK(records_->size < records_max_);
    records_->all[records_->size++] = {revision, tombstone, std::move(value)};
    view_.reset();
  }
  void put(backend::Bucket bucket, std::string_view key, std::string_view value) override {
    pairs_[static_cast<int>(bucket)][std::string(key)] = std::string(value);
  }
  void erase(backend::Bucket bucket, std::string_view key) override {
    pairs_[static_cast<int>(bucket)].erase(std::string(key));
  }
  void set_consistent_index(Index index, Term term) override { set_consistent_index_forced(index, term); }
  void set_consistent_index_forced(Index index, Term term) override {
    index_ = index;
    term_ = term;
  }
  void set_conf_state(std::string_view) override {}
  void hold_freeze() override {}
  void release_freeze() override {}
  Index consistent_index() const override { return index_; }
  Term consistent_term() const override { return term_; }
  Index durable_index() const override { return index_; }
  bool full() const override { return false; }
  void set_not_full_callback(std::function<void()>) override {}
  std::optional<std::string> get(backend::Bucket bucket, std::string_view key) const override {
    const auto& all = pairs_[static_cast<int>(bucket)];
    const auto it = all.find(std::string(key));
    if (it == all.end()) return std::nullopt;
    return it->second;
  }
  Result<> scan(backend::Bucket bucket, std::string_view from, std::string_view to,
                const backend::PairVisitor& visit) const override {
    for (const auto& [key, value] : pairs_[static_cast<int>(bucket)]) {
      if (key >= from && (to.empty() || key < to) && !visit(key, value)) break;
    }
    return {};
  }
  std::shared_ptr<const backend::View> view() override {
    if (!view_) view_ = std::make_shared<FakeView>(records_, records_->size);
    return view_;
  }
  void commit(std::function<void()> durable) override { tasks_.push_back(std::move(durable)); }
  void set_failure_callback(std::function<void(Error)>) override {}
  void compact(int64_t revision, std::shared_ptr<backend::Compactor> compactor,
               std::function<void()> done) override {
    CHECK(!compacting_);
    compacting_ = true;
    tasks_.push_back([this, revision, compactor, done = std::move(done)] {
      compacting_ = false;
      if (!compact_records(revision, *compactor)) return;
      done();
    });
  }
  void hash(std::function<void(Result<backend::StateHash>)>) override { CHECK(false, "not part of this fake"); }
  void defragment(std::function<void(Result<>)>) override { CHECK(false, "not part of this fake"); }
  void snapshot(std::function<void(Result<std::shared_ptr<backend::SnapshotSource>>)>) override {
    CHECK(false, "not part of this fake");
  }
  uint64_t size() const override { return 0; }
  uint64_t size_in_use() const override { return 0; }
  uint64_t open_read_transactions() const override { return 0; }
  std::shared_ptr<backend::Probe> probe() const override { return nullptr; }
  void close(std::function<void(Result<>)> done) override { done({}); }

  // Runs what is due; true if there was anything.
  bool run() {
    bool any = false;
    while (!tasks_.empty()) {
      auto task = std::move(tasks_.front());
      tasks_.pop_front();
      task();
      any = true;
    }
    return any;
  }
  // Forgets callbacks, as a crash does. `records_done`: how many records a compaction under way had looked
  // at.
  void crash(size_t records_done) {
    records_done_ = records_done;
    if (compacting_) tasks_.back()();
    records_done_ = SIZE_MAX;
    tasks_.clear();
    compacting_ = false;
  }
  const Records& records() const { return *records_; }

 private:
  bool compact_records(int64_t revision, backend::Compactor& compactor) {
    auto kept = std::make_shared<Records>(records_max_);
    size_t seen = 0;
    bool whole = true;
    for (size_t i = 0; i < records_->size; ++i) {
      const Record& r = records_->all[i];
      bool keep = true;
      if (r.revision.main <= revision) {
        if (seen++ == records_done_) whole = false;
        if (whole) {
          keep = compactor.keep(backend::RevisionKey(r.revision, r.tombstone).view(), r.revision, r.tombstone,
                                r.value.view());
        }
      }
      if (keep) kept->all[kept->size++] = r;
    }
    records_ = std::move(kept);
    view_.reset();
    if (whole) put(backend::Bucket::kMeta, "finishedCompactRev", backend::RevisionKey({revision, 0}).view());
    return whole;
  }

  const size_t records_max_;
  std::shared_ptr<Records> records_;
  std::shared_ptr<const backend::View> view_;
  std::map<std::string, std::string> pairs_[backend::kBucketCount];
  Index index_;
  Term term_;
  std::deque<std::function<void()>> tasks_;
  bool compacting_ = false;
  size_t records_done_ = SIZE_MAX;
};

}  // namespace quoin::mvcc

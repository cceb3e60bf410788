// The compares of a transaction, evaluated on the state before it.
//
// Threads: confined to the caller's. Source: spec api-semantics 2.6 (Compares).
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "mvcc/read_view.h"
#include "mvcc/store.h"
#include "wire/rpc.h"

namespace quoin::server {

// The state that compares look at: the store's newest one (apply), or a view (read-only transactions).
class CompareSource {
 public:
  virtual ~CompareSource() = default;
  size_t evaluated = 0;  // compares looked at
  virtual std::optional<mvcc::KeyMeta> find(std::string_view key) = 0;
  // The encoded KeyValue; lives until the next call.
  virtual Result<std::string_view> record(const mvcc::KeyMeta& meta) = 0;
  // Live keys of a range in key order, from the last begin() on; takes those visited off the budget, and
  // stops when that is 0 or `visit` says false. True at the end of the range.
  virtual Result<> begin(std::string_view key, std::string_view range_end) = 0;
  virtual Result<bool> go_on(size_t* budget, const std::function<bool(const mvcc::KeyMeta&)>& visit) = 0;
};

class StoreSource final : public CompareSource {
 public:
  explicit StoreSource(mvcc::Store& store) : store_(store) {}
  std::optional<mvcc::KeyMeta> find(std::string_view key) override { return store_.find_current(key); }
  Result<std::string_view> record(const mvcc::KeyMeta& meta) override {
    return store_.record_current(meta, &hold_);
  }
  Result<> begin(std::string_view key, std::string_view range_end) override;
  Result<bool> go_on(size_t* budget, const std::function<bool(const mvcc::KeyMeta&)>& visit) override;

 private:
  mvcc::Store& store_;
  std::string from_;
  std::string_view range_end_;
  std::shared_ptr<const backend::View> hold_;
};

class ViewSource final : public CompareSource {
 public:
  explicit ViewSource(std::shared_ptr<const mvcc::ReadView> view) : view_(std::move(view)) {}
  std::optional<mvcc::KeyMeta> find(std::string_view key) override {
    return view_->find(key, view_->revision());
  }
  Result<std::string_view> record(const mvcc::KeyMeta& meta) override { return view_->record(meta); }
  Result<> begin(std::string_view key, std::string_view range_end) override;
  Result<bool> go_on(size_t* budget, const std::function<bool(const mvcc::KeyMeta&)>& visit) override;

 private:
  std::shared_ptr<const mvcc::ReadView> view_;
  std::optional<mvcc::RangeScan> scan_;
};

// Which branch a transaction and, along the branches taken, its nested ones take. A compare over a range may
// look at every key there is, so it goes in steps; the source must not change between them.
class BranchChoice {
 public:
  // Both outlive it.
  BranchChoice(const wire::etcdserverpb::TxnRequest& txn, CompareSource& source)
      : source_(source), todo_{&txn} {}
  // Looks at no more keys than the budget has, and takes them off. True once all is decided.
  Result<bool> step(size_t* budget);
  // True for success, in the order in which execution meets them.
  const std::vector<bool>& branches() const { return branches_; }

 private:
  Result<bool> compare(const wire::etcdserverpb::Compare& c, size_t* budget);

  CompareSource& source_;
  std::vector<const wire::etcdserverpb::TxnRequest*> todo_;  // the next one last
  size_t at_ = 0;                                            // compare of that one
  bool in_range_ = false;                                    // the compare has begun its range
  bool any_ = false;                                         // which holds a key
  bool holds_ = true;                                        // outcome of the last complete compare
  std::vector<bool> branches_;
};

}  // namespace quoin::server

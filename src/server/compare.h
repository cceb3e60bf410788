// The compares of a transaction, evaluated on the state before it.
//
// Threads: confined to the caller's. Source: spec api-semantics 2.6 (Compares).
#pragma once
#include <functional>
#include <memory>
#include <optional>
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
  // Live keys of a range in key order; false stops.
  virtual Result<> for_each(std::string_view key, std::string_view range_end,
                            const std::function<bool(const mvcc::KeyMeta&)>& visit) = 0;
};

class StoreSource final : public CompareSource {
 public:
  explicit StoreSource(mvcc::Store& store) : store_(store) {}
  std::optional<mvcc::KeyMeta> find(std::string_view key) override { return store_.find_current(key); }
  Result<std::string_view> record(const mvcc::KeyMeta& meta) override {
    return store_.record_current(meta, &hold_);
  }
  Result<> for_each(std::string_view key, std::string_view range_end,
                    const std::function<bool(const mvcc::KeyMeta&)>& visit) override;

 private:
  mvcc::Store& store_;
  std::shared_ptr<const backend::View> hold_;
};

class ViewSource final : public CompareSource {
 public:
  explicit ViewSource(std::shared_ptr<const mvcc::ReadView> view) : view_(std::move(view)) {}
  std::optional<mvcc::KeyMeta> find(std::string_view key) override {
    return view_->find(key, view_->revision());
  }
  Result<std::string_view> record(const mvcc::KeyMeta& meta) override { return view_->record(meta); }
  Result<> for_each(std::string_view key, std::string_view range_end,
                    const std::function<bool(const mvcc::KeyMeta&)>& visit) override;

 private:
  std::shared_ptr<const mvcc::ReadView> view_;
};

// Which branch a transaction and, along the branches taken, its nested ones take: true for success, in the
// order in which execution meets them.
Result<std::vector<bool>> choose_branches(const wire::etcdserverpb::TxnRequest& txn, CompareSource& source);

}  // namespace quoin::server

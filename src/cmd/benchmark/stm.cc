#include "cmd/benchmark/stm.h"

#include <absl/container/flat_hash_set.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <utility>

#include "base/prng.h"
#include "client/methods.h"
#include "cmd/benchmark/lease_phase.h"
#include "cmd/benchmark/mutex.h"
#include "cmd/benchmark/requests.h"
#include "wire/message.h"
#include "wire/rpc.h"

namespace quoin::cmd::bench {
namespace {

namespace rpc = wire::etcdserverpb;
namespace methods = client::methods;
constexpr size_t kKeyBytes = 16;
constexpr int64_t kKeepAliveNs = 20 * io::kSecond;  // a third of a session's time to live

struct Isolation {
  bool compares_reads = false, compares_writes = false;
  bool one_revision = false;  // of all reads; a conflict brings the keys
};

Isolation isolation_of(std::string_view name) {
  if (name == "c") return {};
  if (name == "r") return {.compares_reads = true};
  if (name == "s") return {.compares_reads = true, .one_revision = true};
  return {.compares_reads = true, .compares_writes = true, .one_revision = true};
}

class StmWorker final : public Worker, private client::Call {
 public:
  StmWorker(Engine& engine, Load& load, Report& report, client::Client& client, int64_t lease, uint64_t seed)
      : engine_(engine),
        arguments_(engine.arguments()),
        isolation_(isolation_of(arguments_.isolation)),
        load_(load),
        report_(report),
        client_(client),
        lease_(lease),
        prng_(seed) {}

  void operate(uint64_t) override {
    draw_keys();
    if (arguments_.locker == "stm") return attempt();
    if (!mutex_) open_session();
    locking_ = true;
    mutex_->lock();
  }

 private:
  struct Read {
    int64_t mod_revision = 0;     // 0: there is no such key
    int64_t header_revision = 0;  // at which it was read
  };
  enum class Step : uint8_t { kRead, kCommit };

  void open_session() {
    keeper_.emplace(engine_, client_, lease_, kKeepAliveNs);
    const auto make = arguments_.locker == "lock-rpc" ? make_server_mutex : make_key_mutex;
    mutex_ = make(client_, lease_, [this](const std::optional<std::string>& why) {
      if (why) return engine_.failed(fmt::format("{}: {}", arguments_.locker, *why));
      locking_ ? attempt() : load_.completed(*this, report_, status_, text_);
    });
  }

  // Some of the --keys, each at most once, in any order.
  void draw_keys() {
    const auto space = static_cast<uint64_t>(arguments_.keys);
    const auto wanted = static_cast<uint64_t>(arguments_.keys_per_txn);
    numbers_.clear();
    // Floyd's way: each set is as likely as any other.
    drawn_.clear();
    for (uint64_t j = space - wanted; j < space; ++j) {
      uint64_t n = prng_.below(j + 1);
      if (!drawn_.insert(n).second) drawn_.insert(n = j);
      numbers_.push_back(n);
    }
    for (size_t i = numbers_.size(); i > 1; --i) std::swap(numbers_[i - 1], numbers_[prng_.below(i)]);
    keys_.clear();
    for (const uint64_t n : numbers_) keys_.emplace_back(KeyBuffer(kKeyBytes).write(static_cast<int64_t>(n)));
    fetched_ = false;
  }

  void attempt() {
    if (!fetched_) reads_.clear();
    base_revision_ = fetched_ && !reads_.empty() ? reads_[0].header_revision : 0;
    read_next();
  }

  void read_next() {
    if (reads_.size() == keys_.size()) return commit();
    rpc::TxnRequest txn;
    rpc::RangeRequest& range = txn.success.emplace_back().set_request_range();
    range.key = keys_[reads_.size()];
    range.serializable = !isolation_.one_revision || !reads_.empty();
    range.revision = isolation_.one_revision ? base_revision_ : 0;
    ask(Step::kRead, txn);
  }

  void commit() {
    rpc::TxnRequest txn;
    int64_t first = INT64_MAX - 1;
    for (const Read& r : reads_) first = std::min(first, r.header_revision);
    const auto compare = [&](size_t i, rpc::Compare::CompareResult result, int64_t revision) {
      rpc::Compare& c = txn.compare.emplace_back();
      c.target = rpc::Compare::CompareTarget::kMod;
      c.result = result;
      c.key = keys_[i];
      c.set_mod_revision(revision);
    };
    const auto writes = static_cast<size_t>(
        static_cast<float>(static_cast<int64_t>(keys_.size()) * arguments_.txn_wr_percent) / 100.0F);
    if (isolation_.compares_reads) {
      for (size_t i = 0; i < keys_.size(); ++i) {
        compare(i, rpc::Compare::CompareResult::kEqual, reads_[i].mod_revision);
      }
    }
    values_.clear();
    values_.reserve(writes);
    for (size_t i = 0; i < writes; ++i) {
      if (isolation_.compares_writes) compare(i, rpc::Compare::CompareResult::kLess, first + 1);
      values_.push_back(random_bytes(static_cast<size_t>(arguments_.val_size), prng_));
      rpc::PutRequest& put = txn.success.emplace_back().set_request_put();
      put.key = keys_[i];
      put.value = values_.back();
    }
    if (isolation_.one_revision) {
      for (const std::string& k : keys_) txn.failure.emplace_back().set_request_range().key = k;
    }
    ask(Step::kCommit, txn);
  }

  void ask(Step step, const rpc::TxnRequest& txn) {
    step_ = step;
    request_.clear();
    wire::append(&request_, txn);
    client_.unary(*this, methods::kTxn, request_, {});
  }

  void on_message(std::string_view message) override { answer_.assign(message); }
  void on_end(GrpcStatus status, std::string_view text) override {
    if (status != GrpcStatus::kOk) return end(status, text);
    const auto txn = wire::decode<rpc::TxnResponse>(answer_);
    if (!txn) return end(GrpcStatus::kInternal, txn.error().text());
    if (step_ == Step::kCommit && txn->succeeded) return end(GrpcStatus::kOk, "");
    if (step_ == Step::kRead) {
      if (!take(*txn, 1)) return end(GrpcStatus::kInternal, "malformed answer");
      if (reads_.size() == 1) base_revision_ = reads_[0].header_revision;
      return read_next();
    }
    fetched_ = isolation_.one_revision;
    if (fetched_) {
      reads_.clear();
      if (!take(*txn, keys_.size())) return end(GrpcStatus::kInternal, "malformed answer");
    }
    attempt();
  }

  // Adds what `count` ranges of the answer say to reads_.
  bool take(const rpc::TxnResponse& txn, size_t count) {
    if (txn.responses.size() != count) return false;
    for (const rpc::ResponseOp& op : txn.responses) {
      const rpc::RangeResponse* range = op.response_range();
      if (range == nullptr) return false;
      Read read;
      if (const auto& header = range->header ? range->header : txn.header)
        read.header_revision = header->revision;
      if (!range->kvs.empty()) {
        const auto kv = wire::decode(range->kvs[0]);
        if (!kv) return false;
        read.mod_revision = kv->mod_revision;
      }
      reads_.push_back(read);
    }
    return true;
  }

  void end(GrpcStatus status, std::string_view text) {
    if (!mutex_) return load_.completed(*this, report_, status, text);
    status_ = status;
    text_ = text;
    locking_ = false;
    mutex_->unlock();
  }

  Engine& engine_;
  const Arguments& arguments_;
  const Isolation isolation_;
  Load& load_;
  Report& report_;
  client::Client& client_;
  const int64_t lease_;
  Prng prng_;
  std::optional<LeaseKeeper> keeper_;
  std::unique_ptr<Mutex> mutex_;
  bool locking_ = false;
  std::vector<uint64_t> numbers_;
  absl::flat_hash_set<uint64_t> drawn_;
  std::vector<std::string> keys_, values_;
  std::vector<Read> reads_;  // of the first keys, in their order
  bool fetched_ = false;     // by a commit that failed
  int64_t base_revision_ = 0;
  Step step_ = Step::kRead;
  std::string request_, answer_;
  GrpcStatus status_ = GrpcStatus::kOk;
  std::string text_;
};

}  // namespace

std::unique_ptr<Load> make_stm_load(Engine& engine, const std::vector<int64_t>& leases, Report& report,
                                    uint64_t seed) {
  const Arguments& a = engine.arguments();
  auto load = std::make_unique<Load>(static_cast<uint64_t>(a.total), a.rate, std::vector<Report*>{&report});
  Prng seeds(seed);
  for (uint64_t i = 0; i < a.clients; ++i) {
    load->add(std::make_unique<StmWorker>(engine, *load, report, engine.client_of(i),
                                          leases.empty() ? 0 : leases[i], seeds.next()));
  }
  return load;
}

}  // namespace quoin::cmd::bench

#include "cmd/benchmark/mutex.h"

#include <fmt/format.h>

#include <utility>

#include "client/methods.h"
#include "cmd/benchmark/engine.h"
#include "cmd/benchmark/watch_stream.h"
#include "wire/message.h"
#include "wire/rpc.h"
#include "wire/v3lock.h"

namespace quoin::cmd::bench {
namespace {

namespace rpc = wire::etcdserverpb;
namespace methods = client::methods;
constexpr std::string_view kName = "stmlock", kPrefix = "stmlock/", kPrefixEnd = "stmlock0";
constexpr client::Method kLock{"/v3lockpb.Lock/Lock"}, kUnlock{"/v3lockpb.Lock/Unlock"};

std::optional<wire::mvccpb::KeyValue> first_of(const rpc::RangeResponse& range) {
  if (range.kvs.empty()) return std::nullopt;
  auto kv = wire::decode(range.kvs[0]);
  if (!kv) return std::nullopt;
  return std::move(*kv);
}

// The oldest key of the lock.
rpc::RangeRequest oldest() {
  rpc::RangeRequest r;
  r.key = kPrefix;
  r.range_end = kPrefixEnd;
  r.limit = 1;
  r.sort_target = rpc::RangeRequest::SortTarget::kCreate;
  r.sort_order = rpc::RangeRequest::SortOrder::kAscend;
  return r;
}

class KeyMutex final : public Mutex, private client::Call, private WatchStream::Listener {
 public:
  KeyMutex(client::Client& client, int64_t lease, Done done)
      : client_(client), lease_(lease), done_(std::move(done)), key_(fmt::format("{}{:x}", kPrefix, lease)) {
    rpc::TxnRequest acquire;
    rpc::Compare& absent = acquire.compare.emplace_back();
    absent.target = rpc::Compare::CompareTarget::kCreate;
    absent.key = key_;
    absent.set_create_revision(0);
    rpc::PutRequest& put = acquire.success.emplace_back().set_request_put();
    put.key = key_;
    put.lease = lease_;
    acquire.success.emplace_back().set_request_range() = oldest();
    acquire.failure.emplace_back().set_request_range().key = key_;
    acquire.failure.emplace_back().set_request_range() = oldest();
    acquire_ = wire::encode_string(acquire);
    rpc::RangeRequest own;
    own.key = key_;
    own_ = wire::encode_string(own);
    rpc::DeleteRangeRequest release;
    release.key = key_;
    release_ = wire::encode_string(release);
  }

  void lock() override { ask(Step::kAcquire, methods::kTxn, acquire_); }
  void unlock() override { ask(Step::kRelease, methods::kDeleteRange, release_); }

 private:
  enum class Step : uint8_t { kAcquire, kPredecessor, kStillMine, kRelease };

  void ask(Step step, const client::Method& method, std::string_view request) {
    step_ = step;
    client_.unary(*this, method, request, {});
  }
  void on_message(std::string_view message) override { answer_.assign(message); }
  void on_end(GrpcStatus status, std::string_view text) override {
    if (status != GrpcStatus::kOk) return done_(error_text(status, text));
    switch (step_) {
      case Step::kAcquire:
        return acquired();
      case Step::kPredecessor:
        return predecessor_told();
      case Step::kStillMine: {
        const auto own = wire::decode<rpc::RangeResponse>(answer_);
        if (!own || own->kvs.empty()) return done_("mutex: session is expired");
        return done_(std::nullopt);
      }
      case Step::kRelease:
        return done_(std::nullopt);
    }
  }
  void acquired() {
    const auto txn = wire::decode<rpc::TxnResponse>(answer_);
    if (!txn || txn->responses.size() != 2 || !txn->header) return done_("malformed answer");
    my_revision_ = txn->header->revision;
    if (!txn->succeeded) {
      const rpc::RangeResponse* mine = txn->responses[0].response_range();
      const auto kv = mine ? first_of(*mine) : std::nullopt;
      if (!kv) return done_("malformed answer");
      my_revision_ = kv->create_revision;
    }
    const rpc::RangeResponse* owner = txn->responses[1].response_range();
    const auto kv = owner ? first_of(*owner) : std::nullopt;
    if (!kv || kv->create_revision == my_revision_) return done_(std::nullopt);
    ask_predecessor();
  }
  // The newest key that is older than ours: when it is gone, the next one is asked for.
  void ask_predecessor() {
    rpc::RangeRequest r = oldest();
    r.sort_order = rpc::RangeRequest::SortOrder::kDescend;
    r.max_create_revision = my_revision_ - 1;
    ask(Step::kPredecessor, methods::kRange, wire::encode_string(r));
  }
  void predecessor_told() {
    const auto range = wire::decode<rpc::RangeResponse>(answer_);
    if (!range || !range->header) return done_("malformed answer");
    const auto kv = first_of(*range);
    if (!kv) return ask(Step::kStillMine, methods::kRange, own_);
    if (!watches_) {
      watches_ = std::make_unique<WatchStream>(client_, 0);
      watches_->listen(this);
    }
    watched_ = kNotYet;
    watching_ = true;
    watches_->create(kv->key, range->header->revision);
  }
  void on_response(WatchStream&, const rpc::WatchResponse& response) override {
    if (!watching_) return;
    if (response.created && watched_ == kNotYet) watched_ = response.watch_id;
    if (response.watch_id != watched_) return;
    if (response.canceled) return lost(std::string(response.cancel_reason));
    for (const auto& e : response.events) {
      if (e.type != wire::mvccpb::Event::EventType::kDelete) continue;
      watching_ = false;
      watches_->cancel(watched_);
      return ask_predecessor();
    }
  }
  void on_lost(WatchStream&, const std::string& why) override { lost(why); }
  void lost(const std::string& why) {
    if (std::exchange(watching_, false)) done_("watch: " + why);
  }

  static constexpr int64_t kNotYet = -1;
  client::Client& client_;
  const int64_t lease_;
  const Done done_;
  const std::string key_;
  std::string acquire_, own_, release_, answer_;
  Step step_ = Step::kAcquire;
  int64_t my_revision_ = 0;
  std::unique_ptr<WatchStream> watches_;
  int64_t watched_ = kNotYet;
  bool watching_ = false;
};

class ServerMutex final : public Mutex, private client::Call {
 public:
  ServerMutex(client::Client& client, int64_t lease, Done done) : client_(client), done_(std::move(done)) {
    wire::v3lockpb::LockRequest request;
    request.name = kName;
    request.lease = lease;
    request_ = wire::encode_string(request);
  }
  void lock() override {
    locking_ = true;
    client_.unary(*this, kLock, request_, {});
  }
  void unlock() override {
    locking_ = false;
    wire::v3lockpb::UnlockRequest request;
    request.key = key_;
    client_.unary(*this, kUnlock, wire::encode_string(request), {});
  }

 private:
  void on_message(std::string_view message) override {
    if (!locking_) return;
    const auto response = wire::decode<wire::v3lockpb::LockResponse>(message);
    if (response) key_ = response->key;
  }
  void on_end(GrpcStatus status, std::string_view text) override {
    done_(status == GrpcStatus::kOk ? std::nullopt : std::optional(error_text(status, text)));
  }
  client::Client& client_;
  const Done done_;
  std::string request_, key_;
  bool locking_ = false;
};

}  // namespace

std::unique_ptr<Mutex> make_key_mutex(client::Client& client, int64_t lease, Mutex::Done done) {
  return std::make_unique<KeyMutex>(client, lease, std::move(done));
}

std::unique_ptr<Mutex> make_server_mutex(client::Client& client, int64_t lease, Mutex::Done done) {
  return std::make_unique<ServerMutex>(client, lease, std::move(done));
}

}  // namespace quoin::cmd::bench

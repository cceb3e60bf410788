#include "cmd/benchmark/requests.h"

#include <limits>

#include "base/check.h"
#include "client/methods.h"
#include "wire/message.h"
#include "wire/rpc.h"

namespace quoin::cmd::bench {
namespace {

namespace rpc = wire::etcdserverpb;
namespace methods = client::methods;

class OneReport : public Requests {
 public:
  OneReport(const client::Method& method, Report& report) : method_(method), report_(report) {}
  const client::Method& method() const override { return method_; }
  Report& report() override { return report_; }

 protected:
  template <class M>
  std::string_view encoded(const M& m) {
    buffer_.clear();
    wire::append(&buffer_, m);
    return buffer_;
  }

 private:
  const client::Method& method_;
  Report& report_;
  std::string buffer_;
};

class Puts final : public OneReport {
 public:
  Puts(const Arguments& a, Report& report, uint64_t seed)
      : OneReport(methods::kPut, report),
        prng_(seed),
        space_(static_cast<uint64_t>(a.key_space_size)),
        sequential_(a.sequential_keys),
        key_(static_cast<size_t>(a.key_size)),
        value_(random_bytes(static_cast<size_t>(a.val_size), prng_)) {
    request_.value = value_;
  }
  std::string_view make(uint64_t k) override {
    request_.key = key_.write(static_cast<int64_t>(sequential_ ? k % space_ : prng_.below(space_)));
    return encoded(request_);
  }

 private:
  Prng prng_;
  const uint64_t space_;
  const bool sequential_;
  KeyBuffer key_;
  const std::string value_;
  rpc::PutRequest request_;
};

class Ranges final : public OneReport {
 public:
  Ranges(const Arguments& a, Report& report) : OneReport(methods::kRange, report) {
    rpc::RangeRequest request;
    request.key = a.range_key;
    request.range_end = a.range_end;
    request.limit = a.limit;
    request.count_only = a.count_only;
    request.serializable = a.serializable;
    bytes_ = encoded(request);
  }
  std::string_view make(uint64_t) override { return bytes_; }

 private:
  std::string bytes_;
};

class TxnPuts final : public OneReport {
 public:
  TxnPuts(const Arguments& a, Report& report, uint64_t seed)
      : OneReport(methods::kTxn, report),
        prng_(seed),
        ops_(static_cast<uint64_t>(a.txn_ops)),
        space_(static_cast<uint64_t>(a.key_space_size)),
        key_(static_cast<size_t>(a.key_size)),
        value_(random_bytes(static_cast<size_t>(a.val_size), prng_)),
        keys_(static_cast<size_t>(ops_)) {
    for (uint64_t j = 0; j < ops_; ++j) request_.success.emplace_back().set_request_put().value = value_;
  }
  std::string_view make(uint64_t k) override {
    for (uint64_t j = 0; j < ops_; ++j) {
      keys_[j] = key_.write(static_cast<int64_t>((k * ops_ + j) % space_));
      std::get_if<1 + 1>(&request_.success[j].request)->key = keys_[j];
    }
    return encoded(request_);
  }

 private:
  Prng prng_;
  const uint64_t ops_, space_;
  KeyBuffer key_;
  const std::string value_;
  std::vector<std::string> keys_;
  rpc::TxnRequest request_;
};

class Mixed final : public Requests {
 public:
  Mixed(const Arguments& a, Report& reads, Report& writes, uint64_t seed)
      : prng_(seed),
        reads_(reads),
        writes_(writes),
        share_of_reads_(a.rw_ratio / (1 + a.rw_ratio)),
        space_(static_cast<uint64_t>(a.key_space_size)),
        key_(static_cast<size_t>(a.key_size)),
        value_(random_bytes(static_cast<size_t>(a.val_size), prng_)) {
    constexpr std::string_view kZero("\0", 1);
    rpc::TxnRequest read;
    rpc::RangeRequest& range = read.success.emplace_back().set_request_range();
    range.key = kZero;  // all keys: --end-key has no effect, as in etcd's tool
    range.range_end = kZero;
    range.limit = a.limit;
    range.serializable = a.serializable;
    read_ = wire::encode_string(read);
    write_.success.emplace_back().set_request_put().value = value_;
  }
  const client::Method& method() const override { return methods::kTxn; }
  Report& report() override { return *last_; }
  std::string_view make(uint64_t k) override {
    const double dice = static_cast<double>(prng_.next() >> 11) * 0x1.0p-53;
    if (dice < share_of_reads_) {
      last_ = &reads_;
      return read_;
    }
    last_ = &writes_;
    std::get_if<1 + 1>(&write_.success[0].request)->key = key_.write(static_cast<int64_t>(k % space_));
    buffer_.clear();
    wire::append(&buffer_, write_);
    return buffer_;
  }

 private:
  Prng prng_;
  Report &reads_, &writes_;
  Report* last_ = nullptr;
  const double share_of_reads_;
  const uint64_t space_;
  KeyBuffer key_;
  const std::string value_;
  std::string read_, buffer_;
  rpc::TxnRequest write_;
};

class UnaryLoad final : public Load {
 public:
  UnaryLoad(std::unique_ptr<Requests> requests, uint64_t total, int64_t rate, std::vector<Report*> reports)
      : Load(total, rate, std::move(reports)), requests_(std::move(requests)) {}
  ~UnaryLoad() override = default;
  Requests& requests() { return *requests_; }

 private:
  std::unique_ptr<Requests> requests_;
};

class UnaryWorker final : public Worker, private client::Call {
 public:
  UnaryWorker(UnaryLoad& load, client::Client& client) : load_(load), client_(client) {}
  void operate(uint64_t k) override {
    Requests& requests = load_.requests();
    const std::string_view request = requests.make(k);
    report_ = &requests.report();
    client_.unary(*this, requests.method(), request, {});
  }

 private:
  void on_message(std::string_view) override {}
  void on_end(GrpcStatus status, std::string_view text) override {
    load_.completed(*this, *report_, status, text);
  }
  UnaryLoad& load_;
  client::Client& client_;
  Report* report_ = nullptr;
};

uint64_t zigzag(int64_t number) {
  return (static_cast<uint64_t>(number) << 1) ^ static_cast<uint64_t>(number >> 63);
}

}  // namespace

size_t KeyBuffer::varint_bytes(int64_t number) {
  return wire::varint_size(zigzag(number));
}

std::string_view KeyBuffer::write(int64_t number) {
  DCHECK(varint_bytes(number) <= bytes_.size());
  wire::put_varint(bytes_.data(), zigzag(number));
  return bytes_;
}

std::string random_bytes(size_t size, Prng& prng) {
  std::string out(size, '\0');
  for (char& c : out) c = static_cast<char>(prng.below(256));
  return out;
}

std::unique_ptr<Requests> make_requests(const Arguments& arguments, std::vector<Report*> reports,
                                        uint64_t seed) {
  switch (arguments.command) {
    case Command::kPut:
      return std::make_unique<Puts>(arguments, *reports[0], seed);
    case Command::kRange:
      return std::make_unique<Ranges>(arguments, *reports[0]);
    case Command::kTxnPut:
      return std::make_unique<TxnPuts>(arguments, *reports[0], seed);
    case Command::kTxnMixed:
      return std::make_unique<Mixed>(arguments, *reports[0], *reports[1], seed);
    default:
      break;
  }
  CHECK(false, "the command has no unary requests");
  return nullptr;
}

std::unique_ptr<Load> make_load(Engine& engine, std::unique_ptr<Requests> requests, uint64_t total,
                                int64_t rate, std::vector<Report*> reports) {
  auto load = std::make_unique<UnaryLoad>(std::move(requests), total, rate, std::move(reports));
  for (uint64_t i = 0; i < engine.arguments().clients; ++i) {
    load->add(std::make_unique<UnaryWorker>(*load, engine.client_of(i)));
  }
  return load;
}

}  // namespace quoin::cmd::bench

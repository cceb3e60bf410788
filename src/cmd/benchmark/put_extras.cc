#include "cmd/benchmark/put_extras.h"

#include <fmt/format.h>

#include <cstdio>

#include "client/methods.h"
#include "cmd/text/go_json.h"
#include "cmd/text/size.h"
#include "posix/log_duration.h"
#include "wire/message.h"
#include "wire/rpc.h"

namespace quoin::cmd::bench {

namespace rpc = wire::etcdserverpb;
namespace methods = client::methods;

Compactor::Compactor(Engine& engine, int64_t every_ns, int64_t delta)
    : engine_(engine), every_ns_(every_ns), delta_(delta) {
  arm();
}

void Compactor::arm() {
  timer_ = engine_.after(every_ns_, [this] {
    compacting_ = false;
    rpc::RangeRequest request;
    request.key = "foo";
    engine_.client_of(0).unary(*this, methods::kRange, wire::encode_string(request),
                               {.deadline = engine_.now() + 5 * io::kSecond});
  });
}

void Compactor::on_message(std::string_view message) {
  if (compacting_) return;
  const auto response = wire::decode<rpc::RangeResponse>(message);
  revision_ = response && response->header ? response->header->revision : 0;
}

void Compactor::on_end(GrpcStatus status, std::string_view text) {
  if (status != GrpcStatus::kOk) fmt::print(stderr, "compaction: {}\n", error_text(status, text));
  const int64_t target = std::max<int64_t>(0, revision_ - delta_);
  if (std::exchange(compacting_, true) || status != GrpcStatus::kOk || target == 0) return arm();
  rpc::CompactionRequest request;
  request.revision = target;
  engine_.client_of(0).unary(*this, methods::kCompact, wire::encode_string(request),
                             {.deadline = engine_.now() + 5 * io::kSecond});
}

Result<HashSummary> hashkv_summary(Engine& engine, const std::string& endpoint) {
  client::Client* client = nullptr;
  if (const auto fault = engine.connect_one_more(&client, endpoint)) return Error(Code::kIo, *fault);
  const io::MonotonicNs began = engine.now();
  const auto failed = [&](std::string_view what, std::string_view why) {
    return Error(Code::kIo, fmt::format("Failed to get the {} of endpoint {} ({})", what, endpoint, why));
  };
  const auto hash_answer = engine.call(*client, methods::kHashKv, "");
  if (!hash_answer) return failed("hashkv", hash_answer.error().text());
  const auto status_answer = engine.call(*client, methods::kStatus, "");
  if (!status_answer) return failed("status", status_answer.error().text());
  const int64_t took = engine.now() - began;
  ASSIGN_OR_RETURN(const auto hash, wire::decode<rpc::HashKVResponse>(*hash_answer));
  ASSIGN_OR_RETURN(const auto status, wire::decode<rpc::StatusResponse>(*status_answer));
  HashSummary out;
  out.text = fmt::format(
      "HashKV Summary:\n\tHashKV: {}\n\tEndpoint: {}\n\tTime taken to get hashkv: {}\n\tDB size: {}\n",
      hash.hash, endpoint, posix::duration_text(took), si_size(static_cast<uint64_t>(status.db_size)));
  GoJson json;
  json.open_object().put("hash", hash.hash).put("endpoint", endpoint);
  json.put("seconds", static_cast<double>(took) / 1e9).put("db_size", status.db_size).close_object();
  out.json = json.take();
  return out;
}

}  // namespace quoin::cmd::bench

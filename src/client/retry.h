// When a call that failed is made again: etcd's rules for its Go client.
//
// Source: client/v3 retry.go, retry_interceptor.go, options.go; spec cli 2.5. Pure; any thread.
#pragma once
#include <cstdint>
#include <string_view>

#include "base/error_table.h"
#include "base/prng.h"
#include "io/clock.h"

namespace quoin::client {

// What may be done twice.
enum class Retry : uint8_t {
  kNever,  // the caller sees each failure
  kRead,   // it may: again while servers are unavailable
  kWrite,  // it may not: again only if no server can have seen it
};

constexpr unsigned kAttemptsMax = 100;
constexpr int64_t kRetryWaitNs = 25 * io::kMillisecond;

// Whether the failure leads to another attempt without more ado.
bool safe_to_retry(Retry retry, GrpcStatus status, std::string_view text);
// Whether a new token may help. `has_password`: the client can get one. Without, an old revision alone leads
// to another attempt, as of a client known by its certificate.
bool token_is_stale(GrpcStatus status, std::string_view text, bool has_password);

// Before attempt `attempt` (the first is 0): every time a majority of the endpoints has been tried a pause of
// 25 ms, a tenth more or less.
int64_t retry_pause_ns(unsigned attempt, size_t endpoints, Prng& prng);

// Whether a text is one of those that etcd's clients know as an error of its server.
bool is_etcd_error(std::string_view text);

}  // namespace quoin::client

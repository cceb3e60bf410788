// The requests of a History as bytes: for the member itself, and for a client's call.
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "base/blob.h"
#include "scenarios/history.h"

namespace quoin::scenarios {

constexpr int64_t kTtlSeconds = 1'000'000;  // far beyond any run: leases end by revocation alone

// An InternalRaftRequest.
Blob encode_proposal(uint64_t id, const Request& request);

struct WireCall {
  std::string_view method;  // "KV/Put"
  std::string request;
};
WireCall encode_call(const Request& request);

struct WireAnswer {
  int64_t revision = 0;
  int64_t deleted = -1;  // of a deletion
};
std::optional<WireAnswer> decode_answer(Request::Kind kind, std::string_view bytes);

// Whether an error says that nothing was done; after the others the request may still be carried out.
bool is_refusal(Code code);
bool is_refusal(std::string_view text);

}  // namespace quoin::scenarios

// What a call through the gateway knows of the HTTP request's fields: which become metadata and under which names,
// and its deadline (spec api-semantics 8.5). Pure; any thread.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace quoin::httpapi::gateway {

using Fields = std::vector<std::pair<std::string_view, std::string_view>>;

struct Metadata {
  std::vector<std::pair<std::string, std::string>>
      pairs;                          // names in lower case, those of gRPC itself left out
  std::optional<int64_t> timeout_ns;  // may be in the past
  // A field was "Grpc-Metadata-" alone: gRPC's client refuses to send that.
  bool empty_name = false;
  // The first value.
  std::optional<std::string_view> find(std::string_view name) const;
};

// kInvalidArgument with the gateway's text.
Result<Metadata> read_metadata(const Fields& fields);

// "x-foo" as "X-Foo". As it is where it holds what no name may.
std::string canonical_name(std::string_view name);

}  // namespace quoin::httpapi::gateway

// How a command ends: its exit code, and what stands behind "Error: " on standard error.
//
// Source: etcd's pkg/cobrautl/error.go.
#pragma once
#include <fmt/format.h>

#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace quoin::ctl {

enum Exit : int {
  kExitOk = 0,
  kExitError = 1,          // a call, a fault while it ran
  kExitBadConnection = 2,  // no client: no authentication
  kExitInvalidInput = 3,   // what txn and watch read
  kExitBadFeature = 4,     // a value that a flag does not know, a format that a response does not have
  kExitInterrupted = 5,
  kExitBadArguments = 128,
};

struct [[nodiscard]] Ending {
  int code = kExitOk;
  std::string text;  // empty: nothing is said
};

inline Ending ok() {
  return {};
}
template <class... A>
Ending fail(int code, fmt::format_string<A...> f, A&&... args) {
  return {code, fmt::format(f, std::forward<A>(args)...)};
}
template <class... A>
Ending bad_arguments(fmt::format_string<A...> f, A&&... args) {
  return {kExitBadArguments, fmt::format(f, std::forward<A>(args)...)};
}

// A value, or the end of the command. ASSIGN_OR_RETURN and TRY of base/result.h work with it.
template <class T>
using Or = tl::expected<T, Ending>;

}  // namespace quoin::ctl

// The places of the server at which a test build can be made to stop, wait or fail, under the names etcd has at the
// same places (gofail 0.2.0; spec failpoints.md). In a build without QUOIN_FAILPOINTS these macros are nothing: no
// code, no string, no library.
//
//   FAILPOINT(walBeforeSync);                    a step: may sleep, die, print
//   FAILPOINT_IF(leading, raftBeforeLeaderSend); the same, where the condition holds; it has no side effect
//   FAILPOINT_DONE(raftAfterSaveSnap)            a callback without arguments; nullptr where there are none
//   FAILPOINT_TEXT(defragdbFail, text, return failed(text));
//                                                the statement runs with `text` if return("...") fires
//
// A name is listed from process start on, whether its place was reached or not; one name may stand at several places.
// Threads: any. A sleep blocks the strand or loop that runs there, and a panic ends the process at once: that is what
// whoever set it asked for.
#pragma once

#ifdef QUOIN_FAILPOINTS

#include <optional>
#include <string>

#include "failpoint/registry.h"

namespace quoin::failpoint {
template <size_t N>
struct Name {
  constexpr Name(const char (&s)[N]) {  // NOLINT: implicit on purpose
    for (size_t i = 0; i < N; ++i) text[i] = s[i];
  }
  char text[N];
};
// One for each name, made before main() since some code mentions it.
template <Name N>
inline Point place{Registry::process(), N.text};
}  // namespace quoin::failpoint

#define FAILPOINT(name) ::quoin::failpoint::place<#name>.reach()
#define FAILPOINT_IF(condition, name) \
  do {                                \
    if (condition) FAILPOINT(name);   \
  } while (false)
#define FAILPOINT_DONE(name) [] { FAILPOINT(name); }
#define FAILPOINT_TEXT(name, text, ...)                                                            \
  do {                                                                                             \
    if (const std::optional<std::string> text##_given = ::quoin::failpoint::place<#name>.text()) { \
      const std::string& text = *text##_given;                                                     \
      __VA_ARGS__;                                                                                 \
    }                                                                                              \
  } while (false)

#else

#define FAILPOINT(name) static_cast<void>(0)
#define FAILPOINT_IF(condition, name) static_cast<void>(0)
#define FAILPOINT_DONE(name) nullptr
#define FAILPOINT_TEXT(name, text, ...) static_cast<void>(0)

#endif

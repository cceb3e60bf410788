// Assertions that stay on in release. A failed CHECK is a bug of this program, never an expected fault:
// it prints file, line, condition and operands to standard error and aborts.
//
//   CHECK(cond)  CHECK(cond, "commit {} beyond last index {}", a, b)
//   CHECK_EQ/NE/LE/LT/GE/GT(a, b)   print both operands
//   DCHECK...    the same, compiled out when NDEBUG is set: for conditions too costly for release
#pragma once
#include <fmt/format.h>

#include <string>

namespace quoin {
[[noreturn]] void check_failed(const char* file, int line, const char* condition, const std::string& detail);

namespace internal {
inline std::string check_text() {
  return {};
}
template <class... A>
std::string check_text(fmt::format_string<A...> f, A&&... args) {
  return fmt::format(f, std::forward<A>(args)...);
}
}  // namespace internal
}  // namespace quoin

#define CHECK(cond, ...)                                                                            \
  do {                                                                                              \
    if (!(cond)) [[unlikely]]                                                                       \
      ::quoin::check_failed(__FILE__, __LINE__, #cond, ::quoin::internal::check_text(__VA_ARGS__)); \
  } while (0)

#define QUOIN_CHECK_OP(a, op, b)                                                            \
  do {                                                                                      \
    const auto& check_a_ = (a);                                                             \
    const auto& check_b_ = (b);                                                             \
    if (!(check_a_ op check_b_)) [[unlikely]]                                               \
      ::quoin::check_failed(__FILE__, __LINE__, #a " " #op " " #b,                          \
                            ::quoin::internal::check_text("{} vs {}", check_a_, check_b_)); \
  } while (0)
#define CHECK_EQ(a, b) QUOIN_CHECK_OP(a, ==, b)
#define CHECK_NE(a, b) QUOIN_CHECK_OP(a, !=, b)
#define CHECK_LE(a, b) QUOIN_CHECK_OP(a, <=, b)
#define CHECK_LT(a, b) QUOIN_CHECK_OP(a, <, b)
#define CHECK_GE(a, b) QUOIN_CHECK_OP(a, >=, b)
#define CHECK_GT(a, b) QUOIN_CHECK_OP(a, >, b)

#ifdef NDEBUG
#define DCHECK(...) \
  do {              \
  } while (0)
#else
#define DCHECK(...) CHECK(__VA_ARGS__)
#endif

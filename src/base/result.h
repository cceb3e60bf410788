// Errors are values. What can fail returns Result<T>; nothing throws on a request path.
//
// Error is a code and, for faults of the disk or the operating system, a text of its own. Codes that
// reach clients carry their gRPC status and exact message in one table (error_table.h); clients compare
// both. A code exists only if some caller acts on it or some client sees it.
#pragma once
#include <fmt/format.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

#include "base/error_table.h"

namespace quoin {

class [[nodiscard]] Error {
 public:
  explicit Error(Code code) : code_(code) {}
  Error(Code code, std::string text)
      : code_(code), text_(std::make_shared<const std::string>(std::move(text))) {}

  Code code() const { return code_; }
  // The message of the table, or this error's own text where it has one.
  std::string_view text() const { return text_ ? std::string_view(*text_) : error_info(code_).text; }
  GrpcStatus grpc_status() const { return error_info(code_).grpc; }
  // The same error with "<prefix>: " in front of its text.
  Error prefixed(std::string_view prefix) const {
    return Error(code_, fmt::format("{}: {}", prefix, text()));
  }

  friend bool operator==(const Error& a, const Error& b) {
    return a.code_ == b.code_ && a.text() == b.text();
  }

 private:
  Code code_;
  std::shared_ptr<const std::string> text_;
};

template <class T = void>
class [[nodiscard]] Result : public tl::expected<T, Error> {
 public:
  using tl::expected<T, Error>::expected;
  Result(Error e) : tl::expected<T, Error>(tl::unexpect, std::move(e)) {}  // NOLINT: implicit on purpose
  Result(Code c) : tl::expected<T, Error>(tl::unexpect, Error(c)) {}       // NOLINT: implicit on purpose
};

template <class... A>
Error make_error(Code code, fmt::format_string<A...> f, A&&... args) {
  return Error(code, fmt::format(f, std::forward<A>(args)...));
}
// kIo with the operation, the path and go_errno_text(errno_value).
Error errno_error(std::string_view operation, std::string_view path, int errno_value);

}  // namespace quoin

#define QUOIN_CONCAT_(a, b) a##b
#define QUOIN_CONCAT(a, b) QUOIN_CONCAT_(a, b)
// Returns the error of `expr` from the enclosing function, or goes on.
#define TRY(expr)                                             \
  do {                                                        \
    if (auto try_result_ = (expr); !try_result_) [[unlikely]] \
      return std::move(try_result_).error();                  \
  } while (0)
// ASSIGN_OR_RETURN(auto x, f()): x is the value of f(), or the enclosing function returns the error.
#define ASSIGN_OR_RETURN(lhs, expr) QUOIN_ASSIGN_(QUOIN_CONCAT(assign_result_, __LINE__), lhs, expr)
#define QUOIN_ASSIGN_(tmp, lhs, expr) \
  auto tmp = (expr);                  \
  if (!tmp) [[unlikely]]              \
    return std::move(tmp).error();    \
  lhs = std::move(*tmp)

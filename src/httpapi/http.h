// A request and its answer, away from sockets and protocol versions.
#pragma once
#include <absl/functional/any_invocable.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace quoin::httpapi {

using Headers = std::vector<std::pair<std::string, std::string>>;

struct Request {
  std::string_view method;
  std::string_view path;   // without the query; its percent-encoding holds and is not undone
  std::string_view query;  // without '?'
  // Names in any case.
  std::vector<std::pair<std::string_view, std::string_view>> headers;
  // Whom the client wants to talk to, with a port or without: of an absolute target, else of Host.
  std::string_view host = {};
  std::string_view body = {};
  // Value of the first header of that name (ASCII case ignored), or empty.
  std::string_view header(std::string_view name) const;
};

struct Response {
  int status = 200;
  Headers headers;  // without Date and Content-Length, which the protocol layer adds
  std::string body;
};
using Reply = absl::AnyInvocable<void(Response)>;

// Go's http.Error: plain text with a newline, not to be sniffed.
Response error_response(int status, std::string_view text);
// 405, with an Allow field unless it is empty.
Response method_not_allowed(std::string_view allowed = "GET");

// Values of a query ("a=1&b"), decoded as Go does: pairs with ';' or broken escapes are dropped.
class Query {
 public:
  explicit Query(std::string_view query);
  bool has(std::string_view name) const;
  // First value, or empty.
  std::string_view get(std::string_view name) const;
  std::vector<std::string_view> all(std::string_view name) const;

 private:
  std::vector<std::pair<std::string, std::string>> pairs_;
};

bool equal_ignoring_case(std::string_view a, std::string_view b);

}  // namespace quoin::httpapi

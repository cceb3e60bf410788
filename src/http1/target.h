// The target of a request line ("/health?x=1", "http://host:2379/health", "*", "host:443" for CONNECT), taken
// apart as Go's url.ParseRequestURI takes it.
#pragma once
#include <optional>
#include <string_view>

namespace quoin::http1 {

// Views into the text given.
struct Target {
  std::string_view authority;  // of an absolute URL, without user information; otherwise empty
  std::string_view path;       // percent-encoding not undone; empty if an absolute URL has none
  std::string_view query;      // without '?'
};

// None: Go answers 400.
std::optional<Target> parse_target(std::string_view method, std::string_view text);

}  // namespace quoin::http1

// URLs as Go reads and prints them: net/url's Parse and String, and etcd's check of the URLs of members (NewURLs).
// One reading for the command line, requests and entries: what one of them takes no other may refuse.
//
// Errors: kInvalidArgument with Go's or etcd's words.
// Threads: free functions and values. Source: spec operations 1.8, "URL syntax".
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"

namespace quoin::membership {

struct GoUrl {
  std::string scheme;  // in lower case
  std::string opaque;  // what follows a scheme without a slash
  std::optional<std::string> user, password;
  std::string host;  // with its port, decoded
  std::string path;  // decoded
  std::string query, fragment;

  bool omits_host = false;             // "unix:/run/x"
  bool has_empty_query = false;        // "http://a:1?"
  std::string raw_path, raw_fragment;  // as written, where that is not how they are encoded by themselves

  std::string text() const;
};

Result<GoUrl> parse_go_url(std::string_view text);

// A member's URL, blanks around it dropped: http or https with host, port and no path, or unix or unixs with anything.
Result<GoUrl> parse_member_url(std::string_view text);

// Go's strings.TrimSpace.
std::string_view trim_space(std::string_view text);

// Go's net.SplitHostPort. Errors: "address x: missing port in address", "too many colons in address", ...
Result<std::pair<std::string, std::string>> split_host_port(std::string_view host_port);

}  // namespace quoin::membership

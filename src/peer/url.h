// A member's URL, taken apart: "http://10.0.0.1:2380", "unix://path:0".
#pragma once
#include <string>
#include <string_view>

#include "base/result.h"
#include "io/stream.h"

namespace quoin::peer {

struct Url {
  std::string text;  // as given, without a slash at the end
  std::string host;  // "10.0.0.1:2380": of the Host field
  bool tls = false;
  io::ListenAddress address;
};

// kInvalidArgument for anything but scheme and host. Without a port the scheme's own is taken. Of a unix URL, host
// and port together are the path, as in etcd.
Result<Url> parse_url(std::string_view text);

}  // namespace quoin::peer

// What Network::connect() says when it fails, in Go's words (net.OpError), for both implementations.
#pragma once
#include <cerrno>
#include <string>
#include <string_view>

#include "base/result.h"

namespace quoin::io {

// "dial tcp 10.0.0.1:2380: <why>". `local`: the address bound to ("10.0.0.5:0"), or empty. `remote` is empty while
// none is known.
inline Error dial_error(bool unix_socket, std::string_view local, std::string_view remote, const Error& why) {
  return make_error(why.code(), "dial {}{}{}{}{}: {}", unix_socket ? "unix" : "tcp",
                    local.empty() && remote.empty() ? "" : " ", local,
                    local.empty() || remote.empty() ? "" : "->", remote, why.text());
}

// Of a system call: "connect: connection refused".
inline Error call_error(std::string_view call, int errno_value) {
  // A path that is not there is nothing special here, as it is for files.
  const Error e = errno_error(call, "", errno_value);
  std::string text(e.text());
  text.erase(call.size(), 1);  // the blank in front of an empty path
  return Error(Code::kIo, std::move(text));
}

inline Error timeout_error() {
  return Error(Code::kContextDeadlineExceeded, "i/o timeout");
}

}  // namespace quoin::io

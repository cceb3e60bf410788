// The network of this machine: listeners and outgoing connections on libuv.
#include "posix/address.h"
#include "posix/dial.h"
#include "posix/loop.h"
#include "posix/uv_listener.h"

namespace quoin::posix {

Result<std::unique_ptr<io::Listener>> UvNetwork::listen(
    const io::ListenAddress& address, std::vector<io::Loop*> loops,
    absl::AnyInvocable<void(std::unique_ptr<io::Stream>)> accept) {
  ASSIGN_OR_RETURN(SocketAddress to, resolve(address));
  if (is_wildcard(address)) {
    if (const auto both = both_families(address.port)) to = *both;
  }
  std::vector<UvLoop*> uv_loops;
  for (io::Loop* l : loops) uv_loops.push_back(static_cast<UvLoop*>(l));
  return make_uv_listener(address, to, std::move(uv_loops), std::move(accept));
}

std::unique_ptr<io::Connecting> UvNetwork::connect(
    const io::ListenAddress& address, const io::ConnectOptions& options, io::Loop& loop,
    absl::AnyInvocable<void(Result<std::unique_ptr<io::Stream>>)> done) {
  return start_dial(static_cast<UvLoop&>(loop), dns_, address, options, std::move(done));
}

}  // namespace quoin::posix

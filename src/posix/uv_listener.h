// A listening socket as an io::Listener on libuv. It is polled on the first loop and connections are accepted
// there, so that the new descriptor can be handed to any loop before libuv ties it to one.
#pragma once
#include <memory>
#include <vector>

#include "posix/address.h"
#include "posix/loop.h"

namespace quoin::posix {

// Binds and listens; the rest is as io::Network::listen() says. kIo with Go's text.
Result<std::unique_ptr<io::Listener>> make_uv_listener(
    const io::ListenAddress& address, const SocketAddress& to, std::vector<UvLoop*> loops,
    absl::AnyInvocable<void(std::unique_ptr<io::Stream>)> accept);

}  // namespace quoin::posix

// One attempt to connect: looks the name up, tries its addresses as Go's dialer does, and ends at its time limit. The
// contract is io::Network::connect()'s.
//
// Source: Go's net.Dialer (dialParallel, dialSerial, partialDeadline); RFC 6555.
#pragma once
#include <absl/functional/any_invocable.h>

#include <memory>

#include "io/stream.h"
#include "posix/dns.h"
#include "posix/loop.h"

namespace quoin::posix {

// Any thread.
std::unique_ptr<io::Connecting> start_dial(
    UvLoop& loop, const DnsOptions& dns, const io::ListenAddress& address, const io::ConnectOptions& options,
    absl::AnyInvocable<void(Result<std::unique_ptr<io::Stream>>)> done);

// Whether a TCP socket is connected to itself. That happens when the port that was asked for lies in the range from
// which the system takes ports for outgoing connections, and nobody listens there.
bool connected_to_itself(int fd);

}  // namespace quoin::posix

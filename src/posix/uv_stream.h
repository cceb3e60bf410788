// A connected socket as an io::Stream on libuv. Used by the listener and by UvNetwork::connect().
//
// Keepalive as in every Go program: a TCP connection that is silent for 15 s is probed every 15 s, and ends
// after nine probes without an answer, 150 s after the peer went away.
//
// Bounds: none of its own: the writer looks at queued_bytes() (io/stream.h). queued_output_bytes() counts
// what all streams of the process hold together.
#pragma once
#include <memory>

#include "posix/loop.h"

namespace quoin::posix {

// Takes over a connected, non-blocking descriptor. On the loop's thread. `place` is dropped once the
// descriptor is closed.
std::unique_ptr<io::Stream> make_uv_stream(UvLoop& loop, int fd, bool unix_socket,
                                           std::shared_ptr<void> place = nullptr);

}  // namespace quoin::posix

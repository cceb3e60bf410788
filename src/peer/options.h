// What the connections to the other members are told by the configuration, and their bounds.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "io/clock.h"

namespace quoin::peer {

struct Options {
  // This member's advertised peer URLs: others learn them from requests.
  std::vector<std::string> peer_urls;
  // --raft-read-timeout, --raft-write-timeout. Link heartbeats are sent at a third of the first.
  int64_t read_timeout_ns = 5 * io::kSecond;
  int64_t write_timeout_ns = 5 * io::kSecond;
  // 1 s and the election timeout.
  int64_t dial_timeout_ns = 2 * io::kSecond;
  // IP address to connect from; empty: the system's choice.
  std::string local_address;

  // ---- bounds ----
  // Of one stream to a peer: messages and bytes that wait to be written. Beyond, messages are dropped. One message
  // is taken however long it is.
  size_t stream_messages_max = 4096;
  size_t stream_bytes_max = 64u << 20;
  // The same of POSTs to a peer.
  size_t pipeline_messages_max = 64;
  size_t pipeline_bytes_max = 64u << 20;
  // Sent by raft and not yet taken over by the loop, of all peers.
  size_t inbox_bytes_max = 256u << 20;
  // Of one stream from a peer: received and not taken by raft yet. Beyond, the stream is not read; a proposal, which
  // may wait long for a leader, is dropped instead.
  size_t received_bytes_max = 64u << 20;
  size_t received_proposals_max = 4096;
  // Bodies of POSTs from all members, received or in the making.
  size_t posted_bytes_max = 128u << 20;
  // Members that the configuration does not know.
  size_t remotes_max = 64;

  // Bytes a second of one database on its way out; 0: as fast as it goes.
  uint64_t snapshot_bytes_per_second = 0;
};

}  // namespace quoin::peer

// raft's messages and entries as pieces: the bytes of raft/codec.h, without copying the data of large entries.
#pragma once
#include "peer/pieces.h"
#include "raft/types.h"

namespace quoin::peer {

// Appends what raft::encode() writes: raft::encoded_size() bytes.
void append_entry(const raft::Entry& entry, Pieces& out);
void append_message(const raft::Message& message, Pieces& out);

// Memory that the parts of a received message take beside its bytes.
size_t parts_size(const raft::Message& message);

}  // namespace quoin::peer

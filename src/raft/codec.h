// raft's messages as protobuf bytes: written exactly as etcd 3.6 writes them, read as 3.4 to 3.7 write
// them.
//
// Writing: fields in number order; every number, enum and bool, zero or not, and the nested metadata and
// conf_state; data and contexts only when not empty; repeated numbers unpacked; a message's snapshot only
// when there is one.
// Reading: absent fields are zero, repeated numbers may be packed, unknown fields are skipped, later
// scalars win, nested messages that occur twice are merged. A present but empty snapshot outside MsgSnap
// (3.5 writes it always) reads as none.
// Ownership: with a Blob given, data and contexts of what is read are slices of it (no copy; the whole Blob
// stays alive as long as one slice does).
// Errors: kMalformed, with what is wrong: truncated field, wrong wire type, overlong varint, group end
// without start, unknown enum value, nesting deeper than kNestingMax.
// Threads: free functions without state.
// Format: spec raft-and-peers 1, wire.md package raftpb. Encoded size of Entry: types.h.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/blob.h"
#include "base/result.h"
#include "raft/types.h"

namespace quoin::raft {

// How deep messages may nest (a message carries its responses). raft itself nests one level.
constexpr int kNestingMax = 16;

size_t encoded_size(const HardState& x);
size_t encoded_size(const ConfState& x);
size_t encoded_size(const SnapshotMetadata& x);
size_t encoded_size(const Snapshot& x);
size_t encoded_size(const Message& x);
size_t encoded_size(const ConfChange& x);
size_t encoded_size(const ConfChangeSingle& x);
size_t encoded_size(const ConfChangeV2& x);

// Writes exactly encoded_size(x) bytes at `out` and returns the place after them.
char* encode(const Entry& x, char* out);
char* encode(const HardState& x, char* out);
char* encode(const ConfState& x, char* out);
char* encode(const SnapshotMetadata& x, char* out);
char* encode(const Snapshot& x, char* out);
char* encode(const Message& x, char* out);
char* encode(const ConfChange& x, char* out);
char* encode(const ConfChangeSingle& x, char* out);
char* encode(const ConfChangeV2& x, char* out);

template <class T>
Blob encode_blob(const T& x) {
  return Blob::make(encoded_size(x), [&](char* p) { encode(x, p); });
}
template <class T>
std::string encode_string(const T& x) {
  std::string s(encoded_size(x), '\0');
  encode(x, s.data());
  return s;
}

Result<Entry> decode_entry(const Blob& bytes);
Result<HardState> decode_hard_state(std::string_view bytes);
Result<ConfState> decode_conf_state(std::string_view bytes);
Result<SnapshotMetadata> decode_snapshot_metadata(std::string_view bytes);
Result<Snapshot> decode_snapshot(const Blob& bytes);
// `parts_bytes_max`: memory for entries, ids and nested messages (their structures; data are slices). An empty entry
// has two bytes on the wire and twenty times that here, so who reads what others send sets a bound: kLimit.
Result<Message> decode_message(const Blob& bytes, size_t parts_bytes_max = SIZE_MAX);
Result<ConfChange> decode_conf_change(const Blob& bytes);
Result<ConfChangeV2> decode_conf_change_v2(const Blob& bytes);

// The change that an entry of type kConfChange or kConfChangeV2 carries, a v1 change in its v2 form.
Result<ConfChangeV2> conf_change_of(const Entry& entry);
// v1 as v2: one change, transition auto, same context.
ConfChangeV2 to_v2(const ConfChange& change);

}  // namespace quoin::raft

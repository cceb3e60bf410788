#include "raft/types.h"

namespace quoin::raft {
namespace {

size_t varint_size(uint64_t v) {
  return (static_cast<size_t>(63 - __builtin_clzll(v | 1)) * 9 + 73) / 64;
}

}  // namespace

bool is_local(MessageType type) {
  switch (type) {
    case MessageType::kHup:
    case MessageType::kBeat:
    case MessageType::kUnreachable:
    case MessageType::kSnapStatus:
    case MessageType::kCheckQuorum:
    case MessageType::kStorageAppend:
    case MessageType::kStorageAppendResp:
    case MessageType::kStorageApply:
    case MessageType::kStorageApplyResp:
      return true;
    default:
      return false;
  }
}

bool is_response(MessageType type) {
  switch (type) {
    case MessageType::kAppResp:
    case MessageType::kVoteResp:
    case MessageType::kHeartbeatResp:
    case MessageType::kUnreachable:
    case MessageType::kReadIndexResp:
    case MessageType::kPreVoteResp:
    case MessageType::kStorageAppendResp:
    case MessageType::kStorageApplyResp:
      return true;
    default:
      return false;
  }
}

size_t encoded_size(const Entry& e) {
  // Type takes one byte; every field has a tag of one byte; empty data is not written.
  const size_t fixed = 2 + 1 + varint_size(e.term.v) + 1 + varint_size(e.index.v);
  return e.data.empty() ? fixed : fixed + 1 + varint_size(e.data.size()) + e.data.size();
}

size_t encoded_size(const std::vector<Entry>& entries) {
  size_t sum = 0;
  for (const Entry& e : entries) sum += encoded_size(e);
  return sum;
}

std::span<const Entry> limit_size(std::span<const Entry> entries, uint64_t bytes_max, uint64_t* bytes) {
  uint64_t sum = 0;
  size_t n = 0;
  for (; n < entries.size(); ++n) {
    const uint64_t size = encoded_size(entries[n]);
    if (n > 0 && sum + size > bytes_max) break;
    sum += size;
  }
  if (bytes) *bytes += sum;
  return entries.first(n);
}

size_t payload_size(const std::vector<Entry>& entries) {
  size_t sum = 0;
  for (const Entry& e : entries) sum += e.data.size();
  return sum;
}

}  // namespace quoin::raft

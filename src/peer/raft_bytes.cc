#include "peer/raft_bytes.h"

#include "base/check.h"
#include "raft/codec.h"

namespace quoin::peer {
namespace {

constexpr char kEntriesTag = 7 << 3 | 2, kDataTag = 4 << 3 | 2;

void append_varint(uint64_t v, Pieces& out) {
  char bytes[10];
  size_t n = 0;
  for (; v >= 0x80; v >>= 7) bytes[n++] = static_cast<char>(v | 0x80);
  bytes[n++] = static_cast<char>(v);
  out.append(std::string_view(bytes, n));
}

// Length of the first `count` fields, which are varints with a tag of one byte.
size_t varints_size(std::string_view bytes, int count) {
  size_t at = 0;
  for (int i = 0; i < count; ++i) {
    ++at;
    while (static_cast<uint8_t>(bytes[at]) >= 0x80) ++at;
    ++at;
  }
  return at;
}

}  // namespace

void append_entry(const raft::Entry& entry, Pieces& out) {
  if (entry.data.size() <= Pieces::kCopyMax) {
    raft::encode(entry, out.grow(raft::encoded_size(entry)));
    return;
  }
  // The data is the last field.
  const raft::Entry head{.term = entry.term, .index = entry.index, .type = entry.type, .data = {}};
  raft::encode(head, out.grow(raft::encoded_size(head)));
  out.append(std::string_view(&kDataTag, 1));
  append_varint(entry.data.size(), out);
  out.append(entry.data);
}

void append_message(const raft::Message& message, Pieces& out) {
  bool large = false;
  for (const raft::Entry& e : message.entries) large = large || e.data.size() > Pieces::kCopyMax;
  if (!large) {
    raft::encode(message, out.grow(raft::encoded_size(message)));
    return;
  }
  // The entries stand between the sixth field and the eighth.
  CHECK(message.responses.empty());
  raft::Message rest;
  rest.type = message.type;
  rest.to = message.to, rest.from = message.from;
  rest.term = message.term, rest.log_term = message.log_term;
  rest.index = message.index, rest.commit = message.commit;
  rest.vote = message.vote;
  rest.snapshot = message.snapshot;
  rest.reject = message.reject, rest.reject_hint = message.reject_hint;
  rest.context = message.context;
  const std::string around = raft::encode_string(rest);
  const size_t before = varints_size(around, 6);
  out.append(std::string_view(around).substr(0, before));
  for (const raft::Entry& e : message.entries) {
    out.append(std::string_view(&kEntriesTag, 1));
    append_varint(raft::encoded_size(e), out);
    append_entry(e, out);
  }
  out.append(std::string_view(around).substr(before));
}

size_t parts_size(const raft::Message& message) {
  return sizeof message + message.entries.size() * sizeof(raft::Entry) +
         message.responses.size() * sizeof(raft::Message);
}

}  // namespace quoin::peer

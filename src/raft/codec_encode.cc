// The writing half of the codec.
#include <cstring>

#include "raft/codec.h"

namespace quoin::raft {
namespace {

constexpr int kVarint = 0, kBytes = 2;

size_t varint_size(uint64_t v) {
  return (static_cast<size_t>(63 - __builtin_clzll(v | 1)) * 9 + 73) / 64;
}

char* put_varint(char* p, uint64_t v) {
  while (v >= 0x80) {
    *p++ = static_cast<char>(v | 0x80);
    v >>= 7;
  }
  *p++ = static_cast<char>(v);
  return p;
}

// Every field number is below 16, so a tag is one byte.
char* put_tag(char* p, int number, int wire) {
  *p++ = static_cast<char>(number << 3 | wire);
  return p;
}
size_t number_size(uint64_t v) {
  return 1 + varint_size(v);
}
char* put_number(char* p, int number, uint64_t v) {
  return put_varint(put_tag(p, number, kVarint), v);
}

size_t nested_size(size_t size) {
  return 1 + varint_size(size) + size;
}
template <class T>
char* put_nested(char* p, int number, const T& x) {
  p = put_varint(put_tag(p, number, kBytes), encoded_size(x));
  return encode(x, p);
}

size_t blob_size(const Blob& b) {
  return b.empty() ? 0 : nested_size(b.size());
}
char* put_blob(char* p, int number, const Blob& b) {
  if (b.empty()) return p;
  p = put_varint(put_tag(p, number, kBytes), b.size());
  std::memcpy(p, b.view().data(), b.size());
  return p + b.size();
}

size_t ids_size(const std::vector<MemberId>& ids) {
  size_t sum = 0;
  for (MemberId id : ids) sum += number_size(id.v);
  return sum;
}
char* put_ids(char* p, int number, const std::vector<MemberId>& ids) {
  for (MemberId id : ids) p = put_number(p, number, id.v);
  return p;
}

template <class E>
uint64_t number_of(E e) {
  return static_cast<uint64_t>(e);
}

}  // namespace

// ---- HardState, ConfState ----

size_t encoded_size(const HardState& x) {
  return number_size(x.term.v) + number_size(x.vote.v) + number_size(x.commit.v);
}
char* encode(const HardState& x, char* p) {
  p = put_number(p, 1, x.term.v);
  p = put_number(p, 2, x.vote.v);
  return put_number(p, 3, x.commit.v);
}

size_t encoded_size(const ConfState& x) {
  return ids_size(x.voters) + ids_size(x.learners) + ids_size(x.voters_outgoing) + ids_size(x.learners_next) +
         2;
}
char* encode(const ConfState& x, char* p) {
  p = put_ids(p, 1, x.voters);
  p = put_ids(p, 2, x.learners);
  p = put_ids(p, 3, x.voters_outgoing);
  p = put_ids(p, 4, x.learners_next);
  return put_number(p, 5, x.auto_leave);
}

// ---- Snapshot ----

size_t encoded_size(const SnapshotMetadata& x) {
  return nested_size(encoded_size(x.conf_state)) + number_size(x.index.v) + number_size(x.term.v);
}
char* encode(const SnapshotMetadata& x, char* p) {
  p = put_nested(p, 1, x.conf_state);
  p = put_number(p, 2, x.index.v);
  return put_number(p, 3, x.term.v);
}

size_t encoded_size(const Snapshot& x) {
  return blob_size(x.data) + nested_size(encoded_size(x.metadata));
}
char* encode(const Snapshot& x, char* p) {
  p = put_blob(p, 1, x.data);
  return put_nested(p, 2, x.metadata);
}

// ---- Entry, Message ----

char* encode(const Entry& x, char* p) {
  p = put_number(p, 1, number_of(x.type));
  p = put_number(p, 2, x.term.v);
  p = put_number(p, 3, x.index.v);
  return put_blob(p, 4, x.data);
}

size_t encoded_size(const Message& x) {
  size_t sum = number_size(number_of(x.type)) + number_size(x.to.v) + number_size(x.from.v) +
               number_size(x.term.v) + number_size(x.log_term.v) + number_size(x.index.v) +
               number_size(x.commit.v) + 2 + number_size(x.reject_hint.v) + blob_size(x.context) +
               number_size(x.vote.v);
  for (const Entry& e : x.entries) sum += nested_size(encoded_size(e));
  if (x.snapshot) sum += nested_size(encoded_size(*x.snapshot));
  for (const Message& m : x.responses) sum += nested_size(encoded_size(m));
  return sum;
}
char* encode(const Message& x, char* p) {
  p = put_number(p, 1, number_of(x.type));
  p = put_number(p, 2, x.to.v);
  p = put_number(p, 3, x.from.v);
  p = put_number(p, 4, x.term.v);
  p = put_number(p, 5, x.log_term.v);
  p = put_number(p, 6, x.index.v);
  for (const Entry& e : x.entries) p = put_nested(p, 7, e);
  p = put_number(p, 8, x.commit.v);
  if (x.snapshot) p = put_nested(p, 9, *x.snapshot);
  p = put_number(p, 10, x.reject);
  p = put_number(p, 11, x.reject_hint.v);
  p = put_blob(p, 12, x.context);
  p = put_number(p, 13, x.vote.v);
  for (const Message& m : x.responses) p = put_nested(p, 14, m);
  return p;
}

// ---- configuration changes ----

size_t encoded_size(const ConfChange& x) {
  return number_size(x.id) + number_size(number_of(x.type)) + number_size(x.node_id.v) + blob_size(x.context);
}
char* encode(const ConfChange& x, char* p) {
  p = put_number(p, 1, x.id);
  p = put_number(p, 2, number_of(x.type));
  p = put_number(p, 3, x.node_id.v);
  return put_blob(p, 4, x.context);
}

size_t encoded_size(const ConfChangeSingle& x) {
  return number_size(number_of(x.type)) + number_size(x.node_id.v);
}
char* encode(const ConfChangeSingle& x, char* p) {
  p = put_number(p, 1, number_of(x.type));
  return put_number(p, 2, x.node_id.v);
}

size_t encoded_size(const ConfChangeV2& x) {
  size_t sum = number_size(number_of(x.transition)) + blob_size(x.context);
  for (const ConfChangeSingle& c : x.changes) sum += nested_size(encoded_size(c));
  return sum;
}
char* encode(const ConfChangeV2& x, char* p) {
  p = put_number(p, 1, number_of(x.transition));
  for (const ConfChangeSingle& c : x.changes) p = put_nested(p, 2, c);
  return put_blob(p, 3, x.context);
}

}  // namespace quoin::raft

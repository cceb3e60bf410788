// Decoding and encoding of the generated messages ("wire/kv.h", "wire/rpc.h", "wire/raft.h" and so on, one
// header for each file of proto/, namespace quoin::wire::<last part of the package>).
//
//   std::string_view in = ...;  // must outlive the message, whose fields are views into it
//   ASSIGN_OR_RETURN(auto put, decode<etcdserverpb::PutRequest>(in));
//   Blob b = encode_blob(put);
//
// Bytes are those of etcd 3.5 and 3.6 (spec wire.md): ascending numbers, proto3 zeros left out, fields marked
// `always` written even if zero, unknown fields last (dropped in raftpb).
// Threads: none of this keeps state.
// Errors: kMalformed with the text of Go's decoder ("unexpected EOF", "proto: integer overflow", ...).
#pragma once
#include <string>
#include <string_view>

#include "base/blob.h"
#include "base/result.h"
#include "wire/decoder.h"

namespace quoin::wire {

Error fault_error(const Fault& fault);

// Merges `in` into `*m` (which is usually fresh). After an error *m holds what had been read.
template <class M>
Result<> decode(std::string_view in, M* m) {
  DecodeContext context;
  if (!merge(in, m, context)) [[unlikely]]
    return fault_error(context.fault);
  return {};
}
template <class M>
Result<M> decode(std::string_view in) {
  Result<M> m(tl::in_place);  // the only thing returned, so that it is built in the caller's place
  DecodeContext context;
  if (!merge(in, &*m, context)) [[unlikely]]
    m = fault_error(context.fault);
  return m;
}
template <class M>
Result<M> decode(const Raw<M>& raw) {
  return decode<M>(raw.bytes);
}

// Generated for each message M:
//   size_t encoded_size(const M&)                     exact
//   char* encode_backward(const M&, char* end)        writes encoded_size(m) bytes before `end` and returns
//                                                     where they begin

// Writes `size` bytes, which must be encoded_size(m), and returns where the next byte goes.
template <class M>
char* encode(const M& m, char* out, size_t size) {
  [[maybe_unused]] const char* first = encode_backward(m, out + size);
  DCHECK(first == out);
  return out + size;
}
template <class M>
char* encode(const M& m, char* out) {
  return encode(m, out, encoded_size(m));
}
template <class M>
Blob encode_blob(const M& m) {
  const size_t size = encoded_size(m);
  return Blob::make(size, [&](char* out) { encode(m, out, size); });
}
template <class M>
void append(std::string* out, const M& m) {
  const size_t size = encoded_size(m), at = out->size();
  out->resize(at + size);
  encode(m, out->data() + at, size);
}
template <class M>
std::string encode_string(const M& m) {
  std::string s;
  append(&s, m);
  return s;
}

}  // namespace quoin::wire

// mvccpb.KeyValue, the one message the store writes: a record of bucket `key` is its encoding.
//
// Threads: free functions without state. Lifetime: a KeyValueRef is a set of views into the bytes it was
// decoded from. Errors: kMalformed for bytes that are no KeyValue. Source: spec wire.md (mvccpb),
// storage-formats 2.3.
#pragma once
#include <cstdint>
#include <string_view>

#include "base/blob.h"
#include "base/ids.h"
#include "base/result.h"

namespace quoin::mvcc {

struct KeyValueRef {
  std::string_view key;
  int64_t create_revision = 0;
  int64_t mod_revision = 0;
  int64_t version = 0;
  std::string_view value;
  LeaseId lease;
};

// Unknown fields are skipped; a field given twice counts as last given.
Result<KeyValueRef> decode_key_value(std::string_view bytes);
// Only the key (field 1), which a well-formed record has first; for callers that look up records by the
// thousand.
Result<std::string_view> decode_key(std::string_view bytes);

// Fields in ascending number, zero values left out, as etcd writes them.
size_t encoded_size(const KeyValueRef& kv);
// Writes encoded_size(kv) bytes at `out` and returns the end.
char* encode_to(const KeyValueRef& kv, char* out);
Blob encode_key_value(const KeyValueRef& kv);

// The encoding without its `value` field, for keys_only answers: what stands before and behind it, to be
// written one after the other.
struct WithoutValue {
  std::string_view before, behind;
};
Result<WithoutValue> without_value(std::string_view bytes);

}  // namespace quoin::mvcc

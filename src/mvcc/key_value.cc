#include "mvcc/key_value.h"

#include "wire/kv.h"
#include "wire/message.h"

namespace quoin::mvcc {

namespace {

constexpr char kKeyTag = 0x0a;    // field 1, length-delimited
constexpr char kValueTag = 0x2a;  // field 5

wire::mvccpb::KeyValue to_wire(const KeyValueRef& kv) {
  wire::mvccpb::KeyValue m;
  m.key = kv.key;
  m.create_revision = kv.create_revision;
  m.mod_revision = kv.mod_revision;
  m.version = kv.version;
  m.value = kv.value;
  m.lease = kv.lease.v;
  return m;
}

// Reads a varint at *in and moves *in behind it; false if there is none.
bool take_varint(std::string_view* in, uint64_t* v) {
  *v = 0;
  for (size_t i = 0; i < in->size() && i < 10; ++i) {
    const auto byte = static_cast<unsigned char>((*in)[i]);
    *v |= static_cast<uint64_t>(byte & 0x7f) << (7 * i);
    if (byte < 0x80) {
      in->remove_prefix(i + 1);
      return true;
    }
  }
  return false;
}

Error malformed() {
  return Error(Code::kMalformed, "a record is no KeyValue");
}

}  // namespace

Result<KeyValueRef> decode_key_value(std::string_view bytes) {
  ASSIGN_OR_RETURN(const wire::mvccpb::KeyValue m, wire::decode<wire::mvccpb::KeyValue>(bytes));
  return KeyValueRef{m.key, m.create_revision, m.mod_revision, m.version, m.value, LeaseId(m.lease)};
}

Result<std::string_view> decode_key(std::string_view bytes) {
  std::string_view rest = bytes;
  uint64_t size;
  if (!rest.empty() && rest[0] == kKeyTag) {
    rest.remove_prefix(1);
    if (!take_varint(&rest, &size) || size > rest.size()) return malformed();
    return rest.substr(0, size);
  }
  ASSIGN_OR_RETURN(const KeyValueRef kv, decode_key_value(bytes));
  return kv.key;
}

size_t encoded_size(const KeyValueRef& kv) {
  return wire::mvccpb::encoded_size(to_wire(kv));
}
char* encode_to(const KeyValueRef& kv, char* out) {
  return wire::encode(to_wire(kv), out);
}
Blob encode_key_value(const KeyValueRef& kv) {
  return wire::encode_blob(to_wire(kv));
}

Result<WithoutValue> without_value(std::string_view bytes) {
  std::string_view rest = bytes;
  while (!rest.empty()) {
    const size_t at = bytes.size() - rest.size();
    const char tag = rest[0];
    rest.remove_prefix(1);
    uint64_t n;
    if (!take_varint(&rest, &n)) return malformed();
    if ((tag & 7) == 0) continue;
    // The store writes nothing but varints and byte strings.
    if ((tag & 7) != 2 || n > rest.size()) return malformed();
    rest.remove_prefix(n);
    if (tag == kValueTag) return WithoutValue{bytes.substr(0, at), rest};
  }
  return WithoutValue{bytes, {}};
}

}  // namespace quoin::mvcc

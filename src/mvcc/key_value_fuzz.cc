// Records as they come from a file that may be damaged: whatever the bytes, the readers of KeyValue end with
// views into them or an error, and agree with each other.
#include "base/check.h"
#include "mvcc/key_value.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto inside = [&](std::string_view part) {
    return part.empty() || (part.data() >= bytes.data() && part.data() + part.size() <= bytes.data() + size);
  };
  const auto kv = quoin::mvcc::decode_key_value(bytes);
  const auto key = quoin::mvcc::decode_key(bytes);
  const auto parts = quoin::mvcc::without_value(bytes);
  if (key) CHECK(inside(*key));
  if (parts) CHECK(inside(parts->before) && inside(parts->behind));
  if (!kv) return 0;
  CHECK(inside(kv->key) && inside(kv->value));
  // What the store itself writes comes back the same.
  const quoin::Blob again = quoin::mvcc::encode_key_value(*kv);
  CHECK(again.size() == quoin::mvcc::encoded_size(*kv));
  const auto twice = quoin::mvcc::decode_key_value(again.view());
  CHECK(twice && twice->key == kv->key && twice->value == kv->value && twice->version == kv->version &&
        twice->lease == kv->lease && twice->mod_revision == kv->mod_revision &&
        twice->create_revision == kv->create_revision);
  const auto split = quoin::mvcc::without_value(again.view());
  CHECK(split.has_value());
  CHECK(kv->key.empty() || *quoin::mvcc::decode_key(again.view()) == kv->key);
  return 0;
}

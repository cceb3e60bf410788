// A `.snap` file: what loads must be written to something that loads to the same.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "base/crc32c.h"
#include "snap/snapshotter.h"
#include "wire/coding.h"

using namespace quoin;

namespace {
void check(const Blob& bytes) {
  const auto snapshot = snap::decode_snap(bytes);
  if (!snapshot) return;
  const auto again = snap::decode_snap(Blob::copy(snap::encode_snap(*snapshot)));
  CHECK(again.has_value(), "{}", again.error().text());
  CHECK(again->data.view() == snapshot->data.view());
  CHECK_EQ(again->metadata.index, snapshot->metadata.index);
  CHECK_EQ(again->metadata.term, snapshot->metadata.term);
  CHECK(again->metadata.conf_state == snapshot->metadata.conf_state);
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const std::string_view in(reinterpret_cast<const char*>(bytes), size);
  check(Blob::copy(in));
  // Once more as the snapshot inside a frame whose checksum holds.
  std::string framed(32 + size, '\0');
  char* p = wire::put_varint_field(framed.data(), 1, crc32c(0, in));
  p = wire::put_bytes_field(p, 2, in);
  framed.resize(static_cast<size_t>(p - framed.data()));
  check(Blob::copy(framed));
  return 0;
}

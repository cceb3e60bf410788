// The first byte chooses the message; what can be read must be writable, and reading that again must give the
// same bytes.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "raft/codec.h"

namespace {

using namespace quoin::raft;
using quoin::Blob;

template <class T>
void expect_stable(const quoin::Result<T>& read, quoin::Result<T> (*decode)(const Blob&)) {
  if (!read) return;
  const Blob written = encode_blob(*read);
  const auto again = decode(written);
  CHECK(again.has_value(), "{}", again.error().text());
  CHECK(encode_blob(*again).view() == written.view());
}
template <class T>
void expect_stable(const quoin::Result<T>& read, quoin::Result<T> (*decode)(std::string_view)) {
  if (!read) return;
  const Blob written = encode_blob(*read);
  const auto again = decode(written.view());
  CHECK(again.has_value(), "{}", again.error().text());
  CHECK(encode_blob(*again).view() == written.view());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  // A copy in a heap block of its own, so that a read past its end is seen.
  const Blob bytes = Blob::copy({reinterpret_cast<const char*>(data) + 1, size - 1});
  switch (data[0] % 8) {
    case 0:
      expect_stable(decode_entry(bytes), decode_entry);
      break;
    case 1:
      expect_stable(decode_hard_state(bytes.view()), decode_hard_state);
      break;
    case 2:
      expect_stable(decode_conf_state(bytes.view()), decode_conf_state);
      break;
    case 3:
      expect_stable(decode_snapshot_metadata(bytes.view()), decode_snapshot_metadata);
      break;
    case 4:
      expect_stable(decode_snapshot(bytes), decode_snapshot);
      break;
    case 5:
      expect_stable<Message>(decode_message(bytes), [](const Blob& b) { return decode_message(b); });
      break;
    case 6:
      expect_stable(decode_conf_change(bytes), decode_conf_change);
      break;
    case 7:
      expect_stable(decode_conf_change_v2(bytes), decode_conf_change_v2);
      break;
  }
  return 0;
}

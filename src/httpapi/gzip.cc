#include "httpapi/gzip.h"

#include <zlib.h>
#include <zstd.h>

#include "base/check.h"

namespace quoin::httpapi {

std::string gzip(std::string_view data) {
  constexpr int kGzipWrapper = 16;  // added to the window bits: gzip head and trailer instead of zlib's
  z_stream z{};
  CHECK_EQ(
      deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, MAX_WBITS + kGzipWrapper, 8, Z_DEFAULT_STRATEGY),
      Z_OK);
  std::string out(deflateBound(&z, static_cast<uLong>(data.size())), '\0');
  CHECK_LE(data.size(), size_t{UINT32_MAX});
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(data.data()));
  z.avail_in = static_cast<uInt>(data.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data());
  z.avail_out = static_cast<uInt>(out.size());
  CHECK_EQ(deflate(&z, Z_FINISH), Z_STREAM_END);
  out.resize(z.total_out);
  deflateEnd(&z);
  return out;
}

std::string zstd(std::string_view data) {
  std::string out(ZSTD_compressBound(data.size()), '\0');
  const size_t n = ZSTD_compress(out.data(), out.size(), data.data(), data.size(), 1);
  CHECK(ZSTD_isError(n) == 0, "zstd: {}", ZSTD_getErrorName(n));
  out.resize(n);
  return out;
}

}  // namespace quoin::httpapi

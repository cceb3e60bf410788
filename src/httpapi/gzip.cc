#include "httpapi/gzip.h"

#include <zlib.h>
#include <zstd.h>

#include "base/check.h"

namespace quoin::httpapi {

struct GzipStream::State {
  z_stream z{};
};

GzipStream::GzipStream() : state_(std::make_unique<State>()) {
  constexpr int kGzipWrapper = 16;  // added to the window bits: gzip head and trailer instead of zlib's
  CHECK_EQ(deflateInit2(&state_->z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, MAX_WBITS + kGzipWrapper, 8,
                        Z_DEFAULT_STRATEGY),
           Z_OK);
}

GzipStream::~GzipStream() {
  deflateEnd(&state_->z);
}

void GzipStream::add(std::string_view piece, bool last, std::string& out) {
  constexpr size_t kStepBytes = 1 << 20;  // zlib counts in 32 bits
  z_stream& z = state_->z;
  do {
    const std::string_view step = piece.substr(0, kStepBytes);
    piece.remove_prefix(step.size());
    z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(step.data()));
    z.avail_in = static_cast<uInt>(step.size());
    const int flush = last && piece.empty() ? Z_FINISH : Z_NO_FLUSH;
    do {
      char packed[16 << 10];
      z.next_out = reinterpret_cast<Bytef*>(packed);
      z.avail_out = sizeof packed;
      const int r = deflate(&z, flush);
      CHECK(r == Z_OK || r == Z_STREAM_END || r == Z_BUF_ERROR, "deflate: {}", r);
      out.append(packed, sizeof packed - z.avail_out);
      if (r == Z_STREAM_END) return;
    } while (z.avail_out == 0);
  } while (!piece.empty());
}

std::string gzip(std::string_view data) {
  std::string out;
  GzipStream().add(data, /*last=*/true, out);
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

#include "grpc/gzip.h"

#include <zlib.h>

#include <algorithm>

#include "base/check.h"

namespace quoin::grpc {
namespace {
constexpr int kGzipWindowBits = 15 + 16;  // zlib: +16 asks for the gzip wrapper
constexpr size_t kHeaderBytes = 10;
Bytef* bytes_of(std::string_view s) {
  return reinterpret_cast<Bytef*>(const_cast<char*>(s.data()));
}
}  // namespace

void gzip(std::string_view bytes, std::string& out) {
  z_stream z{};
  CHECK_EQ(deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, kGzipWindowBits, 8, Z_DEFAULT_STRATEGY), Z_OK);
  const size_t before = out.size();
  out.resize(before + deflateBound(&z, bytes.size()));
  z.next_in = bytes_of(bytes);
  z.avail_in = static_cast<uInt>(bytes.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data() + before);
  z.avail_out = static_cast<uInt>(out.size() - before);
  CHECK_EQ(deflate(&z, Z_FINISH), Z_STREAM_END);
  out.erase(before + z.total_out);
  deflateEnd(&z);
}

namespace {
Result<> check_header(std::string_view bytes) {
  if (bytes.size() < kHeaderBytes) return Error(Code::kMalformed, bytes.empty() ? "EOF" : "unexpected EOF");
  if (bytes[0] != '\x1f' || bytes[1] != '\x8b' || bytes[2] != 8) {
    return Error(Code::kMalformed, "gzip: invalid header");
  }
  return {};
}

// One member at the start of `bytes`; returns how long it was.
Result<size_t> gunzip_member(std::string_view bytes, size_t limit, std::string& out) {
  TRY(check_header(bytes));
  z_stream z{};
  CHECK_EQ(inflateInit2(&z, kGzipWindowBits), Z_OK);
  z.next_in = bytes_of(bytes);
  z.avail_in = static_cast<uInt>(bytes.size());
  int rv = Z_OK;
  Result<size_t> result = size_t{0};
  while (rv != Z_STREAM_END) {
    const size_t old = out.size();
    if (old > limit) {
      result = Code::kLimit;
      break;
    }
    out.resize(old + std::min<size_t>(std::max<size_t>(old, 16 * 1024), limit + 1 - old));
    z.next_out = reinterpret_cast<Bytef*>(out.data() + old);
    z.avail_out = static_cast<uInt>(out.size() - old);
    rv = inflate(&z, Z_NO_FLUSH);
    const bool stalled = z.avail_out > 0 && rv == Z_OK && z.avail_in == 0;
    out.erase(out.size() - std::min<size_t>(z.avail_out, out.size()));
    if (rv == Z_BUF_ERROR || stalled) {
      result = Error(Code::kMalformed, "unexpected EOF");
      break;
    }
    if (rv != Z_OK && rv != Z_STREAM_END) {
      const bool checksum = z.msg && (std::string_view(z.msg) == "incorrect data check" ||
                                      std::string_view(z.msg) == "incorrect length check");
      const bool header = z.total_out == 0 && z.total_in <= kHeaderBytes && out.empty();
      if (checksum) {
        result = Error(Code::kMalformed, "gzip: invalid checksum");
      } else if (header) {
        result = Error(Code::kMalformed, "gzip: invalid header");
      } else {
        result = make_error(Code::kMalformed, "flate: corrupt input before offset {}",
                            z.total_in > kHeaderBytes ? z.total_in - kHeaderBytes : 0);
      }
      break;
    }
  }
  if (result) result = static_cast<size_t>(z.total_in);
  inflateEnd(&z);
  return result;
}
}  // namespace

Result<> gunzip(std::string_view bytes, size_t limit, std::string& out) {
  out.clear();
  if (auto r = check_header(bytes); !r) return r.error().prefixed("failed to decompress the message");
  do {
    auto used = gunzip_member(bytes, limit, out);
    if (!used && used.error().code() == Code::kLimit) return used.error();
    if (!used) return used.error().prefixed("failed to read decompressed data");
    bytes.remove_prefix(*used);
  } while (!bytes.empty());
  if (out.size() > limit) return Code::kLimit;
  return {};
}

}  // namespace quoin::grpc

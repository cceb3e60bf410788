#include "grpc/gzip.h"

#include <zlib.h>

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace quoin::grpc {
namespace {
constexpr int kGzipWindowBits = 15 + 16;  // zlib: +16 asks for the gzip wrapper
constexpr size_t kHeaderBytes = 10;
// What beginning a member costs, in bytes that could be decompressed in that time: a message may be many
// empty ones.
constexpr size_t kMemberCostBytes = 512;
Bytef* bytes_of(std::string_view s) {
  return reinterpret_cast<Bytef*>(const_cast<char*>(s.data()));
}
}  // namespace

// ---------------------------------------------------------------- compression

Gzip::Gzip() = default;
Gzip::~Gzip() {
  if (z_) deflateEnd(z_.get());
}

void Gzip::add(std::string_view piece, bool last, std::string& out) {
  if (!z_) {
    z_ = std::make_unique<z_stream>();
    CHECK_EQ(
        deflateInit2(z_.get(), Z_DEFAULT_COMPRESSION, Z_DEFLATED, kGzipWindowBits, 8, Z_DEFAULT_STRATEGY),
        Z_OK);
  }
  z_stream& z = *z_;
  z.next_in = bytes_of(piece);
  z.avail_in = static_cast<uInt>(piece.size());
  // Room for all of it, mostly; what zlib still has of earlier pieces may come on top.
  const size_t room = deflateBound(&z, piece.size());
  int rv = Z_OK;
  do {
    const size_t old = out.size();
    out.resize(old + room);
    z.next_out = reinterpret_cast<Bytef*>(out.data() + old);
    z.avail_out = static_cast<uInt>(room);
    rv = deflate(&z, last ? Z_FINISH : Z_NO_FLUSH);
    CHECK(rv == Z_OK || rv == Z_STREAM_END || rv == Z_BUF_ERROR, "deflate: {}", rv);
    out.erase(out.size() - z.avail_out);
  } while (last ? rv != Z_STREAM_END : z.avail_out == 0);
  DCHECK(z.avail_in == 0);
  if (last) deflateReset(&z);
}

void gzip(std::string_view bytes, std::string& out) {
  Gzip().add(bytes, true, out);
}

// ---------------------------------------------------------------- decompression

namespace {
Result<> check_header(std::string_view bytes) {
  if (bytes.size() < kHeaderBytes) return Error(Code::kMalformed, bytes.empty() ? "EOF" : "unexpected EOF");
  if (bytes[0] != '\x1f' || bytes[1] != '\x8b' || bytes[2] != 8) {
    return Error(Code::kMalformed, "gzip: invalid header");
  }
  return {};
}

Error corrupt(const z_stream& z, bool nothing_yet) {
  const std::string_view why = z.msg != nullptr ? z.msg : "";
  if (why == "incorrect data check" || why == "incorrect length check") {
    return Error(Code::kMalformed, "gzip: invalid checksum");
  }
  if (nothing_yet && z.total_out == 0 && z.total_in <= kHeaderBytes) {
    return Error(Code::kMalformed, "gzip: invalid header");
  }
  return make_error(Code::kMalformed, "flate: corrupt input before offset {}",
                    z.total_in > kHeaderBytes ? z.total_in - kHeaderBytes : 0);
}
}  // namespace

Gunzip::Gunzip(std::string_view bytes, size_t limit) : rest_(bytes), limit_(limit) {}
Gunzip::~Gunzip() {
  if (z_) inflateEnd(z_.get());
}

Result<bool> Gunzip::step(size_t step_bytes, std::string& out) {
  for (size_t done = 0; done < step_bytes;) {
    if (!in_member_) {
      if (auto r = check_header(rest_); !r) {
        return r.error().prefixed(first_ ? "failed to decompress the message"
                                         : "failed to read decompressed data");
      }
      first_ = false;
      in_member_ = true;
      if (!z_) {
        z_ = std::make_unique<z_stream>();
        CHECK_EQ(inflateInit2(z_.get(), kGzipWindowBits), Z_OK);
      } else {
        CHECK_EQ(inflateReset(z_.get()), Z_OK);
      }
      done += kMemberCostBytes;
    }
    auto did = inflate_some(step_bytes - std::min(done, step_bytes - 1), out);
    if (!did && did.error().code() == Code::kLimit) return did.error();
    if (!did) return did.error().prefixed("failed to read decompressed data");
    done += *did;
    if (!in_member_ && rest_.empty()) {
      if (out.size() > limit_) return Code::kLimit;
      return true;
    }
  }
  return false;
}

// Takes at most `most` bytes and makes at most as many; returns the larger number of the two.
Result<size_t> Gunzip::inflate_some(size_t most, std::string& out) {
  z_stream& z = *z_;
  const size_t old = out.size();
  if (old > limit_) return Code::kLimit;
  const size_t room = std::min(most, limit_ + 1 - old), input = std::min(most, rest_.size());
  out.resize(old + room);
  z.next_in = bytes_of(rest_);
  z.avail_in = static_cast<uInt>(input);
  z.next_out = reinterpret_cast<Bytef*>(out.data() + old);
  z.avail_out = static_cast<uInt>(room);
  const int rv = inflate(&z, Z_NO_FLUSH);
  const size_t made = room - z.avail_out, taken = input - z.avail_in;
  out.erase(old + made);
  rest_.remove_prefix(taken);
  if (rv == Z_STREAM_END) {
    in_member_ = false;
  } else if (rv == Z_BUF_ERROR || (rv == Z_OK && z.avail_out > 0 && rest_.empty())) {
    return Error(Code::kMalformed, "unexpected EOF");
  } else if (rv != Z_OK) {
    return corrupt(z, old == 0);
  }
  return std::max(made, taken);
}

Result<> gunzip(std::string_view bytes, size_t limit, std::string& out) {
  out.clear();
  Gunzip all(bytes, limit);
  for (;;) {
    ASSIGN_OR_RETURN(const bool whole, all.step(size_t{64} << 10, out));
    if (whole) return {};
  }
}

}  // namespace quoin::grpc

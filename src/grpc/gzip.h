// gzip of gRPC messages (grpc-encoding: gzip), over zlib.
// Threads: functions and objects without shared state; any thread, an object on one at a time.
#pragma once
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

struct z_stream_s;

namespace quoin::grpc {

// Compresses one message after the other, each in pieces of any size, so that the caller may stop between two.
class Gzip {
 public:
  // What an object occupies from its first piece on.
  static constexpr size_t kStateBytes = 272 << 10;

  Gzip();
  ~Gzip();
  // Appends to `out` what comes of `piece`; with `last`, all that is left of the message and its end.
  void add(std::string_view piece, bool last, std::string& out);

 private:
  std::unique_ptr<z_stream_s> z_;  // null until the first piece
};

// Appends the gzip form of `bytes` to `out`.
void gzip(std::string_view bytes, std::string& out);

// Decompresses one message, which is one or more gzip members, in steps.
class Gunzip {
 public:
  // `bytes` must live as long as this object is used. `limit`: of decompressed bytes.
  Gunzip(std::string_view bytes, size_t limit);
  ~Gunzip();
  Gunzip(const Gunzip&) = delete;
  Gunzip& operator=(const Gunzip&) = delete;

  // Takes about `step_bytes` bytes, or appends as many to `out`, whichever comes first. `out` holds what earlier
  // steps appended and nothing else. True once the message is whole.
  // Errors: kMalformed with the words of Go's gRPC server (`failed to decompress the message: gzip: invalid
  //         header` when the first header is wrong, `failed to read decompressed data: unexpected EOF` and
  //         the like behind it); kLimit if there are more than `limit` bytes: decompression stops there.
  Result<bool> step(size_t step_bytes, std::string& out);

 private:
  Result<size_t> inflate_some(size_t most, std::string& out);
  std::string_view rest_;
  const size_t limit_;
  bool first_ = true;  // no member has begun
  bool in_member_ = false;
  std::unique_ptr<z_stream_s> z_;  // from the first member on
};

// Replaces `out` by the decompressed bytes. Errors: as Gunzip::step().
Result<> gunzip(std::string_view bytes, size_t limit, std::string& out);

}  // namespace quoin::grpc

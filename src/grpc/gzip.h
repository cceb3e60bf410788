// gzip of gRPC messages (grpc-encoding: gzip), over zlib.
// Threads: pure functions; any thread.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

#include "base/result.h"

namespace quoin::grpc {

// Appends the gzip form of `bytes` to `out`.
void gzip(std::string_view bytes, std::string& out);

// Replaces `out` by the decompressed bytes of one or more gzip members.
// Errors: kMalformed with the words of Go's gRPC server (`failed to decompress the message: gzip: invalid
// header` when
//         the first header is wrong, `failed to read decompressed data: unexpected EOF` and the like behind
//         it); kLimit if there are more than `limit` bytes: decompression stops there.
Result<> gunzip(std::string_view bytes, size_t limit, std::string& out);

}  // namespace quoin::grpc

// What stands around the bytes of a chunk, for whoever writes the chunks of a body to a stream without a copy:
//
//   stream.write(chunk_head(blob.size()));
//   stream.write(blob);
//   stream.write(std::string(kChunkEnd));
//   ... stream.write(std::string(kLastChunk));
//
// A chunk is never empty: an empty one ends the body. Several byte strings may make up one chunk; its head then
// says the sum of their sizes.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace quoin::http1 {

// "1a\r\n"
std::string chunk_head(uint64_t size);
inline constexpr std::string_view kChunkEnd = "\r\n";
inline constexpr std::string_view kLastChunk = "0\r\n\r\n";

}  // namespace quoin::http1

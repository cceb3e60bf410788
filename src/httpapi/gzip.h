// Compression: of a whole answer, and of a file piece by piece.
#pragma once
#include <memory>
#include <string>
#include <string_view>

namespace quoin::httpapi {

// A gzip member (RFC 1952) at zlib's default level.
std::string gzip(std::string_view data);
// The same of bytes of any number that come in pieces.
class GzipStream {
 public:
  GzipStream();
  ~GzipStream();
  // Appends to `out` what is ready; with `last`, all there is and the end of the member.
  void add(std::string_view piece, bool last, std::string& out);

 private:
  struct State;
  std::unique_ptr<State> state_;
};
// A zstd frame at the fastest of the ordinary levels.
std::string zstd(std::string_view data);

}  // namespace quoin::httpapi

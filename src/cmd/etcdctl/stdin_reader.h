// Standard input line by line or whole.
//
// Threads: of one at a time.
#pragma once
#include <optional>
#include <string>

namespace quoin::ctl {

class StdinReader {
 public:
  // The next line without its line feed; nothing at the end, and then for what follows the last line feed too.
  std::optional<std::string> line();
  // All that has not been read yet. What line() read beyond its line is not part of it, as with etcd's two readers: a put
  // without a value in a transaction finds nothing.
  std::string rest();

 private:
  bool fill();
  std::string buffer_;
  size_t at_ = 0;
};

StdinReader& standard_input();

}  // namespace quoin::ctl

// Standard input line by line or whole, through one buffer for the whole program: the value of a put inside a
// transaction comes from what its lines have left.
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
  // All that is left.
  std::string rest();

 private:
  bool fill();
  std::string buffer_;
  size_t at_ = 0;
};

StdinReader& standard_input();

}  // namespace quoin::ctl

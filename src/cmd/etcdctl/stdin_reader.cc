#include "cmd/etcdctl/stdin_reader.h"

#include <unistd.h>

#include <cerrno>

namespace quoin::ctl {

// False at the end of the input, or if it cannot be read.
bool StdinReader::fill() {
  constexpr size_t kPieceBytes = 64 * 1024;
  if (at_ > 0) {
    buffer_.erase(0, at_);
    at_ = 0;
  }
  const size_t before = buffer_.size();
  buffer_.resize(before + kPieceBytes);
  ssize_t n = 0;
  do n = read(STDIN_FILENO, buffer_.data() + before, kPieceBytes);
  while (n < 0 && errno == EINTR);
  buffer_.resize(before + static_cast<size_t>(n > 0 ? n : 0));
  return n > 0;
}

std::optional<std::string> StdinReader::line() {
  for (size_t searched = at_;;) {
    const size_t end = buffer_.find('\n', searched);
    if (end != std::string::npos) {
      std::string line = buffer_.substr(at_, end - at_);
      at_ = end + 1;
      return line;
    }
    searched = buffer_.size() - at_;  // fill() moves what is left to the front
    if (!fill()) return std::nullopt;
  }
}

std::string StdinReader::rest() {
  const size_t read_before = buffer_.size() - at_;
  while (fill()) {
  }
  std::string all = buffer_.substr(at_ + read_before);
  buffer_.resize(at_ + read_before);
  return all;
}

StdinReader& standard_input() {
  static StdinReader reader;
  return reader;
}

}  // namespace quoin::ctl

#include "peer/pieces.h"

#include <cstring>

namespace quoin::peer {

char* Pieces::grow(size_t n) {
  if (pieces_.empty() || !std::holds_alternative<std::string>(pieces_.back())) pieces_.emplace_back();
  std::string& s = std::get<std::string>(pieces_.back());
  const size_t at = s.size();
  s.resize(at + n);
  size_ += n;
  return s.data() + at;
}

void Pieces::append(std::string_view bytes) {
  if (!bytes.empty()) std::memcpy(grow(bytes.size()), bytes.data(), bytes.size());
}

void Pieces::append(const Blob& bytes) {
  if (bytes.size() <= kCopyMax) return append(bytes.view());
  pieces_.emplace_back(bytes);
  size_ += bytes.size();
}

std::vector<Pieces::Piece> Pieces::take() {
  size_ = 0;
  return std::exchange(pieces_, {});
}

std::string Pieces::joined() const {
  std::string all;
  all.reserve(size_);
  for (const Piece& p : pieces_) {
    all += std::holds_alternative<Blob>(p) ? std::get<Blob>(p).view()
                                           : std::string_view(std::get<std::string>(p));
  }
  return all;
}

}  // namespace quoin::peer

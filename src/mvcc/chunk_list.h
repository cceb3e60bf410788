// A list that grows by chunks: nothing in it ever moves, so a million elements cost no copy while they are
// added, and a few thousand frees at the end. The first chunk is kept when the list is cleared.
//
// Threads: confined to its owner. T is trivially destructible.
#pragma once
#include <array>
#include <cstddef>
#include <memory>
#include <type_traits>
#include <vector>

namespace quoin::mvcc {

template <class T>
class ChunkList {
 public:
  static_assert(std::is_trivially_destructible_v<T>);
  void push_back(const T& value) {
    if (size_ == chunks_.size() * kChunk) chunks_.push_back(std::make_unique<std::array<T, kChunk>>());
    (*chunks_[size_ / kChunk])[size_ % kChunk] = value;
    ++size_;
  }
  T& operator[](size_t i) { return (*chunks_[i / kChunk])[i % kChunk]; }
  const T& operator[](size_t i) const { return (*chunks_[i / kChunk])[i % kChunk]; }
  size_t size() const { return size_; }
  void clear() {
    if (chunks_.size() > 1) chunks_.resize(1);
    size_ = 0;
  }

 private:
  static constexpr size_t kChunk = 256;
  std::vector<std::unique_ptr<std::array<T, kChunk>>> chunks_;
  size_t size_ = 0;
};

}  // namespace quoin::mvcc

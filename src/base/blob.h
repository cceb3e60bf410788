// Immutable bytes with a count: the one copy of a request that raft's log, the WAL, peers and apply share.
//
// Threads: the bytes never change after construction, so any thread may read them; copying and dropping a
// Blob is thread-safe (atomic count). A Blob may be a slice of another one and then keeps all of it alive.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstring>
#include <functional>
#include <new>
#include <string_view>
#include <utility>

#include "base/check.h"

namespace quoin {

class Blob {
 public:
  Blob() = default;
  // Copies the bytes.
  static Blob copy(std::string_view bytes) {
    return make(bytes.size(), [&](char* p) {
      if (!bytes.empty()) std::memcpy(p, bytes.data(), bytes.size());
    });
  }
  // Allocates `size` bytes and lets `fill(char*)` write all of them.
  template <class Fill>
  static Blob make(size_t size, Fill&& fill) {
    Blob b;
    if (size == 0) return b;
    void* p = ::operator new(sizeof(Head) + size);
    b.head_ = new (p) Head{};
    char* data = reinterpret_cast<char*>(b.head_ + 1);
    fill(data);
    b.view_ = {data, size};
    return b;
  }
  Blob(const Blob& o) : head_(o.head_), view_(o.view_) {
    if (head_) head_->count.fetch_add(1, std::memory_order_relaxed);
  }
  Blob(Blob&& o) noexcept : head_(std::exchange(o.head_, nullptr)), view_(std::exchange(o.view_, {})) {}
  Blob& operator=(Blob o) noexcept {
    std::swap(head_, o.head_);
    std::swap(view_, o.view_);
    return *this;
  }
  ~Blob() {
    if (head_ && head_->count.fetch_sub(1, std::memory_order_acq_rel) == 1) ::operator delete(head_);
  }

  std::string_view view() const { return view_; }
  size_t size() const { return view_.size(); }
  bool empty() const { return view_.empty(); }
  // Shares ownership; `part` must lie within view().
  Blob slice(std::string_view part) const {
    DCHECK(part.empty() || (std::less_equal<>{}(view_.data(), part.data()) &&
                            std::less_equal<>{}(part.data() + part.size(), view_.data() + view_.size())));
    Blob b(*this);
    b.view_ = part;
    return b;
  }

 private:
  struct alignas(16) Head {
    std::atomic<size_t> count{1};
  };
  Head* head_ = nullptr;
  std::string_view view_;
};

}  // namespace quoin

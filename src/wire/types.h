// Types of message fields that are not plain values: boxes, encoded messages, unknown fields.
//
// Ownership: a message holds views into the bytes it was decoded from (or into whatever the caller put
// there); those bytes must outlive it and every copy of it. Boxes and lists belong to the message and are
// copied with it.
#pragma once
#include <cstddef>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

namespace quoin::wire {

// A message behind a pointer, or none; copying copies the message. Looks like std::optional<T>, and T may be
// incomplete where the Box is declared, which recursive messages need.
template <class T>
class Box {
 public:
  Box() noexcept = default;
  Box(T value) : p_(std::make_unique<T>(std::move(value))) {}  // NOLINT: implicit on purpose, as optional is
  Box(const Box& o) : p_(o.p_ ? std::make_unique<T>(*o.p_) : nullptr) {}
  Box(Box&& o) noexcept = default;
  Box& operator=(Box o) noexcept {
    p_.swap(o.p_);
    return *this;
  }
  ~Box() = default;

  bool has_value() const { return p_ != nullptr; }
  explicit operator bool() const { return has_value(); }
  T& operator*() { return *p_; }
  const T& operator*() const { return *p_; }
  T* operator->() { return p_.get(); }
  const T* operator->() const { return p_.get(); }
  T& emplace() {
    p_ = std::make_unique<T>();
    return *p_;
  }
  void reset() { p_.reset(); }

 private:
  std::unique_ptr<T> p_;
};

// A message T kept in encoded form, for bytes that are mostly passed on and rarely read (stored keys in
// answers). The code that fills it makes sure that they are a valid T. Decoding checks them as it checks a T.
template <class T>
struct Raw {
  std::string_view bytes;
};

// The fields this build has no name for, in the order they came; written last. A view holds one field, from
// its tag to its end, or several that stood side by side, so that a message full of them costs no more than
// one. Costs one pointer where there are none, which is nearly always.
class UnknownFields {
 public:
  bool empty() const { return !fields_.has_value(); }
  size_t size_bytes() const {
    size_t n = 0;
    if (fields_) {
      for (std::string_view f : *fields_) n += f.size();
    }
    return n;
  }
  void add(std::string_view field) { (fields_ ? *fields_ : fields_.emplace()).push_back(field); }
  // The view added last goes on for `bytes` more.
  void extend_last(size_t bytes) {
    std::string_view& last = fields_->back();
    last = {last.data(), last.size() + bytes};
  }
  // Empty list if there are none.
  const std::vector<std::string_view>& fields() const;

 private:
  Box<std::vector<std::string_view>> fields_;
};

}  // namespace quoin::wire

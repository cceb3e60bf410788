// Distinct integer types for the quantities that must never stand for each other. Construction from and
// conversion to the plain integer are explicit; order, ++ and addition of a plain distance are defined.
#pragma once
#include <fmt/format.h>

#include <compare>
#include <cstdint>
#include <functional>

namespace quoin {

template <class Tag, class Int>
struct StrongId {
  using Value = Int;
  Int v = 0;
  constexpr StrongId() = default;
  constexpr explicit StrongId(Int value) : v(value) {}
  constexpr explicit operator bool() const { return v != 0; }
  friend constexpr auto operator<=>(StrongId, StrongId) = default;
  constexpr StrongId& operator++() {
    ++v;
    return *this;
  }
  friend constexpr StrongId operator+(StrongId a, Int n) { return StrongId(static_cast<Int>(a.v + n)); }
  friend constexpr StrongId operator-(StrongId a, Int n) { return StrongId(static_cast<Int>(a.v - n)); }
  // Distance; for unsigned values the caller makes sure that a >= b.
  friend constexpr Int operator-(StrongId a, StrongId b) { return static_cast<Int>(a.v - b.v); }
  template <class H>
  friend H AbslHashValue(H h, StrongId id) {
    return H::combine(std::move(h), id.v);
  }
};

using Term = StrongId<struct TermTag, uint64_t>;        // raft term
using Index = StrongId<struct IndexTag, uint64_t>;      // raft log index
using MemberId = StrongId<struct MemberTag, uint64_t>;  // raft node id = etcd member id
using ClusterId = StrongId<struct ClusterTag, uint64_t>;
using LeaseId = StrongId<struct LeaseTag, int64_t>;  // 0: no lease
using PageId = StrongId<struct PageTag, uint64_t>;   // bolt page number
using TxId = StrongId<struct TxTag, uint64_t>;       // bolt transaction id

// A revision of the store: `main` counts transactions that changed something, `sub` the changes within
// one. Order is (main, sub). The store starts at main 1; the first write is (2, 0).
struct Revision {
  int64_t main = 0;
  int64_t sub = 0;
  friend constexpr auto operator<=>(const Revision&, const Revision&) = default;
};

}  // namespace quoin

template <class Tag, class Int>
struct fmt::formatter<quoin::StrongId<Tag, Int>> : fmt::formatter<Int> {
  auto format(quoin::StrongId<Tag, Int> id, fmt::format_context& ctx) const {
    return fmt::formatter<Int>::format(id.v, ctx);
  }
};
template <class Tag, class Int>
struct std::hash<quoin::StrongId<Tag, Int>> {
  size_t operator()(quoin::StrongId<Tag, Int> id) const noexcept { return std::hash<Int>{}(id.v); }
};

// Frees parts that were removed from the key index, once no open view can see them.
//
// Every published version of the index has a Pin, which its IndexView closes when it goes. A thing (node,
// entry, log block) that was born in version b and left the working version is seen by the pins p with b <=
// p.version. It is kept on the newest of them; when that pin closes it moves to the next older pin that sees
// it, or is freed. So a view that stays open for long keeps what it sees alive, and nothing that was born and
// replaced after it.
//
// Threads: confined to the apply strand, except Pin::close. A reader's last access happens before the close
// that it (or the last holder of the view) makes with release; collect() sees it with acquire and only then
// frees.
#pragma once
#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "mvcc/index_pool.h"

namespace quoin::mvcc {

struct Retired {
  // kChain: what a cut detached from an entry, from its newest node on.
  enum class Kind : uint8_t { kLeaf, kInner, kEntry, kChain, kLogBlock };
  void* object;
  uint64_t birth;
  Kind kind;
};

class Pin {
 public:
  Pin(uint64_t version, int64_t compact_revision) : version_(version), compact_revision_(compact_revision) {}
  void close() { open_.store(false, std::memory_order_release); }
  uint64_t version() const { return version_; }
  int64_t compact_revision() const { return compact_revision_; }

 private:
  friend class Reclaimer;
  const uint64_t version_;
  const int64_t compact_revision_;
  std::atomic<bool> open_{true};
  std::vector<Retired> held_;  // apply strand
};

class Reclaimer {
 public:
  // `pool`: where all but log blocks come from; outlives this.
  explicit Reclaimer(IndexPool& pool) : pool_(pool) {}
  ~Reclaimer();  // frees everything that is held, whoever may have it open

  std::shared_ptr<Pin> pin(uint64_t version, int64_t compact_revision);
  // `birth` above every pin's version: freed at once.
  void retire(void* object, uint64_t birth, Retired::Kind kind);
  // Moves or frees at most `budget` things of closed pins; each revision of a chain or entry is one. True if
  // more of that can be done now.
  bool collect(size_t budget);
  // How many things were retired since the last call.
  size_t take_retired() { return std::exchange(retired_, 0); }
  // True if a view is open that was published before the compact revision reached `compact_revision`.
  bool older_view_open(int64_t compact_revision) const;
  // Things that wait; a chain or an entry is one.
  size_t held() const;

 private:
  IndexPool& pool_;
  std::deque<std::shared_ptr<Pin>> pins_;  // versions ascend
  size_t retired_ = 0;
};

}  // namespace quoin::mvcc

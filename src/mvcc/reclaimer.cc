#include "mvcc/reclaimer.h"

#include "base/check.h"
#include "mvcc/change_log.h"
#include "mvcc/index_node.h"

namespace quoin::mvcc {

namespace {

// Frees what `item` holds as far as the budget reaches; it counts down by at least one. True if all is free,
// else `item` is what is left.
bool free_retired(IndexPool& pool, Retired* item, size_t* budget) {
  if (item->kind == Retired::Kind::kEntry) {
    auto* entry = static_cast<KeyEntry*>(item->object);
    LinkedNode* const chain = entry->detach_all();
    KeyEntry::destroy(pool, entry);
    --*budget;
    if (!chain) return true;
    *item = {chain, item->birth, Retired::Kind::kChain};
  }
  if (item->kind == Retired::Kind::kChain) {
    item->object = free_chain(pool, static_cast<LinkedNode*>(item->object), budget);
    return item->object == nullptr;
  }
  --*budget;
  switch (item->kind) {
    case Retired::Kind::kLeaf:
      pool.destroy(static_cast<Leaf*>(item->object));
      break;
    case Retired::Kind::kInner:
      pool.destroy(static_cast<Inner*>(item->object));
      break;
    case Retired::Kind::kLogBlock:
      LogBlock::destroy(static_cast<LogBlock*>(item->object));
      break;
    case Retired::Kind::kEntry:
    case Retired::Kind::kChain:
      break;
  }
  return true;
}

void free_all(IndexPool& pool, Retired item) {
  size_t budget = SIZE_MAX;
  free_retired(pool, &item, &budget);
}

}  // namespace

Reclaimer::~Reclaimer() {
  for (const auto& pin : pins_) {
    for (const Retired& item : pin->held_) free_all(pool_, item);
  }
}

std::shared_ptr<Pin> Reclaimer::pin(uint64_t version, int64_t compact_revision) {
  DCHECK(pins_.empty() || pins_.back()->version() < version);
  pins_.push_back(std::make_shared<Pin>(version, compact_revision));
  return pins_.back();
}

void Reclaimer::retire(void* object, uint64_t birth, Retired::Kind kind) {
  const Retired item{object, birth, kind};
  ++retired_;
  if (pins_.empty() || birth > pins_.back()->version()) {
    free_all(pool_, item);
  } else {
    pins_.back()->held_.push_back(item);
  }
}

bool Reclaimer::collect(size_t budget) {
  // From the newest down, so that what moves to an older closed pin is looked at again in the same round.
  for (size_t i = pins_.size(); i-- > 0;) {
    Pin& pin = *pins_[i];
    if (pin.open_.load(std::memory_order_acquire)) continue;
    Pin* const older = i > 0 ? pins_[i - 1].get() : nullptr;
    while (!pin.held_.empty()) {
      if (budget == 0) return true;
      Retired& item = pin.held_.back();
      if (older && item.birth <= older->version()) {
        --budget;
        older->held_.push_back(item);
        pin.held_.pop_back();
      } else if (free_retired(pool_, &item, &budget)) {
        pin.held_.pop_back();
      }
    }
    pins_.erase(pins_.begin() + static_cast<std::ptrdiff_t>(i));
  }
  return false;
}

bool Reclaimer::older_view_open(int64_t compact_revision) const {
  for (const auto& pin : pins_) {
    if (pin->compact_revision() >= compact_revision) break;  // they never step back
    if (pin->open_.load(std::memory_order_acquire)) return true;
  }
  return false;
}

size_t Reclaimer::held() const {
  size_t sum = 0;
  for (const auto& pin : pins_) sum += pin->held_.size();
  return sum;
}

}  // namespace quoin::mvcc

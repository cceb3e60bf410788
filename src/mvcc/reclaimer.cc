#include "mvcc/reclaimer.h"

#include "base/check.h"
#include "mvcc/change_log.h"
#include "mvcc/index_node.h"

namespace quoin::mvcc {

namespace {

void free_retired(const Retired& item) {
  switch (item.kind) {
    case Retired::Kind::kLeaf:
      delete static_cast<Leaf*>(item.object);
      return;
    case Retired::Kind::kInner:
      delete static_cast<Inner*>(item.object);
      return;
    case Retired::Kind::kEntry:
      KeyEntry::destroy(static_cast<KeyEntry*>(item.object));
      return;
    case Retired::Kind::kLogBlock:
      LogBlock::destroy(static_cast<LogBlock*>(item.object));
      return;
  }
}

}  // namespace

Reclaimer::~Reclaimer() {
  for (const auto& pin : pins_) {
    for (const Retired& item : pin->held_) free_retired(item);
  }
}

std::shared_ptr<Pin> Reclaimer::pin(uint64_t version, int64_t compact_revision) {
  DCHECK(pins_.empty() || pins_.back()->version() < version);
  pins_.push_back(std::make_shared<Pin>(version, compact_revision));
  return pins_.back();
}

void Reclaimer::retire(void* object, uint64_t birth, Retired::Kind kind) {
  const Retired item{object, birth, kind};
  if (pins_.empty() || birth > pins_.back()->version()) {
    free_retired(item);
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
      --budget;
      const Retired item = pin.held_.back();
      pin.held_.pop_back();
      if (older && item.birth <= older->version()) {
        older->held_.push_back(item);
      } else {
        free_retired(item);
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

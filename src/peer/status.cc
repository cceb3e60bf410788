#include "peer/status.h"

#include "base/coding.h"
#include "peer/context.h"

namespace quoin::peer {

std::optional<io::MonotonicNs> ActiveTable::since(MemberId id) const {
  std::lock_guard lock(mutex_);
  const auto it = since_.find(id);
  if (it == since_.end()) return std::nullopt;
  return it->second;
}

void ActiveTable::set(MemberId id, io::MonotonicNs since) {
  std::lock_guard lock(mutex_);
  since_[id] = since;
}

void ActiveTable::erase(MemberId id) {
  std::lock_guard lock(mutex_);
  since_.erase(id);
}

PeerStatus::~PeerStatus() {
  if (!active_) return;
  if (table_ != nullptr) table_->erase(peer_);
  context_.probe.active_gone(context_.self, peer_);
}

void PeerStatus::activate() {
  if (active_) return;
  LOG(context_.log, kInfo, "peer became active", {"peer-id", log::Hex{peer_.v}});
  active_ = true;
  if (table_ != nullptr) table_->set(peer_, context_.clock.monotonic());
  context_.probe.became_active(context_.self, peer_);
}

void PeerStatus::deactivate(std::string_view source, std::string_view action, std::string_view reason) {
  if (!active_) {
    if (!context_.log.enabled(log::Level::kDebug)) return;
    LOG(context_.log, kDebug, "peer deactivated again", {"peer-id", log::Hex{peer_.v}},
        {"error", fmt::format("failed to {} {} on {} ({})", action, hex(peer_.v), source, reason)});
    return;
  }
  LOG(context_.log, kWarn, "peer became inactive (message send to peer failed)",
      {"peer-id", log::Hex{peer_.v}},
      {"error", fmt::format("failed to {} {} on {} ({})", action, hex(peer_.v), source, reason)});
  active_ = false;
  if (table_ != nullptr) table_->erase(peer_);
  context_.probe.became_inactive(context_.self, peer_);
}

}  // namespace quoin::peer

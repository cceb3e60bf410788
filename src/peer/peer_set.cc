#include "peer/peer_set.h"

#include <algorithm>

#include "raft/describe.h"

namespace quoin::peer {

PeerSet::PeerSet(Context context) : context_(std::move(context)), links_(context_), door_(context_, *this) {}

PeerSet::~PeerSet() = default;

Peer* PeerSet::find(MemberId id) {
  const auto it = peers_.find(id);
  return it == peers_.end() ? nullptr : it->second.get();
}

void PeerSet::send(raft::Message message, size_t bytes) {
  if (!message.to || stopped_) return;
  if (Peer* const peer = find(message.to)) return peer->send(std::move(message), bytes);
  if (const auto it = remotes_.find(message.to); it != remotes_.end()) {
    return it->second->send(std::move(message), bytes);
  }
  LOG(context_.log, kDebug, "ignored message send request; unknown remote peer target",
      {"type", raft::name_of(message.type)}, {"unknown-target-peer-id", log::Hex{message.to.v}});
}

void PeerSet::send_snapshot(raft::Message message, std::shared_ptr<backend::SnapshotSource> source) {
  if (stopped_) return;
  Peer* const peer = find(message.to);
  if (peer == nullptr) return context_.handler->snapshot_sent(message.to, true);
  peer->send_snapshot(std::move(message), std::move(source));
}

void PeerSet::add(MemberId id, std::vector<std::string> urls) {
  if (stopped_ || peers_.count(id) != 0 || urls.empty()) return;
  if (const auto it = remotes_.find(id); it != remotes_.end()) {
    it->second->stop();
    remotes_.erase(it);
  }
  peers_[id] = std::make_unique<Peer>(context_, active_, links_, id, urls);
  LOG(context_.log, kInfo, "added remote peer", {"local-member-id", log::Hex{context_.self.v}},
      {"remote-peer-id", log::Hex{id.v}}, {"remote-peer-urls", urls});
}

void PeerSet::add_remote(MemberId id, std::vector<std::string> urls) {
  if (stopped_ || id == context_.self || peers_.count(id) != 0 || remotes_.count(id) != 0) return;
  // They come from the fields of requests, too.
  std::erase_if(urls, [](const std::string& url) { return !parse_url(url); });
  if (urls.empty() || remotes_.size() >= context_.options.remotes_max) return;
  remotes_[id] = std::make_unique<Remote>(context_, links_, id, urls);
  LOG(context_.log, kInfo, "added new remote peer", {"local-member-id", log::Hex{context_.self.v}},
      {"remote-peer-id", log::Hex{id.v}}, {"remote-peer-urls", urls});
}

void PeerSet::update(MemberId id, std::vector<std::string> urls) {
  Peer* const peer = find(id);
  if (peer == nullptr || urls.empty()) return;
  peer->update(urls);
  LOG(context_.log, kInfo, "updated remote peer", {"local-member-id", log::Hex{context_.self.v}},
      {"updated-remote-peer-id", log::Hex{id.v}}, {"updated-remote-peer-urls", urls});
}

void PeerSet::remove(MemberId id) {
  if (stopped_) return;
  if (const auto it = peers_.find(id); it != peers_.end()) {
    it->second->stop();
    peers_.erase(it);
    LOG(context_.log, kInfo, "removed remote peer", {"local-member-id", log::Hex{context_.self.v}},
        {"removed-remote-peer-id", log::Hex{id.v}});
  } else {
    LOG(context_.log, kWarn, "skipped removing already removed peer",
        {"local-member-id", log::Hex{context_.self.v}}, {"removed-remote-peer-id", log::Hex{id.v}});
  }
}

void PeerSet::remove_all() {
  while (!peers_.empty()) remove(peers_.begin()->first);
  for (auto& [id, remote] : remotes_) remote->stop();
  remotes_.clear();
}

void PeerSet::stop() {
  if (stopped_) return;
  stopped_ = true;
  door_.stop();
  for (auto& [id, remote] : remotes_) remote->stop();
  for (auto& [id, peer] : peers_) peer->stop();
  remotes_.clear();
  peers_.clear();
  links_.clear();
}

}  // namespace quoin::peer

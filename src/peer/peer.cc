#include "peer/peer.h"

#include "peer/context.h"
#include "raft/describe.h"

namespace quoin::peer {

Peer::Peer(Context& context, ActiveTable& table, IdleLinks& links, MemberId id, std::vector<std::string> urls)
    : context_(context),
      links_(links),
      id_(id),
      picker_(urls),
      status_(context, &table, id),
      snapshots_(context, status_, picker_, id) {
  LOG(context_.log, kInfo, "starting remote peer", {"remote-peer-id", log::Hex{id_.v}});
  pipeline_ = std::make_unique<Pipeline>(context_, status_, picker_, links_, id_);
  for (StreamKind kind : {StreamKind::kMsgApp, StreamKind::kMessage}) {
    const auto i = static_cast<size_t>(kind);
    writers_[i] = std::make_unique<StreamWriter>(context_, status_, id_, kind);
    readers_[i] = std::make_unique<StreamReader>(context_, status_, picker_, id_, kind);
  }
  LOG(context_.log, kInfo, "started remote peer", {"remote-peer-id", log::Hex{id_.v}});
  for (auto& reader : readers_) reader->start();
  probe(urls);
}

void Peer::probe(const std::vector<std::string>& urls) {
  probers_[0] = std::make_unique<Prober>(context_, Prober::Kind::kSnapshots, id_, urls, &links_);
  probers_[1] = std::make_unique<Prober>(context_, Prober::Kind::kMessages, id_, urls, nullptr);
}

void Peer::send(raft::Message message, size_t bytes) {
  StreamWriter* stream = nullptr;
  StreamKind kind = StreamKind::kMessage;
  if (message.type == raft::MessageType::kApp && writer(StreamKind::kMsgApp).attached()) {
    kind = StreamKind::kMsgApp;
    stream = &writer(kind);
  } else if (writer(kind).attached()) {
    stream = &writer(kind);
  }
  if (stream != nullptr ? stream->push(message, bytes) : pipeline_->push(message, bytes)) return;
  context_.handler->unreachable(id_);
  LOG(context_.log, kWarn, "dropped internal Raft message since sending buffer is full",
      {"message-type", raft::name_of(message.type)}, {"local-member-id", log::Hex{context_.self.v}},
      {"from", log::Hex{message.from.v}}, {"remote-peer-id", log::Hex{id_.v}},
      {"remote-peer-name", stream != nullptr ? name_of(kind) : "pipeline"},
      {"remote-peer-active", status_.active()});
  context_.probe.sent_failures.of(id_).inc();
}

void Peer::send_snapshot(raft::Message message, std::shared_ptr<backend::SnapshotSource> source) {
  snapshots_.send(std::move(message), std::move(source));
}

void Peer::attach(StreamKind kind, std::unique_ptr<io::Stream> stream, bool chunked) {
  writer(kind).attach(std::move(stream), chunked);
}

void Peer::update(std::vector<std::string> urls) {
  picker_.update(urls);
  probe(urls);
}

void Peer::stop() {
  LOG(context_.log, kInfo, "stopping remote peer", {"remote-peer-id", log::Hex{id_.v}});
  for (auto& writer : writers_) writer->stop();
  pipeline_->stop();
  snapshots_.stop();
  for (auto& reader : readers_) reader->stop();
  for (auto& prober : probers_) prober.reset();
  LOG(context_.log, kInfo, "stopped remote peer", {"remote-peer-id", log::Hex{id_.v}});
}

Remote::Remote(Context& context, IdleLinks& links, MemberId id, std::vector<std::string> urls)
    : context_(context),
      id_(id),
      picker_(std::move(urls)),
      status_(context, nullptr, id),
      pipeline_(context, status_, picker_, links, id) {}

void Remote::send(raft::Message message, size_t bytes) {
  if (pipeline_.push(message, bytes)) return;
  // etcd tells raft nothing here: it knows no progress of a remote.
  LOG(context_.log, kWarn,
      status_.active() ? "dropped internal Raft message since sending buffer is full (overloaded network)"
                       : "dropped Raft message since sending buffer is full (overloaded network)",
      {"message-type", raft::name_of(message.type)}, {"local-member-id", log::Hex{context_.self.v}},
      {"from", log::Hex{message.from.v}}, {"remote-peer-id", log::Hex{id_.v}},
      {"remote-peer-active", status_.active()});
  context_.probe.sent_failures.of(id_).inc();
}

}  // namespace quoin::peer

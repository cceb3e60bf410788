#include "scenarios/peer_network.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "raft/codec.h"

namespace quoin::scenarios {

namespace {
Error refused(const std::string& url, const server::PeerRequest& request) {
  return Error(Code::kIo,
               fmt::format("Get \"{}{}\": dial tcp: connect: connection refused", url, request.path));
}
}  // namespace

std::unique_ptr<PeerNetwork::Peers> PeerNetwork::join(sim::Process& process, std::string url) {
  return std::make_unique<Peers>(*this, process, std::move(url));
}

PeerNetwork::Peers* PeerNetwork::at(const std::string& url) const {
  const auto found = lives_.find(url);
  return found == lives_.end() || !found->second->alive() ? nullptr : found->second;
}

void PeerNetwork::tell_removed(const std::string& by, const std::string& url, MemberId id) {
  constexpr int64_t kDialAgainNs = 100 * io::kMillisecond;
  world_.at(world_.now() + kDialAgainNs, [this, alive = std::weak_ptr<int>(alive_), by, url, id] {
    if (alive.expired()) return;
    const Peers* teller = at(by);
    const Peers* removed = at(url);
    if (teller == nullptr || removed == nullptr || removed->handler_->self() != id) return;
    if (is_cut(url, by) || is_cut(by, url)) return tell_removed(by, url, id);
    if (teller->handler_->removed(id)) removed->handler_->found_removed();
  });
}

void PeerNetwork::deliver(const std::string& from, const std::string& to, raft::Message message) {
  ++counts_.sent;
  if (is_cut(from, to) || prng_.chance(faults_.drop, 1000)) {
    ++counts_.dropped;
    return;
  }
  const auto extra = faults_.delay_max_ns > 0
                         ? static_cast<int64_t>(prng_.below(static_cast<uint64_t>(faults_.delay_max_ns)))
                         : 0;
  io::MonotonicNs when = world_.now() + kLatencyNs + extra;
  io::MonotonicNs& last = arrival_[{from, to}];
  if (!prng_.chance(faults_.reorder, 1000)) when = last = std::max(when, last);
  // As bytes, so that nothing is shared but what a wire carries.
  const Blob bytes = raft::encode_blob(message);
  // A proposal that came twice would be made twice, as in etcd; over one connection nothing comes twice.
  const bool may_double = message.type != raft::MessageType::kProp;
  const int copies = prng_.chance(faults_.duplicate, 1000) && may_double ? 2 : 1;
  if (copies == 2) ++counts_.doubled;
  for (int i = 0; i < copies; ++i) {
    world_.at(when, [this, from, to, bytes] {
      Peers* receiver = at(to);
      if (receiver == nullptr || is_cut(from, to)) return;
      auto message = raft::decode_message(bytes);
      CHECK(message.has_value(), "{}", message.error().text());
      if (receiver->handler_->removed(message->from)) {
        Peers* sender = at(from);
        if (sender != nullptr && sender->handler_->self() == message->from) sender->handler_->found_removed();
        return;
      }
      receiver->meet(message->from, from);
      std::vector<raft::Message> one;
      one.push_back(std::move(*message));
      receiver->handler_->received(std::move(one), nullptr);
    });
  }
}

// How a database's way ended, told to the sender once: if the receiver dies on the way, by its connection's end.
class PeerNetwork::DatabaseOutcome {
 public:
  DatabaseOutcome(PeerNetwork& net, std::string from, MemberId to)
      : net_(net), alive_(net.alive_), from_(std::move(from)), to_(to) {}
  ~DatabaseOutcome() { end(true); }
  DatabaseOutcome(const DatabaseOutcome&) = delete;
  DatabaseOutcome& operator=(const DatabaseOutcome&) = delete;

  void end(bool failed) {
    if (std::exchange(over_, true) || alive_.expired()) return;
    ++(failed ? net_.counts_.databases_cut : net_.counts_.databases_taken);
    // Not from within the end of a process.
    net_.world_.after(kLatencyNs, [net = &net_, from = from_, to = to_, failed] {
      if (Peers* sender = net->at(from)) sender->handler_->snapshot_sent(to, failed);
    });
  }

 private:
  PeerNetwork& net_;
  const std::weak_ptr<int> alive_;
  const std::string from_;
  const MemberId to_;
  bool over_ = false;
};

void PeerNetwork::deliver_database(const std::string& from, const std::string& to, raft::Message message,
                                   std::shared_ptr<backend::SnapshotSource> source) {
  ++counts_.databases;
  const MemberId id = message.to;
  const auto fail = [this, from, id] {
    ++counts_.databases_cut;
    if (Peers* sender = at(from)) {
      sender->handler_->unreachable(id);
      sender->handler_->snapshot_sent(id, /*failed=*/true);
    }
  };
  Peers* receiver = at(to);
  const int64_t takes =
      10 * kLatencyNs +
      (faults_.database_max_ns > 0
           ? static_cast<int64_t>(prng_.below(static_cast<uint64_t>(faults_.database_max_ns)))
           : 0);
  if (receiver == nullptr || is_cut(from, to) || prng_.chance(faults_.database_lost, 1000)) {
    world_.after(receiver == nullptr ? kLatencyNs : takes, fail);
    return;
  }
  auto bytes = std::make_shared<std::string>(source->size(), '\0');
  const Result<> read = source->read(0, std::span<char>(bytes->data(), bytes->size()));
  CHECK(read.has_value(), "{}", read.error().text());
  const Blob head = raft::encode_blob(message);
  world_.after(takes, [this, from, to, head, bytes, fail, id] {
    Peers* receiver = at(to);
    if (receiver == nullptr || is_cut(from, to)) return fail();
    server::PeerHandler& handler = *receiver->handler_;
    auto message = raft::decode_message(head);
    CHECK(message.has_value(), "{}", message.error().text());
    receiver->meet(message->from, from);
    auto shared = std::make_shared<raft::Message>(std::move(*message));
    const auto outcome = std::make_shared<DatabaseOutcome>(*this, from, id);
    handler.snapshot_executor().post([&handler, bytes, shared, outcome]() mutable {
      const auto ended = [outcome](bool failed) { outcome->end(failed); };
      const std::string path = handler.new_snapshot_path();
      auto file = handler.snapshot_files().open(path, {.write = true, .create = true, .truncate = true});
      if (!file || !(*file)->write_at(0, *bytes) || !(*file)->sync()) return ended(true);
      file->reset();
      const Index index = shared->snapshot->metadata.index;
      handler.keep_snapshot(path, index, handler.snapshot_executor(),
                            [&handler, shared, ended](Result<> kept) mutable {
                              if (!kept) return ended(true);
                              handler.process(std::move(*shared), nullptr, handler.snapshot_executor(),
                                              [ended](Result<> taken) { ended(!taken); });
                            });
    });
  });
}

// ---- one life ----

PeerNetwork::Peers::~Peers() {
  const auto here = net_.lives_.find(url_);
  if (here != net_.lives_.end() && here->second == this) net_.lives_.erase(here);
}

void PeerNetwork::Peers::serve(server::PeerHandler& handler, Answer answer, Question question) {
  handler_ = &handler;
  answer_ = std::move(answer);
  question_ = std::move(question);
}

void PeerNetwork::Peers::add(MemberId id, std::vector<std::string> urls) {
  urls_.try_emplace(id, std::move(urls));
}

void PeerNetwork::Peers::remove(MemberId id) {
  if (const std::string url = url_of(id); !url.empty()) net_.tell_removed(url_, url, id);
  urls_.erase(id);
}

std::string PeerNetwork::Peers::url_of(MemberId id) const {
  const auto found = urls_.find(id);
  return found == urls_.end() || found->second.empty() ? std::string() : found->second.front();
}

void PeerNetwork::Peers::send(std::vector<raft::Message> messages) {
  for (raft::Message& m : messages) {
    if (net_.observer_) net_.observer_(m);
    const std::string to = url_of(m.to);
    if (to.empty()) continue;
    if (net_.at(to) == nullptr) {
      if (handler_ != nullptr) handler_->unreachable(m.to);
      continue;
    }
    net_.deliver(url_, to, std::move(m));
  }
}

void PeerNetwork::Peers::send_snapshot(raft::Message message,
                                       std::shared_ptr<backend::SnapshotSource> source) {
  const std::string to = url_of(message.to);
  if (net_.observer_) net_.observer_(message);
  net_.deliver_database(url_, to, std::move(message), std::move(source));
}

std::optional<io::MonotonicNs> PeerNetwork::Peers::active_since(MemberId id) const {
  const std::string to = url_of(id);
  if (to.empty() || net_.at(to) == nullptr || net_.is_cut(url_, to) || net_.is_cut(to, url_))
    return std::nullopt;
  return 0;
}

void PeerNetwork::Peers::fetch(std::string url, server::PeerRequest request, io::Executor& executor,
                               server::PeerAnswered done) {
  auto pending = std::make_shared<server::PeerAnswered>(std::move(done));
  const auto end = [&executor, pending](Result<server::PeerAnswer> answer) {
    if (!*pending) return;
    executor.post([done = std::exchange(*pending, nullptr), answer = std::move(answer)]() mutable {
      done(std::move(answer));
    });
  };
  net_.world_.after(request.timeout_ns, [end] { end(Error(Code::kContextDeadlineExceeded)); });
  net_.world_.after(kLatencyNs, [&net = net_, from = url_, url, request = std::move(request), end] {
    Peers* other = net.at(url);
    if (other == nullptr) return end(refused(url, request));
    if (net.is_cut(from, url)) return;
    const Answered answered = [&net, from, url, end](Result<server::PeerAnswer> answer) {
      net.world_.after(kLatencyNs, [&net, from, url, end, answer = std::move(answer)] {
        if (!net.is_cut(url, from)) end(answer);
      });
    };
    if (!other->question_(request, answered)) answered(other->answer_(request));
  });
}

Result<server::PeerAnswer> PeerNetwork::Peers::fetch_now(std::string url, server::PeerRequest request) {
  Peers* other = net_.at(url);
  if (other == nullptr || other->process_.paused() || net_.is_cut(url_, url) || net_.is_cut(url, url_)) {
    return refused(url, request);
  }
  return other->answer_(request);
}

}  // namespace quoin::scenarios

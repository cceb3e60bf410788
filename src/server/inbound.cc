#include "server/inbound.h"

#include "raft/describe.h"
#include "server/received_database.h"
#include "server/received_message.h"
#include "server/stages.h"

namespace quoin::server {

namespace {
constexpr const char* kRemoved = "cannot process message from removed member";
constexpr const char* kMismatch = "cannot process message to mismatch member";
}  // namespace

Inbound::Inbound(Stages& stages)
    : s_(stages),
      refused_(s_.env.metrics.counter("quoin_peer_messages_refused_total",
                                      "Messages of peers that no member may send, or not to this one.")) {}

MemberId Inbound::self() const {
  return s_.self;
}

ClusterId Inbound::cluster() const {
  return s_.cluster_id;
}

bool Inbound::removed(MemberId id) const {
  return s_.apply.members()->is_removed(id);
}

Result<> Inbound::check(const raft::Message& m, const membership::Membership& members) {
  if (members.is_removed(m.from)) return Error(Code::kInvalidArgument, kRemoved);
  if (m.to != s_.self) return Error(Code::kInvalidArgument, kMismatch);
  TRY(check_received(m, s_.self, Term(s_.raft.progress().term.load(std::memory_order_relaxed)), members));
  if (m.type == raft::MessageType::kSnap && !take_kept(m.snapshot->metadata.index)) {
    return make_error(Code::kMalformed, "a snapshot at index {} without its database",
                      m.snapshot->metadata.index);
  }
  return {};
}

bool Inbound::take_kept(Index index) {
  std::lock_guard lock(mutex_);
  const auto kept = kept_.find(index);
  if (kept == kept_.end()) return false;
  if (--kept->second == 0) kept_.erase(kept);
  return true;
}

void Inbound::tell_refused(const raft::Message& m, const Error& error) {
  refused_.inc();
  std::optional<uint64_t> kept_back;
  {
    std::lock_guard lock(mutex_);
    kept_back = lines_.line(s_.env.clock.monotonic());
  }
  if (!kept_back) return;
  const log::Field local{"local-member-id", log::Hex{s_.self.v}};
  if (error.text() == kRemoved) {
    LOG(s_.env.log, kWarn, "rejected Raft message from removed member", local,
        {"removed-member-id", log::Hex{m.from.v}});
  } else if (error.text() == kMismatch) {
    LOG(s_.env.log, kWarn, "rejected Raft message to mismatch member", local,
        {"mismatch-member-id", log::Hex{m.to.v}});
  } else {
    LOG(s_.env.log, kWarn, "rejected Raft message that no member may send", local,
        {"remote-member-id", log::Hex{m.from.v}}, {"message-type", raft::name_of(m.type)},
        {"error", error.text()}, {"lines-kept-back", *kept_back});
  }
}

void Inbound::received(std::vector<raft::Message> messages, Charge charge) {
  const auto members = s_.apply.members();
  std::erase_if(messages, [&](const raft::Message& m) {
    const Result<> ok = check(m, *members);
    if (!ok) tell_refused(m, ok.error());
    return !ok;
  });
  if (!messages.empty()) s_.raft.post_messages(std::move(messages), std::move(charge));
}

void Inbound::process(raft::Message message, Charge charge, io::Executor& executor,
                      absl::AnyInvocable<void(Result<>)> done) {
  if (const Result<> ok = check(message, *s_.apply.members()); !ok) {
    tell_refused(message, ok.error());
    executor.post([done = std::move(done), error = ok.error()]() mutable { done(error); });
    return;
  }
  s_.raft.post_message(std::move(message), std::move(charge), executor, std::move(done));
}

void Inbound::unreachable(MemberId id) {
  s_.raft.post_unreachable(id);
}

void Inbound::snapshot_sent(MemberId id, bool failed) {
  s_.snapshot_sent(id, failed);
}

void Inbound::found_removed() {
  s_.env.apply.post([this] { s_.removed_self(); });
}

io::FileSystem& Inbound::snapshot_files() {
  return s_.env.file_fs;
}

io::Executor& Inbound::snapshot_executor() {
  return s_.env.file;
}

std::string Inbound::new_snapshot_path() {
  return s_.appender.new_snapshot_path();
}

void Inbound::keep_snapshot(std::string path, Index index, io::Executor& executor,
                            absl::AnyInvocable<void(Result<>)> done) {
  auto keep = [this, index, done = std::move(done)](Result<> kept) mutable {
    if (kept) {
      std::lock_guard lock(mutex_);
      ++kept_[index];
      // Of a transfer that ended in between: no message comes.
      if (kept_.size() > kKeptMax) kept_.erase(kept_.begin());
    }
    done(std::move(kept));
  };
  s_.env.file.post([this, path = std::move(path), index, &executor, keep = std::move(keep)]() mutable {
    const Result<> right = check_received_database(s_.env.file_fs, path);
    if (right) return s_.appender.post_keep_snapshot(std::move(path), index, executor, std::move(keep));
    if (const Result<> removed = s_.env.file_fs.remove(path); !removed) {
      LOG(s_.env.log, kWarn, "failed to remove a received file", {"path", path},
          {"error", removed.error().text()});
    }
    executor.post([keep = std::move(keep), error = right.error()]() mutable { keep(error); });
  });
}

}  // namespace quoin::server

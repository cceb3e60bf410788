#include "server/inbound.h"

#include "server/stages.h"

namespace quoin::server {

namespace {

// What another member may send. A local type would make raft act as if this member had decided something, and
// messages of its storage threads tell of what was written here.
bool may_come_from_outside(const raft::Message& m) {
  return !raft::is_local(m.type) && !raft::is_storage_thread(m.from) && !raft::is_storage_thread(m.to);
}

}  // namespace

MemberId Inbound::self() const {
  return s_.self;
}

ClusterId Inbound::cluster() const {
  return s_.cluster_id;
}

bool Inbound::removed(MemberId id) const {
  return s_.apply.members()->is_removed(id);
}

void Inbound::received(std::vector<raft::Message> messages, Charge charge) {
  const auto members = s_.apply.members();
  std::erase_if(messages, [&](const raft::Message& m) {
    return !may_come_from_outside(m) || members->is_removed(m.from) || m.to != s_.self;
  });
  if (!messages.empty()) s_.raft.post_messages(std::move(messages), std::move(charge));
}

void Inbound::process(raft::Message message, Charge charge, io::Executor& executor,
                      absl::AnyInvocable<void(Result<>)> done) {
  std::optional<Error> refused;
  if (removed(message.from)) {
    LOG(s_.env.log, kWarn, "rejected Raft message from removed member",
        {"local-member-id", log::Hex{s_.self.v}}, {"removed-member-id", log::Hex{message.from.v}});
    refused = Error(Code::kInvalidArgument, "cannot process message from removed member");
  } else if (message.to != s_.self) {
    LOG(s_.env.log, kWarn, "rejected Raft message to mismatch member",
        {"local-member-id", log::Hex{s_.self.v}}, {"mismatch-member-id", log::Hex{message.to.v}});
    refused = Error(Code::kInvalidArgument, "cannot process message to mismatch member");
  } else if (!may_come_from_outside(message)) {
    refused = Error(Code::kInvalidArgument, "raft: cannot step raft local message");
  }
  if (refused) {
    executor.post([done = std::move(done), error = *refused]() mutable { done(error); });
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
  s_.env.apply.post([this] { s_.stop_removed(); });
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
  s_.appender.post_keep_snapshot(std::move(path), index, executor, std::move(done));
}

}  // namespace quoin::server

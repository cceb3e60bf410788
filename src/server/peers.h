// The border between a member and its connections to the other members.
//
// Peers is the way out: peer::Transport implements it with sockets, a simulated network without. PeerHandler
// is the way in: the member implements it. Both sides know members by their ids alone; ids of members that
// have been removed never come back.
//
// Order: messages from one member to another arrive in the order they were sent, as far as they arrive and
// took the same channel. raft expects no more: any message may be lost, late or doubled.
//
// Bounds: what waits for a socket is bounded by the transport, which drops messages beyond and says so by
// PeerHandler::unreachable. What was received and waits for raft is held by a Charge: the transport counts
// the bytes that are charged and stops reading at its bound.
//
// Lifetime: the member outlives the transport's use of it: first Peers::stop, then the member's end.
// Source: spec raft-and-peers 14, 21 to 25, 27, 28; design.md section 1.
#pragma once
#include <absl/functional/any_invocable.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "backend/backend.h"
#include "base/ids.h"
#include "base/result.h"
#include "io/clock.h"
#include "io/executor.h"
#include "io/file.h"
#include "raft/types.h"

namespace quoin::server {

// Something a member asks another one over HTTP, beside raft's messages.
struct PeerRequest {
  std::string method = "GET";
  std::string path;                                         // "/members", with a leading slash
  std::vector<std::pair<std::string, std::string>> fields;  // besides Host and those of the body's length
  std::string body;
  int64_t timeout_ns = 5 * io::kSecond;  // from the call to the last byte of the answer
  size_t answer_bytes_max = 1u << 20;    // a longer one is an error (kLimit)
};
struct PeerAnswer {
  unsigned status = 0;
  std::vector<std::pair<std::string, std::string>> fields;
  std::string body;
  // First value of the field, its name compared without case.
  std::optional<std::string_view> field(std::string_view name) const;
};
using PeerAnswered = absl::AnyInvocable<void(Result<PeerAnswer>)>;

class Peers {
 public:
  virtual ~Peers() = default;

  // ---- raft strand ----
  // Each message goes to its `to`, in order; unknown ones are dropped. Never waits. Without MsgSnap.
  virtual void send(std::vector<raft::Message> messages) = 0;

  // ---- apply strand ----
  // MsgSnap with all of `message.snapshot`, then the file. The outcome comes by PeerHandler::snapshot_sent;
  // `source` is dropped when it does. Reads the file in pieces, at a bounded rate.
  virtual void send_snapshot(raft::Message message, std::shared_ptr<backend::SnapshotSource> source) = 0;
  // Members by the applied configuration. Of one thread, in the order of the calls. add() of a member that is
  // there already does nothing. A remote is a member that the local configuration does not know yet: it can be
  // answered, and nothing more. add() turns a remote into a peer.
  virtual void add(MemberId id, std::vector<std::string> urls) = 0;
  virtual void add_remote(MemberId id, std::vector<std::string> urls) = 0;
  virtual void update(MemberId id, std::vector<std::string> urls) = 0;
  virtual void remove(MemberId id) = 0;
  // All peers and remotes; after a received snapshot, whose members are then added.
  virtual void remove_all() = 0;

  // ---- any thread ----
  // Since when the member can be talked to, without a break; none: it cannot be now.
  virtual std::optional<io::MonotonicNs> active_since(MemberId id) const = 0;
  // One attempt at one URL ("http://10.0.0.1:2380"); redirects are not followed. `done` runs on `executor`.
  // Errors: kIo with Go's words for what the network said, kContextDeadlineExceeded, kLimit.
  virtual void fetch(std::string url, PeerRequest request, io::Executor& executor, PeerAnswered done) = 0;
  // The same for the start of a member, before its strands run: waits for the answer.
  virtual Result<PeerAnswer> fetch_now(std::string url, PeerRequest request) = 0;
};

// Bytes that were received and are not taken by raft yet: dropping it, on any thread, gives them back.
using Charge = std::shared_ptr<void>;

class PeerHandler {
 public:
  virtual ~PeerHandler() = default;

  // ---- any thread ----
  virtual MemberId self() const = 0;
  virtual ClusterId cluster() const = 0;
  // Was a member and is none any more.
  virtual bool removed(MemberId id) const = 0;
  // From the streams: what one read of one connection brought, in order. raft steps them. What no other member may
  // send is dropped here (received_message.h).
  virtual void received(std::vector<raft::Message> messages, Charge charge) = 0;
  // From a POST: `done` runs on `executor` once raft took it, or with the reason why it did not: its text
  // stands in the log.
  virtual void process(raft::Message message, Charge charge, io::Executor& executor,
                       absl::AnyInvocable<void(Result<>)> done) = 0;
  virtual void unreachable(MemberId id) = 0;
  virtual void snapshot_sent(MemberId id, bool failed) = 0;
  // Another member says that this one was removed: it stops for good.
  virtual void found_removed() = 0;

  // ---- a database on its way in ----
  // Where to write it: a new file in the snap directory, on this file system, whose operations complete on
  // snapshot_executor().
  virtual io::FileSystem& snapshot_files() = 0;
  virtual io::Executor& snapshot_executor() = 0;
  virtual std::string new_snapshot_path() = 0;
  // The file is complete and synced: it becomes the database of `index`, unless it can be none (kCorruption; it is
  // removed then). MsgSnap of this index is taken by process() once this is done, and not before.
  virtual void keep_snapshot(std::string path, Index index, io::Executor& executor,
                             absl::AnyInvocable<void(Result<>)> done) = 0;
};

}  // namespace quoin::server

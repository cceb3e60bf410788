// The consensus of one member. The owner passes in messages, proposals and ticks, takes Readys, and carries
// out their effects.
//
//   propose / step / tick ... (as many as there are)      everything piles up
//   if (node.has_ready()) { Ready r = node.ready(); ... }  all effects at once
//
// A Ready's effects, in the order that must hold:
//
//   1. messages: may be sent at once, before anything of this Ready is durable.
//
//   2. hard_state, snapshot, entries: made durable together, in the order of the Readys (a sync is needed
//      only if must_sync; it must cover what earlier Readys wrote without one).
//
//   3. What depended on them is released, see below.
//
//   4. committed_entries: may be applied.
//
// Synchronous form: votes and append responses are among the messages, so a member that is no leader sends
// only after the write; committed entries may include entries of the same Ready, so apply after the write.
// When write and application are done (or safely queued in order), call advance(). One Ready at a time.
//
// Asynchronous form (Config::async_storage_writes): any number of Readys may be under way; no advance().
//
//   If needs_append(): write, then deliver `append_responses`: those to this member go back through step()
//   (it refuses them once the member has been removed), the others to the network.
//
//   If needs_apply(): apply in order, then call applied(). Only durable entries are handed out.
//
//   A snapshot replaces the state machine after what was handed out before it has been applied, and before
//   its own write is acknowledged.
//
// Threads: confined to one strand. Lifetimes: storage, prng and observer outlive the node. Storage must be
// changed only between calls, and entries must be in it before their write is acknowledged.
// Source: spec raft-and-peers 14 to 16.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/blob.h"
#include "base/ids.h"
#include "base/prng.h"
#include "base/result.h"
#include "raft/observer.h"
#include "raft/raft.h"
#include "raft/storage.h"
#include "raft/types.h"

namespace quoin::raft {

struct Ready {
  std::optional<SoftState> soft_state;  // if it changed
  HardState hard_state;                 // empty: unchanged
  std::vector<ReadState> read_states;
  std::vector<Entry> entries;
  std::shared_ptr<const Snapshot> snapshot;  // null: none
  std::vector<Entry> committed_entries;
  std::vector<Message> messages;
  bool must_sync = false;
  // Asynchronous form only; see above.
  std::vector<Message> append_responses;
  // A write is due, or at least a turn in the queue of writes, for what is to be released after earlier ones.
  bool needs_append() const {
    return !entries.empty() || !hard_state.empty() || snapshot || !append_responses.empty();
  }
  bool needs_apply() const { return !committed_entries.empty(); }
};

struct Peer {
  MemberId id;
  Blob context;  // goes into the entry that adds the peer
};

// What status answers show.
struct Status {
  MemberId id;
  HardState hard_state;
  SoftState soft_state;
  Index applied;
  MemberId transferee;
  const tracker::Config* config = nullptr;
  // Null unless leader.
  const tracker::ProgressMap* progress = nullptr;
};

// Synchronous form: the Ready that was handed out and not yet carried out, as advance() will report it.
struct OutstandingReady {
  std::vector<Message> steps;
  Index applied;  // 0: nothing
  uint64_t applied_bytes = 0;
  uint64_t applied_payload = 0;
};

class RawNode {
 public:
  // `config` is valid (validate()).
  RawNode(const Config& config, const Storage& storage, Prng& prng, Observer& observer);

  // Founds a cluster with these members, in this order (etcd: ascending ids). Storage must be empty
  // (kInvalidArgument). The first Ready carries one committed entry for each.
  Result<> bootstrap(std::span<const Peer> peers);

  // ---- in ----
  void tick() { raft_.tick(); }
  // A message from the network or from storage. Errors: kInvalidArgument for a local type from outside,
  // kNotFound for a response of a member that has no Progress here, kMalformed for what no member sends and
  // this one could not survive, and those of propose().
  Result<> step(Message&& m);
  // kProposalDropped: no leader is known, or it cannot take proposals now; kMalformed: see Raft::step. All
  // entries go in as one batch, or none; only type and data count. A follower forwards them to the leader.
  Result<> propose(std::vector<Entry>&& entries);
  Result<> propose(Blob data);
  // Taken only if this member leads in `term`, else kProposalDropped; never forwarded. For proposals whose
  // author speaks as the leader of that term.
  Result<> propose_guarded(Term term, std::vector<Entry>&& entries);
  Result<> propose_conf_change(const ConfChange& change);
  Result<> propose_conf_change(const ConfChangeV2& change);
  Result<> campaign();
  // The answer is a ReadState with this context. It may never come; the caller then asks again.
  void read_index(Blob context);
  // At the leader or, forwarded, at a follower.
  void transfer_leadership(MemberId transferee);
  void forget_leader();
  void report_unreachable(MemberId peer);
  void report_snapshot(MemberId peer, bool failed);

  // ---- out ----
  bool has_ready() const;
  // All effects since the last call. Each is handed out once.
  Ready ready();
  // Synchronous form: the last Ready has been carried out.
  void advance();
  // Asynchronous form: `entries` were applied (the same as stepping their MsgStorageApplyResp).
  void applied(Index last, uint64_t encoded_bytes, uint64_t payload_bytes);
  // Call for every committed configuration change, applied or refused (a refused one with node id 0), before
  // the Ready that carried it is acknowledged. `at` is the index of its entry: a change that is already part
  // of a snapshot which arrived in the meantime does nothing (0 skips that check). Returns the configuration
  // of now; while snapshot_pending() that is the snapshot's, so no snapshot of the state machine may be made
  // then.
  ConfState apply_conf_change(const ConfChange& change, Index at = Index{0});
  ConfState apply_conf_change(const ConfChangeV2& change, Index at = Index{0});
  // A snapshot has been accepted and its write is not yet acknowledged.
  bool snapshot_pending() const { return raft_.log().has_snapshot(); }

  Status status() const;
  const Raft& raft() const { return raft_; }
  void set_randomized_election_ticks(int ticks) { raft_.set_randomized_election_ticks(ticks); }

 private:
  Result<> check_form(const Message& m) const;
  bool async() const { return raft_.config().async_storage_writes; }
  // Votes and append responses have to wait for a configuration change
  // (Config::hold_responses_for_conf_change).
  bool responses_held() const;
  bool append_ack_due(const Ready& ready) const;
  Message append_ack(const Ready& ready) const;
  void release_responses(Ready& ready);

  Raft raft_;
  SoftState soft_state_;
  HardState hard_state_;
  std::optional<OutstandingReady> outstanding_;
};

// The storage messages of a Ready in the asynchronous form, as etcd's raft sends them to its storage threads;
// entries, snapshot and responses are moved out of the Ready.
Message take_storage_append(Ready& ready, MemberId self);
Message take_storage_apply(Ready& ready, MemberId self);

// Tells an observer about changes of the leader between the turns of a node loop.
class LeaderWatch {
 public:
  // True if the leader is another one than at the last turn.
  bool turn(const RawNode& node, Observer& observer);

 private:
  MemberId lead_;
};

}  // namespace quoin::raft

// The consensus state machine of one member: messages, proposals and ticks in, effects out. RawNode
// (rawnode.h) is the interface for users; it gathers what has piled up here into Readys.
//
// The rules are etcd's (spec raft-and-peers 3 to 13; each .cc names its sections):
//   raft.cc         state, terms, roles, ticks, the gate every message passes
//   election.cc     campaigns, votes
//   replication.cc  appends, heartbeats, acknowledgements
//   proposal.cc     proposals and the checks of configuration changes
//   read_index.cc   linearizable reads
//   snapshot.cc     snapshots, switching configurations
//   transfer.cc     leadership transfer, forgetting the leader
//
// Pure: no clock, no thread, no disk, no socket. Time comes as ticks, randomness from a Prng, the stable log
// from a Storage; what it decides is reported to an Observer.
// Threads: confined to one strand. Lifetimes: storage, prng and observer outlive the node.
#pragma once
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "base/prng.h"
#include "base/result.h"
#include "raft/confchange/confchange.h"
#include "raft/log.h"
#include "raft/observer.h"
#include "raft/read_only.h"
#include "raft/storage.h"
#include "raft/tracker/tracker.h"
#include "raft/types.h"

namespace quoin::raft {

// How linearizable reads make sure that the leader still leads.
enum class ReadOnlyOption : uint8_t {
  kSafe,        // by a round of heartbeats
  kLeaseBased,  // by the election timeout of its followers: wrong if clocks drift; needs check_quorum
};

// The defaults are etcd's (spec 2), except the ticks of an election, which follow from two flags there.
struct Config {
  MemberId id;
  int election_ticks = 10;
  int heartbeat_ticks = 1;
  // Everything up to here has been applied by the state machine; 0: everything the snapshot covers.
  Index applied;
  // Readys carry the responses to send after the write instead of ending in advance() (rawnode.h).
  bool async_storage_writes = false;
  uint64_t message_bytes_max = 1 << 20;  // encoded entries in one append
  uint64_t committed_bytes_per_ready_max =
      0;                               // encoded entries handed out for application; 0: as in messages
  uint64_t uncommitted_bytes_max = 0;  // payload a leader takes in before it commits; 0: no limit
  size_t inflight_messages_max = 512;  // unacknowledged appends per follower
  uint64_t inflight_bytes_max = 0;     // their payload; 0: no limit
  bool check_quorum = true;
  bool pre_vote = true;
  ReadOnlyOption read_only = ReadOnlyOption::kSafe;
  bool disable_proposal_forwarding = false;
  bool disable_conf_change_validation = false;
  bool step_down_on_removal = false;
  // Followers hold back votes and append responses from the commit of a configuration change until it is
  // applied here, so that none of them speaks for a configuration it is about to leave. etcd does this
  // outside raft, where its server waits for the applier before it sends.
  bool hold_responses_for_conf_change = false;
};

// Context of a vote request that a leader asked for: it is answered even by those who still hear the leader.
constexpr std::string_view kCampaignTransfer = "CampaignTransfer";

// kInvalidArgument with etcd's text.
Result<> validate(const Config& config);

class Raft {
 public:
  // `config` is valid. Reads hard state, configuration and log from `storage`.
  Raft(const Config& config, const Storage& storage, Prng& prng, Observer& observer);
  Raft(const Raft&) = delete;
  Raft& operator=(const Raft&) = delete;

  // Any message but those RawNode refuses. kProposalDropped for a proposal that cannot be taken now,
  // kMalformed for one whose configuration change does not parse; everything else succeeds, ignored or not.
  Result<> step(Message&& m);
  void tick();
  // Appends and broadcasts at the leader, forwards at a follower. `guard`: see RawNode::propose.
  Result<> propose(std::vector<Entry>&& entries, Term guard = Term{0});
  // A committed change takes effect. A change that is not allowed here is a bug (CHECK). `at`: see
  // RawNode::apply_conf_change.
  ConfState apply_conf_change(const ConfChangeV2& change, Index at);
  // Committed entries up to `last` have been applied.
  void entries_applied(Index last, uint64_t encoded_bytes, uint64_t payload_bytes);
  // Starts a fresh node with these entries, all of them committed (spec 16).
  void bootstrap(std::vector<Entry> entries);

  MemberId id() const { return id_; }
  Term term() const { return term_; }
  MemberId vote() const { return vote_; }
  MemberId lead() const { return lead_; }
  Role role() const { return role_; }
  MemberId transferee() const { return transferee_; }
  SoftState soft_state() const { return {lead_, role_}; }
  HardState hard_state() const { return {term_, vote_, log_.committed()}; }
  const Config& config() const { return config_; }
  const tracker::Tracker& tracker() const { return tracker_; }
  const RaftLog& log() const { return log_; }
  // Own progress exists, is no learner's, and no snapshot waits: it may campaign.
  bool promotable() const;

  // ---- what RawNode hands out ----
  RaftLog& log() { return log_; }
  const std::vector<Message>& messages() const { return messages_; }
  std::vector<Message> take_messages() { return std::exchange(messages_, {}); }
  // Votes and append responses: they depend on what is not yet durable, and may be addressed to this member.
  const std::vector<Message>& after_append() const { return after_append_; }
  std::vector<Message> take_after_append() { return std::exchange(after_append_, {}); }
  const std::vector<ReadState>& read_states() const { return read_states_; }
  std::vector<ReadState> take_read_states() { return std::exchange(read_states_, {}); }

  int randomized_election_ticks() const { return randomized_election_ticks_; }
  // Until the next change of term or role. For test harnesses that play a chosen timeout.
  void set_randomized_election_ticks(int ticks) { randomized_election_ticks_ = ticks; }

 private:
  enum class Campaign : uint8_t { kPreElection, kElection, kTransfer };

  // raft.cc
  void load(const HardState& hard_state);
  void reset(Term term);
  void become_follower(Term term, MemberId lead);
  void become_candidate();
  void become_pre_candidate();
  void become_leader();
  void tick_election();
  void tick_heartbeat();
  void send(Message&& m);
  bool pass_higher_term(const Message& m);
  void answer_lower_term(const Message& m);
  Result<> step_leader(Message&& m);
  void step_leader_peer(Message&& m, tracker::Progress& from);
  Result<> step_candidate(Message&& m);
  Result<> step_follower(Message&& m);
  void on_check_quorum();
  // Calls f(MemberId, Progress&) for everyone but this member, in ascending order. f must not change the set.
  template <class F>
  void for_each_peer(F&& f) {
    for (auto& [id, progress] : tracker_.progress) {
      if (id != id_) f(id, progress);
    }
  }

  // election.cc
  void hup(Campaign kind);
  void campaign(Campaign kind);
  void on_vote_request(const Message& m);
  void on_vote_response(const Message& m);
  quorum::VoteResult poll(MemberId from, MessageType type, bool granted);
  VoteContext vote_context(const Message& m, Term term) const;

  // replication.cc
  void send_append(MemberId to, tracker::Progress& progress) { maybe_send_append(to, progress, true); }
  bool maybe_send_append(MemberId to, tracker::Progress& progress, bool send_if_empty);
  bool maybe_send_snapshot(MemberId to, tracker::Progress& progress);
  void broadcast_append();
  void broadcast_heartbeat(const Blob& context);
  bool maybe_commit();
  void on_append(Message&& m);
  void on_heartbeat(const Message& m);
  void on_append_response(const Message& m, tracker::Progress& from);
  void on_append_rejected(const Message& m, tracker::Progress& from);
  void on_heartbeat_response(const Message& m, tracker::Progress& from);
  void on_unreachable(const Message& m, tracker::Progress& from);
  void on_snapshot_status(const Message& m, tracker::Progress& from);
  void on_storage_append_response(const Message& m);
  void on_storage_apply_response(const Message& m);
  void applied_to(Index index, uint64_t bytes);
  void snapshot_stable(const Snapshot& snapshot);

  // proposal.cc
  Result<> on_proposal(std::vector<Entry>&& entries);
  Result<> check_conf_changes(std::vector<Entry>& entries);
  Result<> check_conf_change(const ConfChangeV2& change) const;
  bool append_own(std::vector<Entry>&& entries);
  bool raise_uncommitted(uint64_t payload);
  void propose_auto_leave();

  // read_index.cc
  void on_read_index(Message&& m);
  void serve_read_index(Message&& m);
  void answer_read_index(const Message& request, Index index);
  void release_pending_reads();
  void on_read_index_response(Message&& m);
  bool committed_in_term() const;

  // snapshot.cc
  void on_snapshot(Message&& m);
  bool restore(const std::shared_ptr<const Snapshot>& snapshot);
  void switch_to(confchange::Changed changed);

  // transfer.cc
  void on_transfer_leader(const Message& m, tracker::Progress& transferee);
  void on_forget_leader();
  void send_timeout_now(MemberId to);
  void abort_transfer() { transferee_ = kNoMember; }

  const Config config_;
  const MemberId id_;
  Observer& observer_;
  Prng& prng_;

  Term term_;
  MemberId vote_;
  MemberId lead_;
  Role role_ = Role::kFollower;
  RaftLog log_;
  tracker::Tracker tracker_;

  // Ticks: since the last sign of a leader (or, leading, since the last check of the quorum); leading, since
  // the last heartbeat.
  int election_elapsed_ = 0;
  int heartbeat_elapsed_ = 0;
  int randomized_election_ticks_ = 0;

  MemberId transferee_;
  // Changes up to here came with a snapshot.
  Index restored_index_;
  // The newest configuration change in the log is at or below this; no other one is taken until it is
  // applied.
  Index pending_conf_index_;
  uint64_t uncommitted_bytes_ = 0;
  ReadOnly reads_;
  // Read requests that came before this leader's first commit of its term.
  std::vector<Message> early_reads_;

  std::vector<Message> messages_;
  std::vector<Message> after_append_;
  std::vector<ReadState> read_states_;
};

}  // namespace quoin::raft

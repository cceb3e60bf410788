// What the services that work inside the server (locks, elections) ask of the store, each thing for a call of
// theirs: a lease, a transaction, a delete, a read, a watch. The same rules hold as for a client's own
// requests: quota, checks, size, the gap between committed and applied entries, the request timeout.
//
// Everything is asked in the name of the call's caller (callers.h), at the time it is asked: a token may
// become invalid while a call waits.
// Threads: confined to its loop. Lifetime: outlives the calls of its loop; an answer is told only while its
// call has not ended, unless said otherwise. It may come from within the request (a refusal).
// Errors: those of the requests asked. etcd's own services reach the store through a client of etcd, which
// knows most errors by their text and passes them on without a gRPC status: fail().
// Source: spec api-semantics 7.
#pragma once
#include <absl/functional/any_invocable.h>

#include <list>
#include <memory>
#include <string>
#include <string_view>

#include "v3rpc/call_ref.h"
#include "v3rpc/gate.h"
#include "v3rpc/inner_watch.h"
#include "v3rpc/long_reads.h"
#include "wire/rpc.h"

namespace quoin::v3rpc {

class InnerKv {
 public:
  static constexpr int64_t kSessionTtlSeconds = 60;
  // How long after a refusal a release is tried again, and how many begin in one turn of the loop.
  static constexpr int64_t kReleaseRetryNs = 100 * io::kMillisecond;
  static constexpr size_t kReleasesPerTurn = 64;

  explicit InnerKv(Loop& loop);
  ~InnerKv();
  Loop& loop() { return loop_; }

  // For whom something is undone after the end of a call: the caller as the call had one when it began.
  class Behalf {
   public:
    explicit Behalf(const grpc::Call& call) : ref_(call) {}

   private:
    friend class InnerKv;
    CallRef ref_;  // the work it causes counts as the call's
    std::string user_;
  };

  template <class T>
  using Then = absl::AnyInvocable<void(grpc::Call&, Result<T>)>;
  // An outcome that is told after the end of the call, too: the call is null then.
  template <class T>
  using ThenAlways = absl::AnyInvocable<void(grpc::Call*, Result<T>)>;

  // ---- writes ----
  struct Written {
    wire::etcdserverpb::ResponseHeader header;
    bool succeeded = false;  // of a transaction
    std::string body;        // the response, encoded, without its header
  };
  // How a call begins: its caller becomes known, and the lease is the one that it names, unseen, or for 0 a
  // new one of kSessionTtlSeconds, which is left to run out.
  struct Session {
    LeaseId lease;
    Behalf behalf;
  };
  void session(grpc::Call& call, int64_t lease, Then<Session> then);
  void txn(grpc::Call& call, const wire::etcdserverpb::TxnRequest& request, Then<Written> then);
  // Whoever cancels the call does not give the transaction up. Only after session().
  void txn_to_end(grpc::Call& call, const wire::etcdserverpb::TxnRequest& request, ThenAlways<Written> then);
  void delete_range(grpc::Call& call, const wire::etcdserverpb::DeleteRangeRequest& request,
                    Then<Written> then);
  // Deletes the key if it is still the one that was created at this revision; also for a call that has ended.
  // Tried again, while the request timeout since now is not over, whenever it was refused. After that the key
  // stays until its lease ends: a later attempt might take it from a call that has found it by then and
  // relies on it. It is done with the rights that the caller has by then, whatever has become of its token.
  // `done`, if given, is told of the end of it, whatever came of it.
  void release(const Behalf& behalf, std::string key, int64_t create_revision,
               absl::AnyInvocable<void()> done = {});

  // ---- reads ----
  // The one key, or of [key, range_end) the first ones by creation.
  struct Query {
    std::string key, range_end;
    size_t limit = 1;
    bool keys_only = false;
    bool youngest = false;            // the last ones instead
    int64_t max_create_revision = 0;  // younger ones are left out; 0: none
  };
  struct Found {
    int64_t revision = 0;              // the store's
    std::vector<std::string> records;  // encoded KeyValues, in order
  };
  enum class Freshness : uint8_t {
    kLinearizable,
    kApplied,  // what this member has applied
  };
  // Whether the caller may read that now; for services that know by an earlier read what is there.
  void when_readable(grpc::Call& call, std::string_view key, std::string_view range_end,
                     absl::AnyInvocable<void(grpc::Call&, Result<>)> then);
  // A read of many keys is done in turns of the loop (long_reads.h).
  void find(grpc::Call& call, Query query, Freshness freshness, Then<Found> then);
  void watch(grpc::Call& call, mvcc::WatchRequest request, InnerWatch::Owner& owner,
             Then<std::unique_ptr<InnerWatch>> then);

  // What this member's store is at.
  wire::etcdserverpb::ResponseHeader header_at(int64_t revision) const {
    return header(loop_.member, revision);
  }
  // Ends the call with a response under that header.
  template <class Response>
  static void answer(grpc::Call& call, const wire::etcdserverpb::ResponseHeader& header, Response& response) {
    response.header = header;
    const size_t size = encoded_size(response);
    call.respond(size, [&](char* out) { wire::encode(response, out, size); });
  }
  // Ends the call as etcd's client inside the server makes it end.
  static void fail(grpc::Call& call, const Error& error);

 private:
  class Search;
  struct Release;
  using Releases = std::list<Release>;

  using Answered = absl::AnyInvocable<void(grpc::Call*, Result<server::Answer>)>;
  // `given_up`: by whoever cancels the call; then nothing is answered.
  template <class Request>
  void propose(grpc::Call& call, const Who& who, uint32_t field, const Request& request, bool given_up,
               Answered answered);
  void propose_txn(grpc::Call& call, const Who& who, const wire::etcdserverpb::TxnRequest& request,
                   bool given_up, Answered answered);
  // True if the quota has room for a request of that cost. Else the NOSPACE alarm is raised, and then
  // `answered` told of it.
  bool quota_admits(grpc::Call& call, uint64_t cost, bool given_up, Answered& answered);
  void grant(grpc::Call& call, const Who& who, Then<LeaseId> then);
  Result<Written> written(Result<server::Answer> answer) const;
  // `access`: under which it is read; null while auth is off.
  void search(grpc::Call& call, Query query, const AccessRef& access, Then<Found> then);
  Result<> may_show(const AccessRef& access);
  void want_releases();
  void begin_releases();
  void released(Releases::iterator at, const server::Answer& answer);

  Loop& loop_;
  LongReads long_reads_;
  std::shared_ptr<InnerWatch::Mailbox> mailbox_;
  Releases to_release_;  // wait for their turn
  Releases releasing_;   // proposed, or waiting to be tried again
  bool turn_wanted_ = false;
};

}  // namespace quoin::v3rpc

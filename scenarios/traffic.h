// Clients of a simulated cluster: requests at any member, many at a time, each with its own patience; and what they
// were told, held against the Truth.
//
// The rules:
//   - each revision is the whole effect of one request, made once: of an acknowledged one at the revision it was
//     acknowledged with, or of one whose outcome nobody learned, or of the end of a lease; never of a refused one;
//   - an acknowledged write is there;
//   - real time: a linearizable request that began after another one had ended stands at no older revision, and a
//     write at a newer one;
//   - what a read saw is what the store held at that revision; a serializable one may see any revision;
//   - HashKV of one revision and one compaction is the same everywhere;
//   - a lease does not end before its time, counted from the last renewal that was confirmed, and ends some day.
//
// Threads: the simulation's one thread. Lifetime: the others outlive it; it outlives the cluster's lives.
#pragma once
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/prng.h"
#include "scenarios/cluster.h"
#include "scenarios/edges.h"
#include "scenarios/history.h"
#include "scenarios/story.h"
#include "scenarios/truth.h"

namespace quoin::scenarios {

struct TrafficCounts {
  size_t sent = 0, acknowledged = 0, refused = 0, unknown = 0, reads = 0;
};

class Traffic {
 public:
  Traffic(Cluster& cluster, Truth& truth, Story& story, Edges& edges, uint64_t seed);

  // Sends what clients want now, to the members that `usable` says.
  void tick(const std::vector<size_t>& usable);
  // One write at one member; its number.
  uint64_t put_at(size_t seat, int64_t patience_ns);
  // A compaction of all that is known, at one member.
  void compact_at(size_t seat);
  bool acknowledged(uint64_t op) const {
    return ops_[op - 1].request.outcome == Request::Outcome::kAcknowledged;
  }
  size_t open() const { return open_; }
  // This member stands still: what it says of leases in the next moments may be of the past.
  void paused(size_t seat) { paused_at_[seat] = cluster_.world().now(); }
  // The truth has grown.
  void learned();
  // Everything again, from the first revision to the last: at the end.
  std::string settle() const;
  // Leases that some client has asked for, with the longest time they may still have.
  int64_t longest_ttl_ns() const { return kTtlMax * io::kSecond; }

  const std::string& problem() const { return problem_; }
  const TrafficCounts& counts() const { return counts_; }

 private:
  static constexpr uint64_t kKeys = 10, kPairs = 4;
  static constexpr int64_t kTtlMin = 4, kTtlMax = 15;
  enum class Kind : uint8_t { kWrite, kRead, kSerializable, kRenew, kHash };
  struct Op {
    uint64_t number = 0;
    Kind kind = Kind::kWrite;
    size_t seat = 0;
    io::MonotonicNs begin = 0;
    bool over = false;
    bool was_leader = false;
    Request request;
    int64_t at_least = 0;  // the newest revision that anybody was told of before it began
    int64_t revision = 0;  // of the answer; 0: none
    bool succeeded = false;
    State got;
  };
  struct Lease {
    int64_t id = 0, ttl = 0;
    bool granted = false, revoke_asked = false;
    io::MonotonicNs since = 0;  // its time is counted from here at the earliest; 0: not confirmed
    io::MonotonicNs renew_until = 0, renew_next = 0;
  };

  Op& add(Kind kind, size_t seat);
  void finish(Op& op, std::string_view how);
  void give_time(Op& op, int64_t patience_ns);
  void draw_one(size_t seat);
  void write(Op& op);
  void answered(Op& op, const server::Answer& answer);
  void read(Op& op, bool serializable);
  void renew(Lease& lease, size_t seat);
  bool stood_still(MemberId id, io::MonotonicNs since) const;
  void hash(size_t seat);
  Request draw_write();
  Effect draw_branch(uint64_t number);
  std::string draw_value(uint64_t number);
  void saw(int64_t revision) { newest_told_ = std::max(newest_told_, revision); }
  void fail(std::string problem);
  const Op* maker(int64_t revision, const State& before, const Effect& effect,
                  const std::vector<const Op*>& told, std::vector<bool>* used, std::string* problem) const;
  std::string check_read(const Op& op, const State& state) const;

  Cluster& cluster_;
  Truth& truth_;
  Story& story_;
  Edges& edges_;
  Prng prng_;
  size_t outstanding_max_;
  uint64_t idle_one_in_;
  std::deque<Op> ops_;
  std::map<int64_t, Lease> leases_;
  int64_t next_lease_ = 1;
  size_t open_ = 0;
  int64_t newest_told_ = 1;
  int64_t learned_ = 1;
  int64_t compaction_asked_ = 0;
  std::map<size_t, io::MonotonicNs> paused_at_;  // when each stood still for the last time
  std::map<std::pair<int64_t, int64_t>, uint32_t> hashes_;
  TrafficCounts counts_;
  std::string problem_;
};

}  // namespace quoin::scenarios

// What clients know of a store: every request sent and how it ended, and the effect of every revision seen.
//
// The rules it holds a member to, over any number of crashes:
//   - each revision is the whole effect of one request, made once: of an acknowledged one at the revision it
//     was acknowledged with, or of one whose outcome the client never learned; never of a refused one;
//   - an acknowledged request is there, and its revision is not above the store's;
//   - a revision once seen, and what it holds (values, versions, creation and modification revisions,
//   leases),
//     stays as it was, as far as it is not compacted; its HashKV stays too while the compaction is the same;
//   - an acknowledged compaction stays, and none appears that nobody asked for;
//   - both keys of a pair, which every transaction writes together, are equal at every revision.
//
// Threads: confined to one. All calls in the order of events.
#pragma once
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/prng.h"
#include "mvcc/read_view.h"

namespace quoin::scenarios {

struct KeyState {
  std::string value;
  int64_t create = 0, mod = 0, version = 0, lease = 0;
  friend bool operator==(const KeyState&, const KeyState&) = default;
};
using State = std::map<std::string, KeyState, std::less<>>;

// What one revision does: keys written (value, lease) or deleted.
struct Write {
  std::string value;
  int64_t lease = 0;
  friend bool operator==(const Write&, const Write&) = default;
};
using Effect = std::map<std::string, std::optional<Write>>;
// Makes of the state before `revision` the state at it.
void apply_effect(const Effect& effect, int64_t revision, State* state);

struct Request {
  enum class Kind : uint8_t { kPut, kTxn, kDelete, kCompact, kGrant, kRevoke };
  enum class Outcome : uint8_t { kUnknown, kAcknowledged, kRefused };

  uint64_t number = 0;  // values begin with it, so that a value says who wrote it
  Kind kind = Kind::kPut;
  // kPut, kDelete: key, and the range's end (empty: the key alone).
  std::string key, end, value;
  // kPut, kGrant, kRevoke.
  int64_t lease = 0;
  // kTxn: if key's version is below `version_limit` then `success` else `failure`.
  int64_t version_limit = 0;
  Effect success, failure;
  // kCompact.
  int64_t revision = 0;

  Outcome outcome = Outcome::kUnknown;
  int64_t acknowledged_at = 0;  // the answer's revision
  int64_t deleted = -1;         // the answer's count
  int64_t found_at = 0;         // the revision that holds its effect; 0: none seen

  // What it does to `before`; empty: no revision.
  Effect effect(const State& before) const;
};

// The number a value begins with ("17:..."); 0 if it has none.
uint64_t writer_of(std::string_view value);
// The other key of a pair, whose keys end in "/a" and "/b"; empty for other keys.
std::string pair_of(std::string_view key);

class History {
 public:
  explicit History(uint64_t seed) : prng_(seed) {}

  // The number the next request gets.
  uint64_t next_number() const { return requests_.size() + 1; }
  // A new request, numbered; valid as long as the history.
  Request& add(Request request);
  // Its answer. A problem, or empty.
  std::string acknowledge(Request& request, int64_t revision, int64_t deleted);
  std::string refuse(Request& request);

  // Holds a linearizable view against the rules, and learns from it. `unreadable` is set if the view itself
  // reports damage; then the answer is empty or that error's text.
  struct Verdict {
    std::string problem;
    bool unreadable = false;
    bool good() const { return problem.empty(); }
  };
  Verdict check(const std::shared_ptr<const mvcc::ReadView>& view);
  // Leases as the member lists them while nothing is outstanding. A problem, or empty.
  std::string check_leases(const std::vector<int64_t>& listed) const;

  int64_t acknowledged_revision() const { return acknowledged_revision_; }
  int64_t revision() const { return revision_; }  // the newest seen
  int64_t compacted_seen() const { return compacted_seen_; }
  int64_t compaction_asked() const { return compaction_asked_; }  // the highest; -1: none
  const State& state() const { return newest_; }                  // at revision()
  // What `revision`, from 2 to revision(), did.
  const Effect& effect_at(int64_t revision) const { return effects_[static_cast<size_t>(revision - 2)]; }
  // Leases granted for sure, with no revocation sent.
  const std::set<int64_t>& leases() const { return leases_; }
  // A revocation was acknowledged.
  bool revoked(int64_t lease) const { return revoked_.contains(lease); }
  size_t acknowledged() const { return acknowledged_; }

 private:
  Verdict check_compaction(const mvcc::ReadView& view);
  std::string learn(int64_t revision, const State& before, const State& after);
  void claim(Request& request, int64_t revision);
  State state_before(int64_t revision) const;
  bool fits(const Request& request, int64_t revision, const State& before, const Effect& effect) const;
  Request* rematch(int64_t revision, const State& before, const Effect& effect, std::set<uint64_t>* tried);
  bool give_back(Request& request);
  Request* who_made(int64_t revision, const State& before, const Effect& effect, std::string* problem);
  std::string check_acknowledged();
  Verdict check_hashes(const std::shared_ptr<const mvcc::ReadView>& view);

  Prng prng_;
  std::deque<Request> requests_;  // number n at [n - 1]
  std::set<uint64_t> open_;       // not refused, and no revision found yet that is theirs
  std::vector<Effect> effects_;   // of revision i + 2
  State newest_;
  int64_t revision_ = 1;
  int64_t acknowledged_revision_ = 1;
  size_t acknowledged_ = 0;
  int64_t compaction_acknowledged_ = -1, compaction_asked_ = -1, compacted_seen_ = -1;
  std::set<int64_t> leases_;
  std::set<int64_t> revoked_;                               // acknowledged
  std::set<int64_t> leases_maybe_;                          // granted or revoked with unknown outcome
  std::map<std::pair<int64_t, int64_t>, uint32_t> hashes_;  // of (revision, compacted)
};

}  // namespace quoin::scenarios

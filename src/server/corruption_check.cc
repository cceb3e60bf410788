#include "server/corruption_check.h"

#include <algorithm>
#include <map>

#include "base/coding.h"
#include "server/stages.h"
#include "server/start_progress.h"

namespace quoin::server {

namespace {
constexpr size_t kRecordsPerStep = 10'000;

// Why a member's hash is missing at the start; empty: that was told already.
std::string_view initial_failure(Code code) {
  switch (code) {
    case Code::kFutureRev:
      return "cannot fetch hash from slow remote peer";
    case Code::kCompacted:
      return "cannot fetch hash from remote peer; local member is behind";
    case Code::kInvalidArgument:
      return "cluster ID mismatch";
    default:
      return {};
  }
}

}  // namespace

bool hashes_contradict(const mvcc::HashKvResult& first, const mvcc::HashKvResult& second) {
  return first.hash_revision == second.hash_revision && first.compact_revision == second.compact_revision &&
         first.hash != second.hash;
}

Result<> CorruptionCheck::initial_check(Stages& s) {
  LOG(s.env.log, kInfo, "starting initial corruption check", {"local-member-id", log::Hex{s.self.v}},
      {"timeout", log::Duration{s.config.request_timeout_ns()}});
  const io::MonotonicNs start = s.env.clock.monotonic();
  ASSIGN_OR_RETURN(mvcc::HashKvRun run, mvcc::HashKvRun::start(s.apply.view(), 0));
  StartProgress progress("hashing the store", s.env.log, s.env.clock);
  for (;;) {
    const auto done = run.step(kRecordsPerStep);
    if (!done) {
      return make_error(done.error().code(), "{} failed to fetch hash ({})", hex(s.self.v),
                        done.error().text());
    }
    if (*done) break;
    progress.goes_on();
  }
  s.metrics.hash_rev_seconds.observe(static_cast<double>(s.env.clock.monotonic() - start) / 1e9);
  const mvcc::HashKvResult own = run.result();
  const int64_t revision = s.apply.revision();
  size_t different = 0;
  for (const PeerHashAnswer& peer : fetch_peer_hashes(s, revision)) {
    const log::Field local{"local-member-id", log::Hex{s.self.v}}, at{"local-member-revision", revision},
        compacted{"local-member-compact-revision", own.compact_revision}, hash{"local-member-hash", own.hash},
        remote{"remote-peer-id", log::Hex{peer.id.v}}, urls{"remote-peer-endpoints", peer.urls};
    if (!peer.answer) {
      const auto told = initial_failure(peer.answer.error().code());
      if (told.empty()) continue;
      LOG(s.env.log, kWarn, told, local, at, compacted, hash, remote, urls,
          {"error", peer.answer.error().text()});
      continue;
    }
    if (peer.answer->hash == own.hash) continue;
    const bool comparable = peer.answer->compact_revision == own.compact_revision;
    if (comparable) ++different;
    LOG(s.env.log, kWarn,
        comparable ? "found different hash values from remote peer"
                   : "found different compact revision values from remote peer",
        local, at, compacted, hash, remote, urls, {"remote-peer-revision", peer.answer->revision},
        {"remote-peer-compact-revision", peer.answer->compact_revision},
        {"remote-peer-hash", peer.answer->hash});
  }
  if (different > 0) {
    return make_error(Code::kCorrupt, "{} found data inconsistency with peers", hex(s.self.v));
  }
  LOG(s.env.log, kInfo, "initial corruption checking passed; no corruption",
      {"local-member-id", log::Hex{s.self.v}});
  return {};
}

void CorruptionCheck::start() {
  if (s_.config.corrupt_check_ns > 0) {
    LOG(s_.env.log, kInfo, "enabled corruption checking", {"local-member-id", log::Hex{s_.self.v}},
        {"interval", log::Duration{s_.config.corrupt_check_ns}});
    schedule_periodic();
  }
  if (s_.config.compact_hash_check) schedule_compactions();
}

void CorruptionCheck::stop(Task done) {
  stopped_ = true;
  if (periodic_timer_) {
    LOG(s_.env.log, kInfo, "server has stopped; stopping kv hash's monitor", );
  }
  if (compactions_timer_) {
    LOG(s_.env.log, kInfo, "server has stopped; stopping compact hash's monitor", );
  }
  periodic_timer_.reset();
  compactions_timer_.reset();
  if (!hashing_) return std::move(done)();
  stop_done_ = std::move(done);
}

// ---- the whole store, twice ----

void CorruptionCheck::schedule_periodic() {
  periodic_timer_ = s_.env.timers.schedule(s_.config.corrupt_check_ns, s_.env.apply, [this] {
    if (stopped_) return;
    schedule_periodic();
    // A check that takes longer than the interval skips turns.
    if (!checking_ && s_.apply.leading() && !s_.apply.stopped()) check_now();
  });
}

void CorruptionCheck::hash(absl::AnyInvocable<void(Result<HashRunResult>)> done) {
  hashing_ = true;
  s_.hash_runs.run(0, s_.env.apply, [this, done = std::move(done)](Result<HashRunResult> result) mutable {
    hashing_ = false;
    if (stopped_) {
      if (stop_done_) std::exchange(stop_done_, nullptr)();
      return;
    }
    done(std::move(result));
  });
}

void CorruptionCheck::check_now() {
  checking_ = true;
  hash([this](Result<HashRunResult> first) {
    if (!first) return finish(first.error());
    ask_peer_hashes(s_, first->kv.hash_revision,
                    [this, first = first->kv](const std::vector<PeerHashAnswer>& peers) {
                      if (stopped_) return;
                      std::vector<RaftStage::Reader> readers;
                      readers.push_back({&s_.env.apply, [this, first, peers](Result<> confirmed) {
                                           if (stopped_) return;
                                           if (!confirmed) return finish(std::move(confirmed));
                                           check_again(first, peers);
                                         }});
                      s_.raft.post_readers(std::move(readers));
                    });
  });
}

void CorruptionCheck::check_again(mvcc::HashKvResult first, std::vector<PeerHashAnswer> peers) {
  hash([this, first, peers = std::move(peers)](Result<HashRunResult> second) {
    if (!second) return finish(second.error());
    compare(first, *second, peers);
    finish({});
  });
}

// One alarm at most: the first that is found.
void CorruptionCheck::compare(const mvcc::HashKvResult& first, const HashRunResult& second,
                              const std::vector<PeerHashAnswer>& peers) {
  const mvcc::HashKvResult& again = second.kv;
  bool alarmed = false;
  const auto mismatch = [&](MemberId id) {
    if (!std::exchange(alarmed, true)) raise_corrupt_(id);
  };
  if (hashes_contradict(first, again)) {
    LOG(s_.env.log, kWarn, "found hash mismatch", {"revision-1", first.hash_revision},
        {"compact-revision-1", first.compact_revision}, {"hash-1", first.hash},
        {"revision-2", again.hash_revision}, {"compact-revision-2", again.compact_revision},
        {"hash-2", again.hash});
    mismatch(s_.self);
  }
  size_t checked = 0;
  for (const PeerHashAnswer& peer : peers) {
    if (!peer.answer) continue;
    ++checked;
    const PeerHash& theirs = *peer.answer;
    const log::Field id{"follower-peer-id", log::Hex{peer.id.v}};
    if (theirs.revision > second.revision) {
      LOG(s_.env.log, kWarn, "revision from follower must be less than or equal to leader's",
          {"leader-revision", second.revision}, {"follower-revision", theirs.revision}, id);
      mismatch(peer.id);
    }
    if (theirs.compact_revision > again.compact_revision) {
      LOG(s_.env.log, kWarn, "compact revision from follower must be less than or equal to leader's",
          {"leader-compact-revision", again.compact_revision},
          {"follower-compact-revision", theirs.compact_revision}, id);
      mismatch(peer.id);
    }
    if (theirs.compact_revision == first.compact_revision && theirs.hash != first.hash) {
      LOG(s_.env.log, kWarn, "same compact revision then hashes must match",
          {"leader-compact-revision", again.compact_revision}, {"leader-hash", first.hash},
          {"follower-compact-revision", theirs.compact_revision}, {"follower-hash", theirs.hash}, id);
      mismatch(peer.id);
    }
  }
  LOG(s_.env.log, kInfo, "finished peer corruption check", {"number-of-peers-checked", checked});
}

void CorruptionCheck::finish(Result<> outcome) {
  checking_ = false;
  if (!outcome) LOG(s_.env.log, kWarn, "failed to check hash KV", {"error", outcome.error().text()});
}

// ---- what compactions left ----

void CorruptionCheck::schedule_compactions() {
  compactions_timer_ = s_.env.timers.schedule(s_.config.compact_hash_check_ns, s_.env.apply, [this] {
    if (stopped_) return;
    if (s_.apply.leading()) check_compactions();
    schedule_compactions();
  });
}

void CorruptionCheck::check_compactions() {
  if (checking_compactions_) return;
  LOG(s_.env.log, kInfo, "starting compact hash check", {"local-member-id", log::Hex{s_.self.v}},
      {"timeout", log::Duration{s_.config.request_timeout_ns()}});
  checking_compactions_ = true;
  std::vector<mvcc::CompactionHash> unchecked;  // the newest first
  for (const mvcc::CompactionHash& h : *s_.apply.view()->parts().hashes) {
    if (h.revision > compactions_checked_) unchecked.insert(unchecked.begin(), h);
  }
  check_compaction(std::move(unchecked), 0);
}

void CorruptionCheck::check_compaction(std::vector<mvcc::CompactionHash> hashes, size_t next) {
  const auto finished = [this](size_t checked) {
    checking_compactions_ = false;
    LOG(s_.env.log, kInfo, "finished compaction hash check", {"number-of-hashes-checked", checked});
  };
  if (next == hashes.size()) return finished(hashes.size());
  const mvcc::CompactionHash own = hashes[next];
  ask_peer_hashes(s_, own.revision,
                  [this, hashes = std::move(hashes), next, own,
                   finished](const std::vector<PeerHashAnswer>& peers) mutable {
                    if (stopped_) return;
                    if (!peers.empty() && compare_compaction(own, peers)) return finished(next + 1);
                    check_compaction(std::move(hashes), next + 1);
                  });
}

bool CorruptionCheck::compare_compaction(const mvcc::CompactionHash& own,
                                         const std::vector<PeerHashAnswer>& peers) {
  const log::Field leader{"leader-id", log::Hex{s_.self.v}};
  std::map<uint32_t, std::vector<MemberId>> by_hash{{own.hash, {s_.self}}};
  size_t checked = 0;
  for (const PeerHashAnswer& peer : peers) {
    std::string reason;
    if (!peer.answer) {
      reason = "no response";
    } else if (peer.answer->compact_revision != own.compact_revision) {
      reason = fmt::format("the peer's CompactRevision {} doesn't match leader's CompactRevision {}",
                           peer.answer->compact_revision, own.compact_revision);
    }
    if (!reason.empty()) {
      LOG(s_.env.log, kWarn, "Skipped peer's hash", {"number-of-peers", peers.size()}, leader,
          {"peer-id", log::Hex{peer.id.v}}, {"reason", reason});
      continue;
    }
    ++checked;
    by_hash[peer.answer->hash].push_back(peer.id);
  }
  const log::Field revision{"revision", own.revision}, compacted{"compactRevision", own.compact_revision};
  if (by_hash.size() == 1) {
    if (checked == peers.size()) {
      LOG(s_.env.log, kInfo, "successfully checked hash on whole cluster",
          {"number-of-peers-checked", checked}, revision, compacted);
      compactions_checked_ = std::max(compactions_checked_, own.revision);
      return true;
    }
    LOG(s_.env.log, kWarn, "skipped revision in compaction hash check; was not able to check all peers",
        {"number-of-peers-checked", checked}, {"number-of-peers", peers.size()}, revision, compacted);
    return false;
  }
  const size_t quorum = (peers.size() + 1) / 2 + 1;
  const auto majority =
      std::ranges::find_if(by_hash, [&](const auto& group) { return group.second.size() >= quorum; });
  const bool known = majority != by_hash.end();
  const log::Field at{"leader-revision", own.revision},
      at_compacted{"leader-compact-revision", own.compact_revision}, hash{"leader-hash", own.hash};
  if (known) {
    by_hash.erase(majority);
  } else {
    LOG(s_.env.log, kError,
        "Detected compaction hash mismatch but cannot identify the corrupted members, so intentionally set "
        "the "
        "memberID as 0",
        leader, at, at_compacted, hash);
    raise_corrupt_(MemberId());
  }
  for (const auto& [theirs, members] : by_hash) {
    std::string ids;
    for (const MemberId id : members) {
      if (known) raise_corrupt_(id);
      ids += fmt::format("{}{}", ids.empty() ? "" : ",", hex(id.v));
    }
    LOG(s_.env.log, kError, "Detected compaction hash mismatch", leader, at, at_compacted, hash,
        {"peer-hash", theirs}, {"peer-ids", ids}, {"quorum-exist", known});
  }
  return true;
}

}  // namespace quoin::server

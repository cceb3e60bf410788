// What a proposal costs the raft strand: appended, made durable (a memory log stands for the disk),
// acknowledged, committed and handed out. Arguments: voters, proposals per Ready.
#include <benchmark/benchmark.h>

#include <memory>
#include <vector>

#include "base/prng.h"
#include "raft/memory_storage.h"
#include "raft/rawnode.h"

namespace quoin::raft {
namespace {

struct Member {
  MemoryStorage storage;
  Prng prng{1};
  Observer observer;
  std::unique_ptr<RawNode> node;
};

class Group {
 public:
  explicit Group(int voters) {
    auto origin = std::make_shared<Snapshot>();
    for (int i = 1; i <= voters; ++i) {
      origin->metadata.conf_state.voters.push_back(MemberId{static_cast<uint64_t>(i)});
    }
    origin->metadata.index = Index{1};
    origin->metadata.term = Term{1};
    for (int i = 1; i <= voters; ++i) {
      Member& m = *members_.emplace_back(std::make_unique<Member>());
      CHECK(m.storage.apply_snapshot(origin).has_value());
      Config c;
      c.id = MemberId{static_cast<uint64_t>(i)};
      c.pre_vote = c.check_quorum = false;
      c.async_storage_writes = true;
      m.node = std::make_unique<RawNode>(c, m.storage, m.prng, m.observer);
    }
    CHECK(leader().campaign().has_value());
    settle();
    CHECK(leader().raft().role() == Role::kLeader);
  }

  RawNode& leader() { return *members_[0]->node; }
  // Until nobody has anything to do. Returns the entries that the leader handed out for application.
  size_t settle() {
    size_t applied = 0;
    for (bool busy = true; busy;) {
      busy = false;
      for (auto& m : members_) {
        while (m->node->has_ready()) {
          busy = true;
          const size_t n = handle(*m);
          if (m == members_[0]) applied += n;
        }
      }
    }
    return applied;
  }
  // Keeps the logs short, as a server's snapshots do.
  void compact() {
    for (auto& m : members_) {
      const Index upto = m->node->raft().log().applied() - 100;
      if (upto >= m->storage.first_index()) CHECK(m->storage.compact(upto).has_value());
    }
  }

 private:
  size_t handle(Member& m) {
    Ready rd = m.node->ready();
    for (Message& msg : rd.messages) pass(std::move(msg));
    if (!rd.hard_state.empty()) m.storage.set_hard_state(rd.hard_state);
    m.storage.append(std::move(rd.entries));
    for (Message& msg : rd.append_responses) {
      if (msg.to == m.node->raft().id()) {
        CHECK(m.node->step(std::move(msg)).has_value());
      } else {
        pass(std::move(msg));
      }
    }
    if (!rd.needs_apply()) return 0;
    m.node->applied(rd.committed_entries.back().index, encoded_size(rd.committed_entries),
                    payload_size(rd.committed_entries));
    return rd.committed_entries.size();
  }
  void pass(Message&& msg) { CHECK(members_[msg.to.v - 1]->node->step(std::move(msg)).has_value()); }

  std::vector<std::unique_ptr<Member>> members_;
};

void propose(benchmark::State& state) {
  Group group(static_cast<int>(state.range(0)));
  const size_t batch = static_cast<size_t>(state.range(1));
  const Blob data = Blob::make(256, [](char* p) { std::memset(p, 'x', 256); });
  size_t applied = 0, since_compaction = 0;
  for (auto _ : state) {
    std::vector<Entry> entries(batch);
    for (Entry& e : entries) e.data = data;
    CHECK(group.leader().propose(std::move(entries)).has_value());
    applied += group.settle();
    if ((since_compaction += batch) >= 10'000) {
      group.compact();
      since_compaction = 0;
    }
  }
  state.SetItemsProcessed(static_cast<int64_t>(applied));
}
BENCHMARK(propose)->ArgNames({"voters", "batch"})->Args({1, 1})->Args({1, 64})->Args({3, 1})->Args({3, 64});

}  // namespace
}  // namespace quoin::raft

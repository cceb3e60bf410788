// An engine in memory, for tests: what bolt promises and nothing else. A file of the simulated disk holds the
// number of its state, so that names, renames and locks behave as they do with a real file; a commit becomes
// the state at one moment between submit and completion, or fails when told to.
#pragma once
#include <array>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "backend/engine.h"
#include "base/check.h"
#include "sim/world.h"

namespace quoin::backend {

using State = std::array<std::map<std::string, std::string>, kBucketCount>;

// Outlives crashes.
struct MemoryStates {
  std::vector<std::shared_ptr<const State>> states;
  int fail_commits_after = -1;  // commits that still succeed; -1: all do
  int filling = 0;              // engines that are being filled
};

class MemorySnapshot final : public EngineSnapshot {
 public:
  explicit MemorySnapshot(std::shared_ptr<const State> state) : state_(std::move(state)) {}
  using EngineSnapshot::get;
  Result<std::optional<std::string_view>> get(Bucket bucket, std::string_view key, View::Hint*) const override {
    const auto& m = (*state_)[static_cast<int>(bucket)];
    auto it = m.find(std::string(key));
    if (it == m.end()) return std::optional<std::string_view>();
    return std::optional<std::string_view>(it->second);
  }
  Result<> scan(Bucket bucket, std::string_view from, std::string_view to,
                const PairVisitor& visit) const override {
    const auto& m = (*state_)[static_cast<int>(bucket)];
    for (auto it = m.lower_bound(std::string(from)); it != m.end() && (to.empty() || it->first < to); ++it) {
      if (!visit(it->first, it->second)) break;
    }
    return {};
  }
  uint64_t copy_size() const override { return text().size(); }
  Result<> read_copy(uint64_t offset, std::span<char> out) const override {
    const std::string t = text();
    std::memcpy(out.data(), t.data() + offset, out.size());
    return {};
  }

 private:
  std::string text() const {
    std::string t;
    for (const auto& m : *state_) {
      for (const auto& [k, v] : m) t += k + "=" + v + "\n";
    }
    return t;
  }
  std::shared_ptr<const State> state_;
};

class MemoryEngine final : public Engine {
 public:
  MemoryEngine(std::unique_ptr<io::File> file, uint64_t number, std::shared_ptr<MemoryStates> states,
               sim::World& world, io::Executor& executor, bool filling)
      : file_(std::move(file)),
        number_(number),
        states_(std::move(states)),
        world_(world),
        executor_(executor),
        filling_(filling) {
    if (filling_) ++states_->filling;
  }
  ~MemoryEngine() override { end_filling(); }
  std::unique_ptr<EngineSnapshot> snapshot() override {
    return std::make_unique<MemorySnapshot>(states_->states[number_]);
  }
  void commit(const Batch& batch, absl::AnyInvocable<void(Result<CommitTimes>)> done) override {
    auto next = std::make_shared<State>(*states_->states[number_]);
    for (int b = 0; b < kBucketCount; ++b) {
      std::string_view last;
      for (const Change& c : batch.changes[b]) {
        CHECK(c.key > last);
        last = c.key;
        if (c.erase) {
          (*next)[b].erase(std::string(c.key));
        } else {
          (*next)[b].insert_or_assign(std::string(c.key), std::string(c.value));
        }
      }
    }
    if (states_->fail_commits_after == 0) {
      executor_.post(
          [done = std::move(done)]() mutable { done(make_error(Code::kNoSpaceOnDevice, "full")); });
      return;
    }
    if (states_->fail_commits_after > 0) --states_->fail_commits_after;
    const int64_t half = static_cast<int64_t>(world_.prng().below(3 * io::kMillisecond));
    world_.after(half,
                 [this, alive = std::weak_ptr<int>(alive_), next, half, done = std::move(done)]() mutable {
                   if (alive.expired()) return;
                   states_->states[number_] = next;
                   world_.after(half, [this, alive, done = std::move(done)]() mutable {
                     if (alive.expired()) return;
                     executor_.post([alive, done = std::move(done)]() mutable {
                       if (!alive.expired()) done(CommitTimes{});
                     });
                   });
                 });
  }
  uint64_t size() const override { return 4096 * (1 + (*states_->states[number_])[5].size()); }
  uint64_t size_in_use() const override { return size(); }
  uint64_t size_max() const override { return UINT64_MAX; }
  void end_filling() override {
    if (filling_) --states_->filling;
    filling_ = false;
  }
  void close(absl::AnyInvocable<void(Result<>)> done) override {
    executor_.post([done = std::move(done)]() mutable { done({}); });
  }

 private:
  std::unique_ptr<io::File> file_;
  const uint64_t number_;
  std::shared_ptr<MemoryStates> states_;
  sim::World& world_;
  io::Executor& executor_;
  bool filling_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

class MemoryFactory final : public EngineFactory {
 public:
  MemoryFactory(std::shared_ptr<MemoryStates> states, io::FileSystem& fs, sim::World& world,
                io::Executor& executor)
      : states_(std::move(states)), fs_(fs), world_(world), executor_(executor) {}
  Result<std::unique_ptr<Engine>> open(const std::string& path, bool filling) override {
    ASSIGN_OR_RETURN(auto file, fs_.open(path, {.write = true, .create = true}));
    TRY(file->lock(io::LockMode::kExclusive));
    ASSIGN_OR_RETURN(const uint64_t size, file->size());
    std::string text(size, '\0');
    ASSIGN_OR_RETURN(const size_t got, file->read_at(0, text));
    CHECK_EQ(got, size);
    uint64_t number = 0;
    if (text.empty()) {
      number = states_->states.size();
      states_->states.push_back(std::make_shared<State>());
      TRY(file->write_at(0, std::to_string(number)));
      TRY(file->sync());
      TRY(fs_.sync_dir(path.substr(0, path.rfind('/'))));
    } else {
      number = std::stoull(text);
    }
    return std::unique_ptr<Engine>(
        std::make_unique<MemoryEngine>(std::move(file), number, states_, world_, executor_, filling));
  }

 private:
  std::shared_ptr<MemoryStates> states_;
  io::FileSystem& fs_;
  sim::World& world_;
  io::Executor& executor_;
};

}  // namespace quoin::backend

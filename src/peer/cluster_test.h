// Members in one simulated world: real Transports, a fake member behind each, connections served as the front
// serves them.
#pragma once
#include <gtest/gtest.h>

#include <list>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/check.h"
#include "peer/door_connection_test.h"
#include "peer/transport.h"
#include "sim/disk.h"
#include "sim/file_system.h"
#include "sim/log_sink.h"
#include "sim/network.h"
#include "sim/world.h"

namespace quoin::peer {

constexpr ClusterId kCluster{0xc1};

// What a member would do, recorded.
class FakeMember final : public server::PeerHandler {
 public:
  FakeMember(MemberId self, io::FileSystem& fs, io::Executor& files) : self_(self), fs_(fs), files_(files) {}
  MemberId self() const override { return self_; }
  ClusterId cluster() const override { return cluster_id; }
  bool removed(MemberId id) const override { return removed_members.count(id) != 0; }
  void received(std::vector<raft::Message> batch, server::Charge charge) override {
    for (raft::Message& m : batch) messages.push_back(std::move(m));
    if (hold) held.push_back(std::move(charge));
  }
  void process(raft::Message message, server::Charge charge, io::Executor& executor,
               absl::AnyInvocable<void(Result<>)> done) override {
    processed.push_back(std::move(message));
    if (never_answer) {
      held.push_back(std::move(charge));
      unanswered.push_back(std::move(done));
      return;
    }
    executor.post([done = std::move(done), result = process_result, charge = std::move(charge)]() mutable {
      done(result);
    });
  }
  void unreachable(MemberId id) override { ++unreachables[id]; }
  void snapshot_sent(MemberId id, bool failed) override { snapshots_sent.emplace_back(id, failed); }
  void found_removed() override { ++found_removed_calls; }
  io::FileSystem& snapshot_files() override { return fs_; }
  io::Executor& snapshot_executor() override { return files_; }
  std::string new_snapshot_path() override { return fmt::format("/snap/tmp{}", ++paths_made); }
  void keep_snapshot(std::string path, Index index, io::Executor& executor,
                     absl::AnyInvocable<void(Result<>)> done) override {
    kept.emplace_back(std::move(path), index);
    executor.post([done = std::move(done), result = keep_result]() mutable { done(result); });
  }

  ClusterId cluster_id = kCluster;
  std::set<MemberId> removed_members;
  bool hold = false, never_answer = false;
  Result<> process_result, keep_result;

  std::vector<raft::Message> messages, processed;
  std::vector<server::Charge> held;
  std::vector<absl::AnyInvocable<void(Result<>)>> unanswered;
  std::map<MemberId, int> unreachables;
  std::vector<std::pair<MemberId, bool>> snapshots_sent;
  std::vector<std::pair<std::string, Index>> kept;
  int found_removed_calls = 0, paths_made = 0;

 private:
  const MemberId self_;
  io::FileSystem& fs_;
  io::Executor& files_;
};

class Cluster;

// One member: host "m1" and so on, peers at "http://m1:2380".
class Node {
 public:
  Node(Cluster& cluster, int number, Options options, ClusterId cluster_id = kCluster);
  ~Node();
  void kill(bool silent = false);
  // All of {1, ..., count} but itself.
  void know(int count);
  double metric(const std::string& name, const std::string& label = "") const;
  Transport& transport() { return *transport_; }

  Cluster& cluster;
  const int number;
  const MemberId id;
  const std::string host, url;
  sim::Process& process;
  sim::SimExecutor& loop;
  sim::SimExecutor& raft;
  sim::SimExecutor& files;
  sim::SimHost network;
  sim::SimDisk disk;
  sim::SimFileSystem fs;
  sim::LogSink log;
  metrics::Registry registry;
  FakeMember member;

 private:
  void sweep();
  std::unique_ptr<Transport> transport_;
  std::unique_ptr<io::Listener> listener_;
  std::list<std::unique_ptr<DoorConnection>> connections_;
  bool alive_ = true;
};

class Cluster {
 public:
  explicit Cluster(uint64_t seed) : world(seed), net(world) {}
  ~Cluster() {
    for (auto& node : nodes) node->kill();
    nodes.clear();
  }
  Node& add(int number, Options options = {}, ClusterId cluster_id = kCluster) {
    nodes.push_back(std::make_unique<Node>(*this, number, std::move(options), cluster_id));
    return *nodes.back();
  }
  // `count` members that know each other and have all streams.
  void form(int count, Options options = {});
  bool until(absl::FunctionRef<bool()> done, int64_t max_ns = 60 * io::kSecond) {
    return world.run_until(done, max_ns);
  }
  Node& operator[](int number) { return *nodes[static_cast<size_t>(number - 1)]; }

  sim::World world;
  sim::SimNetwork net;
  std::vector<std::unique_ptr<Node>> nodes;
};

// A database of bytes that follow from their offset.
class FakeSource final : public backend::SnapshotSource {
 public:
  explicit FakeSource(uint64_t size) : size_(size) {}
  static char at(uint64_t offset) { return static_cast<char>(offset * 131 + (offset >> 12)); }
  uint64_t size() const override { return size_; }
  Index consistent_index() const override { return Index{7}; }
  Term consistent_term() const override { return Term{2}; }
  const std::string& conf_state() const override { return conf_state_; }
  Result<> scan(backend::Bucket, const backend::PairVisitor&) const override { return {}; }
  Result<> read(uint64_t offset, std::span<char> out) const override {
    ++reads;
    largest = std::max(largest, out.size());
    if (offset >= fail_at) return Error(Code::kIo, "bad sector");
    for (size_t i = 0; i < out.size(); ++i) out[i] = at(offset + i);
    return {};
  }
  uint64_t fail_at = UINT64_MAX;
  mutable int reads = 0;
  mutable size_t largest = 0;

 private:
  const uint64_t size_;
  std::string conf_state_;
};

raft::Message message(raft::MessageType type, const Node& from, const Node& to, uint64_t index = 0,
                      size_t data_bytes = 0);
raft::Message snapshot_message(const Node& from, const Node& to, uint64_t index);

// Sends bytes to a host's port 2380 and returns what comes back until the connection ends or `max_ns` passed.
std::string converse(Cluster& cluster, Node& from, const std::string& host, const std::string& bytes,
                     int64_t max_ns = 10 * io::kSecond);

}  // namespace quoin::peer

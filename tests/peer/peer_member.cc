// A member that consists of consensus and the peer transport alone, for conversations with real members: it keeps a
// log in memory, applies nothing, votes, follows and leads. tests/interop/peers.py drives it by lines on standard
// input; each is answered by a line that begins with "ok".
//
//   peer_member SELF CLUSTER PORT FOLDER      ids in hex; FOLDER for received databases
//
//   status                    ok lead=<hex> term=<n> commit=<n> last=<n> snapshot=<n> active=<members>
//   add HEX URL               a member to talk to
//   campaign, transfer HEX    elections
//   send HEX FILE INDEX       a database, as of INDEX;  ok sent, ok failed
//   kept                      ok <path of the newest received database>
//   fetch URL PATH            ok <status> <body>
//   log TEXT                  ok <lines with TEXT>; the lines go to standard error
//   quit
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <iostream>
#include <list>
#include <sstream>

#include "base/check.h"
#include "base/coding.h"
#include "base/prng.h"
#include "peer/door_connection_test.h"
#include "peer/transport.h"
#include "posix/clock.h"
#include "posix/executors.h"
#include "posix/file.h"
#include "posix/loop.h"
#include "posix/timers.h"
#include "raft/codec.h"
#include "raft/memory_storage.h"
#include "raft/rawnode.h"
#include "sim/log_sink.h"

namespace quoin {
namespace {

class FileSource final : public backend::SnapshotSource {
 public:
  explicit FileSource(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    std::stringstream all;
    all << in.rdbuf();
    bytes_ = all.str();
  }
  uint64_t size() const override { return bytes_.size(); }
  Index consistent_index() const override { return {}; }
  Term consistent_term() const override { return {}; }
  const std::string& conf_state() const override { return conf_state_; }
  Result<> scan(backend::Bucket, const backend::PairVisitor&) const override { return {}; }
  Result<> read(uint64_t offset, std::span<char> out) const override {
    std::copy_n(bytes_.data() + offset, out.size(), out.data());
    return {};
  }

 private:
  std::string bytes_, conf_state_;
};

// Everything but the files happens on one loop.
class PeerMember final : public server::PeerHandler {
 public:
  PeerMember(MemberId self, ClusterId cluster, uint16_t port, std::string folder)
      : self_(self),
        cluster_(cluster),
        folder_(std::move(folder)),
        fs_(posix::make_file_system(files_)),
        transport_({.peer_urls = {fmt::format("http://127.0.0.1:{}", port)}},
                   {network_, loop_, timers_, clock_, files_, registry_, log_, {}}),
        node_({.id = self}, storage_, prng_, observer_) {
    transport_.start(*this);
    auto listener =
        network_.listen({false, "127.0.0.1", port}, {&loop_}, [this](std::unique_ptr<io::Stream> s) {
          connections_.remove_if([](const auto& c) { return c->over(); });
          connections_.push_back(std::make_unique<peer::DoorConnection>(transport_.door(), std::move(s)));
        });
    CHECK(listener.has_value(), "{}", listener.error().text());
    listener_ = std::move(*listener);
    loop_.post([this] { tick(); });
  }

  // Runs `command` on the loop; the answer is printed.
  void run(std::string command) {
    loop_.post([this, command = std::move(command)] { obey(command); });
  }
  void stop() {
    std::mutex mutex;
    std::condition_variable changed;
    bool over = false;
    transport_.stop([&] {
      connections_.clear();
      listener_.reset();
      timer_.reset();
      std::lock_guard lock(mutex);
      over = true;
      changed.notify_all();
    });
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return over; });
    lock.unlock();
    timers_.stop();
    loop_.stop();
    files_.stop();
  }

  // ---- server::PeerHandler ----
  MemberId self() const override { return self_; }
  ClusterId cluster() const override { return cluster_; }
  bool removed(MemberId) const override { return false; }
  void received(std::vector<raft::Message> messages, server::Charge) override {
    for (raft::Message& m : messages) (void)node_.step(std::move(m)).has_value();
    pump();
  }
  void process(raft::Message message, server::Charge, io::Executor& executor,
               absl::AnyInvocable<void(Result<>)> done) override {
    Result<> result;
    if (message.to != self_) {
      result = Error(Code::kIo, "cannot process message to mismatch member");
    } else if (node_.step(std::move(message))) {
      pump();
    }
    executor.post([done = std::move(done), result]() mutable { done(result); });
  }
  void unreachable(MemberId id) override {
    loop_.post([this, id] { node_.report_unreachable(id); });
  }
  void snapshot_sent(MemberId, bool failed) override { say(failed ? "failed" : "sent"); }
  void found_removed() override { log_line("removed"); }
  io::FileSystem& snapshot_files() override { return *fs_; }
  io::Executor& snapshot_executor() override { return files_; }
  std::string new_snapshot_path() override { return fmt::format("{}/tmp{}", folder_, ++paths_); }
  void keep_snapshot(std::string path, Index, io::Executor& executor,
                     absl::AnyInvocable<void(Result<>)> done) override {
    kept_ = std::move(path);
    executor.post([done = std::move(done)]() mutable { done({}); });
  }

 private:
  void say(const std::string& text) { std::cout << "ok " << text << std::endl; }
  void log_line(const std::string& text) { LOG(log_, kInfo, text); }

  void tick() {
    timer_ = timers_.schedule(100 * io::kMillisecond, loop_, [this] { tick(); });
    node_.tick();
    pump();
  }

  void pump() {
    while (node_.has_ready()) {
      raft::Ready ready = node_.ready();
      if (ready.snapshot) {
        snapshot_ = ready.snapshot->metadata.index;
        CHECK(storage_.apply_snapshot(ready.snapshot).has_value());
      }
      if (!ready.hard_state.empty()) storage_.set_hard_state(ready.hard_state);
      storage_.append(std::move(ready.entries));
      std::erase_if(ready.messages, [this](const raft::Message& m) {
        if (m.type != raft::MessageType::kSnap) return false;
        loop_.post([this, to = m.to] { node_.report_snapshot(to, true); });
        return true;
      });
      transport_.send(std::move(ready.messages));
      for (const raft::Entry& e : ready.committed_entries) {
        if (e.type != raft::EntryType::kConfChange) continue;
        const auto change = raft::decode_conf_change(e.data);
        CHECK(change.has_value());
        node_.apply_conf_change(*change, e.index);
      }
      node_.advance();
    }
  }

  void obey(const std::string& line) {
    std::istringstream words(line);
    std::string verb, a, b, c;
    words >> verb >> a >> b >> c;
    uint64_t id = 0;
    parse_hex(a, &id);
    if (verb == "status") {
      const raft::Status s = node_.status();
      std::string active;
      for (uint64_t member : members_) {
        if (transport_.active_since(MemberId{member})) active += (active.empty() ? "" : ",") + hex(member);
      }
      return say(fmt::format("lead={} term={} commit={} last={} snapshot={} active={}",
                             hex(s.soft_state.lead.v), s.hard_state.term, s.hard_state.commit,
                             storage_.last_index(), snapshot_, active));
    }
    if (verb == "add") {
      members_.push_back(id);
      transport_.add(MemberId{id}, {b});
      return say("");
    }
    if (verb == "campaign") {
      (void)node_.campaign().has_value();
      pump();
      return say("");
    }
    if (verb == "transfer") {
      node_.transfer_leadership(MemberId{id});
      pump();
      return say("");
    }
    if (verb == "send") {
      auto snapshot = std::make_shared<raft::Snapshot>();
      snapshot->metadata = {
          node_.status().config == nullptr ? raft::ConfState{} : storage_.initial_state().conf_state,
          Index{std::stoull(c)}, node_.status().hard_state.term};
      snapshot->data = Blob::copy("{}");
      raft::Message m;
      m.type = raft::MessageType::kSnap;
      m.from = self_, m.to = MemberId{id};
      m.term = node_.status().hard_state.term;
      m.snapshot = std::move(snapshot);
      return transport_.send_snapshot(std::move(m), std::make_shared<FileSource>(b));
    }
    if (verb == "kept") return say(kept_);
    if (verb == "fetch") {
      return transport_.fetch(a, {.path = b}, loop_, [this](Result<server::PeerAnswer> answer) {
        say(answer ? fmt::format("{} {}", answer->status, answer->body) : std::string(answer.error().text()));
      });
    }
    if (verb == "log") {
      const std::string text = line.size() > 4 ? line.substr(4) : "";
      for (const std::string& l : log_.lines()) {
        if (l.find(text) != std::string::npos) std::cerr << l << '\n';
      }
      return say(fmt::format("{}", log_.count(text)));
    }
    std::cout << "unknown command: " << line << std::endl;
  }

  const MemberId self_;
  const ClusterId cluster_;
  const std::string folder_;
  std::vector<uint64_t> members_;
  posix::SystemClock clock_;
  posix::ThreadTimers timers_{clock_};
  posix::UvLoop loop_{"peer"};
  posix::DiskThread files_{"files"};
  std::unique_ptr<io::FileSystem> fs_;
  posix::UvNetwork network_;
  metrics::Registry registry_;
  sim::LogSink log_;
  peer::Transport transport_;
  std::unique_ptr<io::Listener> listener_;
  std::list<std::unique_ptr<peer::DoorConnection>> connections_;
  raft::MemoryStorage storage_;
  Prng prng_{1};
  raft::Observer observer_;
  raft::RawNode node_;
  std::unique_ptr<io::Timer> timer_;
  Index snapshot_;
  std::string kept_;
  int paths_ = 0;
};

}  // namespace
}  // namespace quoin

int main(int argc, char** argv) {
  using namespace quoin;
  uint64_t self = 0, cluster = 0;
  if (argc != 5 || !parse_hex(argv[1], &self) || !parse_hex(argv[2], &cluster)) {
    std::fprintf(stderr, "usage: peer_member SELF CLUSTER PORT FOLDER\n");
    return 2;
  }
  PeerMember member(MemberId{self}, ClusterId{cluster}, static_cast<uint16_t>(std::stoi(argv[3])), argv[4]);
  std::string line;
  while (std::getline(std::cin, line) && line != "quit") member.run(line);
  member.stop();
  return 0;
}

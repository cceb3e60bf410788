// A handful of raft nodes with their storage and the messages between them, driven by the commands of
// traces (spec raft-and-peers 19.2, 19.3), and by some more that our own traces in testdata/ use:
//
//   read-index N context            tick N count
//   propose-batch N a b c           propose-guarded N term data
//   report-snapshot A B failed=bool restart N
//   add-nodes ... max-uncommitted-size=B max-size-per-msg=B max-inflight-bytes=B hold-responses=bool
//                 disable-proposal-forwarding=bool
#pragma once
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "base/prng.h"
#include "raft/memory_storage.h"
#include "raft/rawnode.h"
#include "raft/render.h"
#include "raft/trace_test.h"

namespace quoin::raft {

enum class OutputLevel : uint8_t { kDebug, kInfo, kWarn, kError, kFatal, kNone };

// Collects what a command prints. At kNone nothing is collected.
class Output : public RenderingObserver {
 public:
  bool enabled(LineLevel level) const override { return static_cast<int>(level) >= static_cast<int>(level_); }
  void line(LineLevel level, std::string_view text) override;
  void write(std::string_view text) {
    if (!quiet()) text_ += text;
  }
  bool quiet() const { return level_ == OutputLevel::kNone; }
  OutputLevel level() const { return level_; }
  void set_level(OutputLevel level) { level_ = level; }
  std::string take() { return std::exchange(text_, {}); }
  // Runs f and sets each line that it printed in by two spaces.
  template <class F>
  void indented(F&& f) {
    const std::string before = take();
    f();
    const std::string inner = take();
    text_ = before;
    for (size_t i = 0; i < inner.size();) {
      const size_t end = std::min(inner.find('\n', i), inner.size());
      text_ += "  " + inner.substr(i, end - i) + "\n";
      i = end + 1;
    }
  }

 private:
  OutputLevel level_ = OutputLevel::kDebug;
  std::string text_;
};

class InteractionEnv {
 public:
  std::string handle(const trace::Directive& d);

 private:
  // What it sends as a snapshot is the newest one of the history, whatever was compacted.
  struct NodeStorage : MemoryStorage {
    Result<std::shared_ptr<const Snapshot>> snapshot() const override { return history.back(); }
    std::vector<std::shared_ptr<const Snapshot>> history;
  };
  struct Node {
    Config config;
    std::unique_ptr<NodeStorage> storage;
    std::unique_ptr<Prng> prng;
    std::unique_ptr<RawNode> raw;
    std::deque<Message> append_work, apply_work;
  };
  struct Recipient {
    MemberId id;
    bool drop = false;
  };

  // Each returns an error text, or "".
  std::string run(const trace::Directive& d);
  std::string run_proposal(const trace::Directive& d);
  std::string run_own(const trace::Directive& d);
  std::string add_nodes(const trace::Directive& d);
  std::string propose_conf_change(const trace::Directive& d);
  std::string compact(const trace::Directive& d);
  std::string deliver(const trace::Directive& d);
  std::string set_log_level(std::string_view name);
  std::string stabilize(const trace::Directive& d);
  std::string send_snapshot(const trace::Directive& d);

  Node& node(MemberId id) { return *nodes_.at(id.v - 1); }
  Node& node(const trace::Directive& d, size_t position = 0) { return node(MemberId{d.id(position)}); }
  // Ids given as arguments; all if there are none.
  std::vector<MemberId> nodes_of(const trace::Directive& d) const;
  void tick(Node& n, uint64_t times);
  void start(Node& n);
  size_t deliver_to(Recipient to, const std::string& type);
  std::vector<Message> split_messages(Recipient to, const std::string& type, bool take);
  void process_ready(Node& n);
  void process_append(Node& n);
  void process_apply(Node& n);
  void process_each(const trace::Directive& d, std::string_view header, void (InteractionEnv::*f)(Node&));
  void store(Node& n, const HardState& hs, std::vector<Entry> entries,
             std::shared_ptr<const Snapshot> snapshot);
  void apply(Node& n, const std::vector<Entry>& entries);
  bool stabilize_pass(const std::vector<MemberId>& ids);
  void print_log(Node& n);
  void print_state();
  void print_status(Node& n);

  Output out_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::vector<Message> messages_;  // under way, in order
};

}  // namespace quoin::raft

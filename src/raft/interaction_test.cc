#include "raft/interaction_test.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>

#include "raft/describe.h"

namespace quoin::raft {
namespace {

std::vector<MemberId> ids_of(const trace::Directive& d, std::string_view key) {
  std::vector<MemberId> ids;
  if (const trace::Argument* a = d.find(key)) {
    for (const std::string& v : a->values) ids.push_back(MemberId{std::strtoull(v.c_str(), nullptr, 10)});
  }
  return ids;
}

std::string text_of(const Result<>& r) {
  return r ? "" : std::string(r.error().text());
}

}  // namespace

std::string InteractionEnv::handle(const trace::Directive& d) {
  out_.take();
  const std::string error = run(d);
  if (out_.quiet() && !error.empty()) return error;
  out_.write(error);
  std::string text = out_.take();
  return text.empty() ? "ok" : text;
}

std::string InteractionEnv::run(const trace::Directive& d) {
  const std::string& c = d.command;
  if (c == "_breakpoint") return "";
  if (c == "add-nodes") return add_nodes(d);
  if (c == "campaign") return text_of(node(d).raw->campaign());
  if (c == "compact") return compact(d);
  if (c == "deliver-msgs") return deliver(d);
  if (c == "stabilize") return stabilize(d);
  if (c == "log-level") return set_log_level(d.word(0));
  if (c == "send-snapshot") return send_snapshot(d);
  if (c == "process-ready") {
    process_each(d, "handling Ready", &InteractionEnv::process_ready);
  } else if (c == "process-append-thread") {
    process_each(d, "processing append thread", &InteractionEnv::process_append);
  } else if (c == "process-apply-thread") {
    process_each(d, "processing apply thread", &InteractionEnv::process_apply);
  } else if (c == "raft-log") {
    print_log(node(d));
  } else if (c == "raft-state") {
    print_state();
  } else if (c == "status") {
    print_status(node(d));
  } else if (c == "tick-heartbeat") {
    tick(node(d), static_cast<uint64_t>(node(d).config.heartbeat_ticks));
  } else if (c == "tick-election") {
    tick(node(d), static_cast<uint64_t>(node(d).config.election_ticks));
  } else if (c == "set-randomized-election-timeout") {
    node(d).raw->set_randomized_election_ticks(static_cast<int>(d.number("timeout", 0)));
  } else if (c == "transfer-leadership") {
    node(MemberId{d.number("from", 0)}).raw->transfer_leadership(MemberId{d.number("to", 0)});
  } else if (c == "forget-leader") {
    node(d).raw->forget_leader();
  } else if (c == "report-unreachable") {
    node(d).raw->report_unreachable(MemberId{d.id(1)});
  } else {
    return run_proposal(d);
  }
  return "";
}

std::string InteractionEnv::run_proposal(const trace::Directive& d) {
  const std::string& c = d.command;
  if (c == "propose") return text_of(node(d).raw->propose(Blob::copy(d.word(1))));
  if (c == "propose-conf-change") return propose_conf_change(d);
  return run_own(d);
}

std::string InteractionEnv::run_own(const trace::Directive& d) {
  const std::string& c = d.command;
  if (c == "propose-batch" || c == "propose-guarded") {
    const bool guarded = c == "propose-guarded";
    std::vector<Entry> entries;
    for (size_t i = guarded ? 2 : 1; i < d.args.size(); ++i)
      entries.emplace_back().data = Blob::copy(d.word(i));
    RawNode& raw = *node(d).raw;
    return text_of(guarded ? raw.propose_guarded(Term{d.id(1)}, std::move(entries))
                           : raw.propose(std::move(entries)));
  }
  if (c == "read-index") {
    node(d).raw->read_index(Blob::copy(d.word(1)));
  } else if (c == "tick") {
    tick(node(d), d.id(1));
  } else if (c == "report-snapshot") {
    node(d).raw->report_snapshot(MemberId{d.id(1)}, d.flag("failed", false));
  } else if (c == "restart") {
    // Everything given to storage is durable here; the rest is lost.
    Node& n = node(d);
    n.append_work.clear();
    n.apply_work.clear();
    n.config.applied = n.storage->history.back()->metadata.index;
    start(n);
  } else {
    return "unknown command";
  }
  return "";
}

std::string InteractionEnv::add_nodes(const trace::Directive& d) {
  Config config;
  config.election_ticks = 3;
  config.heartbeat_ticks = 1;
  config.message_bytes_max = d.number("max-size-per-msg", kUnlimited);
  config.inflight_messages_max = d.number("inflight", (1u << 31) - 1);
  config.inflight_bytes_max = d.number("max-inflight-bytes", 0);
  config.applied = Index{d.number("index", 0)};
  config.async_storage_writes = d.flag("async-storage-writes", false);
  config.pre_vote = d.flag("prevote", false);
  config.check_quorum = d.flag("checkquorum", false);
  config.committed_bytes_per_ready_max = d.number("max-committed-size-per-ready", 0);
  config.uncommitted_bytes_max = d.number("max-uncommitted-size", 0);
  config.disable_conf_change_validation = d.flag("disable-conf-change-validation", false);
  config.disable_proposal_forwarding = d.flag("disable-proposal-forwarding", false);
  config.step_down_on_removal = d.flag("step-down-on-removal", false);
  config.hold_responses_for_conf_change = d.flag("hold-responses", false);
  if (d.value("read-only") == "lease-based") config.read_only = ReadOnlyOption::kLeaseBased;

  Snapshot base;
  base.metadata.conf_state.voters = ids_of(d, "voters");
  base.metadata.conf_state.learners = ids_of(d, "learners");
  base.metadata.index = config.applied;
  const bool bootstrap = d.find("voters") || d.find("learners") || d.find("index");
  if (bootstrap && base.metadata.index <= Index{1}) return "index must be specified as > 1 due to bootstrap";
  if (bootstrap) base.metadata.term = Term{1};
  const auto snapshot = std::make_shared<const Snapshot>(base);
  for (uint64_t i = d.id(0); i > 0; --i) {
    Node& n = *nodes_.emplace_back(std::make_unique<Node>());
    n.config = config;
    n.config.id = MemberId{nodes_.size()};
    n.storage = std::make_unique<NodeStorage>();
    n.storage->history.push_back(snapshot);
    CHECK(!bootstrap || n.storage->apply_snapshot(snapshot).has_value());
    start(n);
  }
  return "";
}

std::string InteractionEnv::propose_conf_change(const trace::Directive& d) {
  ConfChangeV2 change;
  const std::string transition = d.value("transition", "auto");
  if (transition == "implicit")
    change.transition = ConfChangeTransition::kJointImplicit;
  else if (transition == "explicit")
    change.transition = ConfChangeTransition::kJointExplicit;
  else if (transition != "auto")
    return "unknown transition " + transition;
  if (const std::string wrong = trace::parse_changes(d.input, change.changes); !wrong.empty()) return wrong;
  if (!d.flag("v1", false)) return text_of(node(d).raw->propose_conf_change(change));
  if (change.changes.size() != 1 || change.transition != ConfChangeTransition::kAuto) {
    return "v1 conf change can only have one operation and no transition";
  }
  ConfChange v1;
  v1.type = change.changes[0].type;
  v1.node_id = change.changes[0].node_id;
  return text_of(node(d).raw->propose_conf_change(v1));
}

std::string InteractionEnv::compact(const trace::Directive& d) {
  if (const Result<> r = node(d).storage->compact(Index{d.id(1)}); !r) return text_of(r);
  print_log(node(d));
  return "";
}

std::string InteractionEnv::deliver(const trace::Directive& d) {
  std::vector<Recipient> to;
  for (const trace::Argument& a : d.args) {
    if (a.values.empty()) to.push_back({MemberId{std::strtoull(a.key.c_str(), nullptr, 10)}});
    if (a.key == "drop") {
      for (MemberId id : ids_of(d, "drop")) to.push_back({id, true});
    }
  }
  size_t n = 0;
  for (Recipient r : to) n += deliver_to(r, d.value("type"));
  if (n == 0) out_.write("no messages\n");
  return "";
}

std::string InteractionEnv::set_log_level(std::string_view name) {
  static constexpr const char* kNames[] = {"DEBUG", "INFO", "WARN", "ERROR", "FATAL", "NONE"};
  std::string upper(name);
  for (char& c : upper) c = static_cast<char>(std::toupper(c));
  for (size_t i = 0; i < std::size(kNames); ++i) {
    if (upper == kNames[i]) {
      out_.set_level(static_cast<OutputLevel>(i));
      return "";
    }
  }
  return "log levels must be either of [DEBUG INFO WARN ERROR FATAL NONE]";
}

std::string InteractionEnv::stabilize(const trace::Directive& d) {
  const OutputLevel before = out_.level();
  if (const std::string level = d.value("log-level"); !level.empty()) {
    if (const std::string wrong = set_log_level(level); !wrong.empty()) return wrong;
  }
  const std::vector<MemberId> ids = nodes_of(d);
  while (stabilize_pass(ids)) {
  }
  out_.set_level(before);
  return "";
}

std::string InteractionEnv::send_snapshot(const trace::Directive& d) {
  Node& from = node(d);
  Message m;
  m.type = MessageType::kSnap;
  m.from = from.config.id;
  m.to = MemberId{d.id(1)};
  m.term = from.raw->raft().term();
  m.snapshot = from.storage->history.back();
  out_.write(describe(m));
  messages_.push_back(std::move(m));
  return "";
}

void InteractionEnv::process_each(const trace::Directive& d, std::string_view header,
                                  void (InteractionEnv::*f)(Node&)) {
  const std::vector<MemberId> ids = nodes_of(d);
  for (MemberId id : ids) {
    if (ids.size() == 1) {
      (this->*f)(node(id));
    } else {
      out_.write(fmt::format("> {} {}\n", id, header));
      out_.indented([&] { (this->*f)(node(id)); });
    }
  }
}

namespace {

trace::Handler new_env() {
  auto env = std::make_shared<InteractionEnv>();
  return [env](const trace::Directive& d) { return env->handle(d); };
}

TEST(InteractionTraces, Reference) {
  const std::string folder = trace::reference_folder("interaction");
  const int n = trace::run_folder(folder, new_env);
  if (n == 0) GTEST_SKIP() << "reference traces are missing: " << folder;
  std::printf("%d directives compared\n", n);
}

// Our own: what the reference's do not reach. QUOIN_REWRITE_TRACES=1 stores what is printed now.
TEST(InteractionTraces, Own) {
  const bool rewrite = std::getenv("QUOIN_REWRITE_TRACES") != nullptr;
  EXPECT_GT(trace::run_folder(QUOIN_SOURCE_DIR "/src/raft/testdata", new_env, rewrite), 0);
}

}  // namespace
}  // namespace quoin::raft

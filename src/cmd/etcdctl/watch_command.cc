#include "cmd/etcdctl/watch_command.h"

#include <cstdlib>

#include "base/go_text.h"
#include "cmd/etcdctl/child.h"
#include "cmd/etcdctl/commands.h"
#include "cmd/etcdctl/kv_requests.h"
#include "cmd/etcdctl/message_json.h"
#include "cmd/etcdctl/methods.h"
#include "cmd/etcdctl/output.h"

namespace quoin::ctl {
namespace {

std::string from_environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

const char* type_name(const mvccpb::Event& e) {
  return e.type() == mvccpb::Event::DELETE ? "DELETE" : "PUT";
}

std::string watch_json(const WatchAnswer& a) {
  const pb::WatchResponse& r = a.response;
  cmd::GoJson j;
  put_message(j.open_object().key("Header"), r.header());
  j.key("Events");
  if (a.broken) {
    j.null();
  } else {
    j.open_array();
    for (const auto& e : r.events()) put_message(j, e);
    j.close_array();
  }
  j.put("CompactRevision", r.compact_revision()).put("Canceled", r.canceled()).put("Created", r.created());
  return j.close_object().take();
}

void show_events(std::string& o, const pb::WatchResponse& r, bool hex) {
  for (const auto& e : r.events()) {
    o += fmt::format("{}\n", type_name(e));
    if (e.has_prev_kv()) append_kv(o, e.prev_kv(), hex);
    append_kv(o, e.kv(), hex);
  }
}

void show_events(Fields& f, const pb::WatchResponse& r) {
  f.header(r.header());
  for (const auto& e : r.events()) {
    f.put("Type", type_name(e));
    if (e.has_prev_kv()) f.kv("Prev", e.prev_kv());
    f.kv("", e.kv());
  }
}

// The bytes of etcdctl's own message: a header even if there is none, no reason.
Or<std::string> watch_bytes(const pb::WatchResponse& r) {
  pb::WatchResponse copy;
  *copy.mutable_header() = r.header();
  *copy.mutable_events() = r.events();
  copy.set_compact_revision(r.compact_revision());
  copy.set_canceled(r.canceled());
  copy.set_created(r.created());
  return copy.SerializeAsString();
}

Ending run_commands(const pb::WatchResponse& r, const std::vector<std::string>& command) {
  for (const auto& e : r.events()) {
    const ChildEnd end = run_child(
        command, {},
        {fmt::format("ETCD_WATCH_REVISION={}", r.header().revision()),
         fmt::format("ETCD_WATCH_EVENT_TYPE=\"{}\"", type_name(e)),
         "ETCD_WATCH_KEY=" + go_quote(e.kv().key()), "ETCD_WATCH_VALUE=" + go_quote(e.kv().value())});
    if (end.error.empty()) continue;
    std::vector<std::string> quoted;
    for (const std::string& w : command) quoted.push_back(go_quote(w));
    put_error(fmt::format("command [{}] error ({})\n", fmt::join(quoted, " "), end.error));
    return {kExitError, ""};
  }
  return ok();
}

Ending run_watch(Session& s) {
  const std::string key = from_environment("ETCDCTL_WATCH_KEY"),
                    end = from_environment("ETCDCTL_WATCH_RANGE_END");
  if (key.empty() && !end.empty()) {
    return bad_arguments("ETCDCTL_WATCH_KEY is empty but got ETCDCTL_WATCH_RANGE_END={}", go_quote(end));
  }
  if (s.flag("interactive")) return run_interactive_watch(s);
  const auto call = read_watch_words(s.words(), s.words_before_dashes());
  if (!call) return call.error();
  auto client = s.connect();
  if (!client) return client.error();
  auto request = read_watch(s.flags(), *call);
  if (!request) return bad_arguments("{}", request.error());
  Watcher watcher(**client, std::move(*request));
  const Ending e = show_watch(s, watcher, call->command);
  if (e.code != kExitOk) return e;
  return fail(kExitInterrupted, "watch is canceled by the server");
}

}  // namespace

void declare_watch_flags(cmd::CobraFlags& flags) {
  using Kind = CobraFlag::Kind;
  flags.add({.name = "interactive", .shorthand = 'i', .kind = Kind::kBool, .help = "Interactive mode"});
  flags.add({.name = "prefix", .kind = Kind::kBool, .help = "Watch on a prefix if prefix is set"});
  flags.add({.name = "rev", .kind = Kind::kInt64, .help = "Revision to start watching"});
  flags.add({.name = "prev-kv",
             .kind = Kind::kBool,
             .help = "get the previous key-value pair before the event happens"});
  flags.add({.name = "progress-notify",
             .kind = Kind::kBool,
             .help = "get periodic watch progress notification from server"});
}

Or<WatchCall> read_watch_words(const std::vector<std::string>& words, std::optional<size_t> before_dashes) {
  const std::string key = from_environment("ETCDCTL_WATCH_KEY"),
                    end = from_environment("ETCDCTL_WATCH_RANGE_END");
  WatchCall call;
  const auto split = words.begin() + static_cast<ptrdiff_t>(before_dashes.value_or(words.size()));
  call.keys.assign(words.begin(), split);
  call.command.assign(split, words.end());
  if (before_dashes && call.command.empty()) {
    return tl::unexpected(bad_arguments("bad number of arguments (found separator --, but no commands)"));
  }
  if (!key.empty()) {
    if (!call.keys.empty()) {
      return tl::unexpected(bad_arguments("bad number of arguments (found conflicting environment key)"));
    }
    call.keys.push_back(key);
    if (!end.empty()) call.keys.push_back(end);
  }
  return call;
}

tl::expected<pb::WatchCreateRequest, std::string> read_watch(const cmd::CobraFlags& flags,
                                                             const WatchCall& call) {
  if (call.keys.empty()) return tl::unexpected(std::string("bad number of arguments"));
  const bool prefix = flags.at("prefix").boolean;
  pb::WatchCreateRequest r;
  r.set_key(call.keys[0]);
  if (call.keys.size() == 2) {
    if (prefix) return tl::unexpected(std::string("`range_end` and `--prefix` are mutually exclusive"));
    r.set_range_end(call.keys[1]);
  }
  if (prefix) {
    r.set_range_end(call.keys[0].empty() ? std::string(kNul) : prefix_end(call.keys[0]));
    if (call.keys[0].empty()) r.set_key(std::string(kNul));
  }
  r.set_start_revision(flags.at("rev").number);
  r.set_prev_kv(flags.at("prev-kv").boolean);
  r.set_progress_notify(flags.at("progress-notify").boolean);
  return r;
}

Ending show_watch(Session& s, Watcher& watcher, const std::vector<std::string>& command) {
  while (const auto a = watcher.next()) {
    const pb::WatchResponse& r = a->response;
    if (r.canceled()) put_error(fmt::format("watch was canceled ({})\n", a->error));
    if (a->is_progress()) out().line("progress notify: {}", r.header().revision());
    Ending e = s.print(r, {.simple = [&](std::string& o) { show_events(o, r, s.printer().hex); },
                           .fields = [&](Fields& f) { show_events(f, r); },
                           .json = [&] { return watch_json(*a); },
                           .protobuf = [&] { return watch_bytes(r); }});
    out().flush();
    if (e.code == kExitOk && !command.empty()) e = run_commands(r, command);
    if (e.code != kExitOk) return e;
  }
  return ok();
}

void add_watch_command(Registry& r) {
  CobraCommand& c = r.add("watch [options] [key or prefix] [range_end] [--] [exec-command arg1 arg2 ...]",
                          "Watches events stream on keys or prefixes", run_watch);
  declare_watch_flags(c.flags);
}

}  // namespace quoin::ctl

#include <thread>

#include "base/go_text.h"
#include "cmd/etcdctl/commands.h"
#include "cmd/etcdctl/kv_requests.h"
#include "cmd/etcdctl/methods.h"
#include "cmd/etcdctl/output.h"

namespace quoin::ctl {
namespace {

Ending run_del(Session& s) {
  auto request = read_del(s.flags(), s.words());
  if (!request) return request.error();
  auto client = s.connect();
  if (!client) return client.error();
  const auto response = (*client)->call(kDeleteRange, *request, s.deadline());
  if (!response) return Session::failed(response.error());
  return s.print(*response, {.simple = [&](std::string& o) { show_del(o, *response, s.printer().hex); },
                             .fields = [&](Fields& f) { show_del(f, *response); }});
}

}  // namespace

Or<pb::DeleteRangeRequest> read_del(const cmd::CobraFlags& flags, const Words& words) {
  const auto bad = [](Ending e) { return tl::unexpected(std::move(e)); };
  if (words.empty() || words.size() > 2) {
    return bad(bad_arguments("del command needs one argument as key and an optional argument as range_end"));
  }
  const bool prefix = flags.at("prefix").boolean, from_key = flags.at("from-key").boolean;
  if (prefix && from_key) {
    return bad(bad_arguments("`--prefix` and `--from-key` cannot be set at the same time, choose one"));
  }
  pb::DeleteRangeRequest r;
  r.set_key(words[0]);
  if (words.size() > 1) {
    if (prefix || from_key) {
      return bad(bad_arguments(
          "too many arguments, only accept one argument when `--prefix` or `--from-key` is set"));
    }
    r.set_range_end(words[1]);
    if (!flags.at("range").boolean) {
      put_error(
          fmt::format("Warning: Keys between {} and {} will be deleted. Please interrupt the command within "
                      "next 2 seconds to "
                      "cancel. You can provide `--range` flag to avoid the delay.\n",
                      go_quote(words[0]), go_quote(words[1])));
      std::this_thread::sleep_for(std::chrono::seconds(2));
    }
  }
  if (prefix || from_key) {
    r.set_range_end(prefix && !words[0].empty() ? prefix_end(words[0]) : std::string(kNul));
    if (words[0].empty()) r.set_key(std::string(kNul));
  }
  r.set_prev_kv(flags.at("prev-kv").boolean);
  return r;
}

cmd::CobraCommand& add_del(cmd::CobraCommand& parent) {
  CobraCommand& c = parent.add("del [options] <key> [range_end]",
                               "Removes the specified key or range of keys [key, range_end)");
  c.runnable = true;
  const auto truth = [&](const char* name, const char* help) {
    c.flags.add({.name = name, .kind = CobraFlag::Kind::kBool, .help = help});
  };
  truth("prefix", "delete keys with matching prefix");
  truth("prev-kv", "return deleted key-value pairs");
  truth("from-key", "delete keys that are greater than or equal to the given key using byte compare");
  truth("range", "delete range of keys");
  return c;
}

void add_del_command(Registry& r) {
  r.set_run(add_del(r.root()), run_del);
}

}  // namespace quoin::ctl

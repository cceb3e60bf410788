// watch -i: a line opens one more watch, each shown by a thread of its own, or asks for a progress notification.
#include <unistd.h>

#include <list>
#include <thread>

#include "cmd/etcdctl/argify.h"
#include "cmd/etcdctl/output.h"
#include "cmd/etcdctl/stdin_reader.h"
#include "cmd/etcdctl/watch_command.h"

namespace quoin::ctl {
namespace {

// Nothing: the line was answered by a message, or the watch runs. Otherwise the program ends.
std::optional<Ending> open_watch(Session& s, Client& client, const std::string& line,
                                 const std::vector<std::string>& words, std::list<Watcher>& watchers) {
  const bool has_environment_key = [] {
    const char* key = std::getenv("ETCDCTL_WATCH_KEY");
    return key != nullptr && *key != '\0';
  }();
  if (words.size() < 2 && !has_environment_key) {
    put_error(fmt::format("Invalid command {} (command type or key is not provided)\n", line));
    return std::nullopt;
  }
  if (words.back() == "--") {
    return bad_arguments("bad number of arguments (found separator --, but no commands)");
  }
  cmd::CobraFlags flags;
  declare_watch_flags(flags);
  if (const auto parsed = flags.parse({words.begin() + 1, words.end()}); !parsed) {
    return bad_arguments("{}", parsed.error().text());
  }
  auto call = read_watch_words(flags.words(), flags.words_before_dashes());
  if (!call) return call.error();
  if (call->keys.empty() && call->command.empty()) return bad_arguments("bad number of arguments");
  auto request = read_watch(flags, *call);
  if (!request) {
    put_error(fmt::format("Invalid command {} ({})\n", line, request.error()));
    return std::nullopt;
  }
  Watcher& watcher = watchers.emplace_back(client, std::move(*request));
  // It ends with the program.
  std::thread([&s, &watcher, command = std::move(call->command)] {
    const Ending e = show_watch(s, watcher, command);
    if (e.code == kExitOk) return;
    if (!e.text.empty()) put_error("Error: " + e.text + "\n");
    _exit(e.code);
  }).detach();
  return std::nullopt;
}

}  // namespace

Ending run_interactive_watch(Session& s) {
  auto client = s.connect();
  if (!client) return client.error();
  std::list<Watcher> watchers;  // at fixed addresses
  const auto run = [&]() -> Ending {
    for (;;) {
      const auto line = standard_input().line();
      if (!line) return fail(kExitInvalidInput, "error reading watch request line: EOF");
      const auto words = argify(*line);
      if (!words) return words.error();
      if (words->empty()) {
        put_error(fmt::format("Invalid command: {} (watch and progress supported)\n", *line));
      } else if ((*words)[0] == "watch") {
        if (auto end = open_watch(s, **client, *line, *words, watchers)) return *end;
      } else if ((*words)[0] == "progress") {
        for (Watcher& w : watchers) w.request_progress();
      } else {
        put_error(fmt::format("Invalid command {} (only support watch)\n", *line));
      }
    }
  };
  const Ending end = run();
  if (!end.text.empty()) put_error("Error: " + end.text + "\n");
  // The threads of the watches still use what this function owns.
  out().flush();
  _exit(end.code);
}

}  // namespace quoin::ctl

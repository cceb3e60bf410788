// What watch and watch -i share.
//
// Threads: show_watch() of several watches at once. Source: etcdctl/ctlv3/command/watch_command.go.
#pragma once
#include <string>
#include <vector>

#include "cmd/etcdctl/session.h"
#include "cmd/etcdctl/watcher.h"

namespace quoin::ctl {

struct WatchCall {
  std::vector<std::string> keys;     // key and range_end
  std::vector<std::string> command;  // run for each event
};

void declare_watch_flags(cmd::CobraFlags& flags);

// `words`, of which `before_dashes` stood before "--"; the key may come from the environment. Fails with 128.
Or<WatchCall> read_watch_words(const std::vector<std::string>& words, std::optional<size_t> before_dashes);

// Errors: the text of the fault.
tl::expected<pb::WatchCreateRequest, std::string> read_watch(const cmd::CobraFlags& flags,
                                                             const WatchCall& call);

// Prints what the watch is told, and runs the command, until it ends.
Ending show_watch(Session& s, Watcher& watcher, const std::vector<std::string>& command);

Ending run_interactive_watch(Session& s);

}  // namespace quoin::ctl

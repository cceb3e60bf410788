// The commands of etcdctl: each group has a file of its own and one function here that adds it.
//
// To add a group: write x_command.cc with `void add_x_commands(Registry& r)`, name it below and in add_all_commands
// (commands.cc). In it, r.add(...) makes a command under the root or under a parent, and takes the function that runs it:
//
//   void add_x_commands(Registry& r) {
//     CobraCommand& x = r.root().add("x <subcommand>", "X related commands");      // a parent runs nothing
//     CobraCommand& get = r.add(x, "get <name>", "Gets an X", run_x_get);
//     get.flags.add({.name = "detail", .kind = CobraFlag::Kind::kBool, .help = "..."});
//   }
//
// Threads: of the main thread.
#pragma once
#include <functional>
#include <map>

#include "cmd/cobra/command.h"
#include "cmd/etcdctl/session.h"

namespace quoin::ctl {

using cmd::CobraCommand;
using cmd::CobraFlag;

class Registry {
 public:
  using Run = std::function<Ending(Session&)>;

  Registry();
  CobraCommand& root() { return root_; }
  CobraCommand& add(CobraCommand& parent, std::string use, std::string brief, Run run);
  CobraCommand& add(std::string use, std::string brief, Run run) {
    return add(root_, std::move(use), std::move(brief), std::move(run));
  }
  // For a command that was made elsewhere.
  void set_run(const CobraCommand& command, Run run) { runs_[&command] = std::move(run); }
  const Run& run_of(const CobraCommand& command) const { return runs_.at(&command); }

 private:
  CobraCommand root_;
  std::map<const CobraCommand*, Run> runs_;
};

void add_alarm_commands(Registry& r);
void add_auth_commands(Registry& r);
void add_check_commands(Registry& r);
void add_compaction_command(Registry& r);
void add_completion_command(Registry& r);
void add_defrag_command(Registry& r);
void add_del_command(Registry& r);
void add_downgrade_commands(Registry& r);
void add_elect_command(Registry& r);
void add_endpoint_commands(Registry& r);
void add_get_command(Registry& r);
void add_lease_commands(Registry& r);
void add_lock_command(Registry& r);
void add_make_mirror_command(Registry& r);
void add_member_commands(Registry& r);
void add_move_leader_command(Registry& r);
void add_put_command(Registry& r);
void add_role_commands(Registry& r);
void add_snapshot_commands(Registry& r);
void add_txn_command(Registry& r);
void add_user_commands(Registry& r);
void add_version_command(Registry& r);
void add_watch_command(Registry& r);

void add_all_commands(Registry& r);

}  // namespace quoin::ctl

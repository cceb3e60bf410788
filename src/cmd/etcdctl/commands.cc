#include "cmd/etcdctl/commands.h"

#include "cmd/cobra/etcd_usage.h"
#include "cmd/etcdctl/api_version.h"

namespace quoin::ctl {

Registry::Registry() : root_("etcdctl", "A simple command line client for etcd3.") {
  root_.options = {.help_command = true, .prefix_names = true, .usage = [](const CobraCommand& c) {
                     return cmd::etcd_usage(c, kEtcdVersion, kApiVersion);
                   }};
  declare_global_flags(root_);
}

CobraCommand& Registry::add(CobraCommand& parent, std::string use, std::string brief, Run run) {
  CobraCommand& c = parent.add(std::move(use), std::move(brief));
  c.runnable = true;
  runs_[&c] = std::move(run);
  return c;
}

void add_all_commands(Registry& r) {
  add_alarm_commands(r);
  add_auth_commands(r);
  add_check_commands(r);
  add_compaction_command(r);
  add_completion_command(r);
  add_defrag_command(r);
  add_del_command(r);
  add_downgrade_commands(r);
  add_elect_command(r);
  add_endpoint_commands(r);
  add_get_command(r);
  add_lease_commands(r);
  add_lock_command(r);
  add_make_mirror_command(r);
  add_member_commands(r);
  add_move_leader_command(r);
  add_put_command(r);
  add_role_commands(r);
  add_snapshot_commands(r);
  add_txn_command(r);
  add_user_commands(r);
  add_version_command(r);
  add_watch_command(r);
}

}  // namespace quoin::ctl

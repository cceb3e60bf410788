#include "cmd/etcdctl/commands.h"
#include "cmd/etcdctl/methods.h"
#include "cmd/etcdctl/numbers.h"
#include "cmd/etcdctl/output.h"

namespace quoin::ctl {
namespace {

Ending run_compaction(Session& s) {
  if (s.words().size() != 1) return bad_arguments("compaction command needs 1 argument");
  const auto revision = parse_int(s.words()[0], 10);
  if (!revision) return fail(kExitError, "{}", revision.error());
  auto client = s.connect();
  if (!client) return client.error();
  pb::CompactionRequest request;
  request.set_revision(*revision);
  request.set_physical(s.flag("physical"));
  const auto response = (*client)->call(kCompact, request, s.deadline());
  if (!response) return Session::failed(response.error());
  out().line("compacted revision {}", *revision);
  return ok();
}

}  // namespace

void add_compaction_command(Registry& r) {
  CobraCommand& c =
      r.add("compaction [options] <revision>", "Compacts the event history in etcd", run_compaction);
  c.flags.add({.name = "physical",
               .kind = CobraFlag::Kind::kBool,
               .help = "'true' to wait for compaction to physically remove all old revisions"});
}

}  // namespace quoin::ctl

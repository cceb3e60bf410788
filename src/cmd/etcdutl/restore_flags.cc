#include "cmd/etcdutl/restore_flags.h"

namespace quoin::utl {
namespace {

std::vector<std::string> split_commas(const std::string& text) {
  std::vector<std::string> out(1);
  for (const char c : text) {
    if (c == ',')
      out.emplace_back();
    else
      out.back() += c;
  }
  return out;
}

}  // namespace

void declare_restore_flags(cmd::CobraFlags& f) {
  using Kind = cmd::CobraFlag::Kind;
  const RestoreOptions d;
  f.add({.name = "data-dir", .help = "Path to the output data directory"});
  f.add({.name = "wal-dir", .help = "Path to the WAL directory (use --data-dir if none given)"});
  f.add({.name = "initial-cluster",
         .help = "Initial cluster configuration for restore bootstrap",
         .text = d.initial_cluster});
  f.add({.name = "initial-cluster-token",
         .help = "Initial cluster token for the etcd cluster during restore bootstrap",
         .text = d.initial_cluster_token});
  f.add({.name = "initial-advertise-peer-urls",
         .help = "List of this member's peer URLs to advertise to the rest of the cluster",
         .text = d.peer_urls[0]});
  f.add({.name = "name", .help = "Human-readable name for this member", .text = d.name});
  f.add({.name = "skip-hash-check",
         .kind = Kind::kBool,
         .help = "Ignore snapshot integrity hash value (required if copied from data directory)"});
  f.add({.name = "initial-memory-map-size",
         .kind = Kind::kUint64,
         .help =
             "Initial memory map size of the database in bytes. It uses the default value if not defined or "
             "defined to 0",
         .unsigned_number = d.map_bytes});
  f.add({.name = "bump-revision",
         .kind = Kind::kUint64,
         .help = "How much to increase the latest revision after restore"});
  f.add({.name = "mark-compacted",
         .kind = Kind::kBool,
         .help = "Mark the latest revision after restore as the point of scheduled compaction (required if "
                 "--bump-revision > 0, disallowed otherwise)"});
}

Result<RestoreOptions> read_restore_flags(const cmd::CobraFlags& flags, const std::string& snapshot) {
  RestoreOptions o;
  o.bump_revision = flags.at("bump-revision").unsigned_number;
  if ((o.bump_revision > 0) != flags.at("mark-compacted").boolean) {
    return Error(Code::kInvalidArgument, "--mark-compacted required if --revision-bump > 0");
  }
  o.snapshot = snapshot;
  o.name = flags.at("name").text;
  o.data_dir = flags.at("data-dir").text;
  o.wal_dir = flags.at("wal-dir").text;
  o.initial_cluster = flags.at("initial-cluster").text;
  o.initial_cluster_token = flags.at("initial-cluster-token").text;
  o.peer_urls = split_commas(flags.at("initial-advertise-peer-urls").text);
  o.skip_hash_check = flags.at("skip-hash-check").boolean;
  o.map_bytes = flags.at("initial-memory-map-size").unsigned_number;
  return o;
}

}  // namespace quoin::utl

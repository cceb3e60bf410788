#include "cmd/etcdutl/restore.h"

#include <filesystem>

#include "base/go_text.h"
#include "cmd/etcdutl/files.h"
#include "cmd/etcdutl/new_member.h"
#include "cmd/etcdutl/snapshot_copy.h"
#include "membership/bootstrap.h"
#include "server/same_urls.h"

namespace quoin::utl {

namespace {

constexpr uint32_t kPrivateDir = 0700;

struct Places {
  std::string data_dir, wal_dir, snap_dir;  // as the log shows them
  bool own_wal_dir = false;                 // outside the member's directory
  std::string member_dir, member_staging, wal_staging;
  bool made_data_dir = false;
};

// "/wal" of "d/member/wal" within "d/member"; empty if it does not lie within.
std::string path_within(const std::string& path, const std::string& folder) {
  const auto plain = [](const std::string& p) {
    std::error_code ignored;
    return without_slashes(std::filesystem::absolute(p, ignored).lexically_normal().string());
  };
  const std::string all = plain(path), base = plain(folder);
  return all.starts_with(base + "/") ? all.substr(base.size()) : "";
}

Places places_of(const RestoreOptions& options) {
  Places p;
  p.data_dir = options.data_dir.empty() ? options.name + ".etcd" : options.data_dir;
  const std::string plain = without_slashes(p.data_dir);
  p.member_dir = plain + "/member";
  p.member_staging = p.member_dir + ".restoring";
  p.snap_dir = snap_path(plain);
  p.wal_dir = options.wal_dir.empty() ? wal_path(plain) : options.wal_dir;
  const std::string within = path_within(p.wal_dir, p.member_dir);
  p.own_wal_dir = within.empty();
  p.wal_staging = p.own_wal_dir ? without_slashes(p.wal_dir) + ".restoring" : p.member_staging + within;
  return p;
}

Result<> check_places(const Places& places, io::FileSystem& fs) {
  const auto there = [&fs](const std::string& path) {
    const auto found = fs.exists(path);
    return !found || *found;
  };
  if (there(places.data_dir)) {
    const auto entries = fs.list(places.data_dir);
    if (!entries || !entries->empty()) {
      return make_error(Code::kInvalidArgument, "data-dir {} not empty or could not be read",
                        go_quote(places.data_dir));
    }
  }
  if (there(places.wal_dir)) {
    return make_error(Code::kInvalidArgument, "wal-dir {} exists", go_quote(places.wal_dir));
  }
  return {};
}

// What is wrong with the copy is wrong with the snapshot, which is what the user knows.
Error named_after(const std::string& snapshot, const std::string& copy, const Error& error) {
  const std::string_view text = error.text();
  if (!text.starts_with(copy + ": ")) return error;
  return make_error(error.code(), "{}{}", snapshot, text.substr(copy.size()));
}

Result<> build(const RestoreOptions& options, const Places& places, const membership::Membership& members,
               const Machine& machine, const Job& job) {
  const std::string snap_staging = places.member_staging + "/snap";
  const std::string database = snap_staging + "/db";
  TRY(machine.fs.make_dirs(snap_staging, kPrivateDir));
  TRY(copy_snapshot(machine.fs, options.snapshot, database, options.skip_hash_check, job));
  if (Result<> given = give_new_members(machine, database, {members, options.bump_revision}, job); !given) {
    return named_after(options.snapshot, database, given.error());
  }
  TRY(job.step("writing the log", 0, 0));
  TRY(machine.fs.make_dirs(parent_of(places.wal_staging), kPrivateDir));
  TRY(found_log(machine, members, places.wal_staging, snap_staging));
  return machine.fs.sync_dir(places.member_staging);
}

// The names of the directories that were made on the way to `path` outlive a power loss. Those further up may be closed to
// us; then somebody else made them.
void sync_above(const std::string& path, io::FileSystem& fs) {
  for (std::string at = parent_of(path);; at = parent_of(at)) {
    (void)fs.sync_dir(at);
    if (at == "/" || at == ".") return;
  }
}

// The log comes last: without one nobody takes the directory for a member's.
Result<> put_in_place(const Places& places, const Machine& machine, const Job& job) {
  TRY(job.step("putting it in place", 0, 0));
  TRY(machine.fs.rename(places.member_staging, places.member_dir));
  TRY(machine.fs.sync_dir(places.data_dir));
  if (places.made_data_dir) TRY(machine.fs.sync_dir(parent_of(places.data_dir)));
  sync_above(places.data_dir, machine.fs);
  if (!places.own_wal_dir) return {};
  TRY(machine.fs.rename(places.wal_staging, without_slashes(places.wal_dir)));
  TRY(machine.fs.sync_dir(parent_of(places.wal_dir)));
  sync_above(parent_of(places.wal_dir), machine.fs);
  return {};
}

// What was made before an error. Only what this run made is there: the directory was empty or missing.
void remove_again(const Places& places, io::FileSystem& fs) {
  (void)fs.remove_all(places.member_staging);
  (void)fs.remove_all(places.member_dir);
  if (places.own_wal_dir) {
    (void)fs.remove_all(places.wal_staging);
    (void)fs.remove_all(places.wal_staging + ".tmp");
    (void)fs.remove_all(without_slashes(places.wal_dir));
  }
  if (places.made_data_dir) (void)fs.remove_all(places.data_dir);
}

void say(log::Logger& log, std::string_view what, const RestoreOptions& options, const Places& places) {
  LOG(log, kInfo, what, {"path", options.snapshot}, {"wal-dir", places.wal_dir},
      {"data-dir", places.data_dir}, {"snap-dir", places.snap_dir},
      {"initial-memory-map-size", options.map_bytes});
}

}  // namespace

Result<membership::Membership> founding_members(const RestoreOptions& options, const Machine& machine) {
  ASSIGN_OR_RETURN(const auto advertised, membership::parse_urls(options.peer_urls));
  ASSIGN_OR_RETURN(const auto cluster, membership::parse_initial_cluster(options.initial_cluster));
  if (const auto own = cluster.find(options.name); own != cluster.end()) {
    server::UrlComparer comparer(machine.resolver, machine.clock, machine.log);
    TRY(server::check_advertised(options.name, own->second, advertised, comparer));
  }
  TRY(membership::check_initial_cluster(cluster, options.name));
  return membership::found_cluster(cluster, options.initial_cluster_token, options.name);
}

Result<> restore_snapshot(const RestoreOptions& options, const Machine& machine, const Job& job) {
  ASSIGN_OR_RETURN(const membership::Membership members, founding_members(options, machine));
  Places places = places_of(options);
  TRY(check_places(places, machine.fs));
  say(machine.log, "restoring snapshot", options, places);
  ASSIGN_OR_RETURN(const bool had_data_dir, machine.fs.exists(places.data_dir));
  places.made_data_dir = !had_data_dir;
  Result<> done = build(options, places, members, machine, job);
  if (done) done = put_in_place(places, machine, job);
  if (!done) {
    remove_again(places, machine.fs);
    return done;
  }
  say(machine.log, "restored snapshot", options, places);
  return {};
}

}  // namespace quoin::utl

#include "server/bootstrap.h"

#include <algorithm>

#include "backend/schema.h"
#include "base/coding.h"
#include "membership/bootstrap.h"
#include "membership/snapshot_state.h"
#include "raft/codec.h"
#include "server/force_new_cluster.h"
#include "server/no_peers.h"
#include "server/open_state.h"
#include "server/remote_cluster.h"
#include "server/same_urls.h"
#include "server/single_voter.h"
#include "server/start_progress.h"
#include "snap/membership_json.h"
#include "wire/etcdserver.h"
#include "wire/message.h"

namespace quoin::server {

namespace {

constexpr uint32_t kPrivateDir = 0700;
constexpr uint32_t kPrivateFile = 0600;
constexpr backend::SchemaVersion kOwnSchema{3, 6};

std::string wal_dir(const Config& c) {
  return c.wal_dir.empty() ? c.data_dir + "/member/wal" : c.wal_dir;
}
std::string member_dir(const Config& c) {
  return c.data_dir + "/member";
}
// "drwxr-xr-x".
std::string mode_text(uint32_t mode) {
  std::string out = "drwxrwxrwx";
  for (int bit = 0; bit < 9; ++bit) {
    if ((mode >> (8 - bit) & 1U) == 0) out[static_cast<size_t>(bit) + 1] = '-';
  }
  return out;
}

Result<> make_private_dir(const std::string& path, Environment& env) {
  ASSIGN_OR_RETURN(const bool there, env.file_fs.exists(path));
  if (!there) return env.file_fs.make_dirs(path, kPrivateDir);
  ASSIGN_OR_RETURN(const uint32_t mode, env.file_fs.permissions(path));
  if (mode != kPrivateDir) {
    LOG(env.log, kWarn, "check file permission",
        {"error",
         fmt::format("directory \"{}\" exist, but the permission is \"{}\". The recommended permission is "
                     "\"-rwx------\" to prevent possible unprivileged access to the data",
                     path, mode_text(mode))});
  }
  return {};
}

std::string parent_of(const std::string& path) {
  const size_t slash = path.find_last_not_of('/') == std::string::npos
                           ? std::string::npos
                           : path.rfind('/', path.find_last_not_of('/'));
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

// The names of what start-up made, or found made by a start that ended before this point, outlive a power
// loss. All ancestors: any of them may be as new as the data. Those outside the data directory may be closed
// to us (then somebody else made them), so they are only tried.
Result<> sync_names(const Config& config, Environment& env) {
  TRY(env.file_fs.sync_dir(member_dir(config)));
  TRY(env.file_fs.sync_dir(config.data_dir));
  auto sync_above = [&](std::string path) {
    do {
      path = parent_of(path);
      if (Result<> synced = env.file_fs.sync_dir(path); !synced) {
        LOG(env.log, kWarn, "failed to sync a directory above the data", {"path", path},
            {"error", synced.error().text()});
      }
    } while (path != "/" && path != ".");
  };
  sync_above(config.data_dir);
  if (!config.wal_dir.empty()) sync_above(config.wal_dir);
  return {};
}

// A directory that takes no new file is told before anything depends on it.
Result<> probe_writable(const std::string& dir, Environment& env) {
  const std::string path = dir + "/.touch";
  ASSIGN_OR_RETURN(auto file, env.file_fs.open(path, {.write = true, .create = true, .mode = kPrivateFile}));
  file.reset();
  return env.file_fs.remove(path);
}

bool wants_defragmentation(const Config& c, const backend::Backend& backend, log::Logger& log) {
  if (c.bootstrap_defrag_mib == 0) return false;
  const uint64_t size = backend.size(), in_use = backend.size_in_use(),
                 threshold = c.bootstrap_defrag_mib << 20;
  if (size - in_use >= threshold) return true;
  LOG(log, kInfo, "Skipping defragmentation", {"current-db-size-bytes", size},
      {"current-db-size", log::Size{size}}, {"current-db-size-in-use-bytes", in_use},
      {"current-db-size-in-use", log::Size{in_use}},
      {"experimental-bootstrap-defrag-threshold-bytes", threshold},
      {"experimental-bootstrap-defrag-threshold", log::Size{threshold}});
  return false;
}

std::string metadata_bytes(MemberId self, ClusterId cluster) {
  wire::etcdserverpb::Metadata m;
  m.node_id = self.v;
  m.cluster_id = cluster.v;
  return wire::encode_string(m);
}

// The newest `.snap` for which the WAL holds a record; index 0 if there is none. If the newest record's own
// file is not there or damaged, *passed_over is its path: without it the log may lack what comes next.
Result<raft::Snapshot> newest_snapshot(const Config& config, Environment& env, snap::Snapshotter& snapshotter,
                                       std::string* passed_over) {
  ASSIGN_OR_RETURN(const auto records, wal::valid_snapshots(env.append_fs, wal_dir(config), env.log));
  auto found = snapshotter.load_newest([&](Term term, Index index) {
    return std::any_of(records.begin(), records.end(),
                       [&](const wal::SnapshotRecord& r) { return r.term == term && r.index == index; });
  });
  if (!found && found.error().code() != Code::kNotFound) return found.error();
  if (!found) {
    LOG(env.log, kInfo, "No snapshot found. Recovering WAL from scratch!", );
    found = raft::Snapshot{};
  }
  if (!records.empty() && records.back().index > found->metadata.index) {
    *passed_over = snapshotter.dir() + "/" + snap::snap_name(records.back().term, records.back().index);
  }
  return found;
}

Result<membership::InitialCluster> initial_cluster(const Config& config, UrlComparer* advertised = nullptr) {
  membership::InitialCluster cluster;
  for (const auto& [name, urls] : config.initial_cluster) cluster[name] = urls;
  if (const auto own = cluster.find(config.name); own != cluster.end() && advertised != nullptr) {
    TRY(check_advertised(config.name, own->second, config.initial_advertise_peer_urls, *advertised));
  }
  TRY(membership::check_initial_cluster(cluster, config.name));
  return cluster;
}

Peers& peers_of(Environment& env) {
  static NoPeers none;
  return env.peers != nullptr ? *env.peers : none;
}

// `advertised`: compares the own URLs with those that are advertised.
Result<membership::Membership> founding_membership(const Config& config, UrlComparer* advertised = nullptr) {
  ASSIGN_OR_RETURN(const auto cluster, initial_cluster(config, advertised));
  return membership::found_cluster(cluster, config.initial_cluster_token, config.name);
}

Result<membership::Membership> joined_membership(const Config& config, Environment& env) {
  ASSIGN_OR_RETURN(const auto cluster, initial_cluster(config));
  UrlComparer comparer(env.resolver, env.clock, env.log);
  return join_running_cluster(cluster, config, peers_of(env), comparer, env.log);
}

}  // namespace

// Backend, leases, members and the store: what replay starts from.
static Result<> load_state(const Config& config, Environment& env, membership::Membership initial,
                           bool founding, ApplyStage::State* state) {
  const MemberId self = initial.local_id;
  const ClusterId cluster_id = initial.cluster_id;
  LOG(env.log, kInfo, "bootstrapping cluster", );
  LOG(env.log, kInfo, "bootstrapping storage", );
  TRY(backend::validate_schema(*state->backend, kOwnSchema));
  state->cluster =
      std::make_unique<membership::Cluster>(std::move(initial), membership::own_version(), env.log);
  TRY(state->cluster->recover(*state->backend));
  LOG(env.log, kInfo, "bootstrapping raft", );
  if (founding) {
    LOG(env.log, kInfo, "starting local member", {"local-member-id", log::Hex{self.v}},
        {"cluster-id", log::Hex{cluster_id.v}});
  }
  LOG(env.log, kInfo, "bootstrap successfully", );
  state->compaction_log = std::make_unique<CompactionLog>(env.log, env.clock);
  ASSIGN_OR_RETURN(ReadState read, read_state(config, env, *state->backend, state->compaction_log.get()));
  state->lessor = std::move(read.lessor);
  state->glue = std::move(read.glue);
  state->store = std::move(read.store);
  state->alarms = std::make_unique<Alarms>(std::move(*read.alarms));
  state->auth = std::move(read.auth);
  return {};
}

// What is wrong with the contents is wrong with the file, and whoever reads the line must know which.
static Result<> load_named_state(const Config& config, Environment& env, membership::Membership initial,
                                 bool founding, ApplyStage::State* state) {
  Result<> loaded = load_state(config, env, std::move(initial), founding, state);
  if (!loaded) return loaded.error().prefixed(fmt::format("database file {}", database_path(config)));
  return {};
}

// Begins on a log that holds nothing yet: founds a cluster with these members, or joins theirs.
static Result<> begin(const Config& config, Environment& env, membership::Membership members, wal::Tail tail,
                      Bootstrapped* out) {
  out->self = members.local_id;
  out->cluster = members.cluster_id;
  out->tail = std::move(tail);
  out->state.replay.local_id = out->self;
  out->state.replay.cluster_id = out->cluster;
  // Who joins learns its configuration from the log that the leader sends.
  if (config.new_cluster) {
    for (const membership::Member& m : members.list()) {
      // A founder's name is part of its first entry.
      out->founders.push_back({m.id, Blob::copy(membership::member_json(m))});
    }
    out->alone = out->founders.size() == 1;
  }
  return load_named_state(config, env, std::move(members), /*founding=*/true, &out->state);
}

static Result<> found_or_join(const Config& config, Environment& env, Bootstrapped* out) {
  membership::Membership members;
  if (config.new_cluster) {
    UrlComparer comparer(env.resolver, env.clock, env.log);
    ASSIGN_OR_RETURN(members, founding_membership(config, &comparer));
    TRY(check_not_bootstrapped(members, config.name, peers_of(env), env.log));
  } else {
    ASSIGN_OR_RETURN(members, joined_membership(config, env));
  }
  ASSIGN_OR_RETURN(wal::OpenedLog log,
                   wal::create(env.append_fs, wal_dir(config),
                               metadata_bytes(members.local_id, members.cluster_id), env.log));
  return begin(config, env, std::move(members), std::move(log.tail), out);
}

// Power went after the log was made and before its first entries and the hard state that commits them were
// synced. Nobody was answered. A founder without founders would never have a leader, so it founds again. A
// member that joined must not found a cluster of its own: it asks again who the others are.
static Result<> begin_again(const Config& config, Environment& env, wal::OpenedLog log, Bootstrapped* out) {
  auto members = config.new_cluster ? founding_membership(config) : joined_membership(config, env);
  if (!members) return members.error();
  if (log.contents.metadata.view() != metadata_bytes(members->local_id, members->cluster_id)) {
    return make_error(
        Code::kInvalidArgument,
        "the log in {} was made for another member or cluster and holds no entry; remove it to found "
        "or join this one",
        wal_dir(config));
  }
  if (config.new_cluster) {
    LOG(env.log, kInfo, "the log holds no committed entry; founding again", );
  } else {
    LOG(env.log, kInfo, "the log holds no committed entry; joining again", );
  }
  return begin(config, env, std::move(*members), std::move(log.tail), out);
}

// A leader's snapshot is saved in three steps: the database as `<index>.snap.db`, the `.snap` file with its
// record in the log, and the database renamed over `db`. Where a crash left out the last, the database is
// behind the log's beginning; the step is made up for. A crash in here leaves one of the two states again.
static Result<> take_snapshot_database(const Config& config, Environment& env, Index snapshot,
                                       Bootstrapped* out) {
  const Index consistent = out->state.backend->consistent_index();
  if (snapshot <= consistent) {
    LOG(env.log, kInfo, "Skipping snapshot backend", {"consistent-index", consistent.v},
        {"snapshot-index", snapshot.v});
    return {};
  }
  LOG(env.log, kInfo, "Recovering from snapshot backend", {"consistent-index", consistent.v},
      {"snapshot-index", snapshot.v});
  auto received = out->snapshotter->db_path(snapshot);
  if (!received) {
    return make_error(
        received.error().code(),
        "failed to recover v3 backend from snapshot: failed to find database snapshot file ({})",
        received.error().text());
  }
  // Nothing was written to it; its lock goes with it.
  out->state.backend.reset();
  TRY(env.file_fs.rename(*received, database_path(config)));
  // Before anything of the log is released that only the old file would need.
  TRY(env.file_fs.sync_dir(snap_dir(config)));
  out->snapshotter->db_taken(snapshot);
  ASSIGN_OR_RETURN(out->state.backend, open_backend(config, env));
  return {};
}

static Result<std::vector<std::string>> keys_of(const backend::Backend& db, backend::Bucket bucket) {
  std::vector<std::string> keys;
  TRY(db.scan(bucket, {}, {}, [&](std::string_view key, std::string_view) {
    keys.emplace_back(key);
    return true;
  }));
  return keys;
}

// A database that has applied entries, and no log. A log founded beside it would begin at index 1, and all of
// it up to the database's index would count as applied: the member would never answer.
static Result<> check_founding(const Config& config, Environment& env, backend::Backend& db) {
  const Index applied = db.consistent_index();
  if (!applied) return {};
  if (!config.allow_wal_cut) {
    return make_error(Code::kCorruption,
                      "database file {} holds entries up to index {}, but there is no log in {}; put the log "
                      "back, or start with --quoin-allow-wal-cut to found a new cluster on the data",
                      database_path(config), applied, wal_dir(config));
  }
  LOG(env.log, kWarn, "the log is missing; founding a new cluster on the data",
      {"path", database_path(config)}, {"consistent-index", applied.v});
  for (const auto bucket : {backend::Bucket::kMembers, backend::Bucket::kMembersRemoved}) {
    ASSIGN_OR_RETURN(const auto keys, keys_of(db, bucket));
    for (const std::string& key : keys) db.erase(bucket, key);
  }
  db.set_consistent_index_forced(Index(0), Term(0));
  return {};
}

// The log ends before the database, and the flag says to go on. What is appended next gets indexes that the
// database counts as applied. Other members hold what is missing and send it again, so that it must be
// skipped; a member alone goes on from the end of the log. Returns whom the database has as members then.
static Result<std::vector<MemberId>> go_on_from(raft::EntryId end, bool alone, Environment& env,
                                                backend::Backend& db) {
  std::vector<MemberId> ids;
  const Index applied = db.consistent_index();
  if (end.index >= applied) return ids;
  ASSIGN_OR_RETURN(const auto members, keys_of(db, backend::Bucket::kMembers));
  if (members.size() > 1 && !alone) return ids;
  LOG(env.log, kWarn, "the log ends before the database; going on from the end of the log",
      {"log-index", end.index.v}, {"consistent-index", applied.v});
  db.set_consistent_index_forced(end.index, end.term);
  for (const std::string& key : members) {
    uint64_t id = 0;
    if (parse_hex(key, &id)) ids.push_back(MemberId(id));
  }
  return ids;
}

static Result<> restart(const Config& config, Environment& env, Bootstrapped* out) {
  std::string passed_over;
  ASSIGN_OR_RETURN(const raft::Snapshot snapshot,
                   newest_snapshot(config, env, *out->snapshotter, &passed_over));
  if (!snapshot.empty()) {
    LOG(env.log, kInfo, "recovered v2 store from snapshot", {"snapshot-index", snapshot.metadata.index.v},
        {"snapshot-size", log::Size{snapshot.data.size()}});
    TRY(take_snapshot_database(config, env, snapshot.metadata.index, out));
  }
  const Index consistent = out->state.backend->consistent_index();
  if (snapshot.metadata.index > consistent) {
    return make_error(Code::kCorruption,
                      "database file ({} index {}) does not match with snapshot (index {})",
                      database_path(config), consistent, snapshot.metadata.index);
  }
  const backend::Backend& db = *out->state.backend;
  LOG(env.log, kInfo, "recovered v3 backend", {"backend-size-bytes", db.size()},
      {"backend-size", log::Size{db.size()}}, {"backend-size-in-use-bytes", db.size_in_use()},
      {"backend-size-in-use", log::Size{db.size_in_use()}});
  LOG(env.log, kInfo, "Bootstrapping WAL from snapshot", );
  wal::SnapshotRecord start{snapshot.metadata.index, snapshot.metadata.term, std::nullopt};
  if (!snapshot.empty()) start.conf_state = snapshot.metadata.conf_state;
  ASSIGN_OR_RETURN(const auto members, keys_of(db, backend::Bucket::kMembers));
  // An empty database says nothing: who joined, or founded with others, may have lost all of it but the log. Where
  // DNS named the founders, the flags say nothing either.
  const bool founded_alone =
      members.empty() ? config.new_cluster && config.initial_cluster.size() == 1 : members.size() == 1;
  auto opened = wal::open(env.append_fs, wal_dir(config), start,
                          {.acknowledged = consistent,
                           .allow_cut = config.allow_wal_cut,
                           .alone = founded_alone && snapshot.metadata.conf_state.voters.size() <= 1},
                          env.log);
  if (!opened && opened.error().code() == Code::kFileNotFound && !passed_over.empty()) {
    return opened.error().prefixed(fmt::format(
        "snapshot file {} is missing or damaged, and the log does not begin before it", passed_over));
  }
  if (!opened && opened.error().code() == Code::kMalformed && !passed_over.empty()) {
    return opened.error().prefixed(fmt::format(
        "snapshot file {} is missing or damaged, and the log can't be read from before it", passed_over));
  }
  if (!opened) return opened.error();
  wal::OpenedLog log = std::move(*opened);
  if (snapshot.empty() && log.contents.hard_state.empty() && !consistent && !config.force_new_cluster) {
    return begin_again(config, env, std::move(log), out);
  }
  ASSIGN_OR_RETURN(const auto ids, wire::decode<wire::etcdserverpb::Metadata>(log.contents.metadata.view()));
  out->self = MemberId(ids.node_id);
  out->cluster = ClusterId(ids.cluster_id);
  ASSIGN_OR_RETURN(out->state.replay, membership_of(snapshot, out->self, out->cluster));
  raft::HardState hard_state = log.contents.hard_state;
  std::vector<raft::Entry> entries = std::move(log.contents.entries);
  // The hard state that was handed over with the last entries stands behind them, so a crash may have taken it. No
  // entry is of a later term than its member. (etcd starts with the lower term, and stops when that is 0 and another
  // member asks for its vote.)
  const Term newest = entries.empty() ? snapshot.metadata.term : entries.back().term;
  if (newest > hard_state.term) hard_state = {newest, MemberId(), hard_state.commit};
  // What the database holds was committed, also where the log's last commit was lost with the power.
  const Index last = entries.empty() ? snapshot.metadata.index : entries.back().index;
  if (!hard_state.empty()) hard_state.commit = std::max(hard_state.commit, std::min(consistent, last));
  const raft::EntryId begin{snapshot.metadata.term, snapshot.metadata.index};
  ASSIGN_OR_RETURN(const auto in_database, go_on_from(entries.empty() ? begin : raft::id_of(entries.back()),
                                                      config.force_new_cluster, env, *out->state.backend));
  if (config.force_new_cluster) {
    ASSIGN_OR_RETURN(out->forced, force_new_cluster(out->self, snapshot.metadata.conf_state,
                                                    out->state.backend->consistent_index(), &hard_state,
                                                    &entries, in_database));
    out->alone = true;
    LOG(env.log, kInfo, "forcing restart member", {"cluster-id", log::Hex{out->cluster.v}},
        {"local-member-id", log::Hex{out->self.v}}, {"commit-index", hard_state.commit.v});
  } else {
    ASSIGN_OR_RETURN(out->alone, is_single_voter(out->state.replay, snapshot.metadata.conf_state, entries,
                                                 hard_state.commit, config.max_learners));
    LOG(env.log, kInfo, "restarting local member", {"cluster-id", log::Hex{out->cluster.v}},
        {"local-member-id", log::Hex{out->self.v}}, {"commit-index", hard_state.commit.v});
  }
  out->tail = std::move(log.tail);
  if (!snapshot.empty()) {
    TRY(out->storage->apply_snapshot(std::make_shared<const raft::Snapshot>(snapshot)));
  }
  out->storage->set_hard_state(hard_state);
  if (hard_state != log.contents.hard_state) out->made_up = hard_state;
  if (!entries.empty()) {
    out->state.log_end = entries.back().index;
    out->state.log_end_term = entries.back().term;
  }
  out->storage->append(std::move(entries));
  out->state.applied = snapshot.metadata.index;
  out->state.applied_term = snapshot.metadata.term;
  out->state.disk_snapshot = snapshot.metadata.index;
  out->state.conf_state = snapshot.metadata.conf_state;
  membership::Membership initial;
  initial.local_id = out->self;
  initial.cluster_id = out->cluster;
  return load_named_state(config, env, std::move(initial), /*founding=*/false, &out->state);
}

// `what` stands in etcd's text.
static Result<> access_dir(std::string_view what, const std::string& path, Environment& env) {
  Result<> done = make_private_dir(path, env);
  if (done) done = probe_writable(path, env);
  if (done) return {};
  return make_error(done.error().code(), "cannot access {} directory: {}", what, done.error().text());
}

Result<Bootstrapped> bootstrap(const Config& config, Environment& env) {
  Bootstrapped out;
  TRY(access_dir("data", config.data_dir, env));
  TRY(access_dir("member", member_dir(config), env));
  TRY(make_private_dir(snap_dir(config), env));
  out.wal_probe = std::make_unique<wal::Probe>(env.metrics);
  out.snap_probe = std::make_unique<snap::Probe>(env.metrics);
  out.snapshotter = std::make_unique<snap::Snapshotter>(env.append_fs, snap_dir(config), env.clock, env.log,
                                                        *out.snap_probe);
  TRY(out.snapshotter->open());
  out.storage = std::make_unique<raft::MemoryStorage>();
  ASSIGN_OR_RETURN(const bool initialised, wal::exists(env.append_fs, wal_dir(config)));
  ASSIGN_OR_RETURN(out.state.backend, open_backend(config, env));
  out.restarted = initialised;
  out.defragment = wants_defragmentation(config, *out.state.backend, env.log);
  LOG(env.log, kInfo, "restore consistentIndex", {"index", out.state.backend->consistent_index().v});
  if (!initialised) TRY(check_founding(config, env, *out.state.backend));
  Result<> done = initialised ? restart(config, env, &out) : found_or_join(config, env, &out);
  if (!done) return done.error();
  TRY(sync_names(config, env));
  return out;
}

}  // namespace quoin::server

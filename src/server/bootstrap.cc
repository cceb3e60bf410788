#include "server/bootstrap.h"

#include <algorithm>

#include "backend/schema.h"
#include "base/coding.h"
#include "membership/bootstrap.h"
#include "membership/snapshot_state.h"
#include "raft/codec.h"
#include "server/force_new_cluster.h"
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
std::string snap_dir(const Config& c) {
  return c.data_dir + "/member/snap";
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

std::string database_path(const Config& c) {
  return snap_dir(c) + "/db";
}

backend::Options backend_options(const Config& c) {
  backend::Options o;
  o.path = database_path(c);
  o.batch_interval_ns = c.backend_batch_interval_ns;
  o.batch_limit = c.backend_batch_limit;
  o.unsafe_no_fsync = c.unsafe_no_fsync;
  o.compaction_batch_limit = c.compaction_batch_limit;
  o.compaction_sleep_ns = c.compaction_sleep_ns;
  return o;
}

Result<std::unique_ptr<backend::Backend>> open_backend(const Config& config, Environment& env) {
  const std::string path = database_path(config);
  log::Logger& bbolt = env.log.named("bbolt");
  // The options that mean something here, in bbolt's words.
  LOG(bbolt, kInfo,
      fmt::format(
          "Opening db file ({}) with mode -rw------- and with options: {{NoFreelistSync: true, ReadOnly: "
          "false, NoSync: {}}}",
          path, config.unsafe_no_fsync), );
  const io::MonotonicNs began = env.clock.monotonic();
  ASSIGN_OR_RETURN(auto backend,
                   backend::Backend::open(backend_options(config), env.file_fs, env.apply, env.file,
                                          env.timers, env.clock, env.metrics, env.log));
  LOG(bbolt, kInfo, fmt::format("Opening bbolt db ({}) successfully", path), );
  LOG(env.log, kInfo, "opened backend db", {"path", path},
      {"took", log::Duration{env.clock.monotonic() - began}});
  return backend;
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

// The membership as of the snapshot, for checking replayed changes; refuses v2 content as etcd does.
Result<membership::Membership> replay_membership(const raft::Snapshot& snapshot, MemberId self,
                                                 ClusterId cluster) {
  membership::Membership m;
  m.local_id = self;
  m.cluster_id = cluster;
  if (snapshot.empty()) return m;
  ASSIGN_OR_RETURN(const snap::MembershipText text, snap::read_membership_json(snapshot.data.view()));
  if (!text.custom_content.empty()) {
    return Error(Code::kCorruption,
                 "detected disallowed custom content in v2store for stage --v2-deprecation=write-only");
  }
  ASSIGN_OR_RETURN(m, membership::from_snapshot_state(text.state));
  m.local_id = self;
  m.cluster_id = cluster;
  return m;
}

Result<membership::Membership> founding_membership(const Config& config) {
  membership::InitialCluster cluster;
  for (const auto& [name, urls] : config.initial_cluster) cluster[name] = urls;
  TRY(membership::check_initial_cluster(cluster, config.name));
  if (cluster.size() > 1 || !config.new_cluster) {
    return Error(Code::kUnsupported,
                 "quoin: a cluster of several members and joining an existing one are not supported yet");
  }
  return membership::found_cluster(cluster, config.initial_cluster_token, config.name);
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
  lease::Options lease_options;
  lease_options.min_ttl_s = lease::min_ttl_seconds(config.election_ticks(), config.heartbeat_ns);
  lease_options.checkpoint = config.lease_checkpoint;
  state->lessor = std::make_unique<lease::Lessor>(lease_options, env.clock, env.metrics);
  TRY(state->lessor->recover(*state->backend));
  state->glue = std::make_unique<LeaseGlue>(*state->lessor);
  state->compaction_log = std::make_unique<CompactionLog>(env.log, env.clock);
  mvcc::StoreOptions store_options;
  store_options.compaction_observer = state->compaction_log.get();
  // The store keeps its options; after the start they tell nothing.
  const auto progress = std::make_shared<StartProgress>("reading the store", env.log, env.clock);
  store_options.reading = [telling = std::weak_ptr(progress)](int64_t revision) {
    if (auto p = telling.lock()) p->goes_on(revision);
  };
  store_options.memory = &env.file;
  ASSIGN_OR_RETURN(state->store,
                   mvcc::Store::restore(*state->backend, *state->glue, env.metrics, store_options));
  state->glue->set_store(state->store.get());
  state->lessor->set_deleter(state->glue.get());
  const mvcc::CompactionMarks& marks = state->store->restored_marks();
  if (marks.finished >= 0) {
    LOG(env.log, kInfo, "restored last compact revision", {"meta-bucket-name-key", "finishedCompactRev"},
        {"restored-compact-revision", marks.finished});
  }
  LOG(env.log, kInfo, "kvstore restored", {"current-rev", state->store->revision()});
  if (marks.resumed()) {
    LOG(env.log, kInfo, "resume scheduled compaction", {"scheduled-compact-revision", marks.scheduled});
  }
  // The revision of the auth store: part of every file from its first start on, also while there are no
  // users.
  if (!state->backend->get(backend::Bucket::kAuth, "authRevision")) {
    state->backend->put(backend::Bucket::kAuth, "authRevision", be64(1));
  }
  ASSIGN_OR_RETURN(Alarms alarms, Alarms::load(*state->backend));
  state->alarms = std::make_unique<Alarms>(std::move(alarms));
  return {};
}

// What is wrong with the contents is wrong with the file, and whoever reads the line must know which.
static Result<> load_named_state(const Config& config, Environment& env, membership::Membership initial,
                                 bool founding, ApplyStage::State* state) {
  Result<> loaded = load_state(config, env, std::move(initial), founding, state);
  if (!loaded) return loaded.error().prefixed(fmt::format("database file {}", database_path(config)));
  return {};
}

// Begins a cluster on a log that holds nothing yet.
static Result<> begin(const Config& config, Environment& env, membership::Membership founders, wal::Tail tail,
                      Bootstrapped* out) {
  out->self = founders.local_id;
  out->cluster = founders.cluster_id;
  out->tail = std::move(tail);
  for (const membership::Member& m : founders.list()) {
    // A founder's name is part of its first entry.
    out->founders.push_back({m.id, Blob::copy(membership::member_json(m))});
  }
  out->state.replay.local_id = out->self;
  out->state.replay.cluster_id = out->cluster;
  return load_named_state(config, env, std::move(founders), /*founding=*/true, &out->state);
}

static Result<> found(const Config& config, Environment& env, Bootstrapped* out) {
  ASSIGN_OR_RETURN(membership::Membership founders, founding_membership(config));
  ASSIGN_OR_RETURN(wal::OpenedLog log,
                   wal::create(env.append_fs, wal_dir(config),
                               metadata_bytes(founders.local_id, founders.cluster_id), env.log));
  return begin(config, env, std::move(founders), std::move(log.tail), out);
}

// Power went after the log was made and before the first entries, the founders, and the hard state that
// commits them were synced. Nobody was answered; without founders there would never be a leader.
static Result<> found_again(const Config& config, Environment& env, wal::OpenedLog log, Bootstrapped* out) {
  ASSIGN_OR_RETURN(membership::Membership founders, founding_membership(config));
  if (log.contents.metadata.view() != metadata_bytes(founders.local_id, founders.cluster_id)) {
    return make_error(
        Code::kInvalidArgument,
        "the log in {} was made for another member or cluster and holds no entry; remove it to found "
        "this one",
        wal_dir(config));
  }
  LOG(env.log, kInfo, "the log holds no committed entry; founding again", );
  return begin(config, env, std::move(founders), std::move(log.tail), out);
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
// skipped; a member alone goes on from the end of the log.
static Result<> go_on_from(raft::EntryId end, Environment& env, backend::Backend& db) {
  const Index applied = db.consistent_index();
  if (end.index >= applied) return {};
  ASSIGN_OR_RETURN(const auto members, keys_of(db, backend::Bucket::kMembers));
  if (members.size() > 1) return {};
  LOG(env.log, kWarn, "the log ends before the database; going on from the end of the log",
      {"log-index", end.index.v}, {"consistent-index", applied.v});
  db.set_consistent_index_forced(end.index, end.term);
  return {};
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
  auto opened = wal::open(env.append_fs, wal_dir(config), start,
                          {.acknowledged = consistent,
                           .allow_cut = config.allow_wal_cut,
                           .alone = members.size() <= 1 && snapshot.metadata.conf_state.voters.size() <= 1},
                          env.log);
  if (!opened && opened.error().code() == Code::kFileNotFound && !passed_over.empty()) {
    return opened.error().prefixed(fmt::format(
        "snapshot file {} is missing or damaged, and the log does not begin before it", passed_over));
  }
  if (!opened) return opened.error();
  wal::OpenedLog log = std::move(*opened);
  if (snapshot.empty() && log.contents.hard_state.empty() && !consistent && !config.force_new_cluster) {
    return found_again(config, env, std::move(log), out);
  }
  ASSIGN_OR_RETURN(const auto ids, wire::decode<wire::etcdserverpb::Metadata>(log.contents.metadata.view()));
  out->self = MemberId(ids.node_id);
  out->cluster = ClusterId(ids.cluster_id);
  ASSIGN_OR_RETURN(out->state.replay, replay_membership(snapshot, out->self, out->cluster));
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
  TRY(go_on_from(entries.empty() ? begin : raft::id_of(entries.back()), env, *out->state.backend));
  if (config.force_new_cluster) {
    ASSIGN_OR_RETURN(out->forced,
                     force_new_cluster(out->self, snapshot.metadata.conf_state,
                                       out->state.backend->consistent_index(), &hard_state, &entries));
    LOG(env.log, kInfo, "forcing restart member", {"cluster-id", log::Hex{out->cluster.v}},
        {"local-member-id", log::Hex{out->self.v}}, {"commit-index", hard_state.commit.v});
  } else {
    TRY(check_single_voter(out->state.replay, snapshot.metadata.conf_state, entries, hard_state.commit,
                           config.max_learners));
    LOG(env.log, kInfo, "restarting local member", {"cluster-id", log::Hex{out->cluster.v}},
        {"local-member-id", log::Hex{out->self.v}}, {"commit-index", hard_state.commit.v});
  }
  out->tail = std::move(log.tail);
  if (!snapshot.empty()) {
    TRY(out->storage->apply_snapshot(std::make_shared<const raft::Snapshot>(snapshot)));
  }
  out->storage->set_hard_state(hard_state);
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
  Result<> done = initialised ? restart(config, env, &out) : found(config, env, &out);
  if (!done) return done.error();
  TRY(sync_names(config, env));
  return out;
}

}  // namespace quoin::server

#include "server/open_state.h"

#include "backend/schema.h"
#include "membership/snapshot_state.h"
#include "server/start_progress.h"
#include "snap/membership_json.h"
#include "snap/snapshotter.h"

namespace quoin::server {

namespace {

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

}  // namespace

std::string snap_dir(const Config& c) {
  return c.data_dir + "/member/snap";
}

std::string database_path(const Config& c) {
  return snap_dir(c) + "/db";
}

Result<std::unique_ptr<backend::Backend>> open_backend(const Config& config, const Environment& env,
                                                       std::shared_ptr<backend::Probe> probe) {
  const std::string path = database_path(config);
  log::Logger& bbolt = env.log.named("bbolt");
  // The options that mean something here, in bbolt's words.
  LOG(bbolt, kInfo,
      fmt::format(
          "Opening db file ({}) with mode -rw------- and with options: {{NoFreelistSync: true, ReadOnly: "
          "false, NoSync: {}}}",
          path, config.unsafe_no_fsync), );
  backend::Options options = backend_options(config);
  options.probe = std::move(probe);
  const io::MonotonicNs began = env.clock.monotonic();
  ASSIGN_OR_RETURN(auto backend, backend::Backend::open(options, env.file_fs, env.apply, env.file, env.timers,
                                                        env.clock, env.metrics, env.log));
  LOG(bbolt, kInfo, fmt::format("Opening bbolt db ({}) successfully", path), );
  LOG(env.log, kInfo, "opened backend db", {"path", path},
      {"took", log::Duration{env.clock.monotonic() - began}});
  return backend;
}

Result<ReadState> read_state(const Config& config, const Environment& env, backend::Backend& backend,
                             mvcc::CompactionObserver* compactions, bool beside) {
  ReadState out;
  lease::Options lease_options;
  lease_options.min_ttl_s = lease::min_ttl_seconds(config.election_ticks(), config.heartbeat_ns);
  lease_options.checkpoint = config.lease_checkpoint;
  out.lessor = std::make_unique<lease::Lessor>(lease_options, env.clock, env.metrics);
  // How far it came with a received snapshot: a member at its start tells less.
  const auto tell = [&](std::string_view what, auto... fields) {
    if (beside) LOG(env.log, kInfo, what, fields...);
  };
  tell("restoring lease store");
  TRY(out.lessor->recover(backend));
  tell("restored lease store");
  out.glue = std::make_unique<LeaseGlue>(*out.lessor);
  mvcc::StoreOptions store_options;
  store_options.compaction_observer = compactions;
  // The store keeps its options; after the start they tell nothing.
  const auto progress = std::make_shared<StartProgress>("reading the store", env.log, env.clock);
  store_options.reading = [telling = std::weak_ptr(progress)](int64_t revision) {
    if (auto p = telling.lock()) p->goes_on(revision);
  };
  store_options.memory = &env.file;
  store_options.beside = beside;
  tell("restoring mvcc store");
  ASSIGN_OR_RETURN(out.store, mvcc::Store::restore(backend, *out.glue, env.metrics, store_options));
  out.glue->set_store(out.store.get());
  out.lessor->set_deleter(out.glue.get());
  const mvcc::CompactionMarks& marks = out.store->restored_marks();
  if (marks.finished >= 0) {
    LOG(env.log, kInfo, "restored last compact revision", {"meta-bucket-name-key", "finishedCompactRev"},
        {"restored-compact-revision", marks.finished});
  }
  LOG(env.log, kInfo, "kvstore restored", {"current-rev", out.store->revision()});
  if (marks.resumed()) {
    LOG(env.log, kInfo, "resume scheduled compaction", {"scheduled-compact-revision", marks.scheduled});
  }
  tell("restored mvcc store", log::Field{"consistent-index", backend.consistent_index().v});
  tell("restoring alarm store");
  ASSIGN_OR_RETURN(Alarms alarms, Alarms::load(backend));
  out.alarms = std::move(alarms);
  tell("restored alarm store");
  tell("restoring auth store");
  out.auth = std::make_unique<AuthStore>(env.metrics, env.log);
  TRY(out.auth->store.recover(backend));
  tell("restored auth store");
  return out;
}

Result<ReceivedState> open_received(const Config& config, const Environment& env, Index index,
                                    std::shared_ptr<backend::Probe> probe,
                                    mvcc::CompactionObserver* compactions) {
  const std::string file = snap_dir(config) + "/" + snap::snap_db_name(index);
  TRY(env.file_fs.rename(file, database_path(config)));
  // Before anything of the log is released that only the old file would need.
  TRY(env.file_fs.sync_dir(snap_dir(config)));
  ReceivedState out;
  ASSIGN_OR_RETURN(out.backend, open_backend(config, env, std::move(probe)));
  LOG(env.log, kInfo, "applySnapshot: opened snapshot backend", );
  TRY(backend::validate_schema(*out.backend, backend::SchemaVersion{3, 6}));
  ASSIGN_OR_RETURN(static_cast<ReadState&>(out),
                   read_state(config, env, *out.backend, compactions, /*beside=*/true));
  return out;
}

// The membership as of the snapshot, for checking replayed changes; refuses v2 content as etcd does.
Result<membership::Membership> membership_of(const raft::Snapshot& snapshot, MemberId self,
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

}  // namespace quoin::server

#include "snap/snapshotter.h"

#include <utility>

#include "base/check.h"

namespace quoin::snap {
namespace {

double seconds(int64_t ns) {
  return static_cast<double>(ns) * 1e-9;
}

}  // namespace

Probe::Probe(metrics::Registry& registry)
    : fsync_seconds(registry.histogram("etcd_snap_fsync_duration_seconds",
                                       "The latency distributions of fsync called by snap.",
                                       metrics::exponential_buckets(0.001, 2, 14))),
      marshal_seconds(registry.histogram("etcd_debugging_snap_save_marshalling_duration_seconds",
                                         "The marshalling cost distributions of save called by snapshot.",
                                         metrics::exponential_buckets(0.001, 2, 14))),
      save_seconds(registry.histogram("etcd_debugging_snap_save_total_duration_seconds",
                                      "The total latency distributions of save called by snapshot.",
                                      metrics::exponential_buckets(0.001, 2, 14))),
      db_fsync_seconds(registry.histogram("etcd_snap_db_fsync_duration_seconds",
                                          "The latency distributions of fsyncing .snap.db file",
                                          metrics::exponential_buckets(0.001, 2, 14))),
      db_save_seconds(registry.histogram("etcd_snap_db_save_total_duration_seconds",
                                         "The total latency distributions of v3 snapshot save",
                                         metrics::exponential_buckets(0.1, 2, 10))) {}

Snapshotter::Snapshotter(io::FileSystem& fs, std::string dir, const io::Clock& clock, log::Logger& log,
                         Probe& probe)
    : fs_(fs), dir_(std::move(dir)), clock_(clock), log_(log), probe_(probe) {}
Snapshotter::~Snapshotter() = default;

// ---- start-up ----

Result<> Snapshotter::open() {
  ASSIGN_OR_RETURN(const auto entries, fs_.list(dir_));
  snaps_.clear();
  dbs_.clear();
  for (const io::DirEntry& entry : entries) {
    const std::string& name = entry.name;
    Term term;
    Index index;
    if (name.starts_with("tmp")) {
      TRY(fs_.remove(path(name)));
    } else if (name.starts_with("db.tmp")) {
      LOG(log_, kInfo, "found orphaned defragmentation file; deleting", {"path", name});
      TRY(fs_.remove(path(name)));
    } else if (parse_snap_name(name, &term, &index)) {
      snaps_.insert(name);
    } else if (parse_snap_db_name(name, &index)) {
      dbs_.insert(name);
    } else if (name != "db" && !name.ends_with(".broken")) {
      LOG(log_, kWarn, "found unexpected non-snap file; skipping", {"path", name});
    }
  }
  return {};
}

Result<raft::Snapshot> Snapshotter::load(const std::string& name) {
  ASSIGN_OR_RETURN(auto file, fs_.open(path(name), {}));
  ASSIGN_OR_RETURN(const uint64_t bytes, file->size());
  if (bytes > kSnapBytesMax) {
    return make_error(Code::kCorruption, "{}: {} bytes, at most {} expected", name, bytes, kSnapBytesMax);
  }
  Result<size_t> got = 0;
  const Blob blob = Blob::make(bytes, [&](char* p) { got = file->read_at(0, {p, bytes}); });
  if (!got) return got.error();
  if (*got != bytes) return make_error(Code::kIo, "{}: read {} of {} bytes", name, *got, bytes);
  return decode_snap(blob);
}

Result<raft::Snapshot> Snapshotter::load_newest(absl::FunctionRef<bool(Term, Index)> usable) {
  const auto names = snap_names();
  for (const std::string& name : names) {
    auto snapshot = load(name);
    if (snapshot) {
      if (!usable(snapshot->metadata.term, snapshot->metadata.index)) continue;
      recorded(snapshot->metadata.term, snapshot->metadata.index);
      return snapshot;
    }
    if (snapshot.error().code() != Code::kCorruption) return snapshot.error();
    LOG(log_, kWarn, "failed to read a snap file", {"path", path(name)}, {"error", snapshot.error().text()});
    const std::string broken = path(name) + ".broken";
    if (const auto renamed = fs_.rename(path(name), broken); !renamed) {
      LOG(log_, kWarn, "failed to rename to a broken snap file", {"path", path(name)},
          {"broken-path", broken}, {"error", renamed.error().text()});
      continue;
    }
    LOG(log_, kWarn, "renamed to a broken snap file", {"path", path(name)}, {"broken-path", broken});
    snaps_.erase(name);
  }
  return Error(Code::kNotFound, "snap: no available snapshot");
}

Result<std::string> Snapshotter::db_path(Index index) {
  const std::string name = path(snap_db_name(index));
  ASSIGN_OR_RETURN(const bool there, fs_.exists(name));
  if (there) return name;
  const Error missing(Code::kFileNotFound, "snap: snapshot file doesn't exist");
  LOG(log_, kWarn, "failed to find [SNAPSHOT-INDEX].snap.db", {"snapshot-index", index.v},
      {"snapshot-file-path", name}, {"error", missing.text()});
  return missing;
}

// ---- saving ----

// One save under way: what the operations need to stay until they are done.
struct Snapshotter::Saving {
  std::string name;
  std::string bytes;
  std::unique_ptr<io::File> file;
  io::MonotonicNs begun, marshalled;
  io::Completion done;
};

void Snapshotter::save(const raft::Snapshot& snapshot, io::Completion done) {
  CHECK(!snapshot.empty());
  auto saving = std::make_shared<Saving>();
  saving->begun = clock_.monotonic();
  saving->name = snap_name(snapshot.metadata.term, snapshot.metadata.index);
  saving->bytes = encode_snap(snapshot);
  saving->marshalled = clock_.monotonic();
  saving->done = std::move(done);
  probe_.marshal_seconds.observe(seconds(saving->marshalled - saving->begun));
  const auto alive = std::weak_ptr<int>(alive_);
  fs_.async_open(path(saving->name), {.write = true, .create = true, .truncate = true, .mode = 0666},
                 [this, alive, saving](Result<std::unique_ptr<io::File>> file) {
                   if (alive.expired()) return;
                   if (!file) return save_failed(saving, file.error());
                   saving->file = std::move(*file);
                   write(saving);
                 });
}

void Snapshotter::write(const std::shared_ptr<Saving>& saving) {
  const auto alive = std::weak_ptr<int>(alive_);
  // The file's completions do not own `saving`, which owns the file; this object does, through saving_.
  saving_.push_back(saving);
  Saving* const s = saving.get();
  s->file->async_write(0, {s->bytes}, [this, alive, s](Result<> r) {
    if (alive.expired()) return;
    if (!r) return save_failed(take(s), std::move(r).error());
    s->file->async_sync([this, alive, s](Result<> r) {
      if (alive.expired()) return;
      const auto saving = take(s);
      if (!r) return save_failed(saving, std::move(r).error());
      // The record in the WAL vouches for the file, so its name must last as well.
      fs_.async_sync_dir(dir_, [this, alive, saving](Result<> r) {
        if (alive.expired()) return;
        if (!r) return save_failed(saving, std::move(r).error());
        saved(*saving);
      });
    });
  });
}

void Snapshotter::saved(Saving& saving) {
  const int64_t now = clock_.monotonic();
  probe_.fsync_seconds.observe(seconds(now - saving.marshalled));
  probe_.save_seconds.observe(seconds(now - saving.begun));
  snaps_.insert(saving.name);
  if (saving.done) saving.done({});
}

std::shared_ptr<Snapshotter::Saving> Snapshotter::take(Saving* s) {
  for (auto it = saving_.begin(); it != saving_.end(); ++it) {
    if (it->get() != s) continue;
    auto out = std::move(*it);
    saving_.erase(it);
    return out;
  }
  CHECK(false, "a save ended twice");
  return nullptr;
}

void Snapshotter::save_failed(const std::shared_ptr<Saving>& saving, const Error& error) {
  fs_.async_remove(path(saving->name),
                   [this, alive = std::weak_ptr<int>(alive_), saving, error](Result<> removed) {
                     if (alive.expired()) return;
                     if (!removed && removed.error().code() != Code::kFileNotFound) {
                       LOG(log_, kWarn, "failed to remove a broken snapshot file",
                           {"path", path(saving->name)}, {"error", removed.error().text()});
                     }
                     if (saving->done) saving->done(error);
                   });
}

// ---- removing ----

// One after the other; a missing file is removed already. Stops at the first error.
void Snapshotter::remove_files(std::vector<std::string> names, size_t at, std::string_view message,
                               io::Completion done) {
  if (at == names.size()) {
    if (done) done({});
    return;
  }
  const std::string name = path(names[at]);
  fs_.async_remove(name, [this, alive = std::weak_ptr<int>(alive_), names = std::move(names), at, message,
                          done = std::move(done)](Result<> r) mutable {
    if (alive.expired()) return;
    if (!r && r.error().code() != Code::kFileNotFound) {
      if (done) done(std::move(r));
      return;
    }
    snaps_.erase(names[at]);
    dbs_.erase(names[at]);
    if (r) LOG(log_, kInfo, message, {"path", path(names[at])});
    remove_files(std::move(names), at + 1, message, std::move(done));
  });
}

void Snapshotter::release_snap_dbs(Index index, io::Completion done) {
  std::vector<std::string> names;
  for (const std::string& name : dbs_) {
    Index at;
    if (parse_snap_db_name(name, &at) && at < index) names.push_back(name);
  }
  remove_files(std::move(names), 0, "found orphaned .snap.db file; deleting", std::move(done));
}

void Snapshotter::recorded(Term term, Index index) {
  if (index <= needed_index_) return;
  needed_term_ = term;
  needed_index_ = index;
}

void Snapshotter::purge(size_t files_max, io::Completion done) {
  std::vector<std::string> names;
  const std::string needed[] = {snap_name(needed_term_, needed_index_), snap_db_name(needed_index_)};
  size_t kind = 0;
  for (const auto* files : {&snaps_, &dbs_}) {
    if (files_max == 0) break;
    size_t left = files->size();
    for (auto it = files->begin(); left > files_max && *it < needed[kind]; ++it, --left) names.push_back(*it);
    ++kind;
  }
  remove_files(std::move(names), 0, "purged", std::move(done));
}

// ---- received databases ----

std::string Snapshotter::new_tmp_path() {
  return path(fmt::format("tmp{}", ++next_tmp_));
}

// A database that was there before the one just received: what the sync of its file needs to stay.
struct Snapshotter::Existing {
  std::unique_ptr<io::File> file;
  std::string tmp_path;
  io::Completion done;
};

void Snapshotter::sync_existing(const std::string& name, const std::string& tmp_path, io::Completion done) {
  const auto alive = std::weak_ptr<int>(alive_);
  auto opened = [this, alive, tmp_path,
                 done = std::move(done)](Result<std::unique_ptr<io::File>> file) mutable {
    if (alive.expired()) return;
    if (!file) return done(file.error());
    // The file's completion does not own what owns the file; this object does.
    const auto at = existing_.insert(
        existing_.end(),
        std::make_unique<Existing>(Existing{std::move(*file), std::move(tmp_path), std::move(done)}));
    (*at)->file->async_sync([this, alive, at](Result<> synced) {
      if (alive.expired()) return;
      auto existing = std::shared_ptr<Existing>(std::move(*at));
      existing_.erase(at);
      if (!synced) return existing->done(std::move(synced));
      fs_.async_sync_dir(dir_, [this, alive, existing](Result<> synced) {
        if (alive.expired()) return;
        if (!synced) return existing->done(std::move(synced));
        fs_.async_remove(existing->tmp_path, std::move(existing->done));
      });
    });
  };
  fs_.async_open(path(name), {.write = true}, std::move(opened));
}

void Snapshotter::commit_db(const std::string& tmp_path, Index index, io::Completion done) {
  const std::string name = snap_db_name(index);
  if (dbs_.count(name)) return sync_existing(name, tmp_path, std::move(done));
  const auto alive = std::weak_ptr<int>(alive_);
  fs_.async_rename(tmp_path, path(name), [this, alive, name, done = std::move(done)](Result<> r) mutable {
    if (alive.expired()) return;
    if (!r) {
      if (done) done(std::move(r));
      return;
    }
    dbs_.insert(name);
    fs_.async_sync_dir(dir_, std::move(done));
  });
}

}  // namespace quoin::snap

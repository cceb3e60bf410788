#include "cmd/etcdutl/check.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "cmd/etcdutl/check_database.h"
#include "cmd/etcdutl/check_log.h"
#include "cmd/etcdutl/files.h"
#include "cmd/etcdutl/remedies.h"
#include "cmd/etcdutl/snap_files.h"
#include "membership/snapshot_state.h"
#include "snap/membership_json.h"
#include "snap/snapshotter.h"
#include "wire/etcdserver.h"
#include "wire/message.h"

namespace quoin::utl {

namespace {

class DirectoryCheck {
 public:
  DirectoryCheck(const std::string& data_dir, const std::string& wal_dir, const Machine& machine,
                 const Job& job)
      : snap_dir_(snap_path(data_dir)),
        wal_dir_(wal_dir.empty() ? wal_path(data_dir) : without_slashes(wal_dir)),
        database_(database_path(data_dir)),
        fs_(machine.fs),
        job_(job) {}

  Result<Report> run() {
    const auto there = fs_.exists(snap_dir_);
    if (there && !*there) {
      report_.fault(snap_dir_, "the directory is missing, so this is no data directory of a member",
                    "Name the directory that the member was started with (--data-dir).");
      return report_;
    }
    ASSIGN_OR_RETURN(db_, check_database(database_, fs_, job_, &report_));
    ASSIGN_OR_RETURN(log_, check_log(wal_dir_, db_.consistent_index, fs_, job_, &report_));
    TRY(job_.step("checking the snapshot files", 0, 0));
    check_snap_files();
    if (log_.there) check_agreement();
    return report_;
  }

 private:
  void history_fault(std::string where, std::string what) {
    report_.fault(std::move(where), std::move(what), kHistoryRemedy);
  }
  void log_fault(std::string what) { report_.fault(wal_dir_, std::move(what), kLogRemedy); }

  // ---- snapshot files ----

  bool recorded(Term term, Index index) const {
    return std::any_of(log_.snapshots.begin(), log_.snapshots.end(), [&](const wal::SnapshotRecord& r) {
      return r.term == term && r.index == index && index <= log_.hard_state.commit;
    });
  }

  void check_snap_files() {
    const auto files = list_snap_files(fs_, snap_dir_);
    if (!files) {
      report_.fault(snap_dir_, std::string(files.error().text()), kDatabaseRemedy);
      return;
    }
    for (const SnapFile& file : *files) {
      const std::string path = snap_dir_ + "/" + file.name;
      auto snapshot = read_snap_file(fs_, snap_dir_, file.name);
      const bool known = recorded(file.term, file.index);
      const bool needed = known && !start_;
      if (const std::string wrong =
              snapshot ? check_snap(file, *snapshot) : std::string(snapshot.error().text());
          !wrong.empty()) {
        if (needed) damaged_ = path;
        report_.fault(path, wrong,
                      "A start passes over it and takes the next older one, if the log begins before that.");
        continue;
      }
      if (!known) {
        if (log_.read_to_the_end)
          report_.note(path, "the log has no record of it, so a start passes over it");
        continue;
      }
      if (!start_) start_ = std::move(*snapshot);
    }
    report_.fact(snap_dir_, start_ ? fmt::format("{} snapshot files, the newest usable one of index {}",
                                                 files->size(), start_->metadata.index)
                                   : fmt::format("{} snapshot files", files->size()));
  }

  static std::string check_snap(const SnapFile& file, const raft::Snapshot& snapshot) {
    if (snapshot.metadata.index != file.index || snapshot.metadata.term != file.term) {
      return fmt::format("it is of index {} and term {}, other than its name says", snapshot.metadata.index,
                         snapshot.metadata.term);
    }
    const auto text = snap::read_membership_json(snapshot.data.view());
    if (!text) return std::string(text.error().text());
    if (snapshot.metadata.conf_state.voters.empty()) return "it names no voter";
    return "";
  }

  // ---- agreement ----

  Index start_index() const { return start_ ? start_->metadata.index : Index(0); }

  void check_agreement() {
    check_begin_of_log();
    check_end_of_log();
    check_database_index();
    check_identity();
    check_members();
  }

  // From the newest usable snapshot on the log is whole.
  void check_begin_of_log() {
    const Index start = start_index();
    if (log_.first > start + 1) {
      log_fault(fmt::format("the log begins at entry {}, but {}", log_.first,
                            start_ ? fmt::format("the newest usable snapshot is of index {}", start)
                                   : std::string("there is no usable snapshot before it")));
    }
    for (const LogFacts::Gap& gap : log_.gaps) {
      if (gap.to > start + 1 && gap.to <= log_.last) {
        log_fault(fmt::format("entries {} to {} are missing", std::max(gap.from, start + 1), gap.to - 1));
      }
    }
    const auto newest = std::max_element(
        log_.snapshots.begin(), log_.snapshots.end(),
        [](const wal::SnapshotRecord& a, const wal::SnapshotRecord& b) { return a.index < b.index; });
    if (newest != log_.snapshots.end() && newest->index > start && newest->index <= log_.hard_state.commit &&
        damaged_.empty()) {
      report_.fault(snap_dir_ + "/" + snap::snap_name(newest->term, newest->index),
                    "the log has a record of this snapshot, but the file is missing",
                    "A start takes the next older one, if the log begins before that.");
    }
  }

  void check_end_of_log() {
    if (!log_.read_to_the_end) return;
    const bool alone = db_.members && db_.members->members.size() == 1;
    const wal::Beyond& b = log_.beyond;
    const bool lost = b.later_write || b.snapshot > log_.last || (alone && b.commit > log_.last);
    if (log_.torn && lost) {
      log_fault(fmt::format(
          "the log breaks off at {} behind entry {}, but what stands beyond shows that later entries had "
          "been acknowledged",
          log_.end, log_.last));
    } else if (log_.torn) {
      report_.note(
          wal_dir_,
          fmt::format(
              "the last write is incomplete ({}), as a power loss leaves it; the next start cuts it off. "
              "Nothing in it had been acknowledged.",
              log_.end));
    }
    if (log_.hard_state.commit > std::max(log_.last, start_index())) {
      log_fault(fmt::format("entries up to {} were committed, but the log ends with {}",
                            log_.hard_state.commit, log_.last));
    }
  }

  void check_database_index() {
    if (!db_.readable) return;
    const Index applied = db_.consistent_index;
    if (start_ && applied < start_index()) {
      const std::string received = snap_dir_ + "/" + snap::snap_db_name(start_index());
      const auto there = fs_.exists(received);
      if (there && *there) {
        report_.note(received,
                     "a database that the leader sent; the next start puts it in the place of the old one");
      } else {
        history_fault(database_,
                      fmt::format("the database is at index {}, older than the newest snapshot (index {})",
                                  applied, start_index()));
      }
      return;
    }
    if (log_.read_to_the_end && applied > std::max(log_.last, start_index())) {
      log_fault(
          fmt::format("the database holds entries up to {}, but the log ends with {}", applied, log_.last));
    }
    if (log_.term_asked_for && db_.term && *log_.term_asked_for != db_.term) {
      history_fault(database_,
                    fmt::format("entry {} is of term {} for the database and of term {} in the log", applied,
                                db_.term, *log_.term_asked_for));
    }
  }

  void check_identity() {
    if (log_.metadata.empty()) {
      if (log_.read_to_the_end) log_fault("the log does not say whose it is");
      return;
    }
    const auto ids = wire::decode<wire::etcdserverpb::Metadata>(log_.metadata);
    if (!ids)
      return log_fault(fmt::format("the record of whose log it is does not parse: {}", ids.error().text()));
    self_ = MemberId(ids->node_id);
    report_.fact(wal_dir_,
                 fmt::format("of member {} of cluster {}", hex(ids->node_id), hex(ids->cluster_id)));
    if (!db_.members || db_.members->members.empty()) return;
    if (db_.members->removed.contains(self_)) {
      report_.note(database_,
                   fmt::format("member {} was removed from the cluster: it will not start", hex(self_.v)),
                   "To take part again it joins as a new member, with an empty directory.");
    } else if (!db_.members->members.contains(self_)) {
      history_fault(database_,
                    fmt::format("the log is of member {}, which the database does not know", hex(self_.v)));
    }
  }

  // The snapshot's members and the changes behind it up to the database's index give the members of the database.
  void check_members() {
    if (!db_.members || !db_.readable || !log_.read_to_the_end) return;
    membership::Membership expected;
    if (start_) {
      const auto text = snap::read_membership_json(start_->data.view());
      auto members =
          text ? membership::from_snapshot_state(text->state) : Result<membership::Membership>(text.error());
      if (!members) return report_.fault(snap_dir_, std::string(members.error().text()), kDatabaseRemedy);
      expected = std::move(*members);
    }
    for (const LogFacts::Change& c : log_.changes) {
      if (c.index <= start_index() || c.index > db_.consistent_index) continue;
      const auto change = membership::decode_change(c.change);
      if (!change) {
        log_fault(fmt::format("entry {}: {}", c.index, change.error().text()));
        return;
      }
      if (expected.validate(*change, kAnyLearners) == membership::Refusal::kNone) expected.apply(*change);
    }
    const auto addresses = [](const membership::Membership& m) {
      std::vector<std::string> out;
      for (const auto& [id, member] : m.members) {
        auto urls = member.peer_urls;
        std::sort(urls.begin(), urls.end());
        out.push_back(fmt::format("{}{} at {}", hex(id.v), member.is_learner ? " (learner)" : "",
                                  fmt::join(urls, ",")));
      }
      return out;
    };
    if (const auto in_log = addresses(expected), in_db = addresses(*db_.members); in_log != in_db) {
      history_fault(database_, fmt::format("members of the database: {}; of snapshot and log: {}",
                                           fmt::join(in_db, "; "), fmt::join(in_log, "; ")));
    }
  }

  static constexpr int64_t kAnyLearners = 1 << 20;  // a flag of the member, which is not known here
  const std::string snap_dir_, wal_dir_, database_;
  io::FileSystem& fs_;
  const Job& job_;
  Report report_;
  DatabaseFacts db_;
  LogFacts log_;
  std::optional<raft::Snapshot> start_;  // the newest one that a start can use
  std::string damaged_;                  // a file newer than that, with a record
  MemberId self_;
};

}  // namespace

Result<Report> check_directory(const std::string& data_dir, const std::string& wal_dir,
                               const Machine& machine, const Job& job) {
  return DirectoryCheck(data_dir, wal_dir, machine, job).run();
}

}  // namespace quoin::utl

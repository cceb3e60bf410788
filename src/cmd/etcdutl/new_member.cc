#include "cmd/etcdutl/new_member.h"

#include <vector>

#include "backend/backend.h"
#include "base/coding.h"
#include "bolt/db.h"
#include "cmd/etcdutl/files.h"
#include "membership/snapshot_state.h"
#include "raft/codec.h"
#include "snap/membership_json.h"
#include "snap/snapshotter.h"
#include "wal/record.h"
#include "wal/wal.h"
#include "wire/etcdserver.h"
#include "wire/message.h"

namespace quoin::utl {

namespace {

using backend::Bucket;

constexpr Term kFirstTerm{1};
// Beyond it the next revisions could not be numbered.
constexpr int64_t kRevisionMax = INT64_MAX / 2;

std::string be64(uint64_t v) {
  std::string out(8, '\0');
  store_be64(out.data(), v);
  return out;
}

Result<bolt::Bucket*> emptied(bolt::WriteTx& tx, Bucket bucket) {
  const std::string_view name = backend::bucket_name(bucket);
  ASSIGN_OR_RETURN(const bolt::Bucket* there, tx.bucket(name));
  if (there != nullptr) TRY(tx.delete_bucket(name));
  return tx.create_bucket(name);
}

// Puts an empty record at the new revision, and marks it as the point of a compaction that has yet to run.
Result<> raise_revision(const Machine& machine, bolt::WriteTx& tx, uint64_t by) {
  ASSIGN_OR_RETURN(bolt::Bucket* const records, tx.create_bucket(backend::bucket_name(Bucket::kKey)));
  bolt::Cursor cursor = records->read_cursor();
  int64_t latest = 0;
  ASSIGN_OR_RETURN(const bool any, cursor.last());
  if (any) {
    ASSIGN_OR_RETURN(const auto key, backend::parse_revision_key(cursor.key()));
    latest = key.revision.main;
  }
  if (latest < 0 || latest > kRevisionMax || by > static_cast<uint64_t>(kRevisionMax - latest)) {
    return make_error(Code::kInvalidArgument,
                      "revision {} cannot be raised by {}: beyond {} no revisions follow", latest, by,
                      kRevisionMax);
  }
  const Revision raised{latest + static_cast<int64_t>(by), 0};
  LOG(machine.log, kInfo, "bumping latest revision", {"latest-revision", latest}, {"bump-amount", by},
      {"new-latest-revision", raised.main});
  TRY(records->put(backend::RevisionKey(raised).view(), ""));
  LOG(machine.log, kInfo, "marking revision compacted", {"revision", raised.main});
  ASSIGN_OR_RETURN(bolt::Bucket* const meta, tx.create_bucket(backend::bucket_name(Bucket::kMeta)));
  return meta->put("scheduledCompactRev", backend::RevisionKey(raised).view());
}

std::vector<raft::Entry> founding_entries(const membership::Membership& members) {
  std::vector<raft::Entry> entries;
  for (const membership::Member& member : members.list()) {
    raft::ConfChange change;
    change.node_id = member.id;
    change.context = Blob::copy(membership::member_json(member));
    entries.push_back(
        {kFirstTerm, Index(entries.size() + 1), raft::EntryType::kConfChange, raft::encode_blob(change)});
  }
  return entries;
}

}  // namespace

Result<> give_new_members(const Machine& machine, const std::string& database, const NewMembers& what,
                          const Job& job) {
  bolt::Options options;
  options.create = false;
  TRY(job.step("reading the database", 0, 0));
  ASSIGN_OR_RETURN(const auto db, bolt::Db::open(machine.fs, database, options));
  ASSIGN_OR_RETURN(auto tx, db->begin_write());
  LOG(machine.log, kInfo, "Trimming membership information from the backend...", );
  ASSIGN_OR_RETURN(bolt::Bucket* const members, emptied(*tx, Bucket::kMembers));
  TRY(emptied(*tx, Bucket::kMembersRemoved));
  TRY(tx->create_bucket(backend::bucket_name(Bucket::kCluster)));
  if (what.bump_revision > 0) TRY(raise_revision(machine, *tx, what.bump_revision));
  for (const membership::Member& member : what.members.list()) {
    LOG(machine.log, kInfo, "added member", {"cluster-id", log::Hex{what.members.cluster_id.v}},
        {"local-member-id", log::Hex{0}}, {"added-peer-id", log::Hex{member.id.v}},
        {"added-peer-peer-urls", member.peer_urls}, {"added-peer-is-learner", member.is_learner});
    TRY(members->put(hex(member.id.v), membership::member_json(member)));
  }
  ASSIGN_OR_RETURN(bolt::Bucket* const meta, tx->create_bucket(backend::bucket_name(Bucket::kMeta)));
  TRY(meta->put("consistent_index", be64(what.members.members.size())));
  TRY(meta->put("term", be64(kFirstTerm.v)));
  TRY(db->commit_blocking(std::move(tx)));
  return db->close_blocking(false);
}

Result<> found_log(const Machine& machine, const membership::Membership& members, const std::string& wal_dir,
                   const std::string& snap_dir) {
  wire::etcdserverpb::Metadata identity;
  identity.node_id = members.local_id.v;
  identity.cluster_id = members.cluster_id.v;
  ASSIGN_OR_RETURN(const wal::OpenedLog log,
                   wal::create(machine.fs, wal_dir, wire::encode_string(identity), log::null_logger()));

  const std::vector<raft::Entry> entries = founding_entries(members);
  const Index last(entries.size());
  raft::Snapshot snapshot;
  snapshot.metadata.index = last;
  snapshot.metadata.term = kFirstTerm;
  for (const auto& [id, member] : members.members) snapshot.metadata.conf_state.voters.push_back(id);
  snapshot.data = Blob::copy(snap::write_membership_json(membership::snapshot_state(members), last.v));

  // The file before the record that vouches for it.
  const std::string path = snap_dir + "/" + snap::snap_name(kFirstTerm, last);
  ASSIGN_OR_RETURN(const auto file,
                   machine.fs.open(path, {.write = true, .create = true, .exclusive = true, .mode = 0666}));
  TRY(file->write_at(0, snap::encode_snap(snapshot)));
  TRY(file->sync());
  TRY(machine.fs.sync_dir(snap_dir));

  wal::BatchEncoder records(log.tail.crc);
  for (const raft::Entry& entry : entries) records.add_entry(entry);
  records.add_state({kFirstTerm, members.members.begin()->first, last});
  records.add_snapshot({last, kFirstTerm, snapshot.metadata.conf_state});
  io::File& segment = *log.tail.segments.back().file;
  uint64_t at = log.tail.offset;
  for (const std::string_view part : records.parts()) {
    TRY(segment.write_at(at, part));
    at += part.size();
  }
  TRY(segment.sync());
  return machine.fs.sync_dir(wal_dir);
}

}  // namespace quoin::utl

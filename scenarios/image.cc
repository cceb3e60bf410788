#include "scenarios/image.h"

#include <set>

#include "bolt/db.h"
#include "membership/cluster.h"
#include "membership/member.h"
#include "sim/file_system.h"

namespace quoin::scenarios {

namespace {

// What `look` says of the database, or why it can't be opened; nothing where there is none.
std::string look_at_db(sim::World& world, sim::SimDisk& disk,
                       absl::FunctionRef<std::string(const bolt::ReadTx& tx)> look) {
  if (!disk.visible_bytes(kDbPath)) return {};
  sim::Process& process = world.start_process("check");
  sim::SimFileSystem fs(disk, process.executor("check"));
  std::string findings;
  {
    auto db = bolt::Db::open(fs, kDbPath, {.create = false, .read_only = true});
    findings = db ? look(*(*db)->begin_read()) : std::string(db.error().text());
  }
  process.kill();
  return findings;
}

// Of a database that is sound.
Result<> compare_conf_state(const bolt::ReadTx& tx) {
  const auto scan = [&](backend::Bucket bucket, const backend::PairVisitor& visit) -> Result<> {
    ASSIGN_OR_RETURN(const auto view, tx.bucket(backend::bucket_name(bucket)));
    if (!view) return {};
    bolt::Cursor cursor = view->cursor();
    ASSIGN_OR_RETURN(bool there, cursor.first());
    while (there && visit(cursor.key(), cursor.value())) {
      ASSIGN_OR_RETURN(there, cursor.next());
    }
    return {};
  };
  ASSIGN_OR_RETURN(const membership::Membership members, membership::read_membership(scan));
  std::string text;
  TRY(scan(backend::Bucket::kMeta, [&](std::string_view key, std::string_view value) {
    if (key == "confState") text = value;
    return true;
  }));
  if (text.empty()) return {};  // no change was ever applied
  ASSIGN_OR_RETURN(const raft::ConfState conf, membership::parse_conf_state(text));
  const std::set<MemberId> voters(conf.voters.begin(), conf.voters.end());
  const std::set<MemberId> learners(conf.learners.begin(), conf.learners.end());
  std::set<MemberId> own_voters, own_learners;
  for (const auto& [id, member] : members.members) (member.is_learner ? own_learners : own_voters).insert(id);
  if (voters == own_voters && learners == own_learners) return {};
  return make_error(Code::kCorruption, "the ConfState is {}, of {} voting members and {} learners", text,
                    own_voters.size(), own_learners.size());
}

}  // namespace

std::string check_db_image(sim::World& world, sim::SimDisk& disk) {
  return look_at_db(world, disk, [](const bolt::ReadTx& tx) {
    std::string findings;
    for (const std::string& finding : bolt::check_file(tx, nullptr)) findings += finding + "\n";
    return findings;
  });
}

std::string check_conf_state_image(sim::World& world, sim::SimDisk& disk) {
  return look_at_db(world, disk, [](const bolt::ReadTx& tx) {
    const Result<> same = compare_conf_state(tx);
    return same ? std::string() : std::string(same.error().text());
  });
}

uint64_t bytes_in_use(const sim::SimDisk& disk) {
  uint64_t bytes = 0;
  for (const std::string& path : disk.list_visible()) {
    if (auto content = disk.visible_bytes(path)) bytes += (content->size() + 4095) / 4096 * 4096;
  }
  return bytes;
}

}  // namespace quoin::scenarios

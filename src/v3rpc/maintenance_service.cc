#include "v3rpc/maintenance_service.h"

#include <algorithm>

#include "base/version.h"
#include "server/admin.h"
#include "v3rpc/kv_service.h"
#include "v3rpc/snapshot_stream.h"
#include "wire/membership.h"

namespace quoin::v3rpc {

namespace pb = wire::etcdserverpb;

namespace {
// etcd's text form of an alarm, its trailing space included.
std::string alarm_text(const server::Alarm& a) {
  std::string s;
  if (a.member) s += fmt::format("memberID:{} ", a.member);
  switch (a.type) {
    case server::kAlarmNone:
      break;
    case server::kAlarmNospace:
      s += "alarm:NOSPACE ";
      break;
    case server::kAlarmCorrupt:
      s += "alarm:CORRUPT ";
      break;
    default:
      s += fmt::format("alarm:{} ", a.type);
  }
  return s;
}

// "3.6.0" -> "3.6".
std::string_view major_minor(std::string_view version) {
  return version.substr(0, version.rfind('.'));
}
}  // namespace

struct MaintenanceService::Handlers {
  Unary status, alarm, defragment, hash, hash_kv, move_leader, downgrade;
  SnapshotStreamHandler snapshot;
};

MaintenanceService::MaintenanceService(Loop& loop, Gate& gate, grpc::MethodTable& methods) : loop_(loop) {
  using Method = void (MaintenanceService::*)(grpc::Call&, std::string_view);
  auto unary = [&](Method m, bool learner_may = false) {
    return Unary(gate, learner_may, [this, m](grpc::Call& c, std::string_view r) { (this->*m)(c, r); });
  };
  handlers_.reset(new Handlers{unary(&MaintenanceService::status, true), unary(&MaintenanceService::alarm),
                               unary(&MaintenanceService::defragment), unary(&MaintenanceService::hash),
                               unary(&MaintenanceService::hash_kv), unary(&MaintenanceService::move_leader),
                               unary(&MaintenanceService::downgrade), SnapshotStreamHandler(loop, gate)});
  constexpr std::string_view kService = "etcdserverpb.Maintenance";
  methods.add_unary(kService, "Status", handlers_->status);
  methods.add_unary(kService, "Alarm", handlers_->alarm);
  methods.add_unary(kService, "Defragment", handlers_->defragment);
  methods.add_unary(kService, "Hash", handlers_->hash);
  methods.add_unary(kService, "HashKV", handlers_->hash_kv);
  methods.add_unary(kService, "MoveLeader", handlers_->move_leader);
  methods.add_unary(kService, "Downgrade", handlers_->downgrade);
  methods.add_stream(kService, "Snapshot", grpc::MethodKind::kServerStream, handlers_->snapshot);
}

MaintenanceService::~MaintenanceService() = default;

void MaintenanceService::status(grpc::Call& call, std::string_view bytes) {
  if (!decode_or_fail<pb::StatusRequest>(call, bytes)) return;
  const server::MemberStatus s = loop_.member.status();
  std::vector<std::string> errors;
  if (!s.leader) errors.emplace_back(Error(Code::kNoLeader).text());
  for (const server::Alarm& a : s.alarms) {
    if (a.type != server::kAlarmNone) errors.push_back(alarm_text(a));
  }
  pb::StatusResponse r;
  r.version = kEtcdVersion;
  r.db_size = static_cast<int64_t>(s.db_size);
  r.leader = s.leader.v;
  r.raft_index = s.committed.v;
  r.raft_term = s.term.v;
  r.raft_applied_index = s.applied.v;
  r.errors.assign(errors.begin(), errors.end());
  r.db_size_in_use = static_cast<int64_t>(s.db_size_in_use);
  r.is_learner = s.learner;
  r.storage_version = s.storage_version;
  r.db_size_quota = s.db_quota;
  r.downgrade_info.emplace();
  r.downgrade_info->enabled = s.downgrade_enabled;
  r.downgrade_info->target_version = s.downgrade_target;
  respond(call, loop_.member, loop_.member.revision(), r);
}

void MaintenanceService::alarm(grpc::Call& call, std::string_view bytes) {
  auto request = decode_or_fail<pb::AlarmRequest>(call, bytes);
  if (!request) return;
  loop_.callers->when_admitted(
      call, auth::alarm_need(request->action),
      [this, alarm = *request](grpc::Call& c) { propose(loop_, c, raft_field::kAlarm, alarm); });
}

void MaintenanceService::defragment(grpc::Call& call, std::string_view bytes) {
  if (!decode_or_fail<pb::DefragmentRequest>(call, bytes)) return;
  LOG(loop_.log, kInfo, "starting defragment", );
  // Its lines are written whatever became of the call.
  auto finished = [this](grpc::Call* c, const Result<>& done) {
    if (done) {
      LOG(loop_.log, kInfo, "finished defragment", );
    } else {
      LOG(loop_.log, kWarn, "failed to defragment", {"error", done.error().text()});
    }
    LOG(loop_.log, kInfo, "grpc service status changed", {"service", ""}, {"status", "SERVING"});
    if (c == nullptr) return;
    if (!done) return c->fail(done.error());
    c->respond(0, [](char*) {});
  };
  loop_.member.defragment(loop_.port.loop(), CallRef(call).always_then(finished));
}

void MaintenanceService::hash(grpc::Call& call, std::string_view bytes) {
  if (!decode_or_fail<pb::HashRequest>(call, bytes)) return;
  auto answer = [this](grpc::Call& c, const Result<backend::StateHash>& hash) {
    if (!hash) return c.fail(hash.error());
    pb::HashResponse r;
    r.hash = hash->hash;
    // Of the moment that was hashed, however much was written since. A store without records is at 1.
    respond(c, loop_.member, std::max<int64_t>(hash->newest_main, 1), r);
  };
  loop_.member.hash(loop_.port.loop(), CallRef(call).then(answer));
}

void MaintenanceService::hash_kv(grpc::Call& call, std::string_view bytes) {
  auto request = decode_or_fail<pb::HashKVRequest>(call, bytes);
  if (!request) return;
  auto answer = [this](grpc::Call& c, const Result<server::Member::HashKv>& hash) {
    if (!hash) return c.fail(hash.error());
    pb::HashKVResponse r;
    r.hash = hash->hash;
    r.compact_revision = hash->compact_revision;
    r.hash_revision = hash->hash_revision;
    respond(c, loop_.member, hash->revision, r);
  };
  loop_.member.hash_kv(request->revision, loop_.port.loop(), CallRef(call).then(answer));
}

void MaintenanceService::move_leader(grpc::Call& call, std::string_view bytes) {
  auto request = decode_or_fail<pb::MoveLeaderRequest>(call, bytes);
  if (!request) return;
  const MemberId self = loop_.member.id(), target(request->target_id);
  if (loop_.member.leader() != self) return call.fail(Error(Code::kNotLeader));
  const auto members = loop_.member.members();
  const auto found = std::ranges::find(members, target, &membership::Member::id);
  if (found == members.end() || found->is_learner) return call.fail(Error(Code::kBadLeaderTransferee));
  LOG(loop_.log, kInfo, "leadership transfer starting", {"local-member-id", log::Hex{self.v}},
      {"current-leader-member-id", log::Hex{self.v}}, {"transferee-member-id", log::Hex{target.v}});
  // Told whatever became of the call.
  auto moved = [this, self, target, began = loop_.clock.monotonic()](grpc::Call* c, const Result<>& done) {
    if (done) {
      LOG(loop_.log, kInfo, "leadership transfer finished", {"local-member-id", log::Hex{self.v}},
          {"old-leader-member-id", log::Hex{self.v}}, {"new-leader-member-id", log::Hex{target.v}},
          {"took", log::Duration{loop_.clock.monotonic() - began}});
    }
    if (c == nullptr) return;
    if (!done) return c->fail(done.error());
    c->respond(0, [](char*) {});
  };
  loop_.member.admin().move_leader(target, loop_.port.loop(), CallRef(call).always_then(moved));
}

void MaintenanceService::downgrade(grpc::Call& call, std::string_view bytes) {
  using Action = pb::DowngradeRequest::DowngradeAction;
  auto request = decode_or_fail<pb::DowngradeRequest>(call, bytes);
  if (!request) return;
  if (request->action == Action::kCancel) return downgrade_confirmed(call, bytes);
  if (request->action != Action::kValidate && request->action != Action::kEnable) {
    return call.fail(Error(Code::kUnknownMethod));
  }
  if (!server::parse_target_version(request->version))
    return call.fail(Error(Code::kWrongDowngradeVersionFormat));
  if (request->action == Action::kValidate && loop_.member.cluster_version().empty()) {
    return call.fail(Error(Code::kClusterVersionUnavailable));
  }
  // The request's bytes live as long as the call.
  loop_.port.read_index(CallRef(call).then([this, bytes](grpc::Call& c, const Result<>& confirmed) {
    if (!confirmed) return c.fail(confirmed.error());
    downgrade_confirmed(c, bytes);
  }));
}

void MaintenanceService::downgrade_confirmed(grpc::Call& call, std::string_view bytes) {
  using Action = pb::DowngradeRequest::DowngradeAction;
  const pb::DowngradeRequest request = *wire::decode<pb::DowngradeRequest>(bytes);
  auto answer = [this](grpc::Call& c) {
    const std::string version = loop_.member.cluster_version();
    pb::DowngradeResponse r;
    r.version = major_minor(version);
    respond(c, loop_.member, loop_.member.revision(), r);
  };
  wire::membershippb::DowngradeInfoSetRequest info;
  std::shared_ptr<const std::string> target;
  if (request.action != Action::kCancel) {
    auto checked = loop_.member.check_downgrade(request.version);
    if (!checked) return call.fail(checked.error());
    if (request.action == Action::kValidate) return answer(call);
    target = std::make_shared<const std::string>(*checked);
    info.enabled = true;
    info.ver = *target;
  } else if (!loop_.member.status().downgrade_enabled) {
    LOG(loop_.log, kWarn, "failed to cancel downgrade: no inflight downgrade job", );
    return answer(call);
  }
  propose_then(
      loop_, call, raft_field::kDowngradeInfoSet, info,
      [answer](grpc::Call& c, const server::Answer& outcome) {
        if (outcome.error) return c.fail(*outcome.error);
        answer(c);
      },
      target);
}

}  // namespace quoin::v3rpc

// Every call of every service is cancelled at every step: by the client's reset, by a lost connection, by its
// deadline, by a stop of the server. Which, when, and what runs between is drawn from a seed.
//
// QUOIN_CANCELLED_CALLS: how many calls to cancel instead of a few thousand (a long run: 100000, under ASan).
#include <cstdlib>
#include <map>
#include <set>

#include "server/logins.h"
#include "v3rpc/services_test.h"
#include "wire/v3election.h"
#include "wire/v3lock.h"

namespace quoin::v3rpc {
namespace {

struct Conversation {
  std::string path;
  std::string messages;  // framed
  bool half_close = true;
  int weight = 16;
  bool compressed = false;  // what comes back
};

template <class Request>
std::string framed(const Request& request) {
  return grpc::test::framed(wire::encode_string(request));
}

std::vector<Conversation> conversations() {
  constexpr std::string_view kAll("\0", 1);
  std::vector<Conversation> out;
  const auto add = [&](std::string path, std::string messages, bool half_close = true, int weight = 16) {
    out.push_back({"/" + std::move(path), std::move(messages), half_close, weight});
  };
  const auto range = [&](bool serializable, bool all) {
    pb::RangeRequest r;
    r.key = all ? kAll : "k000007";
    if (all) r.range_end = kAll;
    r.serializable = serializable;
    return r;
  };
  for (const bool serializable : {false, true}) {
    for (const bool all : {false, true}) add("etcdserverpb.KV/Range", framed(range(serializable, all)));
    add("etcdserverpb.KV/RangeStream", framed(range(serializable, true)));
    pb::RangeRequest whole = range(serializable, true);
    whole.limit = -1;
    add("etcdserverpb.KV/RangeStream", framed(whole));
    pb::TxnRequest txn;
    txn.success.emplace_back().set_request_range() = range(serializable, true);
    txn.success.emplace_back().set_request_range() = range(serializable, false);
    add("etcdserverpb.KV/Txn", framed(txn));
    pb::MemberListRequest members;
    members.linearizable = !serializable;
    add("etcdserverpb.Cluster/MemberList", framed(members));
  }
  pb::MemberAddRequest member;
  member.peer_urls = {"http://localhost:2380"};  // which is there already
  member.is_learner = true;
  add("etcdserverpb.Cluster/MemberAdd", framed(member));
  pb::MemberUpdateRequest update;
  update.id = 5;
  update.peer_urls = {"http://localhost:2380"};
  add("etcdserverpb.Cluster/MemberUpdate", framed(update));
  pb::MemberRemoveRequest remove;
  remove.id = 5;
  add("etcdserverpb.Cluster/MemberRemove", framed(remove));
  pb::MemberPromoteRequest promote;
  promote.id = 5;
  add("etcdserverpb.Cluster/MemberPromote", framed(promote));
  pb::PutRequest put;
  put.key = "put";
  put.value = "some value";
  add("etcdserverpb.KV/Put", framed(put), true, 64);
  pb::DeleteRangeRequest erase;
  erase.key = "put";
  add("etcdserverpb.KV/DeleteRange", framed(erase));
  pb::TxnRequest txn;
  auto& op = txn.success.emplace_back().set_request_put();
  op.key = "put";
  op.value = "other";
  add("etcdserverpb.KV/Txn", framed(txn));
  pb::CompactionRequest compact;
  compact.revision = 3;
  add("etcdserverpb.KV/Compact", framed(compact), true, 4);

  pb::LeaseGrantRequest grant;
  grant.ttl = 5;
  add("etcdserverpb.Lease/LeaseGrant", framed(grant));
  pb::LeaseRevokeRequest revoke;
  revoke.id = 9;
  add("etcdserverpb.Lease/LeaseRevoke", framed(revoke));
  for (const int64_t id : {1, 9}) {
    pb::LeaseTimeToLiveRequest time;
    time.id = id;
    time.keys = true;
    add("etcdserverpb.Lease/LeaseTimeToLive", framed(time));
    pb::LeaseKeepAliveRequest alive;
    alive.id = id;
    const std::string one = framed(alive);
    add("etcdserverpb.Lease/LeaseKeepAlive", one, true, 64);
    add("etcdserverpb.Lease/LeaseKeepAlive", one + one + one, false, 64);
  }
  add("etcdserverpb.Lease/LeaseLeases", framed(pb::LeaseLeasesRequest{}));

  std::string watches;
  for (const int64_t start : {0, 2}) {
    for (const int64_t id : {0, 7}) {
      pb::WatchRequest w;
      auto& create = w.set_create_request();
      create.key = kAll;
      create.range_end = kAll;
      create.start_revision = start;
      create.watch_id = id;
      create.prev_kv = start != 0;
      create.fragment = id != 0;
      watches += framed(w);
      add("etcdserverpb.Watch/Watch", framed(w), false, 32);
      pb::WatchRequest cancel;
      cancel.set_cancel_request().watch_id = id;
      add("etcdserverpb.Watch/Watch", framed(w) + framed(cancel), false, 32);
    }
  }
  // Under a key that stands in the way of all, and under none.
  for (const std::string_view name : {"held", "free"}) {
    wire::v3lockpb::LockRequest lock;
    lock.name = name;
    lock.lease = 1;
    add("v3lockpb.Lock/Lock", framed(lock), true, 32);
    wire::v3electionpb::CampaignRequest campaign;
    campaign.name = name;
    campaign.lease = 1;
    campaign.value = "v";
    add("v3electionpb.Election/Campaign", framed(campaign), true, 32);
    wire::v3electionpb::LeaderRequest leader;
    leader.name = name;
    add("v3electionpb.Election/Leader", framed(leader));
    add("v3electionpb.Election/Observe", framed(leader), true, 32);
  }
  wire::v3lockpb::UnlockRequest unlock;
  unlock.key = "held/1";
  add("v3lockpb.Lock/Unlock", framed(unlock));
  wire::v3electionpb::ProclaimRequest proclaim;
  auto& leader = proclaim.leader.emplace();
  leader.key = "free/1";
  leader.lease = 1;
  proclaim.value = "other";
  add("v3electionpb.Election/Proclaim", framed(proclaim));
  wire::v3electionpb::ResignRequest resign;
  resign.leader = leader;
  add("v3electionpb.Election/Resign", framed(resign));

  pb::WatchRequest progress;
  progress.set_progress_request();
  add("etcdserverpb.Watch/Watch", watches + framed(progress), false, 32);

  add("etcdserverpb.Maintenance/Status", framed(pb::StatusRequest{}));
  add("etcdserverpb.Maintenance/Alarm", framed(pb::AlarmRequest{}));
  add("etcdserverpb.Maintenance/Defragment", framed(pb::DefragmentRequest{}), true, 1);
  add("etcdserverpb.Maintenance/Hash", framed(pb::HashRequest{}), true, 4);
  add("etcdserverpb.Maintenance/HashKV", framed(pb::HashKVRequest{}), true, 4);
  add("etcdserverpb.Maintenance/Snapshot", framed(pb::SnapshotRequest{}), true, 16);
  pb::MoveLeaderRequest move;
  add("etcdserverpb.Maintenance/MoveLeader", framed(move));
  pb::DowngradeRequest downgrade;
  downgrade.version = "3.5.0";
  downgrade.action = pb::DowngradeRequest::DowngradeAction::kValidate;
  add("etcdserverpb.Maintenance/Downgrade", framed(downgrade));
  downgrade.action = pb::DowngradeRequest::DowngradeAction::kCancel;
  add("etcdserverpb.Maintenance/Downgrade", framed(downgrade));

  // Of users that are there and not there. Weights of one: what hashes a password holds up the simulated disk.
  const auto auth = [&](std::string_view method, std::string request, int weight = 4) {
    add(fmt::format("etcdserverpb.Auth/{}", method), std::move(request), true, weight);
  };
  auth("AuthEnable", framed(pb::AuthEnableRequest{}));
  auth("AuthDisable", framed(pb::AuthDisableRequest{}), 1);
  auth("AuthStatus", framed(pb::AuthStatusRequest{}));
  pb::AuthenticateRequest login;
  login.name = "root";
  login.password = "pw";
  auth("Authenticate", framed(login), 8);
  pb::AuthUserAddRequest user;
  user.name = "u";
  user.password = "pw";
  auth("UserAdd", framed(user), 1);
  pb::AuthUserGetRequest user_get;
  user_get.name = "root";
  auth("UserGet", framed(user_get));
  auth("UserList", framed(pb::AuthUserListRequest{}));
  pb::AuthUserDeleteRequest user_delete;
  user_delete.name = "u";
  auth("UserDelete", framed(user_delete));
  pb::AuthUserChangePasswordRequest password;
  password.name = "u";
  password.password = "other";
  auth("UserChangePassword", framed(password), 1);
  pb::AuthUserGrantRoleRequest give;
  give.user = "u";
  give.role = "r";
  auth("UserGrantRole", framed(give));
  pb::AuthUserRevokeRoleRequest take;
  take.name = "u";
  take.role = "r";
  auth("UserRevokeRole", framed(take));
  pb::AuthRoleAddRequest role;
  role.name = "r";
  auth("RoleAdd", framed(role));
  pb::AuthRoleGetRequest role_get;
  role_get.role = "r";
  auth("RoleGet", framed(role_get));
  auth("RoleList", framed(pb::AuthRoleListRequest{}));
  pb::AuthRoleDeleteRequest role_delete;
  role_delete.role = "r";
  auth("RoleDelete", framed(role_delete));
  pb::AuthRoleGrantPermissionRequest permit;
  permit.name = "r";
  permit.perm.emplace().key = "k";
  auth("RoleGrantPermission", framed(permit));
  pb::AuthRoleRevokePermissionRequest forbid;
  forbid.role = "r";
  forbid.key = "k";
  auth("RoleRevokePermission", framed(forbid));

  for (const char* method : {"Check", "List", "Watch"}) {
    add(std::string("grpc.health.v1.Health/") + method, grpc::test::framed({}));
  }
  // Long answers are compressed in steps, and so is whatever follows one on its stream.
  for (size_t i = 0, n = out.size(); i < n; ++i) {
    for (const char* method : {"Range", "Txn", "Snapshot", "Watch"}) {
      if (!out[i].path.ends_with(method) && !out[i].path.ends_with("RangeStream")) continue;
      out.push_back(out[i]);
      out.back().compressed = true;
      break;
    }
  }
  return out;
}

// One life of a member, and what is cancelled in it.
class Life : public ServicesTest {
 public:
  // `users`: auth is on, and calls come with tokens of every kind.
  explicit Life(uint64_t seed, bool users = false)
      : ServicesTest(cheap_passwords(), seed), users_(users), draw_(seed) {
    for (const Conversation& c : kinds_) total_weight_ += c.weight;
  }
  void TestBody() override {}

  // Cancels `count` calls; then nothing of them may be left.
  void run(int count) {
    prepare();
    EXPECT_EQ(covered(), services_->methods().methods().size());
    while (cancelled_ < count && !HasFatalFailure()) {
      while (open_.size() < 1 + draw_.below(12)) begin();
      advance();
      cancel_due();
    }
    disconnect(grpc::CancelReason::kServerStopped);
    if (draw_.below(2) == 0) stop_member();  // with answers under way, as a process stops
    settle();
    expect_nothing_left();
  }
  int cancelled() const { return cancelled_; }
  const std::map<std::string, int>& ways() const { return ways_; }

 private:
  static server::Config cheap_passwords() {
    server::Config c = test_config();
    c.bcrypt_cost = 4;
    return c;
  }
  struct Open {
    http2::StreamId id;
    uint64_t steps;  // until it is cancelled
  };

  size_t covered() const {
    std::set<std::string> paths;
    for (const Conversation& c : kinds_) paths.insert(c.path);
    return paths.size();
  }

  void prepare() {
    pb::LeaseGrantRequest grant;
    grant.id = 1;
    grant.ttl = 1000;
    std::vector<http2::StreamId> calls{call("/etcdserverpb.Lease/LeaseGrant", grant)};
    for (int i = 0; i < 400; ++i) {  // more revisions than apply reads for a watcher itself
      pb::PutRequest put;
      put.key = "a";
      put.value = "v";
      calls.push_back(call("/etcdserverpb.KV/Put", put));
    }
    pb::PutRequest elder;
    elder.key = "held/elder";
    calls.push_back(call("/etcdserverpb.KV/Put", elder));
    for (int n = 0; n < 3000;) {
      pb::TxnRequest txn;
      std::deque<std::string> texts;
      for (int i = 0; i < 100; ++i, ++n) {
        auto& put = txn.success.emplace_back().set_request_put();
        put.key = texts.emplace_back(fmt::format("k{:06}", n));
        put.value = texts.emplace_back(300, 'v');
        put.lease = n < 10 ? 1 : 0;
      }
      calls.push_back(call("/etcdserverpb.KV/Txn", txn));
    }
    run_until([&] {
      return std::all_of(calls.begin(), calls.end(), [&](http2::StreamId id) { return stream(id).ended; });
    });
    for (const http2::StreamId id : calls) ASSERT_EQ(stream(id).status(), "0 ");
    if (users_) enable_users();
    world_.run_for(io::kSecond);
    open_reads_ = metric("etcd_mvcc_db_open_read_transactions");
  }
  template <class Request>
  http2::StreamId done(std::string_view method, const Request& request) {
    const auto id = call(fmt::format("/etcdserverpb.Auth/{}", method), request);
    run_until([&] { return stream(id).ended; });
    EXPECT_EQ(stream(id).status(), "0 ") << method;
    return id;
  }
  void enable_users() {
    pb::AuthUserAddRequest user;
    user.name = "root";
    user.password = "pw";
    done("UserAdd", user);
    pb::AuthRoleAddRequest role;
    role.name = "root";
    done("RoleAdd", role);
    pb::AuthUserGrantRoleRequest give;
    give.user = give.role = "root";
    done("UserGrantRole", give);
    done("AuthEnable", pb::AuthEnableRequest());
    pb::AuthenticateRequest login;
    login.name = "root";
    login.password = "pw";
    token_ = wire::decode<pb::AuthenticateResponse>(message(stream(done("Authenticate", login))))->token;
  }
  // Mostly one that opens everything.
  std::string draw_token() {
    switch (draw_.below(8)) {
      case 0:
        return "abcdefghijklmnop.1";
      case 1:
        return fmt::format("abcdefghijklmnop.{}", member_->applied().v + draw_.below(20));
      default:
        return token_;
    }
  }

  const Conversation& draw_kind() {
    int at = static_cast<int>(draw_.below(static_cast<uint64_t>(total_weight_)));
    for (const Conversation& c : kinds_) {
      // It would end what `users` is about.
      if (users_ && c.path.ends_with("AuthDisable")) continue;
      if ((at -= c.weight) < 0) return c;
    }
    return kinds_.front();
  }

  void begin() {
    const Conversation& kind = draw_kind();
    auto headers = grpc::test::RawClient::post(kind.path);
    if (kind.compressed) headers.emplace_back("grpc-encoding", "gzip");
    if (users_ && draw_.below(8) > 0) headers.emplace_back("token", draw_token());
    // The deadline ends some of them, at any of their steps; a task takes a microsecond.
    if (draw_.below(4) == 0) headers.emplace_back("grpc-timeout", fmt::format("{}u", 1 + draw_.below(400)));
    const auto id = client_->request(headers, kind.messages, kind.half_close);
    // Most are short; so that every step of them is met, most draws are, too.
    const uint64_t most = uint64_t{1} << draw_.below(10);
    open_.push_back({id, draw_.below(most)});
  }

  // One task somewhere, or one flight of bytes.
  void advance() {
    if (!stopped_ && draw_.below(2) == 0 && connection_) {
      bool done = false;
      loop_.post([&] {
        fly();
        done = true;
      });
      ASSERT_TRUE(world_.run_until([&] { return done; }, kMaxNs));
      if (lost_) {
        disconnect(grpc::CancelReason::kConnectionLost);
        connect();
      }
    }
    world_.step();
  }
  void fly() {
    const io::MonotonicNs now = process_.clock().monotonic();
    if (connection_->next_tick() <= now) lost_ |= !connection_->tick(now);
    http2::ByteQueue out;
    (void)client_->session.produce(out, 1 << 20);
    in_flight_ += out.take_all();
    // Not always at once, so that a request and its reset arrive together.
    if (draw_.below(3) > 0) lost_ |= !connection_->feed(std::exchange(in_flight_, {}), now);
    if (draw_.below(2) == 0) connection_->code(now);
    lost_ |= !connection_->produce(out, 1 << draw_.below(20));
    (void)client_->session.feed(out.take_all(), now);
  }

  void cancel_due() {
    for (size_t i = 0; i < open_.size();) {
      Open& o = open_[i];
      if (stream(o.id).closed || stream(o.id).ended) {
        if (stream(o.id).closed && !stream(o.id).ended) count("deadline");
        open_[i] = open_.back();
        open_.pop_back();
      } else if (o.steps-- == 0) {
        if (draw_.below(100) == 0) return cut();
        client_->session.reset(o.id, http2::ErrorCode::kCancel);
        count("reset");
        open_[i] = open_.back();
        open_.pop_back();
      } else {
        ++i;
      }
    }
  }
  void cut() {
    const bool server = draw_.below(2) == 0;
    count(server ? "stop" : "cut", static_cast<int>(open_.size()));
    if (server && draw_.below(2) == 0) connection_->shutdown(process_.clock().monotonic());
    disconnect(server ? grpc::CancelReason::kServerStopped : grpc::CancelReason::kConnectionLost);
    connect();
  }
  void count(const std::string& way, int n = 1) {
    cancelled_ += n;
    ways_[way] += n;
  }

  void disconnect(grpc::CancelReason reason) {
    bool done = false;
    loop_.post([&] {
      if (reason == grpc::CancelReason::kServerStopped) connection_->close(reason);
      connection_.reset();
      done = true;
    });
    ASSERT_TRUE(world_.run_until([&] { return done; }, kMaxNs));
    EXPECT_EQ(calls_.size(), 0u);
    EXPECT_EQ(memory_.used(), 0u);
    open_.clear();
  }
  void connect() {
    lost_ = false;
    in_flight_.clear();
    connection_ = std::make_unique<grpc::ServerConnection>(*context_, grpc::PeerInfo{"127.0.0.1:1", {}},
                                                           *this, process_.clock().monotonic());
    client_ = std::make_unique<grpc::test::RawClient>();
  }
  void stop_member() {
    member_->stop(loop_, [this] { stopped_ = true; });
    for (int i = 0; i < 100'000 && !stopped_; ++i) advance();
    EXPECT_TRUE(stopped_);
  }
  // What was under way comes back, and leases that were granted run out.
  void settle() { world_.run_for(30 * io::kSecond); }

  void expect_nothing_left() {
    EXPECT_EQ(calls_.size(), 0u);
    EXPECT_EQ(memory_.used(), 0u);
    EXPECT_EQ(loop_.queued(), 0u);
    EXPECT_EQ(services_->steps_waiting(), 0u);
    EXPECT_EQ(services_->callers_waiting(), 0u);
    for (const char* name :
         {"etcd_debugging_mvcc_watch_stream_total", "etcd_debugging_mvcc_watcher_total",
          "etcd_debugging_mvcc_slow_watcher_total", "etcd_debugging_mvcc_pending_events_total"}) {
      if (stopped_ && std::string_view(name).find("pending") == std::string_view::npos) continue;
      EXPECT_EQ(metric(name), 0) << name;
    }
    if (stopped_) return;
    EXPECT_EQ(metric("etcd_server_proposals_pending"), 0);
    // It still serves.
    connect();
    if (!member_->logins().published().get()->enabled) {
      pb::PutRequest put;
      put.key = "after";
      const auto after = call("/etcdserverpb.KV/Put", put);
      const auto read = call("/etcdserverpb.KV/Range", one());
      run_until([&] { return stream(after).ended && stream(read).ended; });
      EXPECT_EQ(stream(after).status(), "0 ");
      EXPECT_EQ(stream(read).status(), "0 ");
    }
    // No snapshot of the file is held but by the view of now.
    world_.run_for(io::kSecond);
    EXPECT_LE(metric("etcd_mvcc_db_open_read_transactions"), open_reads_);
  }

  const bool users_;
  std::string token_;  // of root
  Prng draw_;
  const std::vector<Conversation> kinds_ = conversations();
  int total_weight_ = 0;
  std::vector<Open> open_;
  std::string in_flight_;
  double open_reads_ = 0;
  bool lost_ = false, stopped_ = false;
  int cancelled_ = 0;
  std::map<std::string, int> ways_;
};

void cancel_calls(bool users) {
  const char* wanted = std::getenv("QUOIN_CANCELLED_CALLS");
  const long total = wanted != nullptr ? std::strtol(wanted, nullptr, 10) : 6'000;
  std::map<std::string, int> ways;
  long cancelled = 0;
  for (uint64_t seed = 1; cancelled < total && !::testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    Life life(seed, users);
    life.run(static_cast<int>(std::min<long>(2'000, total - cancelled)));
    cancelled += life.cancelled();
    for (const auto& [way, n] : life.ways()) ways[way] += n;
  }
  for (const char* way : {"reset", "cut", "deadline", "stop"}) EXPECT_GT(ways[way], 0) << way;
  for (const auto& [way, n] : ways) ::testing::Test::RecordProperty(way, n);
}
TEST(CancelTest, EveryCallAtEveryStep) {
  cancel_calls(/*users=*/false);
}
TEST(CancelTest, EveryCallAtEveryStepOfUsers) {
  cancel_calls(/*users=*/true);
}

}  // namespace
}  // namespace quoin::v3rpc

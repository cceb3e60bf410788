#include "auth/checks.h"

#include <map>
#include <set>

#include "auth/common_name.h"
#include "auth/corpus_test.h"
#include "base/prng.h"

namespace quoin::auth {
namespace {

namespace pb = wire::etcdserverpb;
using Type = Store::Permission::Type;
constexpr std::string_view kOpen("\0", 1);

class Leases : public LeaseKeys {
 public:
  std::map<int64_t, std::set<std::string>> held;
  mutable size_t given = 0;
  std::vector<std::string> keys(LeaseId id, std::string_view from, size_t max) const override {
    std::vector<std::string> out;
    const auto it = held.find(id.v);
    if (it == held.end()) return out;
    for (auto k = it->second.lower_bound(std::string(from)); k != it->second.end() && out.size() < max; ++k) {
      out.push_back(*k);
    }
    given += out.size();
    return out;
  }
};

class ChecksTest : public StoreRig {
 protected:
  void enable() {
    user_add("root", "eA==");
    ASSERT_TRUE(store.user_grant_role("root", "root"));
    ASSERT_TRUE(store.enable());
  }
  // A user with one role of the same name.
  void user_with(const std::string& name,
                 std::vector<std::tuple<Type, std::string, std::string>> permissions) {
    user_add(name, "eA==");
    ASSERT_TRUE(store.role_add(name));
    for (const auto& [type, key, end] : permissions) ASSERT_EQ(grant(name, type, key, end), "ok");
    ASSERT_TRUE(store.user_grant_role(name, name));
  }
  Access access(std::optional<AuthInfo> info) {
    Access a(published.get(), std::move(info), cache);
    while (!a.step()) {
    }
    return a;
  }
  Access as(const std::string& user) { return access(AuthInfo{user, store.revision()}); }

  RightsCache cache;
  Leases leases;
};

// 1330 questions put to etcd's own store, between changes of users and roles.
TEST_F(ChecksTest, AnswersAreEtcds) {
  std::ifstream in(corpus_path("checks_3_6.txt"));
  std::string line;
  int checks = 0;
  while (std::getline(in, line)) {
    const size_t equals = line.find(" = ");
    const auto w = words(line.substr(0, equals));
    if (w[0] != "read" && w[0] != "write" && w[0] != "admin") {
      run(w);
      continue;
    }
    ++checks;
    const std::string user = from_hex(w[1]);
    std::string got;
    if (w[0] == "admin") {
      got = say(access(AuthInfo{user, 0}).admin());
    } else {
      uint64_t revision = store.revision();
      if (from_hex(w[4]) == "old") --revision;
      if (from_hex(w[4]) == "none") revision = 0;
      const Access a = access(AuthInfo{user, revision});
      const std::string key = from_hex(w[2]), end = from_hex(w[3]);
      got = say(w[0] == "read" ? a.read(key, end) : a.write(key, end));
    }
    ASSERT_EQ(got, line.substr(equals + 3)) << line;
  }
  EXPECT_GT(checks, 1200);
}

// ---- a slow twin ----

// Keys over a small alphabet up to three letters, and one beyond all of them for open ends: a permission is the
// set of those that are in it.
struct Model {
  std::vector<std::string> universe;
  Model() {
    const std::string letters("\0ab\xff", 4);
    for (char a : letters) {
      universe.push_back({a});
      for (char b : letters) {
        universe.push_back({a, b});
        for (char c : letters) universe.push_back({a, b, c});
      }
    }
    universe.push_back("\xff\xff\xff\xff\xff");
    std::sort(universe.begin(), universe.end());
  }
  static bool in(const std::string& k, const std::string& key, const std::string& end) {
    if (key.empty()) return false;
    if (end.empty()) return k == key;
    return k >= key && (end == kOpen || k < end);
  }
};

TEST(RightsModel, TwentyThousandRandomRanges) {
  const Model model;
  Prng prng(4);
  // Ends are keys of one or two letters, so that between any two ends there is a key of the universe, and a
  // range is covered if all keys of the universe in it are.
  const auto pick = [&] {
    std::string s;
    for (uint64_t n = prng.between(1, 2); n > 0; --n) s.push_back(std::string("\0ab\xff", 4)[prng.below(4)]);
    return s;
  };
  int cases = 0, allowed = 0;
  while (cases < 20'000) {
    std::vector<std::pair<std::string, std::string>> permissions;
    for (uint64_t n = prng.below(8); n > 0; --n) {
      const std::string key = pick();
      std::string end = prng.chance(1, 4) ? "" : prng.chance(1, 6) ? std::string(kOpen) : pick();
      permissions.emplace_back(key, end);
    }
    std::sort(permissions.begin(), permissions.end(), [](auto& a, auto& b) { return a.first < b.first; });
    RangeSet set;
    for (const auto& [key, end] : permissions) set.append(KeyRange::of(key, end));
    for (size_t i = 1; i < set.ranges().size(); ++i) {
      EXPECT_FALSE(set.ranges()[i - 1].end.beyond(set.ranges()[i].begin));
    }
    for (int q = 0; q < 40; ++q) {
      const std::string key = pick();
      const std::string end = prng.chance(1, 3) ? "" : prng.chance(1, 5) ? std::string(kOpen) : pick();
      if (!end.empty() && end != kOpen && end <= key) continue;
      ++cases;
      bool want = true;
      for (const std::string& k : model.universe) {
        if (!Model::in(k, key, end)) continue;
        const bool granted = std::any_of(permissions.begin(), permissions.end(),
                                         [&](const auto& p) { return Model::in(k, p.first, p.second); });
        want &= granted;
      }
      const bool got = end.empty() ? set.contains(key) : set.covers(KeyRange::of(key, end));
      ASSERT_EQ(got, want) << hex_bytes(key) << " " << hex_bytes(end);
      allowed += got;
    }
  }
  EXPECT_GT(allowed, 2000);
}

TEST(RangeSetTest, PointsAndSuccessorsTouch) {
  RangeSet set;
  set.append(KeyRange::of("a", ""));
  set.append(KeyRange::of(std::string_view("a\0", 2), "b"));
  set.append(KeyRange::of("b", ""));
  ASSERT_EQ(set.ranges().size(), 1u);
  EXPECT_TRUE(set.covers(KeyRange::of("a", std::string_view("b\0", 2))));
  EXPECT_FALSE(set.covers(KeyRange::of("a", "ba")));
  EXPECT_FALSE(set.covers(KeyRange::of("a", kOpen)));
  // Data of old versions: an empty key and a range that is none grant nothing.
  RangeSet odd;
  odd.append(KeyRange::of("", kOpen));
  odd.append(KeyRange::of("z", "a"));
  EXPECT_TRUE(odd.ranges().empty());
  EXPECT_FALSE(odd.contains(""));
}

// ---- rights in steps ----

TEST_F(ChecksTest, RightsOfManyRolesAreMergedInStepsAndKept) {
  enable();
  user_add("u", "eA==");
  for (int r = 0; r < 100; ++r) {
    const std::string role = fmt::format("r{:03}", r);
    ASSERT_TRUE(store.role_add(role));
    for (int p = 0; p < 20; ++p) {
      const std::string from = fmt::format("{:02}/{:03}", p, r), to = fmt::format("{:02}/{:03}", p, r + 1);
      ASSERT_EQ(grant(role, Type::kReadwrite, from, to), "ok");
    }
    ASSERT_TRUE(store.user_grant_role("u", role));
  }
  Access a(published.get(), AuthInfo{"u", store.revision()}, cache);
  int steps = 1;
  while (!a.step(100)) ++steps;
  EXPECT_GE(steps, 40);
  EXPECT_TRUE(a.read("05/000", "05/100"));
  EXPECT_FALSE(a.read("05/000", "06/000"));
  EXPECT_EQ(cache.find(a.permissions(), *a.permissions().users.find("u"))->read.ranges().size(), 20u);
  // Another request finds them; so does one after a change that is not of its roles, by their identity.
  EXPECT_TRUE(Access(published.get(), AuthInfo{"u", store.revision()}, cache).step(0));
  const auto before = cache.stale("u");
  ASSERT_TRUE(store.role_add("other"));
  as("u");
  EXPECT_EQ(cache.stale("u"), before);
  EXPECT_EQ(grant("r000", Type::kRead, "zz", ""), "ok");
  EXPECT_TRUE(as("u").read("zz"));
  EXPECT_NE(cache.stale("u"), before);
}

TEST_F(ChecksTest, TheCacheHasABound) {
  enable();
  for (int i = 0; i < 50; ++i) user_with(fmt::format("u{}", i), {{Type::kRead, "k", ""}});
  RightsCache small(RightsCache::Options{2000});
  for (int round = 0; round < 2; ++round) {
    for (int i = 0; i < 50; ++i) {
      Access a(published.get(), AuthInfo{fmt::format("u{}", i), store.revision()}, small);
      while (!a.step()) {
      }
      EXPECT_TRUE(a.read("k"));
    }
  }
  EXPECT_LE(small.bytes(), 2000u);
  EXPECT_GE(small.size(), 1u);
}

// ---- who ----

TEST_F(ChecksTest, WhileAuthIsOffEverythingIsAllowed) {
  const Access nobody = access(std::nullopt);
  EXPECT_TRUE(nobody.read("k"));
  EXPECT_TRUE(nobody.admin());
  EXPECT_TRUE(nobody.authenticated());
}

TEST_F(ChecksTest, AdminAndAuthenticated) {
  enable();
  user_with("u", {});
  EXPECT_EQ(say(access(std::nullopt).authenticated()), "etcdserver: user name is empty");
  EXPECT_EQ(say(access(std::nullopt).admin()), "etcdserver: user name is empty");
  EXPECT_EQ(say(access(std::nullopt).read("k")), "etcdserver: user name is empty");
  EXPECT_EQ(say(as("").admin()), "etcdserver: user name is empty");
  EXPECT_EQ(say(as("x").admin()), "etcdserver: user name not found");
  EXPECT_EQ(say(as("u").admin()), "etcdserver: permission denied");
  EXPECT_EQ(say(as("x").read("k")), "etcdserver: permission denied");
  EXPECT_EQ(say(as("root").write("k", kOpen)), "ok");
  // The revision counts for keys alone.
  EXPECT_EQ(say(access(AuthInfo{"root", 1}).admin()), "ok");
  EXPECT_EQ(say(access(AuthInfo{"root", 1}).read("k")), "etcdserver: revision of auth store is old");
  EXPECT_EQ(say(as("u").user_get("u")), "ok");
  EXPECT_EQ(say(as("u").user_get("root")), "etcdserver: permission denied");
  EXPECT_EQ(say(as("u").role_get("u")), "ok");
  EXPECT_EQ(say(as("u").role_get("other")), "etcdserver: permission denied");
  EXPECT_EQ(say(as("root").role_get("other")), "ok");
  EXPECT_EQ(say(access(internal_root(*published.get())).write("k")), "ok");
}

TEST_F(ChecksTest, AReadIsOfTheRevisionThatWasChecked) {
  enable();
  const Access a = as("root");
  const PermissionsRef before = published.get();
  EXPECT_TRUE(a.still_current_for_read(*before));
  ASSERT_TRUE(store.role_add("r"));
  EXPECT_EQ(say(a.still_current_for_read(*published.get())), "etcdserver: revision of auth store is old");
  EXPECT_EQ(say(a.still_current_for_lease(*published.get())), "etcdserver: revision of auth store is old");
  EXPECT_TRUE(access(std::nullopt).still_current_for_read(*published.get()));
}

TEST_F(ChecksTest, ACertificateNamesTheUser) {
  enable();
  user_with("cn", {{Type::kRead, "k", ""}});
  const auto info = [&](std::optional<std::string_view> name, bool gateway) {
    return common_name_info(*published.get(), name, gateway);
  };
  EXPECT_TRUE(access(info("cn", false)).read("k"));
  EXPECT_FALSE(info("cn", true));
  EXPECT_FALSE(info(std::nullopt, false));
  const Access empty = access(info("", false));
  EXPECT_TRUE(empty.authenticated());
  EXPECT_EQ(say(empty.read("k")), "etcdserver: permission denied");
  EXPECT_EQ(say(empty.admin()), "etcdserver: user name is empty");
  EXPECT_EQ(token_of("t", "Bearer x"), "t");
  EXPECT_EQ(token_of(std::nullopt, "Bearer x"), "x");
  EXPECT_EQ(token_of(std::nullopt, "bearer x"), "bearer x");
  EXPECT_EQ(token_of(std::nullopt, std::nullopt), std::nullopt);
}

// ---- requests ----

class RequestsTest : public ChecksTest {
 protected:
  void SetUp() override {
    enable();
    user_with("u", {{Type::kRead, "r", ""}, {Type::kWrite, "w", ""}, {Type::kReadwrite, "x", "z"}});
  }
  std::string check(const std::function<void(RequestCheck&)>& ask, const std::string& user = "u") {
    const Access a = as(user);
    RequestCheck c(a, leases);
    ask(c);
    return say(c.run());
  }
  std::string put(std::string_view key, bool prev = false, int64_t lease = 0) {
    pb::PutRequest r;
    r.key = key;
    r.prev_kv = prev;
    r.lease = lease;
    return check([&](RequestCheck& c) { c.put(r); });
  }
  std::string txn(const pb::TxnRequest& t, const std::string& user = "u") {
    return check([&](RequestCheck& c) { c.txn(t); }, user);
  }
  static constexpr const char* kDenied = "etcdserver: permission denied";
};

TEST_F(RequestsTest, Put) {
  EXPECT_EQ(put("w"), "ok");
  EXPECT_EQ(put("r"), kDenied);
  EXPECT_EQ(put("w", true), kDenied);  // prev_kv is a read
  EXPECT_EQ(put("x", true), "ok");
  leases.held[7] = {"x", "y"};
  leases.held[8] = {"x", "r"};
  EXPECT_EQ(put("w", false, 7), "ok");
  EXPECT_EQ(put("w", false, 8), kDenied);  // whoever may not write `r` must not get hold of its lease
  EXPECT_EQ(put("w", false, 9), "ok");     // no such lease: another error, later
}

TEST_F(RequestsTest, DeleteRange) {
  const auto erase = [&](std::string_view key, std::string_view end, bool prev) {
    pb::DeleteRangeRequest r;
    r.key = key;
    r.range_end = end;
    r.prev_kv = prev;
    return check([&](RequestCheck& c) { c.delete_range(r); });
  };
  EXPECT_EQ(erase("x", "z", true), "ok");
  EXPECT_EQ(erase("w", "", false), "ok");
  EXPECT_EQ(erase("w", "", true), kDenied);
  EXPECT_EQ(erase("w", "z", false), kDenied);
  EXPECT_EQ(erase("x", kOpen, false), kDenied);
}

pb::RequestOp op_range(std::string_view key) {
  pb::RequestOp op;
  op.set_request_range().key = key;
  return op;
}
pb::RequestOp op_put(std::string_view key, bool prev = false, int64_t lease = 0) {
  pb::RequestOp op;
  auto& p = op.set_request_put();
  p.key = key;
  p.prev_kv = prev;
  p.lease = lease;
  return op;
}
pb::RequestOp op_txn(pb::TxnRequest t) {
  pb::RequestOp op;
  op.request.emplace<4>(std::move(t));
  return op;
}

TEST_F(RequestsTest, BothBranchesAndTheComparesOfATxnCount) {
  pb::TxnRequest t;
  EXPECT_EQ(txn(t), "ok");
  t.success.push_back(op_range("r"));
  t.failure.push_back(op_put("w"));
  EXPECT_EQ(txn(t), "ok");
  pb::TxnRequest compare = t;
  compare.compare.emplace_back().key = "w";
  EXPECT_EQ(txn(compare), kDenied);
  pb::TxnRequest range = t;
  range.compare.emplace_back().key = "x";
  range.compare.back().range_end = "zz";
  EXPECT_EQ(txn(range), kDenied);
  pb::TxnRequest untaken = t;
  untaken.failure.push_back(op_range("w"));
  EXPECT_EQ(txn(untaken), kDenied);
  EXPECT_EQ(txn(untaken, "root"), "ok");
}

// GHSA-rfx7-8w68-q57q, at any depth and in both branches.
TEST_F(RequestsTest, NestedTransactionsAreChecked) {
  for (const bool in_success : {true, false}) {
    for (const bool by_compare : {true, false}) {
      pb::TxnRequest t;
      if (by_compare) {
        t.compare.emplace_back().key = "secret";
      } else {
        t.success.push_back(op_put("secret"));
      }
      for (int depth = 0; depth < 40; ++depth) {
        pb::TxnRequest outer;
        outer.success.push_back(op_range("r"));
        (in_success ? outer.success : outer.failure).push_back(op_txn(std::move(t)));
        outer.failure.push_back(op_put("w"));
        t = std::move(outer);
        ASSERT_EQ(txn(t), kDenied) << depth;
      }
      EXPECT_EQ(txn(t, "root"), "ok");
    }
  }
  pb::TxnRequest fine;
  fine.success.push_back(op_put("w"));
  for (int depth = 0; depth < 40; ++depth) {
    pb::TxnRequest outer;
    outer.success.push_back(op_txn(std::move(fine)));
    fine = std::move(outer);
  }
  EXPECT_EQ(txn(fine), "ok");
}

// GHSA-x35m-3gp4-4fh5.
TEST_F(RequestsTest, PrevKvAndLeasesOfPutsInTransactionsAreChecked) {
  leases.held[8] = {"r"};
  pb::TxnRequest prev, lease, nested;
  prev.success.push_back(op_put("w", true));
  EXPECT_EQ(txn(prev), kDenied);
  lease.failure.push_back(op_put("w", false, 8));
  EXPECT_EQ(txn(lease), kDenied);
  nested.success.push_back(op_txn(lease));
  EXPECT_EQ(txn(nested), kDenied);
  EXPECT_EQ(txn(nested, "root"), "ok");
  pb::TxnRequest erase;
  auto& d = erase.success.emplace_back().set_request_delete_range();
  d.key = "w";
  d.prev_kv = true;
  EXPECT_EQ(txn(erase), kDenied);
}

// GHSA-xg4h-6gfc-h4m8: the permission for one key is none for all keys from it on.
TEST_F(RequestsTest, AnOpenEndIsNoSingleKey) {
  EXPECT_TRUE(as("u").read("r"));
  EXPECT_EQ(say(as("u").read("r", kOpen)), kDenied);
  EXPECT_EQ(say(as("u").read("x", kOpen)), kDenied);
  user_with("all", {{Type::kRead, std::string(kOpen), std::string(kOpen)}});
  EXPECT_TRUE(as("all").read("r", kOpen));
  EXPECT_TRUE(as("all").read(kOpen, kOpen));
  EXPECT_FALSE(as("all").write("r"));
}

// GHSA-q8m4-xhhv-38mg: what was open to everybody.
TEST_F(RequestsTest, CallsThatNeedAUserOrAnAdmin) {
  EXPECT_EQ(need_of_call("/etcdserverpb.Cluster/MemberList"), Need::kAuthenticated);
  EXPECT_EQ(need_of_call("/etcdserverpb.Lease/LeaseGrant"), Need::kAuthenticated);
  EXPECT_EQ(need_of_call("/etcdserverpb.KV/Compact"), Need::kAdmin);
  EXPECT_EQ(need_of_call("/etcdserverpb.KV/Range"), Need::kNothing);
  EXPECT_EQ(need_of_call("/etcdserverpb.Auth/Authenticate"), Need::kNothing);
  EXPECT_EQ(alarm_need(pb::AlarmRequest::AlarmAction::kGet), Need::kAuthenticated);
  EXPECT_EQ(alarm_need(pb::AlarmRequest::AlarmAction::kActivate), Need::kAdmin);
  EXPECT_EQ(say(check_need(access(std::nullopt), Need::kAuthenticated)), "etcdserver: user name is empty");
  EXPECT_EQ(say(check_need(as("u"), Need::kAuthenticated)), "ok");
  EXPECT_EQ(say(check_need(as("u"), Need::kAdmin)), kDenied);
  EXPECT_EQ(say(check_need(as("root"), Need::kAdmin)), "ok");

  pb::InternalRaftRequest r;
  EXPECT_FALSE(needs_admin_at_apply(r));
  r.auth_user_get.emplace();
  r.auth_role_get.emplace();
  r.authenticate.emplace();
  EXPECT_FALSE(needs_admin_at_apply(r));
  r.auth_status.emplace();
  EXPECT_TRUE(needs_admin_at_apply(r));
}

TEST_F(RequestsTest, KeysOfLeases) {
  leases.held[1] = {"w", "x"};
  leases.held[2] = {"r", "x"};
  const auto write = [&](int64_t id, const std::string& user) {
    return check([&](RequestCheck& c) { c.lease_write(LeaseId(id)); }, user);
  };
  const auto read = [&](std::vector<LeaseId> ids, const std::string& user) {
    return check([&](RequestCheck& c) { c.leases_read(ids); }, user);
  };
  EXPECT_EQ(write(1, "u"), "ok");
  EXPECT_EQ(write(2, "u"), kDenied);
  EXPECT_EQ(write(2, "root"), "ok");
  EXPECT_EQ(read({LeaseId(2)}, "u"), "ok");
  EXPECT_EQ(read({LeaseId(1)}, "u"), kDenied);
  EXPECT_EQ(read({LeaseId(2), LeaseId(1), LeaseId(2)}, "u"), kDenied);
  EXPECT_EQ(read({LeaseId(2), LeaseId(3), LeaseId(2)}, "u"), "ok");
}

TEST_F(RequestsTest, LongChecksGoInSteps) {
  for (int i = 0; i < 30'000; ++i) leases.held[1].insert(fmt::format("x{:05}", i));
  const Access a = as("u");
  RequestCheck c(a, leases);
  pb::TxnRequest t;
  for (int i = 0; i < 100; ++i) t.success.push_back(op_put("x", false, 1));
  c.txn(t);
  int steps = 1;
  std::optional<Result<>> answer;
  while (!(answer = c.step(1000))) {
    ++steps;
    ASSERT_LE(leases.given, 1000u * static_cast<size_t>(steps));
  }
  EXPECT_TRUE(*answer);
  EXPECT_GE(steps, 30);
  // The lease's keys were looked at once, not a hundred times.
  EXPECT_LE(leases.given, 30'000u);
}

}  // namespace
}  // namespace quoin::auth

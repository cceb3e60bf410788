#include "auth/store.h"

#include "auth/corpus_test.h"
#include "auth/permission_order.h"
#include "base/prng.h"

namespace quoin::auth {
namespace {

using Type = Store::Permission::Type;

class StoreTest : public StoreRig {};

// Answers, lists and stored bytes of 467 operations, as etcd's own store gave them.
TEST_F(StoreTest, AnswersAndBytesAreEtcds) {
  std::ifstream in(corpus_path("store_3_6.txt"));
  std::string line;
  int operations = 0;
  std::vector<std::string> want_dump;
  const auto check_dump = [&] {
    if (want_dump.empty()) return;
    std::vector<std::string> got;
    each_pair([&](const char* bucket, std::string_view k, std::string_view v) {
      got.push_back("dump " + std::string(bucket) + " " + hex_bytes(k) + " " + hex_bytes(v));
    });
    EXPECT_EQ(got, want_dump) << "after operation " << operations;
    want_dump.clear();
  };
  while (std::getline(in, line)) {
    if (line.starts_with("dump ")) {
      want_dump.push_back(line);
      continue;
    }
    check_dump();
    const size_t equals = line.find(" = ");
    ASSERT_NE(equals, std::string::npos) << line;
    const auto [answer, list] = run(words(line.substr(0, equals)));
    const std::string got =
        answer + " | " + (list.empty() ? "-" : hex_bytes(list)) + " | " + fmt::format("{:08x}", sum());
    ASSERT_EQ(got, line.substr(equals + 3)) << "operation " << operations << ": " << line;
    ++operations;
  }
  check_dump();
  EXPECT_GE(operations, 400);
}

// The order in which Go's sort leaves permissions with equal keys.
TEST(PermissionOrder, IsGosForEveryLength) {
  std::ifstream in(corpus_path("permission_order.txt"));
  std::string line;
  std::vector<wire::authpb::Permission> list;
  std::vector<std::string> keys;  // own the bytes
  keys.reserve(100);
  int orders = 0;
  while (std::getline(in, line)) {
    const auto w = words(line);
    if (w[0] == "add") {
      if (list.size() > 51) {
        list.clear();
        keys.clear();
      }
      for (size_t i = 1; i < w.size(); ++i) {
        keys.push_back(w[i]);
        wire::authpb::Permission p;
        p.key = std::string_view(keys.back()).substr(0, 2);
        p.range_end = std::string_view(keys.back()).substr(2);
        add_in_order(&list, p);
      }
      continue;
    }
    ++orders;
    std::vector<std::string> got = {"order"};
    for (const auto& p : list) got.emplace_back(p.range_end);
    ASSERT_EQ(got, w) << orders;
  }
  EXPECT_EQ(orders, 240);
}

TEST_F(StoreTest, TheFirstRevisionIsWrittenAndEnableDoesNotMoveIt) {
  EXPECT_EQ(backend->get(backend::Bucket::kAuth, "authRevision"), be64(1));
  EXPECT_EQ(backend->get(backend::Bucket::kAuth, "authEnabled"), std::nullopt);
  EXPECT_EQ(user_add("root", "eA=="), "ok");
  EXPECT_EQ(say(store.user_grant_role("root", "root")), "ok");
  EXPECT_EQ(store.revision(), 3u);
  EXPECT_EQ(say(store.enable()), "ok");
  EXPECT_EQ(store.revision(), 3u);
  EXPECT_EQ(heard.said, "on ");
  store.disable();
  EXPECT_EQ(store.revision(), 4u);
  EXPECT_EQ(heard.said, "on off ");
  EXPECT_EQ(published.get()->revision, 4u);
  EXPECT_FALSE(published.get()->enabled);
}

TEST_F(StoreTest, TokensOfAUserEndWithItsPasswordAndWithIt) {
  user_add("a", "eA==");
  EXPECT_EQ(heard.said, "");
  Store::ChangePassword change;
  change.name = "a";
  change.hashed_password = "eQ==";
  EXPECT_TRUE(store.user_change_password(change));
  EXPECT_EQ(heard.said, "a ");
  EXPECT_TRUE(store.user_delete("a"));
  EXPECT_EQ(heard.said, "a a ");
}

// Entries of 3.4 carry the password itself.
TEST_F(StoreTest, AnOldEntryTakesTheHashThatIsMadeForIt) {
  Store::UserAdd old;
  old.name = "a";
  old.password = "secret";
  EXPECT_TRUE(Store::wants_hash(old));
  EXPECT_EQ(say(store.user_add(old)), "auth: authentication failed, password was given for no password user");
  EXPECT_TRUE(store.user_add(old, "$2a$10$x"));
  EXPECT_EQ((*store.user_get("a"))->record.password, "$2a$10$x");
  Store::ChangePassword change;
  change.name = "a";
  change.password = "other";
  EXPECT_TRUE(Store::wants_hash(change));
  EXPECT_TRUE(store.user_change_password(change, "$2a$10$y"));
  EXPECT_EQ((*store.user_get("a"))->record.password, "$2a$10$y");
  change.hashed_password = "eA==";
  EXPECT_FALSE(Store::wants_hash(change));
}

TEST_F(StoreTest, ARestartReadsTheSameState) {
  std::ifstream in(corpus_path("store_3_6.txt"));
  std::string line;
  while (std::getline(in, line)) {
    if (!line.starts_with("dump ")) run(words(line.substr(0, line.find(" = "))));
  }
  const uint32_t before = sum();
  Published other;
  metrics::Registry cells;
  Heard quiet;
  Store again(other, quiet, cells, log::null_logger());
  ASSERT_TRUE(again.recover(*backend));
  EXPECT_EQ(sum(), before);
  EXPECT_EQ(again.revision(), store.revision());
  EXPECT_EQ(again.enabled(), store.enabled());
  EXPECT_EQ(again.user_names(), store.user_names());
  EXPECT_EQ(again.role_names(), store.role_names());
  EXPECT_EQ(quiet.said, store.enabled() ? "on " : "");
}

TEST_F(StoreTest, AdoptingASnapshotPublishesItAsSomethingNew) {
  user_add("a", "eA==");
  auto second = open("/d/other");
  Published beside;
  metrics::Registry cells;
  Heard quiet;
  Store fresh(beside, quiet, cells, log::null_logger());
  ASSERT_TRUE(fresh.recover(*second));
  Store::UserAdd r;
  r.name = "b";
  r.options.emplace().no_password = true;
  ASSERT_TRUE(fresh.user_add(r));
  const uint64_t serial = published.serial();
  heard.said.clear();
  store.adopt(fresh);
  EXPECT_EQ(heard.said, "off ");  // no token of before is valid
  EXPECT_GT(published.serial(), serial);
  EXPECT_EQ(store.user_names(), (std::vector<std::string_view>{"b"}));
  EXPECT_TRUE(store.user_delete("b"));
  EXPECT_EQ(second->get(backend::Bucket::kAuthUsers, "b"), std::nullopt);
}

TEST_F(StoreTest, DamagedRecordsAreNamed) {
  struct {
    backend::Bucket bucket;
    const char* key;
    std::string value, want;
  } const rows[] = {
      {backend::Bucket::kAuthUsers, "u", "\x0a\x05x", "user record u: unexpected EOF"},
      {backend::Bucket::kAuthRoles, "r", "\x0a\x05x", "role record r: unexpected EOF"},
      {backend::Bucket::kAuth, "authRevision", "123", "auth revision of 3 bytes"},
  };
  for (const auto& row : rows) {
    const auto old = backend->get(row.bucket, row.key);
    backend->put(row.bucket, row.key, row.value);
    const auto r = store.recover(*backend);
    ASSERT_FALSE(r);
    EXPECT_EQ(r.error().code(), Code::kCorruption);
    EXPECT_EQ(r.error().text(), row.want);
    old ? backend->put(row.bucket, row.key, *old) : backend->erase(row.bucket, row.key);
  }
  EXPECT_TRUE(store.recover(*backend));
}

// Fields that this build has no name for are kept where etcd keeps them and dropped where it drops them.
TEST_F(StoreTest, UnknownFieldsStayOnAGrantAndGoOnARevocation) {
  const std::string unknown("\xfa\x01\x01z", 4);
  backend->put(backend::Bucket::kAuthUsers, "u", "\x0a\x01u" + unknown);
  backend->put(backend::Bucket::kAuthRoles, "r", "\x0a\x01r" + unknown);
  ASSERT_TRUE(store.recover(*backend));
  ASSERT_TRUE(store.user_grant_role("u", "r"));
  EXPECT_EQ(hex_bytes(*backend->get(backend::Bucket::kAuthUsers, "u")),
            hex_bytes("\x0a\x01u\x1a\x01r" + unknown));
  EXPECT_EQ(grant("r", Type::kRead, "k", ""), "ok");
  EXPECT_TRUE(backend->get(backend::Bucket::kAuthRoles, "r")->ends_with(unknown));
  EXPECT_TRUE(store.role_revoke_permission("r", "k", ""));
  EXPECT_EQ(*backend->get(backend::Bucket::kAuthRoles, "r"), "\x0a\x01r");
  EXPECT_TRUE(store.user_revoke_role("u", "r"));
  EXPECT_EQ(*backend->get(backend::Bucket::kAuthUsers, "u"), "\x0a\x01u");
}

TEST_F(StoreTest, ARoleIsDeletedInStepsAndSeenGoneOnlyAtTheEnd) {
  ASSERT_TRUE(store.role_add("r"));
  ASSERT_TRUE(store.role_add("s"));
  for (int i = 0; i < 700; ++i) {
    // Of any length: where the deletion goes on from is not what it compares with.
    const std::string name = fmt::format("u{:04}{}", i, std::string(static_cast<size_t>(i * 7 % 300), 'x'));
    user_add(name, "", true);
    if (i % 2 == 0) {
      ASSERT_TRUE(store.user_grant_role(name, "r"));
    }
    ASSERT_TRUE(store.user_grant_role(name, "s"));
  }
  EXPECT_TRUE(store.role_delete_is_large());
  const uint64_t revision = store.revision();
  auto deletion = store.begin_role_delete("r");
  ASSERT_TRUE(deletion);
  int steps = 1;
  for (; !deletion->step(200); ++steps) {
    EXPECT_EQ(published.get()->revision, revision);
    EXPECT_NE(published.get()->roles.find("r"), nullptr);
  }
  EXPECT_GT(steps, 50);
  EXPECT_EQ(store.revision(), revision + 1);
  EXPECT_EQ(store.role_names(), (std::vector<std::string_view>{"s"}));
  for (std::string_view name : store.user_names()) {
    EXPECT_EQ((*store.user_get(name))->record.roles, (std::vector<std::string_view>{"s"})) << name;
  }
  Store again(published, heard, metrics, log::null_logger());
  ASSERT_TRUE(again.recover(*backend));
  EXPECT_FALSE((*again.user_get("u0000"))->has_role("r"));
}

TEST_F(StoreTest, NamesCanBeListedInPieces) {
  for (const char* name : {"d", "a", "c", "b"}) user_add(name, "", true);
  EXPECT_EQ(store.user_names({}, 3), (std::vector<std::string_view>{"a", "b", "c"}));
  EXPECT_EQ(store.user_names("c", 3), (std::vector<std::string_view>{"d"}));
  EXPECT_EQ(store.user_names("d", 3), (std::vector<std::string_view>{}));
}

TEST_F(StoreTest, ALoginNeedsAUserWithAPassword) {
  user_add("root", "cm9vdA==");
  EXPECT_EQ(Store::begin_login(*store.permissions(), "root").error().code(), Code::kAuthNotEnabled);
  EXPECT_EQ(store.authenticate("root").error().code(), Code::kAuthNotEnabled);
  ASSERT_TRUE(store.user_grant_role("root", "root"));
  user_add("nopw", "", true);
  ASSERT_TRUE(store.enable());
  const PermissionsRef now = published.get();
  EXPECT_EQ(Store::begin_login(*now, "x").error().code(), Code::kAuthFailed);
  EXPECT_EQ(Store::begin_login(*now, "nopw").error().code(), Code::kNoPasswordUser);
  EXPECT_EQ(store.authenticate("nopw").error().code(), Code::kAuthFailed);
  EXPECT_EQ(store.authenticate("x").error().code(), Code::kAuthFailed);
  const auto login = Store::begin_login(*now, "root");
  ASSERT_TRUE(login);
  EXPECT_EQ(login->hash(), "root");
  EXPECT_EQ(login->revision, store.revision());
  EXPECT_EQ(*store.authenticate("root"), store.revision());
}

}  // namespace
}  // namespace quoin::auth

// What tests of this module share: a store over a simulated backend, and the conversations with etcd 3.6.16's own
// auth store that lie in corpus/ (a line an operation: name, arguments in hex, answer).
#pragma once
#include <gtest/gtest.h>

#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "auth/store.h"
#include "base/coding.h"
#include "base/crc32c.h"
#include "sim/disk.h"
#include "sim/file_system.h"
#include "sim/world.h"

namespace quoin::auth {

inline std::string corpus_path(const std::string& name) {
  return std::string(QUOIN_SOURCE_DIR) + "/src/auth/corpus/" + name;
}

inline std::string from_hex(const std::string& hex) {
  if (hex == "-") return {};
  std::string out;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    out.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  }
  return out;
}

inline std::vector<std::string> words(const std::string& line) {
  std::vector<std::string> out;
  for (size_t at = 0; at < line.size();) {
    const size_t end = std::min(line.find(' ', at), line.size());
    if (end > at) out.push_back(line.substr(at, end - at));
    at = end + 1;
  }
  return out;
}

class Heard : public Listener {
 public:
  std::string said;
  void enabled() override { said += "on "; }
  void disabled() override { said += "off "; }
  void user_changed(std::string_view user) override { said += std::string(user) + " "; }
};

class StoreRig : public ::testing::Test {
 protected:
  StoreRig()
      : world(1), disk(world), process(world.start_process("member")), fs(disk, process.executor("file")) {
    CHECK(fs.make_dirs("/d", 0700).has_value());
    backend = open("/d/db");
    CHECK(store.recover(*backend).has_value());
  }
  std::unique_ptr<backend::Backend> open(const std::string& path) {
    backend::Options o;
    o.path = path;
    o.map_bytes = 1u << 30;
    registries.push_back(std::make_unique<metrics::Registry>());
    auto opened =
        backend::Backend::open(o, fs, process.executor("apply"), process.executor("file"), process.timers(),
                               process.clock(), *registries.back(), log::null_logger());
    CHECK(opened.has_value());
    return std::move(*opened);
  }

  // ---- operations in few words ----
  std::string say(const Result<>& r) { return r ? "ok" : std::string(r.error().text()); }
  std::string user_add(std::string_view name, std::string_view hash, bool no_password = false) {
    Store::UserAdd r;
    r.name = name;
    r.hashed_password = hash;
    r.options.emplace().no_password = no_password;
    return say(store.user_add(r));
  }
  std::string grant(std::string_view role, Store::Permission::Type type, std::string_view key,
                    std::string_view end) {
    Store::Permission p;
    p.perm_type = type;
    p.key = key;
    p.range_end = end;
    return say(store.role_grant_permission(role, &p));
  }

  void each_pair(const std::function<void(const char*, std::string_view, std::string_view)>& f) {
    const std::pair<backend::Bucket, const char*> buckets[] = {{backend::Bucket::kAuth, "auth"},
                                                               {backend::Bucket::kAuthRoles, "authRoles"},
                                                               {backend::Bucket::kAuthUsers, "authUsers"}};
    for (const auto& [bucket, name] : buckets) {
      const char* n = name;
      CHECK(backend
                ->scan(bucket, {}, {},
                       [&](std::string_view k, std::string_view v) {
                         f(n, k, v);
                         return true;
                       })
                .has_value());
    }
  }
  uint32_t sum() {
    uint32_t crc = 0;
    each_pair([&](const char* bucket, std::string_view k, std::string_view v) {
      for (std::string_view part : {std::string_view(bucket), k, v}) crc = crc32c(crc, part);
    });
    return crc;
  }

  // Runs one line's operation (not a check) and returns the answer and what it lists.
  std::pair<std::string, std::string> run(const std::vector<std::string>& w) {
    const auto arg = [&](size_t i) { return from_hex(w.at(i + 1)); };
    const std::string& op = w[0];
    std::vector<std::string> a;
    for (size_t i = 0; i + 1 < w.size(); ++i) a.push_back(arg(i));
    const auto join = [](const auto& list) {
      std::string s;
      for (const auto& x : list) s += (s.empty() ? "" : ",") + std::string(x);
      return s;
    };
    if (op == "enable") return {say(store.enable()), ""};
    if (op == "disable") return store.disable(), std::pair<std::string, std::string>("ok", "");
    if (op == "user_add") {
      Store::UserAdd r;
      r.name = a[0];
      r.hashed_password = a[1];
      if (!a[2].empty()) r.options.emplace().no_password = a[2] == "1";
      return {say(store.user_add(r)), ""};
    }
    if (op == "user_delete") return {say(store.user_delete(a[0])), ""};
    if (op == "user_password") {
      Store::ChangePassword r;
      r.name = a[0];
      r.hashed_password = a[1];
      return {say(store.user_change_password(r)), ""};
    }
    if (op == "user_grant") return {say(store.user_grant_role(a[0], a[1])), ""};
    if (op == "user_revoke") return {say(store.user_revoke_role(a[0], a[1])), ""};
    if (op == "user_get") {
      auto r = store.user_get(a[0]);
      if (!r) return {std::string(r.error().text()), ""};
      return {"ok", join((*r)->record.roles)};
    }
    if (op == "user_list") return {"ok", join(store.user_names())};
    if (op == "role_list") return {"ok", join(store.role_names())};
    if (op == "role_add") return {say(store.role_add(a[0])), ""};
    if (op == "role_delete") return {say(store.role_delete(a[0])), ""};
    if (op == "role_get") {
      std::shared_ptr<const Role> holder;
      auto r = store.role_get(a[0], &holder);
      if (!r) return {std::string(r.error().text()), ""};
      std::vector<std::string> out;
      for (const auto& p : *r) {
        out.push_back(std::to_string(static_cast<int>(p.perm_type)) + ":" + std::string(p.key) + ":" +
                      std::string(p.range_end));
      }
      return {"ok", join(out)};
    }
    if (op == "role_grant") {
      if (a[1].empty()) return {say(store.role_grant_permission(a[0], nullptr)), ""};
      return {grant(a[0], static_cast<Store::Permission::Type>(a[1][0] - '0'), a[2], a[3]), ""};
    }
    if (op == "role_revoke") return {say(store.role_revoke_permission(a[0], a[1], a[2])), ""};
    ADD_FAILURE() << "unknown operation " << op;
    return {};
  }

  sim::World world;
  sim::SimDisk disk;
  sim::Process& process;
  sim::SimFileSystem fs;
  std::vector<std::unique_ptr<metrics::Registry>> registries;
  std::unique_ptr<backend::Backend> backend;
  metrics::Registry metrics;
  Published published;
  Heard heard;
  Store store{published, heard, metrics, log::null_logger()};
};

}  // namespace quoin::auth

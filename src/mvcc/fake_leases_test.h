// Attachments in a map, for tests.
#pragma once
#include <map>
#include <string>

#include "base/check.h"
#include "mvcc/lease_attachments.h"

namespace quoin::mvcc {

struct FakeLeases final : LeaseAttachments {
  std::map<std::string, LeaseId, std::less<>> of;
  void attach(LeaseId lease, std::string_view key) override {
    CHECK(!of.contains(key), "{} hangs on a lease already", key);
    of.emplace(key, lease);
  }
  void detach(LeaseId lease, std::string_view key) override {
    const auto it = of.find(key);
    CHECK(it != of.end() && it->second == lease, "{} does not hang on {}", key, lease);
    of.erase(it);
  }
  LeaseId lease_of(std::string_view key) const override {
    const auto it = of.find(key);
    return it == of.end() ? LeaseId(0) : it->second;
  }
};

}  // namespace quoin::mvcc

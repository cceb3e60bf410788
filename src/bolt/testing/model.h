// The obvious twin of a database: nested maps. Reads a ReadTx or a WriteTx into one, to compare.
#pragma once
#include <map>
#include <string>

#include "base/check.h"
#include "bolt/db.h"

namespace quoin::bolt::testing {

struct Model {
  std::map<std::string, std::string> items;
  std::map<std::string, Model> buckets;
  uint64_t sequence = 0;
  friend bool operator==(const Model&, const Model&) = default;
};

inline Result<Model> read_model(const BucketView& bucket) {
  Model m;
  m.sequence = bucket.sequence();
  Cursor c = bucket.cursor();
  ASSIGN_OR_RETURN(bool more, c.first());
  while (more) {
    const std::string key(c.key());
    if (c.is_bucket()) {
      ASSIGN_OR_RETURN(const auto nested, bucket.bucket(key));
      CHECK(nested.has_value());
      ASSIGN_OR_RETURN(m.buckets[key], read_model(*nested));
    } else {
      if (!m.items.empty() && m.items.rbegin()->first >= key)
        return make_error(Code::kMalformed, "key {} after {}", hex_bytes(key),
                          hex_bytes(m.items.rbegin()->first));
      m.items.emplace(key, c.value());
    }
    ASSIGN_OR_RETURN(more, c.next());
  }
  return m;
}

inline Result<Model> read_model(Bucket& bucket) {
  Model m;
  m.sequence = bucket.sequence();
  Cursor c = bucket.read_cursor();
  ASSIGN_OR_RETURN(bool more, c.first());
  while (more) {
    const std::string key(c.key());
    if (c.is_bucket()) {
      m.buckets[key];
    } else {
      CHECK(m.items.emplace(key, c.value()).second);
    }
    ASSIGN_OR_RETURN(more, c.next());
  }
  for (auto& [name, nested] : m.buckets) {
    ASSIGN_OR_RETURN(Bucket* const b, bucket.bucket(name));
    CHECK(b != nullptr);
    ASSIGN_OR_RETURN(nested, read_model(*b));
  }
  return m;
}

}  // namespace quoin::bolt::testing

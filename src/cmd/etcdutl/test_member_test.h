// What the tests of the offline tools work on: databases and snapshots in simulated files.
#pragma once
#include <gtest/gtest.h>
#include <openssl/sha.h>

#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "base/coding.h"
#include "bolt/db.h"
#include "cmd/etcdutl/job.h"
#include "io/file.h"
#include "membership/member.h"
#include "mvcc/key_value.h"

namespace quoin::utl {

template <class T>
std::string text_of(const Result<T>& r) {
  return r ? "ok" : std::string(r.error().text());
}

inline std::string sha256_of(std::string_view bytes) {
  std::string digest(SHA256_DIGEST_LENGTH, '\0');
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(),
         reinterpret_cast<unsigned char*>(digest.data()));
  return digest;
}

inline std::string be64_of(uint64_t v) {
  std::string out(8, '\0');
  store_be64(out.data(), v);
  return out;
}

// A database as a member leaves it: `keys` puts at revisions 2, 3, ... of k0, k1, ..., and one tombstone of k0.
struct DatabaseOptions {
  int keys = 20;
  size_t value_bytes = 10;
  uint64_t consistent_index = 30;
  uint64_t term = 2;
};
inline void make_database(io::FileSystem& fs, const std::string& path, const DatabaseOptions& o = {}) {
  using backend::Bucket;
  bolt::Options options;
  options.growth_bytes = 1 << 15;  // small files make fast tests
  auto db = bolt::Db::open(fs, path, options);
  ASSERT_TRUE(db) << text_of(db);
  auto tx = (*db)->begin_write();
  ASSERT_TRUE(tx);
  for (int b = 0; b < backend::kBucketCount; ++b) {
    ASSERT_TRUE((*tx)->create_bucket(backend::bucket_name(static_cast<Bucket>(b))));
  }
  const auto put = [&](Bucket bucket, std::string_view key, std::string_view value) {
    ASSERT_TRUE((*(*tx)->bucket(backend::bucket_name(bucket)))->put(key, value));
  };
  int64_t revision = 1;
  for (int i = 0; i < o.keys; ++i) {
    ++revision;
    const std::string key = "k" + std::to_string(i), value(o.value_bytes, 'v');
    const Blob record = mvcc::encode_key_value({key, revision, revision, 1, value, LeaseId{}});
    put(Bucket::kKey, backend::RevisionKey({revision, 0}).view(), record.view());
  }
  ++revision;
  put(Bucket::kKey, backend::RevisionKey({revision, 0}, true).view(), std::string("\x0a\x02k0", 4));
  membership::Member old;
  old.id = MemberId(0xabc);
  old.peer_urls = {"http://old:2380"};
  put(Bucket::kMembers, "abc", membership::member_json(old));
  put(Bucket::kMembersRemoved, "def", "removed");
  put(Bucket::kMeta, "consistent_index", be64_of(o.consistent_index));
  put(Bucket::kMeta, "term", be64_of(o.term));
  put(Bucket::kMeta, "storageVersion", "3.6.0");
  put(Bucket::kCluster, "clusterVersion", "3.6.0");
  ASSERT_TRUE((*db)->commit_blocking(std::move(*tx)));
  ASSERT_TRUE((*db)->close_blocking(false));
}

}  // namespace quoin::utl

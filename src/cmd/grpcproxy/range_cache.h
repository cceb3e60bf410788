// Answers to Range requests, kept for serializable reads: a request that was answered before gets the same
// answer until a write through this proxy touches its keys. Whatever other clients write, it does not notice,
// as etcd's proxy.
//
// Bounds: etcd's 2,048 answers, and beside it bytes: the least recently used go first.
// Differences from etcd: what a caller with a token was answered is for that token alone; a range without an
// upper end is forgotten by writes within it, too (in etcd's tree such a range is empty).
// Threads: none. Source: etcd's server/proxy/grpcproxy/cache/store.go.
#pragma once
#include <absl/container/flat_hash_map.h>

#include <list>
#include <map>
#include <string>
#include <string_view>

namespace quoin::cmd::grpcproxy {

class RangeCache {
 public:
  static constexpr size_t kEntriesMax = 2048;
  static constexpr size_t kBytesMax = 128 << 20;
  explicit RangeCache(size_t entries_max = kEntriesMax, size_t bytes_max = kBytesMax)
      : entries_max_(entries_max), bytes_max_(bytes_max) {}

  // `name`: the request's bytes and whose it is. What is kept for `revision` 0 ends with a write in [key,
  // end); an empty end is the key alone, "\0" has no upper end.
  void add(std::string_view name, std::string_view key, std::string_view end, int64_t revision,
           std::string_view answer);
  // Null: not there. Ends with the next change.
  const std::string* find(std::string_view name);
  // True: the cache knows that the revision is compacted.
  bool compacted(std::string_view name, int64_t revision);
  void invalidate(std::string_view key, std::string_view end);
  void compact(int64_t revision);
  size_t size() const { return entries_.size(); }
  size_t bytes() const { return bytes_; }

 private:
  struct Entry {
    std::string name, key, end, answer;
    bool of_one_key = false, of_a_range = false;  // neither: its revision never changes
    size_t bytes() const { return name.size() + key.size() + end.size() + answer.size() + 200; }
  };
  using Entries = std::list<Entry>;  // the most recently used first
  void erase(Entries::iterator it);

  const size_t entries_max_, bytes_max_;
  Entries entries_;
  absl::flat_hash_map<std::string_view, Entries::iterator> by_name_;  // views of the entries' own
  // So that a write finds its key's entries without looking at all.
  std::multimap<std::string_view, Entries::iterator> by_key_;
  absl::flat_hash_map<const Entry*, Entries::iterator> ranges_;
  size_t bytes_ = 0;
  int64_t compacted_ = -1;
};

}  // namespace quoin::cmd::grpcproxy

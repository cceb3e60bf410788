// The bytes of a bolt page: header, meta, branch and leaf elements, bucket headers.
//
// PageView reads a page in place. Its accessors do no bounds checks: make one only of a page that
// validate_page() accepted (Store does that on a page's first use and remembers the answer).
// Threads: everything here is a value or a pure function.
// Format: docs/formats/bolt.md. Source: spec storage-formats 1.1 to 1.4, 1.9.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/coding.h"
#include "base/ids.h"

namespace quoin::bolt {

constexpr uint32_t kMagic = 0xED0CDAED;
constexpr uint32_t kVersion = 2;
constexpr PageId kNoFreelist{0xFFFFFFFFFFFFFFFFull};

constexpr uint16_t kFlagBranch = 0x01, kFlagLeaf = 0x02, kFlagMeta = 0x04, kFlagFreelist = 0x10;
constexpr uint32_t kItemBucket = 0x01;  // flag of a leaf element whose value is a bucket

constexpr size_t kPageHeaderBytes = 16;
constexpr size_t kElementBytes = 16;       // of leaf and branch alike
constexpr size_t kBucketHeaderBytes = 16;  // u64 root, u64 sequence
constexpr size_t kMetaBytes = 64;          // after the page header, checksum included

constexpr size_t kKeyBytesMax = 32768;
constexpr size_t kValueBytesMax = (1u << 31) - 2;
constexpr size_t kPageItemsMax = 65534;
constexpr uint32_t kPageSizeMin = 1024, kPageSizeMax = 16u << 20;

// The header of a page: its first 16 bytes.
struct PageHeader {
  PageId id;
  uint16_t flags = 0;
  uint16_t count = 0;
  uint32_t overflow = 0;

  static PageHeader read(const char* p) {
    return {PageId(load_le<uint64_t>(p)), load_le<uint16_t>(p + 8), load_le<uint16_t>(p + 10),
            load_le<uint32_t>(p + 12)};
  }
  void write(char* p) const {
    store_le<uint64_t>(p, id.v);
    store_le<uint16_t>(p + 8, flags);
    store_le<uint16_t>(p + 10, count);
    store_le<uint32_t>(p + 12, overflow);
  }
};

struct Meta {
  uint32_t page_size = 0;
  PageId root;
  uint64_t root_sequence = 0;
  PageId freelist = kNoFreelist;
  PageId hwm;  // 1 + the highest page id ever allocated
  TxId txid;

  // `p` is the start of a page of which at least 80 bytes are there. On failure: nothing, and bolt's text in
  // *why ("invalid database", "version mismatch", "checksum error").
  static std::optional<Meta> read(const char* p, std::string_view* why);
  // The same, and where one flipped bit is all that is wrong, the meta as it was written. The checksum has 64 bits, so no
  // other meta is taken for it. Without this the meta before would count, whose pages may be in use again since. Costs
  // some 500 checksums of 56 bytes, if there is anything wrong.
  static std::optional<Meta> read_mended(const char* p, std::string_view* why);
  // Writes the page header (id `slot`) and the meta; `p` has 80 bytes at least.
  void write(char* p, uint64_t slot) const;
};

class Sought;

// A branch or leaf page, or the page image of an inline bucket.
class PageView {
 public:
  PageView() = default;
  explicit PageView(const char* p) : p_(p) {}

  const char* data() const { return p_; }
  PageId id() const { return PageId(load_le<uint64_t>(p_)); }
  bool leaf() const { return load_le<uint16_t>(p_ + 8) == kFlagLeaf; }
  size_t count() const { return load_le<uint16_t>(p_ + 10); }
  uint32_t overflow() const { return load_le<uint32_t>(p_ + 12); }

  std::string_view key(size_t i) const { return leaf() ? leaf_key(i) : branch_key(i); }
  std::string_view leaf_key(size_t i) const {
    const char* e = element(i);
    return {e + load_le<uint32_t>(e + 4), load_le<uint32_t>(e + 8)};
  }
  std::string_view branch_key(size_t i) const {
    const char* e = element(i);
    return {e + load_le<uint32_t>(e), load_le<uint32_t>(e + 4)};
  }
  // Leaf only.
  std::string_view value(size_t i) const {
    const char* e = element(i);
    return {e + load_le<uint32_t>(e + 4) + load_le<uint32_t>(e + 8), load_le<uint32_t>(e + 12)};
  }
  uint32_t item_flags(size_t i) const { return load_le<uint32_t>(element(i)); }
  // Branch only.
  PageId child(size_t i) const { return PageId(load_le<uint64_t>(element(i) + 8)); }

  // Bytes from the page's start to the end of its last item.
  uint64_t used_bytes() const;

  // Leaf: the first item with a key >= `key`; count() if there is none.
  size_t lower_bound(std::string_view key) const;
  // The same, where the caller knows that the page's keys are in [from, to): looks first where `key` would
  // stand if they were evenly spaced, as revisions without gaps are. On a page that is not in the processor's
  // cache, each key that is read costs more than a whole search of a cached page.
  size_t lower_bound_between(std::string_view key, std::string_view from, std::string_view to) const;
  // Branch: the child whose subtree holds `key`: the last with a separator <= `key`, or the first child.
  size_t child_index(std::string_view key) const;
  // The same, where the caller knows that the page's keys are in [from, to), as lower_bound_between().
  size_t child_index_between(std::string_view key, std::string_view from, std::string_view to) const;
  // Asks the processor for what lower_bound_between() looks at first: the page's head and the elements behind
  // it, or the key and the value that the place expected for `key` leads to. Reads only what was asked for
  // before.
  void prefetch_head() const;
  void prefetch_item(std::string_view key, std::string_view from, std::string_view to) const;

 private:
  // Where `key` would stand if the page's keys were evenly spaced in [from, to); empty if that says nothing.
  std::optional<size_t> expected_place(std::string_view key, std::string_view from,
                                       std::string_view to) const;
  size_t child_index(const Sought& sought, size_t lo, size_t end) const;
  // Among items [lo, end).
  size_t lower_bound(std::string_view key, size_t lo, size_t end) const;
  const char* element(size_t i) const { return p_ + kPageHeaderBytes + i * kElementBytes; }
  const char* p_ = nullptr;
};

// Pages that act as one.
struct PageRun {
  PageId first;
  uint64_t count = 0;
};

struct BucketHeader {
  PageId root;  // 0: inline, a page image follows
  uint64_t sequence = 0;
  static BucketHeader read(std::string_view value) {
    return {PageId(load_le<uint64_t>(value.data())), load_le<uint64_t>(value.data() + 8)};
  }
  void write(char* p) const {
    store_le<uint64_t>(p, root.v);
    store_le<uint64_t>(p + 8, sequence);
  }
};

// Says what is wrong with the structure of branch or leaf page `id` at `p`, or nothing. `available` bytes are
// there from `p` on; ids must lie below `hwm`. Checked: id, flags, overflow, count, every element's place and
// sizes (items are packed in order, so a changed size shows at the next item), key order, child and root ids,
// item flags, inline buckets. Nothing outside the page is looked at. The whole-file check looks at the key
// order itself, to say it in bolt's words.
std::optional<std::string> validate_page(const char* p, PageId id, uint32_t page_size, uint64_t available,
                                         PageId hwm, bool key_order = true);

// 16 bytes header + elements + keys and values of `count` items.
constexpr uint64_t node_bytes(uint64_t count, uint64_t payload) {
  return kPageHeaderBytes + count * kElementBytes + payload;
}
constexpr uint64_t pages_for(uint64_t bytes, uint32_t page_size) {
  return (bytes + page_size - 1) / page_size;
}

// "leaf", "branch", ... as bolt names them in its texts.
std::string page_type(uint16_t flags);

uint64_t fnv1a64(std::string_view bytes);

}  // namespace quoin::bolt

#include "bolt/format.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace quoin::bolt {
namespace {

// Offsets within a page.
constexpr size_t kMetaMagic = 16, kMetaVersion = 20, kMetaPageSize = 24, kMetaFlags = 28, kMetaRoot = 32,
                 kMetaRootSequence = 40, kMetaFreelist = 48, kMetaHwm = 56, kMetaTxid = 64,
                 kMetaChecksum = 72;
static_assert(kMetaChecksum + 8 == kPageHeaderBytes + kMetaBytes);

std::string_view checksummed(const char* p) {
  return {p + kMetaMagic, kMetaChecksum - kMetaMagic};
}

bool page_in_file(PageId id, PageId hwm) {
  return id.v >= 2 && id < hwm;
}

std::optional<std::string> validate_items(const char* p, bool leaf, size_t count, uint64_t bytes, PageId hwm,
                                          bool inside_bucket, bool key_order);

std::optional<std::string> validate_bucket_value(std::string_view value, PageId hwm, bool inside_bucket) {
  if (value.size() < kBucketHeaderBytes) return fmt::format("bucket header of {} bytes", value.size());
  const BucketHeader header = BucketHeader::read(value);
  if (header.root != PageId()) {
    if (value.size() != kBucketHeaderBytes) return fmt::format("bucket header of {} bytes", value.size());
    if (!page_in_file(header.root, hwm))
      return fmt::format("bucket root page {} out of bounds: {}", header.root, hwm);
    return std::nullopt;
  }
  if (inside_bucket) return "bucket within an inline bucket";
  if (value.size() < kBucketHeaderBytes + kPageHeaderBytes)
    return fmt::format("inline bucket of {} bytes", value.size());
  const char* page = value.data() + kBucketHeaderBytes;
  const PageHeader inner = PageHeader::read(page);
  if (inner.id != PageId() || inner.flags != kFlagLeaf || inner.overflow != 0)
    return fmt::format("inline bucket is no leaf: id {}, flags {:x}, overflow {}", inner.id, inner.flags,
                       inner.overflow);
  if (auto wrong =
          validate_items(page, true, inner.count, value.size() - kBucketHeaderBytes, hwm, true, true))
    return "inline bucket: " + *wrong;
  return std::nullopt;
}

std::optional<std::string> validate_items(const char* p, bool leaf, size_t count, uint64_t bytes, PageId hwm,
                                          bool inside_bucket, bool key_order) {
  uint64_t expected = node_bytes(count, 0);  // where the next key must start, from p
  if (expected > bytes) return fmt::format("{} elements do not fit into {} bytes", count, bytes);
  std::string_view previous;
  for (size_t i = 0; i < count; ++i) {
    const uint64_t at = kPageHeaderBytes + i * kElementBytes;
    const char* e = p + at;
    const uint32_t pos = load_le<uint32_t>(leaf ? e + 4 : e);
    const uint32_t key_bytes = load_le<uint32_t>(leaf ? e + 8 : e + 4);
    const uint32_t value_bytes = leaf ? load_le<uint32_t>(e + 12) : 0;
    if (at + pos != expected)
      return fmt::format("element {}: its key is at byte {}, not {}", i, at + pos, expected);
    expected += uint64_t{key_bytes} + value_bytes;
    if (expected > bytes) return fmt::format("element {}: ends at byte {} of {}", i, expected, bytes);
    if (key_bytes == 0) return fmt::format("element {}: zero-length key", i);
    if (key_bytes > kKeyBytesMax) return fmt::format("element {}: key of {} bytes", i, key_bytes);
    const std::string_view key(e + pos, key_bytes);
    if (key_order && i > 0 && key <= previous)
      return fmt::format("key[{}]=(hex){} is not above the key before it, {}", i, hex_bytes(key),
                         hex_bytes(previous));
    previous = key;
    if (!leaf) {
      const PageId child(load_le<uint64_t>(e + 8));
      if (!page_in_file(child, hwm))
        return fmt::format("element {}: child page {} out of bounds: {}", i, child, hwm);
      continue;
    }
    const uint32_t flags = load_le<uint32_t>(e);
    if (flags == 0) continue;
    if (flags != kItemBucket) return fmt::format("element {}: unknown flags {:x}", i, flags);
    if (auto wrong = validate_bucket_value({key.data() + key.size(), value_bytes}, hwm, inside_bucket))
      return fmt::format("element {}: {}", i, *wrong);
  }
  return std::nullopt;
}

}  // namespace

uint64_t fnv1a64(std::string_view bytes) {
  uint64_t h = 0xcbf29ce484222325ull;
  for (unsigned char c : bytes) h = (h ^ c) * 0x100000001b3ull;
  return h;
}

std::optional<Meta> Meta::read(const char* p, std::string_view* why) {
  *why = "invalid database";
  if (load_le<uint32_t>(p + kMetaMagic) != kMagic) return std::nullopt;
  *why = "version mismatch";
  if (load_le<uint32_t>(p + kMetaVersion) != kVersion) return std::nullopt;
  *why = "checksum error";
  if (load_le<uint64_t>(p + kMetaChecksum) != fnv1a64(checksummed(p))) return std::nullopt;
  *why = {};
  Meta m;
  m.page_size = load_le<uint32_t>(p + kMetaPageSize);
  m.root = PageId(load_le<uint64_t>(p + kMetaRoot));
  m.root_sequence = load_le<uint64_t>(p + kMetaRootSequence);
  m.freelist = PageId(load_le<uint64_t>(p + kMetaFreelist));
  m.hwm = PageId(load_le<uint64_t>(p + kMetaHwm));
  m.txid = TxId(load_le<uint64_t>(p + kMetaTxid));
  return m;
}

std::optional<Meta> Meta::read_mended(const char* p, std::string_view* why) {
  if (auto meta = read(p, why)) return meta;
  char copy[kPageHeaderBytes + kMetaBytes];
  std::memcpy(copy, p, sizeof copy);
  for (size_t byte = kPageHeaderBytes; byte < sizeof copy; ++byte) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string_view ignored;
      copy[byte] ^= static_cast<char>(1 << bit);
      if (auto meta = read(copy, &ignored)) return meta;
      copy[byte] ^= static_cast<char>(1 << bit);
    }
  }
  return std::nullopt;
}

void Meta::write(char* p, uint64_t slot) const {
  PageHeader{PageId(slot), kFlagMeta, 0, 0}.write(p);
  store_le<uint32_t>(p + kMetaMagic, kMagic);
  store_le<uint32_t>(p + kMetaVersion, kVersion);
  store_le<uint32_t>(p + kMetaPageSize, page_size);
  store_le<uint32_t>(p + kMetaFlags, 0);
  store_le<uint64_t>(p + kMetaRoot, root.v);
  store_le<uint64_t>(p + kMetaRootSequence, root_sequence);
  store_le<uint64_t>(p + kMetaFreelist, freelist.v);
  store_le<uint64_t>(p + kMetaHwm, hwm.v);
  store_le<uint64_t>(p + kMetaTxid, txid.v);
  store_le<uint64_t>(p + kMetaChecksum, fnv1a64(checksummed(p)));
}

constexpr size_t kPrefixBytes = 8;

// Compares keys with one that is searched for. Most differ within 8 bytes, which as a big-endian number
// compare as they do as bytes: the revision keys of etcd start with such a number.
class Sought {
 public:
  explicit Sought(std::string_view key)
      : key_(key), prefix_(key.size() >= kPrefixBytes ? load_be64(key.data()) : 0) {}

  // Negative, 0, positive: `k` is below, equal, above.
  int compare(std::string_view k) const {
    if (std::min(k.size(), key_.size()) >= kPrefixBytes) [[likely]] {
      const uint64_t prefix = load_be64(k.data());
      if (prefix != prefix_) [[likely]]
        return prefix < prefix_ ? -1 : 1;
    }
    return k.compare(key_);
  }

 private:
  const std::string_view key_;
  const uint64_t prefix_;
};

size_t PageView::lower_bound(std::string_view key) const {
  return lower_bound(key, 0, count());
}

size_t PageView::lower_bound(std::string_view key, size_t lo, size_t end) const {
  const Sought sought(key);
  size_t n = end - lo;
  while (n > 0) {
    const size_t half = n / 2;
    if (sought.compare(leaf_key(lo + half)) < 0) {
      lo += half + 1;
      n -= half + 1;
    } else {
      n = half;
    }
  }
  return lo;
}

std::optional<size_t> PageView::expected_place(std::string_view key, std::string_view from,
                                               std::string_view to) const {
  const size_t n = count();
  if (n == 0 || std::min({key.size(), from.size(), to.size()}) < kPrefixBytes) return std::nullopt;
  const uint64_t low = load_be64(from.data()), high = load_be64(to.data()), sought = load_be64(key.data());
  if (sought < low || sought >= high) return std::nullopt;
  const double share = static_cast<double>(sought - low) / static_cast<double>(high - low);
  return std::min(n - 1, static_cast<size_t>(share * static_cast<double>(n) + 1e-6));
}

size_t PageView::lower_bound_between(std::string_view key, std::string_view from, std::string_view to) const {
  const std::optional<size_t> guess = expected_place(key, from, to);
  if (!guess) return lower_bound(key);
  const int order = Sought(key).compare(leaf_key(*guess));  // its sign: where the key at `guess` stands
  if (order == 0) return *guess;
  return order < 0 ? lower_bound(key, *guess + 1, count()) : lower_bound(key, 0, *guess);
}

void PageView::prefetch_head() const {
  constexpr size_t kLine = 64, kLines = 4;
  for (size_t i = 0; i < kLines; ++i) __builtin_prefetch(p_ + i * kLine);
}

void PageView::prefetch_item(std::string_view key, std::string_view from, std::string_view to) const {
  constexpr size_t kLine = 64, kLinesMax = 8;
  const std::optional<size_t> guess = expected_place(key, from, to);
  if (!guess || !leaf()) return;
  const char* e = element(*guess);
  const size_t bytes = size_t{load_le<uint32_t>(e + 8)} + load_le<uint32_t>(e + 12);
  const char* at = e + load_le<uint32_t>(e + 4);
  for (size_t i = 0; i < kLinesMax && i * kLine < bytes + kLine; ++i) __builtin_prefetch(at + i * kLine);
}

size_t PageView::child_index_between(std::string_view key, std::string_view from, std::string_view to) const {
  const std::optional<size_t> guess = expected_place(key, from, to);
  if (!guess) return child_index(key);
  // In growing steps away from the guess until the place is between two separators.
  const Sought sought(key);
  const size_t n = count();
  size_t lo = 0, hi = n;  // the first separator above `key` is in [lo, hi]
  if (sought.compare(branch_key(*guess)) <= 0) {
    lo = *guess + 1;
    for (size_t step = 1; lo < n; step *= 2) {
      const size_t at = std::min(n - 1, lo + step - 1);
      if (sought.compare(branch_key(at)) > 0) {
        hi = at;
        break;
      }
      lo = at + 1;
    }
  } else {
    hi = *guess;
    for (size_t step = 1; hi > 0; step *= 2) {
      const size_t at = hi > step ? hi - step : 0;
      if (sought.compare(branch_key(at)) <= 0) {
        lo = at + 1;
        break;
      }
      hi = at;
    }
  }
  return child_index(sought, lo, hi);
}

size_t PageView::child_index(std::string_view key) const {
  return child_index(Sought(key), 0, count());
}

// The first separator above what is sought is in [lo, end].
size_t PageView::child_index(const Sought& sought, size_t lo, size_t end) const {
  size_t n = end - lo;
  while (n > 0) {
    const size_t half = n / 2;
    if (sought.compare(branch_key(lo + half)) <= 0) {
      lo += half + 1;
      n -= half + 1;
    } else {
      n = half;
    }
  }
  return lo == 0 ? 0 : lo - 1;
}

uint64_t PageView::used_bytes() const {
  const size_t n = count();
  if (n == 0) return kPageHeaderBytes;
  if (leaf()) {
    const std::string_view v = value(n - 1);
    return static_cast<uint64_t>(v.data() + v.size() - p_);
  }
  const std::string_view k = branch_key(n - 1);
  return static_cast<uint64_t>(k.data() + k.size() - p_);
}

std::string page_type(uint16_t flags) {
  switch (flags) {
    case kFlagBranch:
      return "branch";
    case kFlagLeaf:
      return "leaf";
    case kFlagMeta:
      return "meta";
    case kFlagFreelist:
      return "freelist";
    default:
      return fmt::format("unknown<{:02x}>", flags);
  }
}

std::optional<std::string> validate_page(const char* p, PageId id, uint32_t page_size, uint64_t available,
                                         PageId hwm, bool key_order) {
  if (!page_in_file(id, hwm)) return fmt::format("page {}: out of bounds: {}", id, hwm);
  if (available < page_size) return fmt::format("page {}: the file ends before it", id);
  const PageHeader h = PageHeader::read(p);
  if (h.id != id) return fmt::format("Page expected to be: {}, but self identifies as {}", id, h.id);
  if (h.flags != kFlagBranch && h.flags != kFlagLeaf)
    return fmt::format("page {}: invalid type: {}", id, page_type(h.flags));
  const uint64_t bytes = (uint64_t{h.overflow} + 1) * page_size;
  if (h.overflow >= hwm - id || bytes > available)
    return fmt::format("page {}: {} overflow pages go out of bounds: {}", id, h.overflow, hwm);
  if (h.flags == kFlagBranch && h.count == 0) return fmt::format("page {}: branch without children", id);
  if (auto wrong = validate_items(p, h.flags == kFlagLeaf, h.count, bytes, hwm, false, key_order))
    return fmt::format("page {}: {}", id, *wrong);
  return std::nullopt;
}

}  // namespace quoin::bolt

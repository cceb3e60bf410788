#include "scenarios/flip.h"

#include <algorithm>
#include <vector>

#include "base/coding.h"
#include "scenarios/image.h"

namespace quoin::scenarios {

namespace {

constexpr uint64_t kPage = 4096, kPageHead = 16, kElement = 16, kMetaBytes = 64;

// A byte of the structure of the database: a meta page, a page head or an element's head. Keys and values
// inside elements carry no checksum in bbolt's format, so nobody can tell a flipped bit there.
FlipPlace place_in_db(const std::string& bytes, Prng& prng) {
  const uint64_t pages = bytes.size() / kPage;
  if (pages <= 2 || prng.chance(1, 3))
    return {kDbPath, prng.below(2) * kPage + prng.below(kPageHead + kMetaBytes)};
  // Pages in the middle of a long value have no head: a page that has one says its own number.
  std::vector<uint64_t> heads;
  for (uint64_t page = 2; page < pages; ++page) {
    if (load_le<uint64_t>(bytes.data() + page * kPage) == page) heads.push_back(page);
  }
  if (heads.empty()) return {kDbPath, 0};
  const uint64_t page = heads[prng.below(heads.size())];
  const uint64_t elements = std::min<uint64_t>(load_le<uint16_t>(bytes.data() + page * kPage + 10), 8);
  return {kDbPath, page * kPage + prng.below(kPageHead + elements * kElement)};
}

}  // namespace

FlipPlace draw_flip(const sim::SimDisk& disk, Prng& prng) {
  std::vector<std::string> logs, snaps;
  for (const std::string& path : disk.list_visible()) {
    if (path.ends_with(".wal")) logs.push_back(path);
    if (path.ends_with(".snap")) snaps.push_back(path);
  }
  const uint64_t which = prng.below(3);
  if (which == 0) return place_in_db(*disk.visible_bytes(kDbPath), prng);
  if (which == 1 && !snaps.empty()) {
    const std::string& path = snaps[prng.below(snaps.size())];
    return {path, prng.below(std::max<size_t>(disk.visible_bytes(path)->size(), 1))};
  }
  const std::string& path = logs[prng.below(logs.size())];
  const std::string bytes = *disk.visible_bytes(path);
  const size_t last = bytes.find_last_not_of('\0');
  return {path, prng.below(last == std::string::npos ? 1 : last + 1)};
}

}  // namespace quoin::scenarios

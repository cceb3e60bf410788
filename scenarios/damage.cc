#include <fmt/format.h>

#include "base/coding.h"
#include "scenarios/crash_run.h"
#include "scenarios/image.h"

namespace quoin::scenarios {

namespace {

constexpr uint64_t kPage = 4096, kPageHead = 16, kElement = 16, kMetaBytes = 64;
constexpr int64_t kPatience = 120 * io::kSecond;

struct Place {
  std::string path;
  uint64_t offset = 0;
};

// A byte of the structure of the database: a meta page, a page head or an element's head. Keys and values
// inside elements carry no checksum in bbolt's format, so nobody can tell a flipped bit there.
Place place_in_db(const std::string& bytes, Prng& prng) {
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

Place draw_place(const sim::SimDisk& disk, Prng& prng) {
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

std::string base_name(const std::string& path) {
  return path.substr(path.rfind('/') + 1);
}

}  // namespace

std::string damage_and_start(sim::World& world, const sim::SimDisk& disk, const server::Config& config,
                             const History& history, Prng& prng, Trace& trace, Counts* counts) {
  std::unique_ptr<sim::SimDisk> image = disk.crash_image(prng);
  const Place place = draw_place(*image, prng);
  const int bit = static_cast<int>(prng.below(8));
  if (!image->flip_bit(place.path, place.offset, bit)) return {};
  ++counts->damaged;
  trace.note(place.path, place.offset, static_cast<uint64_t>(bit));
  const std::string where = fmt::format("bit {} of byte {} of {} flipped: ", bit, place.offset, place.path);

  History known = history;
  Edges edges;
  Operators operators(known, edges, 0);
  Workload workload(world, known, prng, trace, operators, edges);
  Life life(world, *image, config, prng.next());
  if (Result<> started = life.start(); !started) {
    ++counts->refused_at_start;
    const std::string_view text = started.error().text();
    if (text.find(base_name(place.path)) == std::string_view::npos) {
      return where + fmt::format("refused without naming the file: {}", text);
    }
    return {};
  }
  auto read = std::make_shared<bool>(false);
  auto over = [&] { return life.failure() || !workload.problem().empty(); };
  if (!world.run_until([&] { return life.ready() || over(); }, kPatience))
    return where + "does not become ready";
  if (!over()) {
    workload.read_once(life, read);
    if (!world.run_until([&] { return *read || over(); }, kPatience)) return where + "reads hang";
  }
  if (life.failure() || workload.unreadable()) {
    ++counts->refused_later;
  } else if (!workload.problem().empty()) {
    return where + workload.problem();
  } else {
    ++counts->served_right;
  }
  life.kill();
  return {};
}

}  // namespace quoin::scenarios

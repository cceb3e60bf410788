#include <fmt/format.h>

#include "scenarios/crash_run.h"
#include "scenarios/flip.h"

namespace quoin::scenarios {

namespace {

constexpr int64_t kPatience = 120 * io::kSecond;

std::string base_name(const std::string& path) {
  return path.substr(path.rfind('/') + 1);
}

}  // namespace

std::string damage_and_start(sim::World& world, const sim::SimDisk& disk, const server::Config& config,
                             const History& history, Prng& prng, Trace& trace, Counts* counts) {
  std::unique_ptr<sim::SimDisk> image = disk.crash_image(prng);
  const FlipPlace place = draw_flip(*image, prng);
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

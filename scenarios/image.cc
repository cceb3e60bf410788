#include "scenarios/image.h"

#include "bolt/db.h"
#include "sim/file_system.h"

namespace quoin::scenarios {

std::string check_db_image(sim::World& world, sim::SimDisk& disk) {
  if (!disk.visible_bytes(kDbPath)) return {};
  sim::Process& process = world.start_process("check");
  sim::SimFileSystem fs(disk, process.executor("check"));
  std::string findings;
  {
    auto db = bolt::Db::open(fs, kDbPath, {.create = false, .read_only = true});
    if (!db) {
      findings = std::string(db.error().text());
    } else {
      for (const std::string& finding : bolt::check_file(*(*db)->begin_read(), nullptr))
        findings += finding + "\n";
    }
  }
  process.kill();
  return findings;
}

uint64_t bytes_in_use(const sim::SimDisk& disk) {
  uint64_t bytes = 0;
  for (const std::string& path : disk.list_visible()) {
    if (auto content = disk.visible_bytes(path)) bytes += (content->size() + 4095) / 4096 * 4096;
  }
  return bytes;
}

}  // namespace quoin::scenarios

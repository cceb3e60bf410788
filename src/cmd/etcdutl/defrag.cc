#include "cmd/etcdutl/defrag.h"

#include <unistd.h>

#include "bolt/compact_copy.h"
#include "cmd/etcdutl/files.h"

namespace quoin::utl {

namespace {

Result<bolt::Stats> copy_into(const Machine& machine, bolt::Db& from, const std::string& path,
                              const Job& job) {
  bolt::Options options;
  options.no_sync = true;  // once at the end: nobody reads it before
  ASSIGN_OR_RETURN(const auto to, bolt::Db::open(machine.fs, path, options));
  bolt::CompactCopy copy(from.begin_read(), *to);
  const uint64_t total = from.stats().size_in_use_bytes();
  while (!copy.finished()) {
    TRY(job.step("copying the database", to->stats().size_bytes(), total));
    TRY(copy.step_blocking());
  }
  TRY(to->close_blocking(false));
  return to->stats();
}

}  // namespace

Result<> defragment(const Machine& machine, std::unique_ptr<bolt::Db> db, const Job& job) {
  const std::string path = db->path();
  const std::string copy = fmt::format("{}.tmp.{}", path, getpid());
  const auto begun = machine.clock.monotonic();
  const bolt::Stats before = db->stats();
  LOG(machine.log, kInfo, "defragmenting", {"path", path}, {"current-db-size-bytes", before.size_bytes()},
      {"current-db-size", log::Size{before.size_bytes()}},
      {"current-db-size-in-use-bytes", before.size_in_use_bytes()},
      {"current-db-size-in-use", log::Size{before.size_in_use_bytes()}});
  const auto replace = [&]() -> Result<bolt::Stats> {
    ASSIGN_OR_RETURN(const bolt::Stats stats, copy_into(machine, *db, copy, job));
    ASSIGN_OR_RETURN(const auto file, machine.fs.open(copy, {.write = true}));
    TRY(job.step("writing to disk", 0, 0));
    TRY(file->sync());
    TRY(machine.fs.rename(copy, path));
    TRY(machine.fs.sync_dir(parent_of(path)));
    return stats;
  };
  const auto after = replace();
  if (!after) {
    (void)machine.fs.remove(copy);  // the first error is the one to tell
    return after.error();
  }
  const auto less = [](uint64_t now, uint64_t then) { return static_cast<int64_t>(now - then); };
  LOG(machine.log, kInfo, "finished defragmenting directory", {"path", path},
      {"current-db-size-bytes-diff", less(after->size_bytes(), before.size_bytes())},
      {"current-db-size-bytes", after->size_bytes()}, {"current-db-size", log::Size{after->size_bytes()}},
      {"current-db-size-in-use-bytes-diff", less(after->size_in_use_bytes(), before.size_in_use_bytes())},
      {"current-db-size-in-use-bytes", after->size_in_use_bytes()},
      {"current-db-size-in-use", log::Size{after->size_in_use_bytes()}},
      {"took", log::Duration{machine.clock.monotonic() - begun}});
  return {};
}

}  // namespace quoin::utl

// Little address space: the file gets what there is, the operator is told, and the commit that outgrows it
// fails by name and loses nothing.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "backend/member_test.h"
#include "posix/file.h"

namespace quoin::backend {
namespace {

constexpr uint64_t kMiB = 1u << 20;
constexpr std::string_view kWarning = "the system has little address space for the database file";

void put_record(Member& m, int64_t main, size_t bytes) {
  m.on_apply([&] {
    m.backend->append({main, 0}, false, Blob::copy(std::string(bytes, 'x')));
    m.backend->set_consistent_index(Index(static_cast<uint64_t>(main)), Term(1));
  });
}

TEST(Reservation, NoWarningWhereThereIsRoom) {
  Member m(Kind::kBolt, 1);
  m.open();
  EXPECT_FALSE(m.log.contains(kWarning));
}

TEST(Reservation, ACommitThatOutgrowsItFailsByNameAndLosesNothing) {
  Member m(Kind::kBolt, 1);
  m.options.map_bytes = 1ull << 40;
  m.disk.set_address_space(300 * kMiB);
  m.open();
  ASSERT_EQ(m.log.count(kWarning), 1u);
  EXPECT_TRUE(m.log.contains("reserved-bytes=268435456 wanted-bytes=1099511627776"));
  int64_t main = 1;
  while (!m.failure && main < 20) {
    put_record(m, ++main, 20 * kMiB);
    bool durable = false;
    m.on_apply([&] { m.backend->commit([&] { durable = true; }); });
    m.wait([&] { return durable || m.failure.has_value(); });
    EXPECT_EQ(durable, !m.failure.has_value());
  }
  ASSERT_TRUE(m.failure);
  EXPECT_EQ(m.failure->code(), Code::kLimit);
  EXPECT_NE(m.failure->text().find("only 268435456 bytes of address space are reserved for it"),
            std::string_view::npos)
      << m.failure->text();
  EXPECT_GT(main, 10);
  m.crash();
  // The next start wants twice the file's length and does not get it.
  const auto refused = m.try_open();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().text(), "mmap /data/member/snap/db: cannot allocate memory");
  m.disk.set_address_space(2048 * kMiB);
  m.open();
  EXPECT_EQ(m.backend->consistent_index(), Index(static_cast<uint64_t>(main - 1)));
  put_record(m, main, 20 * kMiB);
  m.commit();
}

// Defragment's copy has to live beside the file; where it cannot, the file stays as it is.
TEST(Reservation, ADefragmentWithoutRoomForASecondMappingEndsItself) {
  Member m(Kind::kBolt, 1);
  m.disk.set_address_space(300 * kMiB);
  m.options.map_bytes = 256 * kMiB;
  m.open();
  put_record(m, 2, 100);
  std::optional<Result<>> defragmented;
  m.on_apply([&] { m.backend->defragment([&](Result<> r) { defragmented = r; }); });
  m.wait([&] { return defragmented.has_value(); });
  EXPECT_FALSE(*defragmented);
  put_record(m, 3, 100);
  m.commit();
  EXPECT_FALSE(m.failure);
}

uint64_t address_space_in_use() {
  uint64_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  return pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

// In a child, since the limit stays.
int open_under_a_limit(const std::string& path, uint64_t room) {
  struct rlimit limit;
  limit.rlim_cur = limit.rlim_max = address_space_in_use() + room;
  if (setrlimit(RLIMIT_AS, &limit) != 0) return 10;
  sim::World world(1);
  sim::Process& process = world.start_process("p");
  sim::SimExecutor& executor = process.executor("file");
  const auto fs = posix::make_file_system(executor);
  Options options;
  options.path = path;
  auto factory = bolt_engine_factory(options, *fs, executor, process.clock());
  auto engine = factory->open(path, false);
  if (!engine) return 11;
  const uint64_t size_max = (*engine)->size_max();
  // Between a quarter and a half of what there is.
  if (size_max < room / 5 || size_max > room / 2) return 12;
  const std::string value(1000, 'v');
  Batch batch;
  batch.of(Bucket::kKey).push_back({"k", value, false});
  bool done = false;
  (*engine)->commit(batch, [&](Result<CommitTimes> r) { done = r.has_value(); });
  world.run_for(io::kSecond);
  if (!done) return 13;
  if (*(*(*engine)->snapshot()).get(Bucket::kKey, "k") != value) return 14;
  return 0;
}

TEST(Reservation, OfWhatUlimitLeaves) {
  std::string dir = (std::filesystem::temp_directory_path() / "quoin-reservation-XXXXXX").string();
  ASSERT_NE(mkdtemp(dir.data()), nullptr);
  for (const uint64_t room : {3 * 1024 * kMiB, 40 * 1024 * kMiB}) {
    const pid_t child = fork();
    if (child == 0) _exit(open_under_a_limit(dir + "/db", room));
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 0) << room;
  }
  std::filesystem::remove_all(dir);
}

}  // namespace
}  // namespace quoin::backend

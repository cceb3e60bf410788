// A simulated disk with a stated fault model.
//
// The disk holds two images: what processes see, and what is durable.
//
// Content of a file
//   - A write changes what is seen at once (asynchronous: at one moment between submit and completion).
//   - A completed sync() makes durable all bytes written, and the size reached, before the sync began.
//   - A crash keeps of what is not durable, for each 512-byte sector by itself, the durable bytes, or those
//     that a sync under way was to make durable, or those seen last. The size is the durable one, the one
//     seen, or, where the file grew, a multiple of 512 in between. Bytes between are zeros. Some crashes keep
//     nothing, some everything, some a prefix, some any subset.
//   - A cut that is not synced may be undone, and bytes cut off may come back, also under a file that has
//     grown again since.
// Names
//   - A creation, removal or rename is seen at once and durable with the next completed sync_dir() of its
//     directory that began after it (a rename between two directories: of either one).
//   - A crash keeps, for each name by itself, a prefix of the changes since. A rename is kept as one unit.
//   - A new directory is a name of its parent; its own names need its own sync_dir().
// Failures
//   - A write that fails has written its bytes up to some boundary of 512, or none. A sync that fails has made
//     any part durable, and what it did not is covered by no later sync, though it is still seen (as Linux
//     marks pages clean).
//   - Full disk: bytes written or allocated beyond `set_byte_limit` fail with kNoSpaceOnDevice. A file counts
//     with its highest byte written or allocated (rounded up to 4096), not with a size only extended.
//   - Operations may be made to fail by number, by kind and path, or by chance; syncs may hang or be slow.
//   - Bits may be flipped anywhere.
// Time
//   - Asynchronous operations take virtual time drawn from the seed; those of one File are done one after the
//     other, those of the FileSystem (rename, sync_dir, ...) in any order. Blocking calls take no time;
//     hanging and slow syncs do not concern them.
//
// Threads: the simulation's one thread. Lifetime: the World outlives the disk, the disk outlives every
// FileSystem on it. Files and mappings may outlive a crash: their calls then return kStopped, and their
// outstanding completions never run.
#pragma once
#include <absl/functional/any_invocable.h>

#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/prng.h"
#include "base/result.h"
#include "sim/tree.h"
#include "sim/world.h"

namespace quoin::sim {

enum Op : uint32_t {
  kOpen = 1u << 0,
  kRead = 1u << 1,
  kWrite = 1u << 2,
  kSync = 1u << 3,
  kTruncate = 1u << 4,
  kAllocate = 1u << 5,
  kRename = 1u << 6,
  kRemove = 1u << 7,
  kSyncDir = 1u << 8,
  kList = 1u << 9,
  kMakeDir = 1u << 10,
};
constexpr uint32_t kChangingOps =
    kOpen | kWrite | kSync | kTruncate | kAllocate | kRename | kRemove | kSyncDir | kMakeDir;
constexpr uint32_t kAllOps = kChangingOps | kRead | kList;

struct Fault {
  uint32_t ops = kAllOps;
  std::string path_contains;  // empty: any path
  uint64_t skip = 0;          // matching operations that still succeed
  uint64_t times = 1;         // then this many fail; kForever: all
  int error = 5;              // errno value; 5 is EIO, 28 is ENOSPC
  static constexpr uint64_t kForever = std::numeric_limits<uint64_t>::max();
};

struct Latency {
  int64_t min_ns, max_ns;
};
struct Latencies {
  Latency write{10'000, 100'000};
  Latency sync{100'000, 2'000'000};
  Latency names{10'000, 200'000};  // open, rename, remove, sync_dir, truncate, allocate
  // One in `slow_one_in` operations takes `slow_factor` times as long; 0: never.
  uint64_t slow_one_in = 50;
  int64_t slow_factor = 20;
};

class SimDisk {
 public:
  explicit SimDisk(World& world);
  SimDisk(const SimDisk&) = delete;
  SimDisk& operator=(const SimDisk&) = delete;

  // ---- faults ----
  Latencies& latencies() { return latencies_; }
  void inject(Fault fault) { faults_.push_back(std::move(fault)); }
  void clear_faults() { faults_.clear(), error_per_million_ = 0; }
  // Each operation of `ops` fails with EIO with this probability.
  void set_error_chance(uint32_t ops, uint64_t per_million) {
    error_ops_ = ops, error_per_million_ = per_million;
  }
  // Address space for all mappings of this disk's files together; a map() that needs more fails with ENOMEM.
  void set_address_space(uint64_t bytes) { address_space_ = bytes; }
  void set_byte_limit(uint64_t bytes) { byte_limit_ = bytes; }
  // While set, asynchronous syncs (of files and directories) do not complete.
  void set_syncs_stuck(bool stuck);
  // From the n-th operation of kChangingOps on (0: the next one) nothing reaches the disk and nothing
  // completes, as when power is lost; the test sees power_lost(), ends the process and calls crash().
  void lose_power_after(uint64_t n) { power_ops_left_ = n, power_armed_ = true; }
  bool power_lost() const { return power_lost_; }
  // Flips one bit (0..7) of a file in what is durable and in what is seen; `cached`: in what is durable
  // alone. False if the file or the byte is not there.
  bool flip_bit(std::string_view path, uint64_t offset, int bit, bool cached = false);
  // Flips `n` bits at places drawn from the seed.
  void flip_random_bits(std::string_view path, int n);

  // ---- crash ----
  // Everything open is gone; what is seen is now one of the states that the model allows, drawn from the
  // seed. Injected faults, stuck syncs and lost power end; the byte limit stays.
  void crash();
  // The same state on another disk, leaving this one alone: one run can be looked at after a crash at every
  // point of it.
  std::unique_ptr<SimDisk> crash_image(Prng& prng) const;
  // Called before each operation of kChangingOps, with its kind and path. For sweeps.
  void set_hook(absl::AnyInvocable<void(Op, std::string_view)> hook) { hook_ = std::move(hook); }
  uint64_t ops_done() const { return ops_done_; }      // of kChangingOps
  uint64_t syncs_done() const { return syncs_done_; }  // completed without error

  // ---- looking at it, beside any fault ----
  std::vector<std::string> list_visible() const { return tree_.list_visible(); }
  std::vector<std::string> list_durable() const { return tree_.durable_only().list_visible(); }
  // What a file holds; kFileNotFound.
  Result<std::string> visible_bytes(std::string_view path) const;
  Result<std::string> durable_bytes(std::string_view path) const;  // of the file seen at `path`
  // Puts a file there, durable, with the directories above it.
  void put_file(std::string_view path, std::string_view bytes);

  World& world() { return world_; }

 private:
  friend class SimFileSystem;
  friend class SimFile;
  friend class SimMapping;

  // Counts the operation and says whether it fails. kStopped: power is lost, nothing may happen.
  Result<> gate(Op op, std::string_view path);
  Result<> reserve(Node& node, uint64_t end, std::string_view operation, std::string_view path);
  int64_t draw_latency(const Latency& latency);
  // Runs `effect` after a drawn time, later if it is a stuck sync; not after a crash.
  void after_latency(const Latency& latency, bool is_sync, Task effect);

  World& world_;
  Prng prng_;
  Tree tree_;
  Latencies latencies_;
  std::vector<Fault> faults_;
  uint32_t error_ops_ = 0;
  uint64_t error_per_million_ = 0;
  uint64_t byte_limit_ = std::numeric_limits<uint64_t>::max();
  uint64_t address_space_ = std::numeric_limits<uint64_t>::max();
  std::shared_ptr<uint64_t> mapped_bytes_ = std::make_shared<uint64_t>(0);  // mappings may outlive the disk
  bool syncs_stuck_ = false;
  std::vector<Task> stuck_;
  bool power_armed_ = false, power_lost_ = false;
  uint64_t power_ops_left_ = 0;
  uint64_t epoch_ = 0;  // number of crashes
  uint64_t next_handle_ = 1;
  uint64_t ops_done_ = 0, syncs_done_ = 0;
  absl::AnyInvocable<void(Op, std::string_view)> hook_;
  // Events of this disk die with it.
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace quoin::sim

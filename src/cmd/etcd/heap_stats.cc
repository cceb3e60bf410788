#include "cmd/etcd/heap_stats.h"

#include <malloc.h>

#include <cstddef>
#include <cstdint>
#include <string>

// Of jemalloc; null in a program that is not linked to it.
extern "C" int mallctl(const char* name, void* old_value, size_t* old_size, void* new_value, size_t new_size)
    __attribute__((weak));
extern "C" int mallctlnametomib(const char* name, size_t* mib, size_t* length) __attribute__((weak));
extern "C" int mallctlbymib(const size_t* mib, size_t length, void* old_value, size_t* old_size,
                            void* new_value, size_t new_size) __attribute__((weak));

namespace quoin::cmd {

namespace {

template <class T>
T read(const std::string& name) {
  T value{};
  size_t size = sizeof value;
  return mallctl(name.c_str(), &value, &size, nullptr, 0) == 0 ? value : T{};
}

// A name with one number in it, looked up once and then read for each value of the number.
class Indexed {
 public:
  // `at`: which part of the name, counted from 0, is the number.
  Indexed(const std::string& name, size_t at) : at_(at) {
    if (mallctlnametomib == nullptr || mallctlnametomib(name.c_str(), mib_, &length_) != 0) length_ = 0;
  }
  template <class T>
  T read(size_t index) {
    T value{};
    size_t size = sizeof value;
    mib_[at_] = index;
    return length_ > 0 && mallctlbymib(mib_, length_, &value, &size, nullptr, 0) == 0 ? value : T{};
  }

 private:
  static constexpr size_t kPartsMax = 8;
  size_t mib_[kPartsMax] = {};
  size_t length_ = kPartsMax;
  const size_t at_;
};

// Sum over all arenas of one figure of each size class, as it is or times the size of the class: jemalloc has
// no counter of bytes ever handed out. What threads keep in their caches counts when they give it over.
struct Totals {
  double objects = 0, frees = 0, bytes = 0;
};
void add_classes(const std::string& classes, const std::string& counters, uint64_t count, Totals* totals) {
  const std::string of_all = "stats.arenas.4096." + counters + ".0";  // MALLCTL_ARENAS_ALL
  Indexed size("arenas." + classes + ".0.size", 2), made(of_all + ".nmalloc", 4),
      freed(of_all + ".ndalloc", 4);
  for (uint64_t i = 0; i < count; ++i) {
    const auto n = static_cast<double>(made.read<uint64_t>(i));
    totals->objects += n;
    totals->bytes += n * static_cast<double>(size.read<size_t>(i));
    totals->frees += static_cast<double>(freed.read<uint64_t>(i));
  }
}

}  // namespace

httpapi::ProcessStats::Heap read_heap() {
  httpapi::ProcessStats::Heap h;
  if (mallctl == nullptr) {
    const auto c = mallinfo2();
    h.allocated_bytes = h.active_bytes = static_cast<double>(c.uordblks + c.hblkhd);
    h.system_bytes = static_cast<double>(c.arena + c.hblkhd);
    return h;
  }
  uint64_t epoch = 1;
  size_t size = sizeof epoch;
  mallctl("epoch", &epoch, &size, &epoch, sizeof epoch);  // figures are of the last one
  h.allocated_bytes = static_cast<double>(read<size_t>("stats.allocated"));
  h.active_bytes = static_cast<double>(read<size_t>("stats.active"));
  h.released_bytes = static_cast<double>(read<size_t>("stats.retained"));
  h.system_bytes = static_cast<double>(read<size_t>("stats.mapped")) + h.released_bytes;
  h.own_bytes = static_cast<double>(read<size_t>("stats.metadata"));
  Totals totals;
  add_classes("bin", "bins", read<unsigned>("arenas.nbins"), &totals);
  add_classes("lextent", "lextents", read<unsigned>("arenas.nlextents"), &totals);
  h.allocated_bytes_total = totals.bytes;
  h.allocations_total = totals.objects;
  h.frees_total = totals.frees;
  return h;
}

}  // namespace quoin::cmd

#include "cmd/etcd/heap_stats.h"

#include <malloc.h>

#include <cstddef>
#include <cstdint>
#include <string>

// Of jemalloc; null in a program that is not linked to it.
extern "C" int mallctl(const char* name, void* old_value, size_t* old_size, void* new_value, size_t new_size)
    __attribute__((weak));

namespace quoin::cmd {

namespace {

template <class T>
T read(const std::string& name) {
  T value{};
  size_t size = sizeof value;
  return mallctl(name.c_str(), &value, &size, nullptr, 0) == 0 ? value : T{};
}

// Sum over all arenas of one figure of each size class, as it is or times the size of the class: jemalloc has
// no counter of bytes ever handed out. What threads keep in their caches counts when they give it over.
struct Totals {
  double objects = 0, frees = 0, bytes = 0;
};
void add_classes(const std::string& classes, const std::string& counters, uint64_t count, Totals* totals) {
  for (uint64_t i = 0; i < count; ++i) {
    const std::string n = std::to_string(i);
    const auto size = static_cast<double>(read<size_t>("arenas." + classes + "." + n + ".size"));
    const std::string of_all = "stats.arenas.4096." + counters + "." + n;  // MALLCTL_ARENAS_ALL
    const auto made = static_cast<double>(read<uint64_t>(of_all + ".nmalloc"));
    totals->objects += made;
    totals->bytes += made * size;
    totals->frees += static_cast<double>(read<uint64_t>(of_all + ".ndalloc"));
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

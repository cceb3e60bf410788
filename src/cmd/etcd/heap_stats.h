// Figures of the heap: of jemalloc where the program is linked to it (docs/decisions/0011-allocator.md), of
// the C library's allocator otherwise (tests; sanitizers bring one that tells nothing).
#pragma once
#include "httpapi/metrics_text.h"

namespace quoin::cmd {

// What an allocator does not tell stays 0. Any thread; a fraction of a millisecond.
httpapi::ProcessStats::Heap read_heap();

}  // namespace quoin::cmd

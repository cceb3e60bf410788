// What one commit writes, in order: data pages ascending, [sync], the meta page, [sync].
// Threads: the file thread builds it; then it is immutable until the commit ends.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "bolt/format.h"
#include "bolt/node.h"

namespace quoin::bolt {

struct PageWrite {
  PageId first;
  uint64_t count = 0;
  char* bytes = nullptr;  // count * page size, in the plan's memory
  bool tree_page = true;  // branch or leaf
};

struct CommitPlan {
  Meta meta;
  std::vector<PageWrite> pages;   // ascending once built
  std::vector<PageRun> freed;     // by this commit
  std::string meta_page;          // a whole page
  uint64_t grow_to = 0;           // length the file needs first; 0: it is long enough
  uint64_t saved_list_pages = 0;  // of the list meta.freelist names
  Arena memory;

  uint64_t meta_slot() const { return meta.txid.v % 2; }
};

// Adjacent pages of a plan as one write.
struct WriteRun {
  uint64_t offset = 0;
  std::vector<std::string_view> parts;
};
std::vector<WriteRun> write_runs(const CommitPlan& plan, uint32_t page_size);

}  // namespace quoin::bolt

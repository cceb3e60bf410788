// The whole-file check, with bbolt's finding texts: reachability (each page reached once, none of them free,
// nothing lost), page headers and key order across pages.
//
// Damage that would stop Go with a panic, and damage only Quoin looks for (an item outside its page), are
// findings too. Below a damaged page, or one reached a second time, nothing more is looked at (bolt goes on
// in the latter case and may find more, or never end).
//
// Threads: reads only; any thread, as the ReadTx.
// Source: spec storage-formats 1.10.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "bolt/read_tx.h"

namespace quoin::bolt {

class PageMap;

// One bit a page.
using PageSet = std::vector<bool>;

// Called with each finding; return false to stop the walk.
using FindingSink = std::function<bool(std::string finding)>;

// Walks all that `tx` reaches. Pages met (overflow pages included) are set in `reachable`, which is sized to
// the HWM. `free`, if given, holds the pages known to be free: reaching one of them is a finding. `map`, if
// given, learns the first page of each allocation.
void check_reachable(const ReadTx& tx, const PageSet* free, PageSet* reachable, const FindingSink& sink,
                     PageMap* map = nullptr);

// check_reachable, and each page below the HWM that is neither reachable, nor free, nor a meta page, is a
// finding
// ("page %d: unreachable unfreed"). `free` holds free and pending pages and the pages of a saved freelist;
// null where none is known (then what is not reachable counts as free).
std::vector<std::string> check_file(const ReadTx& tx, const PageSet* free);

}  // namespace quoin::bolt

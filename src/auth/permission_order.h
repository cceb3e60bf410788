// Where a new permission goes among those of its role.
//
// They are sorted by key, and several may have the same key. etcd appends the new one and sorts with Go's
// sort.Sort, which is not stable: with 13 to 49 permissions, equal keys can change places. The order is stored,
// RoleGet shows it, and the next grant looks only at the first permission with its key, so that another order
// here would make members differ. Hence Go's order is kept, of its pattern-defeating quicksort (Go 1.19 and
// later); the corpus holds orders that Go made.
// Threads: none of this keeps state.
// Source: etcd's store.go (RoleGrantPermission); Go's sort package for pivots, thresholds and the scattering of
// unbalanced parts.
#pragma once
#include <vector>

#include "wire/auth.h"

namespace quoin::auth {

// `list` is in the order that earlier calls left it in.
void add_in_order(std::vector<wire::authpb::Permission>* list, wire::authpb::Permission added);

}  // namespace quoin::auth

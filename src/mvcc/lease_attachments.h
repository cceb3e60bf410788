// What the store asks of the lessor: which key hangs on which lease. Declared here, implemented by `lease`.
//
// Threads: called on the apply strand only, from within Store::restore and WriteTxn.
// A key has at most one lease; the store detaches the old one before it attaches a new one, and detaches on
// delete. Whether a lease exists is checked by the caller of WriteTxn::put before it writes.
// Source: spec api-semantics 2.4, 4 (Attach/detach).
#pragma once
#include <string_view>

#include "base/ids.h"

namespace quoin::mvcc {

class LeaseAttachments {
 public:
  virtual ~LeaseAttachments() = default;
  virtual void attach(LeaseId lease, std::string_view key) = 0;
  virtual void detach(LeaseId lease, std::string_view key) = 0;
  // The lease that `key` hangs on; 0 if none.
  virtual LeaseId lease_of(std::string_view key) const = 0;
};

}  // namespace quoin::mvcc

// The lines of a transaction: comparisons and requests.
//
// Threads: none. Source: etcdctl/ctlv3/command/txn_command.go, client/v3/compare.go.
#pragma once
#include <string_view>

#include "cmd/etcdctl/ending.h"
#include "cmd/etcdctl/printer.h"

namespace quoin::ctl {

// TARGET("key") OP "value". Fails with 3.
Or<pb::Compare> read_compare(std::string_view line);

// put, get or del with its flags and words. Fails with 3; with 128 where the command itself finds a fault. What cobra says
// about a flag goes to standard error.
Or<pb::RequestOp> read_request(std::string_view line);

}  // namespace quoin::ctl

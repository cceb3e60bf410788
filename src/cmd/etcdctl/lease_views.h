// How answers about leases are shown where they differ from their messages.
//
// Threads: none. Source: etcdctl/ctlv3/command/printer_simple.go, client/v3/lease.go (the structs' tags).
#pragma once
#include <functional>
#include <string>

#include "cmd/etcdctl/printer.h"

namespace quoin::ctl {

// `-w protobuf` of leases: Go's struct embeds the header and takes over its encoding, so that is all there is.
template <class Response>
std::function<Or<std::string>()> header_bytes(const Response& r) {
  return [&r]() -> Or<std::string> { return r.header().SerializeAsString(); };
}

void show_time_to_live(std::string& out, const pb::LeaseTimeToLiveResponse& r, bool keys);
std::string time_to_live_json(const pb::LeaseTimeToLiveResponse& r);

}  // namespace quoin::ctl

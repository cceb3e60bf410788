// Whether two lists of peer URLs mean the same addresses, as etcd compares them where flags meet what is advertised
// or what a running cluster knows: as text first; where that differs, each host name is looked up, and the first
// address stands for it. "localhost" and unix sockets are compared as text.
//
// A name that is not found is asked for again each second, until 30 s have passed since the comparer was made.
//
// Threads: blocking; start only. Errors: etcd's texts, also where the lists are not the same.
// Source: spec operations 2.2; etcd's pkg/netutil.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "base/result.h"
#include "io/clock.h"
#include "io/resolver.h"

namespace quoin::server {

class UrlComparer {
 public:
  // Without a resolver nothing is looked up: only equal texts are the same.
  UrlComparer(io::Resolver* resolver, const io::Clock& clock, log::Logger& log);
  // Neither list need be sorted. kInvalidArgument says how they differ.
  Result<> same(std::vector<std::string> a, std::vector<std::string> b);

 private:
  Result<std::string> resolved(const std::string& url);
  Result<std::vector<std::string>> all_resolved(const std::vector<std::string>& urls);

  io::Resolver* const resolver_;
  const io::Clock& clock_;
  log::Logger& log_;
  const io::MonotonicNs deadline_;
};

// The own URLs of --initial-cluster against those advertised (state "new"). kInvalidArgument with etcd's text.
Result<> check_advertised(const std::string& name, std::vector<std::string> listed,
                          std::vector<std::string> advertised, UrlComparer& comparer);

}  // namespace quoin::server

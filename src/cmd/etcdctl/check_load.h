// The load of `check`: puts spread over many clients, each with a connection of its own, and what became of them.
//
// Threads: put_all() blocks; it makes a thread for each client.
// Memory: 8 bytes a put. Source: etcdctl/ctlv3/command/check.go, pkg/report/report.go.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cmd/etcdctl/session.h"

namespace quoin::ctl {

struct LoadResult {
  double per_second = 0;                  // of those that were answered
  double slowest_s = 0, deviation_s = 0;  // of their latencies; deviation is no number if there are none
  std::map<std::string, int> errors;      // with how often each came
};

struct Load {
  std::string prefix;
  size_t key_bytes = 0, value_bytes = 0;
  int64_t count_max = 0;              // puts; 0: until the time is over
  double per_second_max = 0;          // 0: as fast as they are answered
  int64_t seconds_max = 0;            // 0: until they are all done
  std::function<bool()> interrupted;  // no more puts are begun
  std::function<void()> on_answer;    // from the clients' threads
};

using Clients = std::vector<std::unique_ptr<Client>>;
Or<Clients> connect_many(Session& session, size_t count);

LoadResult put_all(const Clients& clients, const Load& load);

}  // namespace quoin::ctl

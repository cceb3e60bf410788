// The plain HTTP side of a member that is not the JSON gateway (gateway/gateway.h): /health, /livez, /readyz, /metrics,
// /version, the Host check and the CORS headers around all of them (spec operations 3.3, 3.4, 5.1).
//
// Pure: requests come in as structs, answers go out through a callback; sockets and protocol belong to the
// caller.
//
// Threads: serve() may be called on any thread. HealthSource is called on the caller's thread; the reply runs
// there before serve() returns, or later on whatever thread completes the linearizable read. Lifetime: all
// references given to the constructor outlive the object, and the object outlives every pending reply. Views
// in a Request live until serve() returns; the Endpoints copies what it keeps.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/metrics.h"
#include "base/task.h"
#include "base/version.h"
#include "httpapi/health.h"
#include "httpapi/http.h"
#include "httpapi/metrics_text.h"
#include "httpapi/peer_pages.h"

namespace quoin::httpapi {

// Which listener a request came from decides what it may see.
enum class Surface : uint8_t {
  kClient,   // everything
  kMetrics,  // /metrics and health, no Host check, no CORS
  kPeer,     // /version, peer_pages.h (raft's own protocol is served before this one)
};

struct Options {
  std::vector<std::string> cors = {"*"};            // allowed origins, or "*"
  std::vector<std::string> host_whitelist = {"*"};  // allowed Host names, or "*"; empty allows all
  std::string etcd_version = std::string(kEtcdVersion);
  std::string quoin_version;
  std::vector<std::string> argv;  // for /debug/vars
  // Runs what takes longer than a loop may be held up (a scrape reads /proc, walks all metrics and
  // compresses) on a thread of its own; the reply is then called there. Empty: at once.
  std::function<void(Task)> background;
  // Go runtime and process figures of a scrape.
  std::function<ProcessStats()> process_stats;
  // Value of "raft.status" in /debug/vars as JSON text, told on any thread; empty function: null.
  std::function<void(absl::AnyInvocable<void(std::string)> done)> raft_status;
};

class Endpoints {
 public:
  Endpoints(HealthSource& source, metrics::Registry& registry, log::Logger& logger, Options options);

  // Answers any request of that surface but those of the JSON gateway.
  void serve(Surface surface, bool tls, const Request& request, Reply reply);

  // What stands before the gateway as before all else on client URLs: the old path, the Host check, CORS, OPTIONS.
  struct Admitted {
    std::string path;                // decoded
    Headers cors;                    // of every answer
    std::optional<Response> answer;  // instead of serving it; complete
  };
  Admitted admit(bool tls, const Request& request) const;
  // Whether a path, as sent, is below /v3/ or /v3beta/, or /v3 itself, which leads to /v3/.
  static bool below_v3(std::string_view path);

  // Before the first request; without it the peer surface has /version alone.
  void set_peer_source(PeerSource& source) { peer_pages_.emplace(source, logger_, options_.background); }

 private:
  void route(Surface surface, const Request& request, Reply reply);
  void in_background(Task task) const;
  void serve_metrics(const Request& request, Reply reply);
  Response metrics_page(bool proto, std::string_view encoding);
  Response version_page(const Request& request) const;
  Response debug_vars(const std::string& raft) const;
  Headers cors_fields(const Request& request) const;
  std::optional<Response> misdirected(const Request& request) const;
  bool host_allowed(std::string_view host) const;

  HealthSource& source_;
  metrics::Registry& registry_;
  log::Logger& logger_;
  const Options options_;
  std::optional<PeerPages> peer_pages_;
  Health health_;
  metrics::Counter& scrapes_ok_;
  metrics::Gauge& scrapes_in_flight_;
};

}  // namespace quoin::httpapi

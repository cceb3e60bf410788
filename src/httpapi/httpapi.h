// The plain HTTP side of a member that is not the JSON gateway: /health, /livez, /readyz, /metrics, /version,
// the Host check and the CORS headers around them (spec operations 3.3, 3.4, 5.1).
//
// Pure: requests come in as structs, answers go out through a callback; sockets and protocol are the
// caller's.
//
// Threads: serve() may be called on any thread. HealthSource is called on the caller's thread; the reply runs
// there before serve() returns, or later on whatever thread completes the linearizable read. Lifetime: all
// references given to the constructor outlive the object, and the object outlives every pending reply. Views
// in a Request live until serve() returns; the Endpoints copies what it keeps.
#pragma once
#include <absl/functional/any_invocable.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/metrics.h"
#include "base/result.h"
#include "httpapi/metrics_text.h"

namespace quoin::httpapi {

using Headers = std::vector<std::pair<std::string, std::string>>;

struct Request {
  std::string_view method;
  std::string_view path;   // without the query, percent-decoding not done
  std::string_view query;  // without '?'
  // Names in any case.
  std::vector<std::pair<std::string_view, std::string_view>> headers;
  // Value of the first header of that name (ASCII case ignored), or empty.
  std::string_view header(std::string_view name) const;
};

struct Response {
  int status = 200;
  Headers headers;  // without Date and Content-Length, which the protocol layer adds
  std::string body;
};
using Reply = absl::AnyInvocable<void(Response)>;

enum class AlarmType : uint8_t { kNospace, kCorrupt, kUnknown };

// What the endpoints ask the member.
class HealthSource {
 public:
  virtual ~HealthSource() = default;
  // Active alarms of all members, in the order of the alarm store (member id, type).
  virtual std::vector<AlarmType> alarms() = 0;
  // A leader is known.
  virtual bool has_leader() = 0;
  virtual bool is_learner() = 0;
  // Reads one key as root (limit 1, keys only) within the request timeout and reports success or the error
  // clients would see ("etcdserver: request timed out"). `done` is called exactly once, on any thread.
  virtual void probe_read(bool serializable, absl::AnyInvocable<void(Result<>)> done) = 0;
  // "3.6.0"; empty while undecided.
  virtual std::string cluster_version() = 0;
  // "3.6.0"; empty while unknown.
  virtual std::string storage_version() = 0;
};

// Which listener a request came from decides what it may see.
enum class Surface : uint8_t {
  kClient,   // everything
  kMetrics,  // /metrics and health, no Host check, no CORS
  kPeer,     // /version alone (the peer protocol is served before this one)
};

struct Options {
  std::vector<std::string> cors = {"*"};            // allowed origins, or "*"
  std::vector<std::string> host_whitelist = {"*"};  // allowed Host names, or "*"; empty allows all
  std::string etcd_version = "3.6.14";
  std::string quoin_version;
  std::vector<std::string> argv;  // for /debug/vars
  // Go runtime and process figures of a scrape.
  std::function<ProcessStats()> process_stats;
  // Value of "raft.status" in /debug/vars as JSON text; empty function: null.
  std::function<std::string()> raft_status;
};

class Endpoints {
 public:
  Endpoints(HealthSource& source, metrics::Registry& registry, log::Logger& logger, Options options);

  // Answers any request of that surface that `next` does not take; see `set_next`.
  void serve(Surface surface, bool tls, const Request& request, Reply reply);

  // Handler for paths below /v3/ on client URLs (the JSON gateway), called after Host check, CORS and path
  // rewriting. Returns by calling the reply; CORS headers are added to its answer. Without one: 404.
  using Next = std::function<void(const Request&, Reply)>;
  void set_next(Next next) { next_ = std::move(next); }

 private:
  struct Probes;  // shared state of one /livez or /readyz call
  void route(Surface surface, const Request& request, Reply reply);
  void serve_health(const Request& request, Reply reply);
  void serve_checks(bool ready, std::string_view only, const Request& request, Reply reply);
  void serve_metrics(const Request& request, Reply reply);
  Response version() const;
  Response debug_vars() const;

  HealthSource& source_;
  metrics::Registry& registry_;
  log::Logger& logger_;
  Options options_;
  Next next_;
  metrics::Counter& health_success_;
  metrics::Counter& health_failures_;
  metrics::Gauge& scrapes_in_flight_;
  metrics::Counter& scrapes_ok_;
};

}  // namespace quoin::httpapi

// /health, /livez and /readyz: what a load balancer or kubelet asks (spec operations 3.4).
//
// Threads: get_*() may be called on any thread; the reply runs on the caller's thread or on whatever thread
// completes the last read.
#pragma once
#include <absl/functional/any_invocable.h>

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/metrics.h"
#include "base/result.h"
#include "httpapi/http.h"

namespace quoin::httpapi {

enum class AlarmType : uint8_t { kNospace, kCorrupt, kUnknown };
struct Alarm {
  uint64_t member_id;
  AlarmType type;
};

// What the endpoints ask the member.
class HealthSource {
 public:
  virtual ~HealthSource() = default;
  // Active alarms of all members, in the order of the alarm store (member id, type).
  virtual std::vector<Alarm> alarms() = 0;
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

class Health {
 public:
  Health(HealthSource& source, metrics::Registry& registry, log::Logger& logger);

  // True if the path is one of these endpoints; then the reply is or will be called.
  bool serve(const Request& request, Reply& reply);

 private:
  enum class Check : uint8_t { kDataCorruption, kSerializableRead, kLinearizableRead, kNonLearner };
  struct Run;  // one /livez or /readyz call
  void serve_health(const Request& request, Reply reply);
  void finish_health(const std::string& reason, Reply reply);
  void serve_checks(std::string type, std::string path, std::vector<Check> checks, const Request& request,
                    Reply reply);
  void finish_checks(Run& run);
  void count(const std::string& type, std::string_view name, bool ok);
  static std::string_view name_of(Check check);

  HealthSource& source_;
  metrics::Registry& registry_;
  log::Logger& logger_;
  metrics::Counter& success_;
  metrics::Counter& failures_;
  std::mutex mutex_;  // the two maps: series appear with their first event
  std::map<std::pair<std::string, std::string>, metrics::Gauge*> last_;
  std::map<std::tuple<std::string, std::string, std::string>, metrics::Counter*> runs_;
};

}  // namespace quoin::httpapi

// Metric cells of the connections to the other members. A series begins with the first event it counts, as in etcd.
//
// Threads: the peer loop; the gauges of bytes on any thread. Lifetime: the registry outlives it.
// Source: spec operations 5.4, raft-and-peers 23.
#pragma once
#include <absl/container/flat_hash_map.h>

#include <map>
#include <string>
#include <string_view>

#include "base/ids.h"
#include "base/metrics.h"

namespace quoin::peer {

// The cells of one family, by the value of its one label. Values come from outside: beyond kValuesMax of them, all
// others share one cell.
template <class Cell>
class Series {
 public:
  static constexpr size_t kValuesMax = 256;
  Series(metrics::Registry& registry, std::string_view name, std::string_view help, std::string_view label,
         std::vector<double> buckets = {})
      : registry_(registry), name_(name), help_(help), label_(label), buckets_(std::move(buckets)) {}

  Cell& of(MemberId id);
  Cell& of(std::string_view value);

 private:
  Cell& make(std::string_view value);

  metrics::Registry& registry_;
  const std::string name_, help_, label_;
  const std::vector<double> buckets_;
  absl::flat_hash_map<uint64_t, Cell*> by_id_;
  std::map<std::string, Cell*, std::less<>> by_text_;
};

class Probe {
 public:
  explicit Probe(metrics::Registry& registry);

  Series<metrics::Counter> sent_bytes, received_bytes, sent_failures, received_failures;
  Series<metrics::Counter> snapshot_sent, snapshot_send_failures, snapshot_received,
      snapshot_receive_failures;
  Series<metrics::Gauge> snapshots_sending, snapshots_receiving;
  Series<metrics::Histogram> snapshot_send_seconds, snapshot_receive_seconds, round_trip_seconds;
  // Of databases that were received; snap registers the same families.
  metrics::Histogram &db_fsync_seconds, &db_save_seconds;

  void became_active(MemberId self, MemberId peer);
  void became_inactive(MemberId self, MemberId peer);
  // Removed while it was active: that is no disconnect.
  void active_gone(MemberId self, MemberId peer);

  // Quoin's own: bytes in the queues between raft and the sockets.
  metrics::Gauge& inbox_bytes;          // sent by raft, not taken over by the loop
  metrics::Gauge& send_bytes;           // waiting for a stream's socket or a POST
  metrics::Gauge& received_bytes_held;  // received by streams, not taken by raft
  metrics::Gauge& posted_bytes_held;    // the same by POSTs
  metrics::Counter& proposals_dropped;  // received, no room

 private:
  metrics::Registry& registry_;
  struct Activity {
    metrics::Gauge* active = nullptr;
    metrics::Counter* disconnected = nullptr;
  };
  Activity& activity(MemberId self, MemberId peer);
  absl::flat_hash_map<uint64_t, Activity> activity_;
};

}  // namespace quoin::peer

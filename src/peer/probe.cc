#include "peer/probe.h"

#include "base/coding.h"

namespace quoin::peer {

template <class Cell>
Cell& Series<Cell>::of(MemberId id) {
  Cell*& cell = by_id_[id.v];
  if (cell == nullptr) cell = &of(hex(id.v));
  Cell& found = *cell;
  // Ids that share a cell are not remembered one by one.
  if (by_id_.size() > 2 * kValuesMax) by_id_.clear();
  return found;
}

template <class Cell>
Cell& Series<Cell>::of(std::string_view value) {
  if (const auto it = by_text_.find(value); it != by_text_.end()) return *it->second;
  if (by_text_.size() >= kValuesMax && value != "other") return of("other");
  return make(value);
}

template <class Cell>
Cell& Series<Cell>::make(std::string_view value) {
  const metrics::Labels labels{{label_, std::string(value)}};
  Cell* cell;
  if constexpr (std::is_same_v<Cell, metrics::Counter>) {
    cell = &registry_.counter(name_, help_, labels);
  } else if constexpr (std::is_same_v<Cell, metrics::Gauge>) {
    cell = &registry_.gauge(name_, help_, labels);
  } else {
    cell = &registry_.histogram(name_, help_, buckets_, labels);
  }
  by_text_.emplace(value, cell);
  return *cell;
}

template class Series<metrics::Counter>;
template class Series<metrics::Gauge>;
template class Series<metrics::Histogram>;

Probe::Probe(metrics::Registry& r)
    : sent_bytes(r, "etcd_network_peer_sent_bytes_total", "The total number of bytes sent to peers.", "To"),
      received_bytes(r, "etcd_network_peer_received_bytes_total",
                     "The total number of bytes received from peers.", "From"),
      sent_failures(r, "etcd_network_peer_sent_failures_total",
                    "The total number of send failures from peers.", "To"),
      received_failures(r, "etcd_network_peer_received_failures_total",
                        "The total number of receive failures from peers.", "From"),
      snapshot_sent(r, "etcd_network_snapshot_send_success", "Total number of successful snapshot sends",
                    "To"),
      snapshot_send_failures(r, "etcd_network_snapshot_send_failures",
                             "Total number of snapshot send failures", "To"),
      snapshot_received(r, "etcd_network_snapshot_receive_success",
                        "Total number of successful snapshot receives", "From"),
      snapshot_receive_failures(r, "etcd_network_snapshot_receive_failures",
                                "Total number of snapshot receive failures", "From"),
      snapshots_sending(r, "etcd_network_snapshot_send_inflights_total",
                        "Total number of inflight snapshot sends", "To"),
      snapshots_receiving(r, "etcd_network_snapshot_receive_inflights_total",
                          "Total number of inflight snapshot receives", "From"),
      snapshot_send_seconds(r, "etcd_network_snapshot_send_total_duration_seconds",
                            "Total latency distributions of v3 snapshot sends", "To",
                            metrics::exponential_buckets(0.1, 2, 10)),
      snapshot_receive_seconds(r, "etcd_network_snapshot_receive_total_duration_seconds",
                               "Total latency distributions of v3 snapshot receives", "From",
                               metrics::exponential_buckets(0.1, 2, 10)),
      round_trip_seconds(r, "etcd_network_peer_round_trip_time_seconds",
                         "Round-Trip-Time histogram between peers", "To",
                         metrics::exponential_buckets(0.0001, 2, 16)),
      db_fsync_seconds(r.histogram("etcd_snap_db_fsync_duration_seconds",
                                   "The latency distributions of fsyncing .snap.db file",
                                   metrics::exponential_buckets(0.001, 2, 14))),
      db_save_seconds(r.histogram("etcd_snap_db_save_total_duration_seconds",
                                  "The total latency distributions of v3 snapshot save",
                                  metrics::exponential_buckets(0.1, 2, 10))),
      inbox_bytes(
          r.gauge("quoin_peer_inbox_bytes", "Bytes of messages that the peer loop has not taken over yet.")),
      send_bytes(r.gauge("quoin_peer_send_queue_bytes", "Bytes of messages that wait to be sent to peers.")),
      received_bytes_held(r.gauge("quoin_peer_received_bytes",
                                  "Bytes received by peer streams and not taken by consensus yet.")),
      posted_bytes_held(
          r.gauge("quoin_peer_posted_bytes", "Bytes posted by peers and not taken by consensus yet.")),
      proposals_dropped(r.counter("quoin_peer_proposals_dropped_total",
                                  "Forwarded proposals that were dropped since too many waited.")),
      registry_(r) {}

Probe::Activity& Probe::activity(MemberId self, MemberId peer) {
  Activity& a = activity_[peer.v];
  if (a.active == nullptr) {
    a.active = &registry_.gauge("etcd_network_active_peers", "The current number of active peer connections.",
                                {{"Local", hex(self.v)}, {"Remote", hex(peer.v)}});
  }
  return a;
}

void Probe::became_active(MemberId self, MemberId peer) {
  activity(self, peer).active->add(1);
}

void Probe::became_inactive(MemberId self, MemberId peer) {
  Activity& a = activity(self, peer);
  a.active->add(-1);
  if (a.disconnected == nullptr) {
    a.disconnected =
        &registry_.counter("etcd_network_disconnected_peers_total", "The total number of disconnected peers.",
                           {{"Local", hex(self.v)}, {"Remote", hex(peer.v)}});
  }
  a.disconnected->inc();
}

void Probe::active_gone(MemberId self, MemberId peer) {
  activity(self, peer).active->add(-1);
}

}  // namespace quoin::peer

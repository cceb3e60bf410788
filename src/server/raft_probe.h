// The metric cells of the raft stage.
#pragma once
#include "base/metrics.h"

namespace quoin::server {

struct RaftProbe {
  explicit RaftProbe(metrics::Registry& r)
      : has_leader(
            r.gauge("etcd_server_has_leader", "Whether or not a leader exists. 1 is existence, 0 is not.")),
        is_leader(r.gauge("etcd_server_is_leader",
                          "Whether or not this member is a leader. 1 if is, 0 otherwise.")),
        leader_changes(
            r.counter("etcd_server_leader_changes_seen_total", "The number of leader changes seen.")),
        committed(r.gauge("etcd_server_proposals_committed_total",
                          "The total number of consensus proposals committed.")),
        failed(r.counter("etcd_server_proposals_failed_total", "The total number of failed proposals seen.")),
        heartbeat_failures(r.counter(
            "etcd_server_heartbeat_send_failures_total",
            "The total number of leader heartbeat send failures (likely overloaded from slow disk).")),
        slow_reads(
            r.counter("etcd_server_slow_read_indexes_total",
                      "The total number of pending read indexes not in sync with leader's or timed out read "
                      "index requests.")),
        failed_reads(r.counter("etcd_server_read_indexes_failed_total",
                               "The total number of failed read indexes seen.")),
        refused(r.counter("quoin_peer_messages_refused_total",
                          "Messages of peers that no member may send, or not to this one.")),
        log_cut_while_sending(r.counter(
            "quoin_raft_log_cut_while_sending_total",
            "Times that the log in memory was cut at its bound while a snapshot was on its way to a "
            "member, which may need another one now.")) {}
  metrics::Gauge &has_leader, &is_leader;
  metrics::Counter& leader_changes;
  metrics::Gauge& committed;
  metrics::Counter &failed, &heartbeat_failures, &slow_reads, &failed_reads, &refused, &log_cut_while_sending;
};

}  // namespace quoin::server

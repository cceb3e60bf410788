// The watch table's metric cells. Names and types: spec operations 5.4.
#pragma once
#include "base/metrics.h"

namespace quoin::mvcc {

struct WatchProbe {
  explicit WatchProbe(metrics::Registry& r)
      : streams(r.gauge("etcd_debugging_mvcc_watch_stream_total", "Open watch streams.")),
        watchers(r.gauge("etcd_debugging_mvcc_watcher_total", "Watchers.")),
        slow_watchers(r.gauge("etcd_debugging_mvcc_slow_watcher_total", "Watchers that are catching up.")),
        events(r.counter("etcd_debugging_mvcc_events_total",
                         "Events handed to watch streams, replayed ones included.")) {}

  metrics::Gauge& streams;
  metrics::Gauge& watchers;
  metrics::Gauge& slow_watchers;
  metrics::Counter& events;
};

}  // namespace quoin::mvcc

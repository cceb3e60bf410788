// The proxy's pages: /metrics of a member, /health of the members, /proxy/metrics and /proxy/health of the
// proxy itself. Anything else is not found.
//
// Until ready() requests wait, as on a port that is not served yet.
//
// Threads: the proxy's loop. Bounds: kWaitingMax requests at a time; more are closed without a word.
// Source: etcd's server/proxy/grpcproxy/{health,metrics}.go, etcdmain/grpc_proxy.go.
#pragma once
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "client/watches.h"
#include "cmd/grpcproxy/context.h"
#include "cmd/grpcproxy/page_fetch.h"
#include "http1/door.h"

namespace quoin::cmd::grpcproxy {

class Pages final : public http1::StreamDoor {
 public:
  static constexpr size_t kWaitingMax = 1024;
  struct Options {
    client::Endpoint metrics_of;  // the member whose /metrics is shown
    const client::Tls& tls;       // towards members
    // The page of the proxy's own metrics, made elsewhere; `done` runs on the loop.
    std::function<void(absl::AnyInvocable<void(std::string)> done)> own_metrics;
    std::string own_metrics_type;
  };
  Pages(Context& context, Options options, metrics::Registry& registry);
  ~Pages() override;
  // `own`: a client of the proxy itself; null: it has no address.
  void ready(client::Client* own);

  bool serves(std::string_view) const override { return true; }
  void on_request(std::unique_ptr<http1::StreamExchange> exchange) override;

 private:
  class Asked;
  void serve(Asked& asked);
  void health(Asked& asked, client::Client* client, bool proxy);
  void finish(Asked& asked, http1::Response response);
  void healthy(Asked& asked, const std::string& reason);

  Context& context_;
  const Options options_;
  metrics::Counter& success_;
  metrics::Counter& failures_;
  std::list<std::unique_ptr<Asked>> asked_;
  uint64_t last_number_ = 0;
  bool ready_ = false;
  client::Client* own_ = nullptr;
  std::unique_ptr<client::Watches> own_watches_;
};

}  // namespace quoin::cmd::grpcproxy

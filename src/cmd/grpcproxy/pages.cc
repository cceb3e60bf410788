#include "cmd/grpcproxy/pages.h"

#include "base/go_text.h"
#include "client/methods.h"
#include "cmd/grpcproxy/forward.h"
#include "cmd/grpcproxy/key_prefix.h"
#include "httpapi/path.h"
#include "wire/message.h"

namespace quoin::cmd::grpcproxy {

namespace pb = wire::etcdserverpb;

namespace {

http1::Response text(unsigned status, std::string body) {
  http1::Response r{status, {{"Content-Type", "text/plain; charset=utf-8"}}, std::move(body)};
  // As Go's http.Error.
  if (status != 200) r.fields.emplace_back("X-Content-Type-Options", "nosniff"), r.body += '\n';
  return r;
}

}  // namespace

// A request under way.
class Pages::Asked final : private client::Call, private client::Watch {
 public:
  Asked(Pages& p, std::unique_ptr<http1::StreamExchange> e) : exchange(std::move(e)), pages_(p) {}
  std::unique_ptr<http1::StreamExchange> exchange;
  std::list<std::unique_ptr<Asked>>::iterator place;
  std::unique_ptr<PageFetch> fetch;
  bool over = false;
  uint64_t number = 0;

  // One key is read, within a second; of the proxy itself, a watch is created, too, within three.
  void ask(client::Client& client, const std::string& key, bool watch) {
    watch_ = watch;
    pb::RangeRequest request;
    request.key = key;
    client.unary(*this, client::methods::kRange, wire::encode_string(request),
                 {.deadline = pages_.context_.env.clock.monotonic() + io::kSecond});
  }

 private:
  void on_message(std::string_view) override {}
  void on_end(GrpcStatus status, std::string_view text) override {
    if (status == GrpcStatus::kOk || text == error_info(Code::kPermissionDenied).text) {
      if (!watch_) return pages_.healthy(*this, "");
      timer_ = pages_.context_.env.timers.schedule(3 * io::kSecond, pages_.context_.env.loop,
                                                   [this] { pages_.healthy(*this, "WATCH TIMEOUT"); });
      return pages_.own_watches_->start(*this, {.key = "a"});
    }
    pages_.healthy(*this, fmt::format("GET ERROR:{}", go_error_text(status, text)));
  }
  void on_response(const pb::WatchResponse&, std::string_view) override { pages_.healthy(*this, ""); }
  void on_lost(GrpcStatus, std::string_view) override { pages_.healthy(*this, ""); }

  Pages& pages_;
  bool watch_ = false;
  std::unique_ptr<io::Timer> timer_;
};

Pages::Pages(Context& context, Options options, metrics::Registry& registry)
    : context_(context),
      options_(std::move(options)),
      success_(
          registry.counter("etcd_server_health_success", "The total number of successful health checks")),
      failures_(registry.counter("etcd_server_health_failures", "The total number of failed health checks")) {
}
Pages::~Pages() = default;

void Pages::on_request(std::unique_ptr<http1::StreamExchange> exchange) {
  if (asked_.size() >= kWaitingMax) return;
  asked_.push_back(std::make_unique<Asked>(*this, std::move(exchange)));
  Asked& asked = *asked_.back();
  asked.place = std::prev(asked_.end());
  asked.number = ++last_number_;
  asked.exchange->when_aborted([this, &asked] {
    asked.exchange.reset();
    finish(asked, {});
  });
  if (ready_) serve(asked);
}

void Pages::ready(client::Client* own) {
  ready_ = true;
  own_ = own;
  if (own) own_watches_ = std::make_unique<client::Watches>(*own, context_.env, client::Metadata());
  for (auto& a : asked_) serve(*a);
}

// The request goes in a task of its own: this may be within a callback of what it owns.
void Pages::finish(Asked& asked, http1::Response response) {
  if (std::exchange(asked.over, true)) return;
  if (asked.exchange) asked.exchange->respond(response);
  context_.env.loop.post([this, place = asked.place] { asked_.erase(place); });
}

void Pages::serve(Asked& asked) {
  if (asked.over) return;
  const http1::Request& request = asked.exchange->request();
  if (const auto location = httpapi::clean_location(request.path, request.query)) {
    httpapi::Response r = httpapi::redirect({.method = request.method, .path = request.path}, *location);
    return finish(asked, {static_cast<unsigned>(r.status), std::move(r.headers), std::move(r.body)});
  }
  const std::string path = httpapi::decoded_path(request.path);
  if (path == "/health" || path == "/proxy/health") {
    if (request.method != "GET") {
      LOG(context_.log, kWarn, "/health error", {"status-code", 405});
      http1::Response r = text(405, "Method Not Allowed");
      r.fields.emplace_back("Allow", "GET");
      return finish(asked, std::move(r));
    }
    if (path == "/health") return asked.ask(context_.client, KeyPrefix(context_.prefix).key("a"), false);
    if (own_ == nullptr) return healthy(asked, "no connection to proxy");
    return asked.ask(*own_, "a", true);
  }
  if (path == "/proxy/metrics") {
    // The request may be gone when the page is there.
    options_.own_metrics([this, number = asked.number](std::string body) {
      for (auto& a : asked_) {
        if (a->number != number) continue;
        return finish(*a, {200, {{"Content-Type", options_.own_metrics_type}}, std::move(body)});
      }
    });
    return;
  }
  if (path != "/metrics") return finish(asked, text(404, "404 page not found"));
  const bool tls =
      options_.metrics_of.security == client::Endpoint::Security::kTls ||
      (options_.metrics_of.security == client::Endpoint::Security::kAsClient && asked.exchange->tls());
  asked.fetch = std::make_unique<PageFetch>(
      context_.env, options_.metrics_of, tls, options_.tls, "/metrics",
      [this, &asked](Result<std::string> page) {
        if (!page) return finish(asked, text(500, "Internal server error"));
        finish(asked, {200, {{"Content-Type", "text/plain; version=0.0.4"}}, std::move(*page)});
      });
}

void Pages::healthy(Asked& asked, const std::string& reason) {
  if (asked.over) return;
  std::string body = fmt::format("{{\"health\":\"{}\",\"reason\":{}}}", reason.empty() ? "true" : "false",
                                 go_json_string(reason));
  (reason.empty() ? success_ : failures_).inc();
  if (reason.empty()) return finish(asked, text(200, std::move(body)));
  LOG(context_.log, kWarn, "/health error", {"output", body}, {"status-code", 503});
  finish(asked, text(503, std::move(body)));
}

}  // namespace quoin::cmd::grpcproxy

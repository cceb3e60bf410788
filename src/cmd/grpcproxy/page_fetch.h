// One GET of a member's page, for /metrics.
//
// Threads: the proxy's loop. Bounds: kBodyMax of an answer, kTimeNs in all; beyond, it has failed.
#pragma once
#include <absl/functional/any_invocable.h>

#include <memory>
#include <string>

#include "client/endpoint.h"
#include "client/environment.h"
#include "http1/client_connection.h"

namespace quoin::cmd::grpcproxy {

class PageFetch final : private io::StreamHandler, private http1::ResponseHandler {
 public:
  static constexpr size_t kBodyMax = 64 << 20;
  static constexpr int64_t kTimeNs = 30 * io::kSecond;
  // `done` runs once, from a callback of the loop; the fetch may be dropped in a task behind it.
  using Done = absl::AnyInvocable<void(Result<std::string>)>;
  PageFetch(const client::Environment& env, const client::Endpoint& endpoint, bool tls,
            const client::Tls& credentials, const std::string& path, Done done);
  ~PageFetch() override;

 private:
  void connected(Result<std::unique_ptr<io::Stream>> result);
  void finish(Result<std::string> result);
  void flush();
  void on_data(std::string_view bytes) override;
  void on_eof() override;
  void on_drained() override;
  void on_closed(Result<> error) override;
  void on_head(const http1::ResponseHead&) override {}
  void on_body(std::string_view bytes) override;
  void on_complete() override { finish(std::move(body_)); }
  void on_error(Error error) override { finish(std::move(error)); }

  const client::Environment env_;
  const client::Endpoint endpoint_;
  const bool tls_;
  const client::Tls& credentials_;
  Done done_;
  http1::ClientConnection http_;
  std::unique_ptr<io::Connecting> connecting_;
  std::unique_ptr<io::Stream> stream_;
  std::unique_ptr<io::Timer> timer_;
  std::string body_;
};

}  // namespace quoin::cmd::grpcproxy

// One accepted connection whose requests all go to a door, as the front serves them, for tests of this module, which
// may not include the front. 404 for what the door does not serve.
#pragma once
#include <memory>
#include <string_view>

#include "http1/door.h"
#include "http1/server_connection.h"
#include "io/stream.h"

namespace quoin::peer {

class DoorConnection final : public io::StreamHandler, private http1::RequestHandler {
 public:
  DoorConnection(http1::Door& door, std::unique_ptr<io::Stream> stream);
  ~DoorConnection() override;
  bool over() const { return over_; }

  void on_data(std::string_view bytes) override;
  void on_eof() override;
  void on_drained() override;
  void on_closed(Result<> error) override;

 private:
  class DoorExchange;
  bool on_head(const http1::Request& head) override;
  void on_request(const http1::Request&) override { respond({404, {}, "404 page not found\n"}); }
  void on_body(std::string_view piece) override;
  void on_body_end() override;
  void on_body_failed(Error error) override;
  void on_aborted() override;
  void respond(const http1::Response& response);
  void flush();

  http1::Door& door_;
  std::unique_ptr<io::Stream> stream_;
  http1::ServerConnection connection_;
  DoorExchange* exchange_ = nullptr;
  bool paused_ = false, over_ = false;
  std::shared_ptr<DoorConnection*> self_ = std::make_shared<DoorConnection*>(this);
};

}  // namespace quoin::peer

#include "peer/door_connection_test.h"

#include <utility>

namespace quoin::peer {

class DoorConnection::DoorExchange final : public http1::Exchange {
 public:
  DoorExchange(DoorConnection& c, const http1::Request& request)
      : connection_(c.self_),
        request_(request),
        address_(c.stream_->peer_address()),
        loop_(c.stream_->loop()) {}
  ~DoorExchange() override {
    if (!open()) return;
    (*connection_)->exchange_ = nullptr;
    (*connection_)->stream_->close();
  }
  const http1::Request& request() const override { return request_; }
  const std::string& peer_address() const override { return address_; }
  io::Loop& loop() override { return loop_; }
  void when_aborted(Task task) override { aborted = std::move(task); }
  void read_body(http1::BodyReader& r, uint64_t bytes_max) override {
    if (!open()) return;
    reader = &r;
    const auto c = connection_;
    (*c)->connection_.read_body(bytes_max);
    if (*c != nullptr) (*c)->flush();
  }
  void consumed(size_t bytes) override {
    if (!open()) return;
    (*connection_)->connection_.consumed(bytes);
    (*connection_)->flush();
  }
  void respond(const http1::Response& response) override {
    if (!open()) return;
    (*connection_)->exchange_ = nullptr;
    (*connection_)->respond(response);
  }
  Taken take_over(unsigned status, const std::vector<std::pair<std::string, std::string>>& fields) override {
    if (!open()) return {};
    DoorConnection& c = **connection_;
    c.exchange_ = nullptr;
    c.connection_.start(status, fields, "");
    c.stream_->write(c.connection_.take_output());
    const bool chunked = c.connection_.take_over();
    c.stream_->pause_reading();
    c.stream_->set_handler(nullptr);
    c.over_ = true;
    *c.self_ = nullptr;
    return {std::move(c.stream_), chunked};
  }

  http1::BodyReader* reader = nullptr;
  Task aborted;

 private:
  bool open() const { return *connection_ != nullptr && (*connection_)->exchange_ == this; }
  const std::shared_ptr<DoorConnection*> connection_;
  const http1::Request& request_;
  const std::string address_;
  io::Loop& loop_;
};

DoorConnection::DoorConnection(http1::Door& door, std::unique_ptr<io::Stream> stream)
    : door_(door), stream_(std::move(stream)), connection_(*this, http1::Limits{}) {
  stream_->set_handler(this);
}
DoorConnection::~DoorConnection() {
  *self_ = nullptr;
}
void DoorConnection::on_data(std::string_view bytes) {
  connection_.feed(bytes);
  flush();
}
void DoorConnection::on_eof() {
  connection_.feed_eof();
  if (stream_ == nullptr) return;
  flush();
  if (!connection_.request_in_progress()) stream_->close();
}
void DoorConnection::on_drained() {
  connection_.output_written();
  flush();
}
void DoorConnection::on_closed(Result<>) {
  over_ = true;
  connection_.abort();
  *self_ = nullptr;
}
bool DoorConnection::on_head(const http1::Request& head) {
  if (!door_.serves(head.path)) return false;
  auto exchange = std::make_unique<DoorExchange>(*this, head);
  exchange_ = exchange.get();
  door_.on_request(std::move(exchange));
  return true;
}
void DoorConnection::on_body(std::string_view piece) {
  if (exchange_ != nullptr) exchange_->reader->on_body(piece);
}
void DoorConnection::on_body_end() {
  if (exchange_ != nullptr) exchange_->reader->on_body_end();
}
void DoorConnection::on_body_failed(Error error) {
  if (exchange_ != nullptr) exchange_->reader->on_body_failed(std::move(error));
}
void DoorConnection::on_aborted() {
  if (exchange_ == nullptr) return;
  if (Task told = std::exchange(std::exchange(exchange_, nullptr)->aborted, nullptr)) told();
}
void DoorConnection::respond(const http1::Response& response) {
  connection_.respond(response, "");
  flush();
}
void DoorConnection::flush() {
  if (stream_ == nullptr || over_) return;
  if (connection_.has_output()) {
    stream_->write(connection_.take_output());
  } else if (connection_.closing() && stream_->queued_bytes() == 0) {
    return stream_->close();
  }
  const bool pause = !connection_.reading();
  if (pause != std::exchange(paused_, pause)) pause ? stream_->pause_reading() : stream_->resume_reading();
}

}  // namespace quoin::peer

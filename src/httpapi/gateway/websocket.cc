#include "httpapi/gateway/websocket.h"

#include <algorithm>
#include <utility>

#include "http1/fields.h"
#include "httpapi/gateway/websocket_frames.h"

namespace quoin::httpapi::gateway {
namespace {

std::string_view trim(std::string_view s) {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t')) s.remove_suffix(1);
  return s;
}

// Whether one of the fields of that name lists the word.
bool lists(const http1::Request& request, std::string_view name, std::string_view word) {
  for (const auto& [key, value] : request.fields) {
    if (!equal_ignoring_case(key, name)) continue;
    std::string_view rest = value;
    while (!rest.empty()) {
      const size_t comma = rest.find(',');
      if (equal_ignoring_case(trim(rest.substr(0, comma)), word)) return true;
      rest.remove_prefix(comma == std::string_view::npos ? rest.size() : comma + 1);
    }
  }
  return false;
}

// "Bearer, abc" means the token abc. Browsers may leave the blank out.
std::string authorization(std::string_view protocols) {
  constexpr std::string_view kMark = "Bearer,";
  const size_t at = protocols.find(kMark);
  if (at == std::string_view::npos) return {};
  std::string_view token = protocols.substr(at + kMark.size());
  while (token.starts_with(' ')) token.remove_prefix(1);
  while (token.ends_with(' ')) token.remove_suffix(1);
  return fmt::format("Bearer {}", token);
}

std::optional<std::string_view> cookie(const http1::Request& request, std::string_view name) {
  for (const auto& [key, value] : request.fields) {
    if (!equal_ignoring_case(key, "Cookie")) continue;
    std::string_view rest = value;
    while (!rest.empty()) {
      const size_t end = rest.find(';');
      const std::string_view pair = trim(rest.substr(0, end));
      rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
      const size_t equals = pair.find('=');
      if (equals == std::string_view::npos || pair.substr(0, equals) != name) continue;
      std::string_view found = pair.substr(equals + 1);
      if (found.size() >= 2 && found.front() == '"' && found.back() == '"')
        found = found.substr(1, found.size() - 2);
      return found;
    }
  }
  return std::nullopt;
}

}  // namespace

class WebSocket final : public io::StreamHandler, private WebSocketReader::Handler {
 public:
  WebSocket(WebSockets& owner, std::unique_ptr<io::Stream> stream)
      : owner_(owner), stream_(std::move(stream)) {}

  class SocketExchange;

  // ---- io::StreamHandler ----
  void on_data(std::string_view bytes) override {
    if (parting_) return;
    reader_.feed(bytes, *this);
    regulate();
  }
  void on_eof() override { close(); }
  void on_drained() override {
    if (drained_) std::exchange(drained_, nullptr)();
  }
  void on_closed(Result<>) override;

  void close() {
    closing_ = true;
    stream_->close();
  }
  // What was written still leaves, then the connection closes.
  void part() {
    if (std::exchange(parting_, true)) return;
    stream_->shutdown();
    stream_->resume_reading();
    linger_ = owner_.timers_.schedule(WebSockets::kLingerNs, owner_.loop_, [this] { close(); });
  }
  void send(WebSocketOpcode opcode, std::string_view payload) {
    if (!closing_ && !parting_) stream_->write(websocket_frame(opcode, payload));
  }
  // A part of the answer: its whole lines leave.
  void write_lines(std::string_view text) {
    line_.append(text);
    size_t from = 0;
    for (size_t end; (end = line_.find('\n', from)) != std::string::npos; from = end + 1)
      send_line(from, end);
    line_.erase(0, from);
  }
  void end_lines() {
    send_line(0, line_.size());
    line_ = {};
  }
  void consumed(size_t bytes) {
    unconsumed_ -= std::min(bytes, unconsumed_);
    regulate();
  }

  WebSockets& owner_;
  std::unique_ptr<io::Stream> stream_;
  std::list<std::shared_ptr<WebSocket>>::iterator place_;
  SocketExchange* exchange_ = nullptr;
  http1::BodyReader* body_ = nullptr;
  Task aborted_, drained_;

 private:
  void send_line(size_t from, size_t end) {
    std::string_view line = std::string_view(line_).substr(from, end - from);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!line.empty()) send(WebSocketOpcode::kText, line);
  }
  void hand_on(std::string_view part) {
    if (body_ == nullptr) return;
    unconsumed_ += part.size();
    body_->on_body(part);
  }
  void regulate() {
    const bool pause = !parting_ && unconsumed_ >= WebSockets::kUnconsumedMax;
    if (closing_ || pause == paused_) return;
    paused_ = pause;
    pause ? stream_->pause_reading() : stream_->resume_reading();
  }
  // The client goes, or has to: its call is over.
  void give_up() {
    body_ = nullptr;
    if (exchange_ == nullptr) return;
    exchange_ = nullptr;
    if (aborted_) std::exchange(aborted_, nullptr)();
  }

  // ---- WebSocketReader::Handler ----
  void on_payload(std::string_view part) override { hand_on(part); }
  void on_message_end() override { hand_on("\n"); }
  void on_ping(std::string_view payload) override { send(WebSocketOpcode::kPong, payload); }
  void on_close(uint16_t code) override {
    send(WebSocketOpcode::kClose, websocket_close_payload(code, {}));
    give_up();
    part();
  }
  void on_violation(std::string_view text) override {
    send(WebSocketOpcode::kClose, websocket_close_payload(1002, text));
    give_up();
    part();
  }

  WebSocketReader reader_;
  std::string line_;
  size_t unconsumed_ = 0;
  bool paused_ = false, parting_ = false, closing_ = false;
  std::unique_ptr<io::Timer> linger_;
};

// The request that the socket became.
class WebSocket::SocketExchange final : public http1::StreamExchange {
 public:
  struct Facts {
    std::string target, path, query, authorization, origin, referer, peer_address, common_name;
    bool has_authorization = false, has_origin = false, has_referer = false, tls = false;
  };
  SocketExchange(std::shared_ptr<WebSocket> socket, Facts facts)
      : socket_(std::move(socket)), facts_(std::move(facts)) {
    request_.method = "POST";
    request_.target = facts_.target;
    request_.path = facts_.path;
    request_.query = facts_.query;
    if (facts_.has_authorization) request_.fields.emplace_back("Authorization", facts_.authorization);
    if (facts_.has_origin) request_.fields.emplace_back("Origin", facts_.origin);
    if (facts_.has_referer) request_.fields.emplace_back("Referer", facts_.referer);
    socket_->exchange_ = this;
  }
  ~SocketExchange() override {
    if (open()) end(/*cut=*/true);
  }
  const http1::Request& request() const override { return request_; }
  const std::string& peer_address() const override { return facts_.peer_address; }
  io::Loop& loop() override { return socket_->owner_.loop_; }
  void when_aborted(Task task) override { socket_->aborted_ = std::move(task); }
  void read_body(http1::BodyReader& reader, uint64_t) override {
    if (open()) socket_->body_ = &reader;
  }
  void consumed(size_t bytes) override {
    if (open()) socket_->consumed(bytes);
  }
  void respond(const http1::Response& response) override {
    if (!open()) return;
    socket_->write_lines(response.body);
    finish();
  }
  Taken take_over(unsigned, const Fields&) override { return {}; }
  bool tls() const override { return facts_.tls; }
  std::string_view tls_common_name() const override { return facts_.common_name; }
  void take_time() override {}
  void start(unsigned, const Fields&) override {}
  void write(std::string bytes) override {
    if (open()) socket_->write_lines(bytes);
  }
  void finish() override {
    if (!open()) return;
    socket_->end_lines();
    end(/*cut=*/false);
  }
  size_t unsent_bytes() const override { return open() ? socket_->stream_->queued_bytes() : 0; }
  void when_drained(Task task) override { socket_->drained_ = std::move(task); }

 private:
  bool open() const { return socket_->exchange_ == this; }
  void end(bool cut) {
    socket_->exchange_ = nullptr;
    socket_->body_ = nullptr;
    socket_->aborted_ = nullptr;
    socket_->drained_ = nullptr;
    cut ? socket_->close() : socket_->part();
  }

  const std::shared_ptr<WebSocket> socket_;
  const Facts facts_;
  http1::Request request_;
};

void WebSocket::on_closed(Result<>) {
  closing_ = true;
  linger_.reset();
  drained_ = nullptr;
  give_up();
  owner_.loop_.post([owners = owner_.self_, place = place_] {
    if (*owners != nullptr) (*owners)->sockets_.erase(place);
  });
}

WebSockets::~WebSockets() {
  *self_ = nullptr;
  // Calls keep exchanges, which keep sockets: nobody is told any more.
  for (auto& socket : sockets_) {
    socket->exchange_ = nullptr;
    socket->stream_->set_handler(nullptr);
  }
}

void WebSockets::close_all() {
  for (auto& socket : sockets_) socket->close();
}

bool WebSockets::asked(const http1::Request& request) {
  return request.version == 11 && lists(request, "Connection", "upgrade") &&
         lists(request, "Upgrade", "websocket");
}

std::unique_ptr<http1::StreamExchange> WebSockets::accept(std::unique_ptr<http1::StreamExchange> exchange,
                                                          const Headers& cors) {
  const http1::Request& request = exchange->request();
  const auto refuse = [&](unsigned status) {
    http1::Response r{status, cors, fmt::format("{}\n", http1::reason_phrase(status))};
    r.fields.emplace_back("Content-Type", "text/plain; charset=utf-8");
    r.fields.emplace_back("Sec-Websocket-Version", "13");
    r.fields.emplace_back("X-Content-Type-Options", "nosniff");
    exchange->respond(r);
    return nullptr;
  };
  if (request.method != "GET") return refuse(405);
  if (!lists(request, "Sec-WebSocket-Version", "13")) return refuse(400);
  const std::string_view key = request.field("Sec-WebSocket-Key").value_or("");
  if (key.empty()) return refuse(400);

  WebSocket::SocketExchange::Facts facts;
  facts.target = request.target;
  facts.path = request.path;
  facts.query = request.query;
  facts.peer_address = exchange->peer_address();
  facts.common_name = exchange->tls_common_name();
  facts.tls = exchange->tls();
  const std::string_view protocols = request.field("Sec-WebSocket-Protocol").value_or("");
  if (!protocols.empty()) {
    facts.authorization = authorization(protocols);
    facts.has_authorization = true;
  }
  if (const auto token = cookie(request, "token")) {
    facts.authorization = fmt::format("Bearer {}", *token);
    facts.has_authorization = true;
  }
  if (const auto origin = request.field("Origin")) {
    facts.origin = *origin;
    facts.has_origin = true;
  }
  if (const auto referer = request.field("Referer")) {
    facts.referer = *referer;
    facts.has_referer = true;
  }
  http1::StreamExchange::Fields fields = {{"Upgrade", "websocket"}, {"Connection", "Upgrade"}};
  fields.emplace_back("Sec-WebSocket-Accept", websocket_accept(key));
  if (protocols.starts_with("Bearer")) fields.emplace_back("Sec-WebSocket-Protocol", "Bearer");
  auto taken = exchange->take_over(101, fields);
  if (!taken.stream) return nullptr;
  exchange.reset();
  auto socket = std::make_shared<WebSocket>(*this, std::move(taken.stream));
  sockets_.push_back(socket);
  socket->place_ = std::prev(sockets_.end());
  auto upgraded = std::make_unique<WebSocket::SocketExchange>(socket, std::move(facts));
  socket->stream_->set_handler(socket.get());
  socket->stream_->resume_reading();
  return upgraded;
}

}  // namespace quoin::httpapi::gateway

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
    if (parting_) {
      discarded_ += bytes.size();
    } else {
      reader_.feed(bytes, *this);
      if (stream_->queued_bytes() == 0) write_pongs();
    }
    regulate();
  }
  void on_eof() override {
    if (!parting_ || lingering_) return close();
    eof_ = true;  // what is left of the answer still leaves
  }
  void on_drained() override {
    took_ = true;
    queued_ = 0;
    if (parting_) return linger();
    // The answer first: however many pings come, it goes on.
    if (drained_) std::exchange(drained_, nullptr)();
    write_pongs();
    regulate();
  }
  void on_closed(Result<>) override;

  void close() {
    closing_ = true;
    stream_->close();
  }
  // The answer is over: what was written still leaves, then the connection closes.
  void part() {
    if (std::exchange(parting_, true)) return;
    pongs_ = {};
    if (stream_->queued_bytes() == 0) return linger();
    regulate();
  }
  void write_lines(std::string_view text) {
    std::string frames;
    lines_.add(text, frames);
    write(std::move(frames));
  }
  void end_lines() {
    std::string frames;
    lines_.end(frames);
    write(std::move(frames));
  }
  // Its owner goes: nothing is told and no time runs any more.
  void forget() {
    exchange_ = nullptr;
    linger_.reset();
    taking_.reset();
    stream_->set_handler(nullptr);
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
  // Whole frames. Pongs that wait go ahead of them.
  void write(std::string frames) {
    if (closing_ || parting_ || frames.empty()) return;
    note_taken();
    if (!pongs_.empty()) frames.insert(0, std::exchange(pongs_, {}));
    stream_->write(std::move(frames));
    queued_ = stream_->queued_bytes();
    watch_taking();
  }
  void write_pongs() {
    if (!pongs_.empty()) write(std::exchange(pongs_, {}));
  }
  // The last word.
  void say_close(uint16_t code, std::string_view text) {
    write(websocket_frame(WebSocketOpcode::kClose, websocket_close_payload(code, text)));
    give_up();
    part();
    linger();
  }
  // Nothing more is written. The client has a moment to close, in which it is still read from: closing a
  // socket with unread input resets the connection, and the client loses what it has not read yet.
  void linger() {
    if (std::exchange(lingering_, true) || closing_) return;
    taking_.reset();
    if (eof_) return close();
    stream_->shutdown();
    regulate();
    linger_ = owner_.timers_.schedule(WebSockets::kLingerNs, owner_.loop_, [this] { close(); });
  }
  // Whether the client takes what waits for it. Between two writes the queue can only shrink.
  void note_taken() {
    if (stream_->queued_bytes() < queued_) took_ = true;
    queued_ = stream_->queued_bytes();
  }
  void watch_taking() {
    if (taking_ || stream_->queued_bytes() == 0) return;
    took_ = false;
    taking_ = owner_.timers_.schedule(WebSockets::kAnswerNs, owner_.loop_, [this] { look_at_taking(); });
  }
  void look_at_taking() {
    taking_.reset();
    note_taken();
    if (stream_->queued_bytes() > 0 && !took_) return close();
    watch_taking();
  }
  void hand_on(std::string_view part) {
    if (body_ == nullptr) return;
    unconsumed_ += part.size();
    body_->on_body(part);
  }
  void regulate() {
    const bool pause =
        parting_ ? discarded_ > WebSockets::kDiscardedMax
                 : unconsumed_ >= WebSockets::kUnconsumedMax || pongs_.size() >= WebSockets::kPongsMax;
    if (closing_ || pause == paused_) return;
    paused_ = pause;
    pause ? stream_->pause_reading() : stream_->resume_reading();
  }
  // The client goes, or has to: its call is over.
  void give_up() {
    body_ = nullptr;
    if (exchange_ == nullptr) return;
    exchange_ = nullptr;
    drained_ = nullptr;
    if (aborted_) std::exchange(aborted_, nullptr)();
  }

  // ---- WebSocketReader::Handler ----
  void on_payload(std::string_view part) override { hand_on(part); }
  void on_message_end() override { hand_on("\n"); }
  // Many small pongs leave as one piece: a piece of its own costs more than its bytes.
  void on_ping(std::string_view payload) override {
    if (!closing_ && !parting_) pongs_ += websocket_frame(WebSocketOpcode::kPong, payload);
  }
  void on_close(uint16_t code) override { say_close(code, {}); }
  void on_violation(std::string_view text) override { say_close(1002, text); }

  WebSocketReader reader_;
  WebSocketLines lines_;
  std::string pongs_;  // behind what is queued
  size_t unconsumed_ = 0;
  size_t discarded_ = 0;  // received since the answer was over
  bool paused_ = false, parting_ = false, lingering_ = false, closing_ = false, eof_ = false;
  size_t queued_ = 0;  // when it was looked at last
  bool took_ = false;  // the client took something since taking_ was set
  std::unique_ptr<io::Timer> taking_, linger_;
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
  taking_.reset();
  drained_ = nullptr;
  give_up();
  owner_.loop_.post([owners = owner_.self_, place = place_] {
    if (*owners != nullptr) (*owners)->sockets_.erase(place);
  });
}

WebSockets::~WebSockets() {
  *self_ = nullptr;
  // Calls keep exchanges, which keep sockets: nobody is told any more.
  for (auto& socket : sockets_) socket->forget();
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

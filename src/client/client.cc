#include "client/client.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "wire/message.h"
#include "wire/rpc.h"

namespace quoin::client {
namespace {
constexpr std::string_view kClosing = "grpc: the client connection is closing";
constexpr Method kAuthenticate{"/etcdserverpb.Auth/Authenticate"};
constexpr size_t kKeepBytes = 64 << 10;  // of a buffer, from one call to the next
}  // namespace

// ---- the call as its connection sees it ----

Call::~Call() {
  if (client_ != nullptr && active()) client_->forget(*this);
}

void Call::on_message(http2::StreamId, std::string_view message) {
  if (phase_ != Phase::kRunning) return;
  if (!unary_) return on_message(message);
  // More than one answer to one request is the server's mistake; the last one counts.
  answer_.assign(message);
  answered_ = true;
}

void Call::on_end(http2::StreamId, GrpcStatus status, std::string_view text) {
  if (phase_ == Phase::kRunning) client_->ended(*this, status, text);
}

void Call::on_refused(http2::StreamId, std::string_view text) {
  if (phase_ != Phase::kRunning) return;
  if (!unary_ || refused_once_) return client_->ended(*this, GrpcStatus::kUnavailable, text);
  refused_once_ = true;
  transport_ = nullptr;
  client_->start(*this);
}

void Call::on_sent(http2::StreamId) {
  if (phase_ != Phase::kRunning || unary_) return;
  client_->charge(*this, -static_cast<int64_t>(charged_bytes_));
  on_all_sent();
}

// ---- the way to a token ----

class Client::Login final : public Call {
 public:
  explicit Login(Client& client) : owner_(client) {}
  void begin() {
    wire::etcdserverpb::AuthenticateRequest request;
    request.name = owner_.options_.username;
    request.password = owner_.options_.password;
    token_.clear();
    owner_.unary(*this, kAuthenticate, wire::encode_string(request), CallOptions{});
  }
  void on_message(std::string_view message) override {
    const auto response = wire::decode<wire::etcdserverpb::AuthenticateResponse>(message);
    if (response) token_ = response->token;
  }
  void on_end(GrpcStatus status, std::string_view text) override {
    owner_.token_fetched(status, text, std::move(token_));
  }

 private:
  Client& owner_;
  std::string token_;
};

// ---- the client ----

Client::Client(ClientOptions options, const Environment& environment)
    : options_(std::move(options)),
      env_(environment),
      prng_(options_.seed),
      login_(std::make_unique<Login>(*this)),
      alive_(std::make_shared<Client*>(this)) {
  scratch_.constant_path = true;
}

Client::~Client() {
  CHECK(closed_ || calls_ == 0, "calls run: close() ends them");
  *alive_ = nullptr;
  const auto drop = [](Call* c) {
    c->phase_ = Call::Phase::kIdle;
    c->client_ = nullptr;
  };
  for (Call* c : waiting_) drop(c);
  for (Call* c : ending_) drop(c);
  for (auto& [when, c] : pausing_) drop(c);
  if (login_->active()) login_->client_ = nullptr;
}

Result<std::unique_ptr<Client>> Client::make(ClientOptions options, const Environment& environment) {
  if (options.endpoints.empty()) {
    return Error(Code::kInvalidArgument, "etcdclient: no available endpoints");
  }
  std::unique_ptr<Client> client(new Client(std::move(options), environment));
  TRY(client->set_endpoints(std::vector<std::string>(client->options_.endpoints)));
  return client;
}

Result<> Client::set_endpoints(const std::vector<std::string>& endpoints) {
  std::vector<Endpoint> parsed;
  for (const std::string& text : endpoints) {
    ASSIGN_OR_RETURN(Endpoint e, parse_endpoint(text));
    parsed.push_back(std::move(e));
  }
  options_.endpoints = endpoints;
  std::vector<std::unique_ptr<Link>> old = std::move(links_);
  links_.clear();
  for (Endpoint& e : parsed) {
    const auto same = std::find_if(old.begin(), old.end(),
                                   [&](const auto& l) { return l && l->endpoint().text == e.text; });
    if (same != old.end()) {
      links_.push_back(std::move(*same));
    } else {
      links_.push_back(std::make_unique<Link>(env_, options_.connection, std::move(e),
                                              static_cast<Link::Listener&>(*this), prng_.next()));
    }
  }
  for (auto& l : old) {
    if (l) l->close();
  }
  return {};
}

size_t Client::ready_links() const {
  return static_cast<size_t>(std::count_if(links_.begin(), links_.end(),
                                           [](const auto& l) { return l->state() == Link::State::kReady; }));
}

void Client::close() {
  if (std::exchange(closed_, true)) return;
  for (auto& l : links_) l->close();
  while (!waiting_.empty()) finish_later(*waiting_.back(), GrpcStatus::kCanceled, std::string(kClosing));
  while (!pausing_.empty()) {
    finish_later(*pausing_.back().second, GrpcStatus::kCanceled, std::string(kClosing));
  }
}

// ---- a call's way ----

void Client::charge(Call& call, int64_t bytes) {
  call.charged_bytes_ = static_cast<size_t>(static_cast<int64_t>(call.charged_bytes_) + bytes);
  charged_bytes_ = static_cast<size_t>(static_cast<int64_t>(charged_bytes_) + bytes);
}

void Client::begin(Call& call, const Method& method, const CallOptions& options) {
  CHECK(!call.active());
  call.client_ = this;
  call.transport_ = nullptr;
  call.method_ = method;
  call.options_ = options;
  call.backlog_.clear();
  call.attempt_ = 0;
  call.half_closed_ = call.held_ = call.answered_ = call.refused_once_ = false;
  call.phase_ = Call::Phase::kWaiting;
  ++calls_;
  if (options.deadline != INT64_MAX) {
    deadlines_.push(call);
    arm_deadlines();
  }
}

void Client::unary(Call& call, const Method& method, std::string_view request, const CallOptions& options) {
  begin(call, method, options);
  call.unary_ = true;
  if (request.size() > options_.max_send_bytes) {
    return finish_later(call, GrpcStatus::kResourceExhausted,
                        fmt::format("trying to send message larger than max ({} vs. {})", request.size(),
                                    options_.max_send_bytes));
  }
  if (charged_bytes_ + request.size() > options_.queued_bytes_max) {
    return finish_later(call, GrpcStatus::kResourceExhausted, "too many bytes wait in the client");
  }
  charge(call, static_cast<int64_t>(request.size()));
  call.request_.assign(request);
  start(call);
}

void Client::open(Call& call, const Method& method, const CallOptions& options) {
  begin(call, method, options);
  call.unary_ = false;
  if (charged_bytes_ > options_.queued_bytes_max) {
    return finish_later(call, GrpcStatus::kResourceExhausted, "too many bytes wait in the client");
  }
  start(call);
}

bool Client::needs_token() const {
  return !options_.username.empty() && !have_token_;
}

void Client::start(Call& call) {
  if (closed_) return finish_later(call, GrpcStatus::kCanceled, std::string(kClosing));
  if (&call != login_.get() && needs_token()) {
    fetch_token();
    return wait(call);
  }
  if (Transport* t = pick()) return run(call, *t);
  if (!call.options_.wait_for_ready && all_failed()) {
    return finish_later(call, GrpcStatus::kUnavailable, link_error_);
  }
  wait(call);
}

Transport* Client::pick() {
  for (size_t i = 0; i < links_.size(); ++i) {
    if (next_link_ >= links_.size()) next_link_ = 0;
    Transport* t = links_[next_link_++]->transport();
    if (t != nullptr) return t;
  }
  return nullptr;
}

bool Client::all_failed() const {
  return std::all_of(links_.begin(), links_.end(),
                     [](const auto& l) { return l->state() == Link::State::kFailed; });
}

void Client::wait(Call& call) {
  call.phase_ = Call::Phase::kWaiting;
  waiting_.push_back(&call);
}

void Client::run(Call& call, Transport& transport) {
  scratch_.timeout_ns = 0;
  if (call.options_.deadline != INT64_MAX) {
    scratch_.timeout_ns = call.options_.deadline - env_.clock.monotonic();
    if (scratch_.timeout_ns <= 0) {
      return finish_later(call, GrpcStatus::kDeadlineExceeded, "context deadline exceeded");
    }
  }
  const bool with_token = !token_.empty() && &call != login_.get();
  if (with_token || call.options_.metadata != nullptr || !scratch_.metadata.empty()) {
    scratch_.metadata.clear();
    if (with_token) scratch_.metadata.emplace_back("token", token_);
    if (call.options_.metadata != nullptr) {
      scratch_.metadata.insert(scratch_.metadata.end(), call.options_.metadata->begin(),
                               call.options_.metadata->end());
    }
  }
  call.token_version_ = token_version_;
  grpc::ClientConnection& calls = transport.calls();
  const auto id = call.unary_ ? calls.unary(call.method_.path, call.request_, call, scratch_)
                              : calls.open(call.method_.path, call, scratch_);
  if (!id) return finish_later(call, GrpcStatus::kUnavailable, std::string(id.error().text()));
  call.phase_ = Call::Phase::kRunning;
  call.transport_ = &transport;
  call.stream_ = *id;
  for (const std::string& message : call.backlog_) calls.send(*id, message);
  call.backlog_.clear();
  if (call.held_) calls.hold(*id, true);
  if (call.half_closed_ && !call.unary_) calls.half_close(*id);
  transport.output_ready();
}

// Calls wait for one of two things, and both come for all of them at once.
void Client::serve_waiting() {
  if (waiting_.empty()) return;
  std::vector<Call*> waiting = std::move(waiting_);
  waiting_.clear();
  for (Call* call : waiting) start(*call);
}

void Client::on_link_changed(Link& link) {
  if (link.state() == Link::State::kFailed) link_error_ = link.error();
  if (link.state() != Link::State::kConnecting) serve_waiting();
}

// ---- streams ----

void Client::send(Call& call, std::string_view message) {
  if (!call.active() || call.unary_ || call.half_closed_ || call.phase_ == Call::Phase::kEnding) return;
  charge(call, static_cast<int64_t>(message.size()));
  if (call.phase_ != Call::Phase::kRunning) {
    call.backlog_.emplace_back(message);
    return;
  }
  call.transport_->calls().send(call.stream_, message);
  call.transport_->output_ready();
}

void Client::half_close(Call& call) {
  if (!call.active() || call.unary_ || std::exchange(call.half_closed_, true)) return;
  if (call.phase_ != Call::Phase::kRunning) return;
  call.transport_->calls().half_close(call.stream_);
  call.transport_->output_ready();
}

void Client::hold(Call& call, bool on) {
  if (!call.active() || call.held_ == on) return;
  call.held_ = on;
  if (call.phase_ != Call::Phase::kRunning) return;
  call.transport_->calls().hold(call.stream_, on);
  call.transport_->output_ready();
}

size_t Client::queued_bytes(const Call& call) const {
  return call.charged_bytes_;
}

void Client::cancel(Call& call) {
  if (!call.active() || call.phase_ == Call::Phase::kEnding) return;
  finish_later(call, GrpcStatus::kCanceled, "context canceled");
}

// ---- the end of a call ----

// An attempt has ended.
void Client::ended(Call& call, GrpcStatus status, std::string_view text) {
  call.transport_ = nullptr;
  if (status == GrpcStatus::kOk && call.unary_ && !call.answered_) {
    return finish(call, GrpcStatus::kInternal,
                  "cardinality violation: received no response message from non-client-streaming RPC");
  }
  if (status == GrpcStatus::kOk || !options_.retries || !call.unary_ || &call == login_.get()) {
    return finish(call, status, text);
  }
  if (call.method_.retry == Retry::kNever || call.attempt_ + 1 >= kAttemptsMax) {
    return finish(call, status, text);
  }
  const bool has_password = !options_.username.empty();
  if (token_is_stale(status, text, has_password)) {
    if (has_password && call.token_version_ == token_version_) have_token_ = false;
    return retry(call);
  }
  if (!safe_to_retry(call.method_.retry, status, text)) return finish(call, status, text);
  retry(call);
}

void Client::retry(Call& call) {
  call.answered_ = false;
  const int64_t pause = retry_pause_ns(++call.attempt_, links_.size(), prng_);
  call.phase_ = Call::Phase::kPausing;
  pausing_.emplace_back(env_.clock.monotonic() + pause, &call);
  if (!pause_timer_) pause_timer_ = env_.timers.schedule(pause, env_.loop, [this] { retry_due(); });
}

void Client::retry_due() {
  pause_timer_.reset();
  const io::MonotonicNs now = env_.clock.monotonic();
  std::vector<Call*> due;
  io::MonotonicNs next = INT64_MAX;
  std::erase_if(pausing_, [&](const auto& p) {
    if (p.first <= now) return due.push_back(p.second), true;
    next = std::min(next, p.first);
    return false;
  });
  if (next != INT64_MAX) {
    pause_timer_ = env_.timers.schedule(next - now, env_.loop, [this] { retry_due(); });
  }
  for (Call* c : due) start(*c);
}

void Client::finish(Call& call, GrpcStatus status, std::string_view text) {
  deadlines_.erase(call);
  charge(call, -static_cast<int64_t>(call.charged_bytes_));
  call.backlog_.clear();
  if (call.request_.capacity() > kKeepBytes) call.request_ = std::string();
  call.phase_ = Call::Phase::kIdle;
  --calls_;
  if (!call.unary_ || status != GrpcStatus::kOk) return call.on_end(status, text);
  call.on_message(call.answer_);
  call.on_end(status, text);
}

void Client::finish_later(Call& call, GrpcStatus status, std::string text) {
  forget(call);
  ++calls_;
  call.phase_ = Call::Phase::kEnding;
  call.end_status_ = status;
  call.end_text_ = std::move(text);
  ending_.push_back(&call);
  if (std::exchange(ending_scheduled_, true)) return;
  env_.loop.at_end_of_round([alive = alive_] {
    if (Client* self = *alive) self->finish_queued();
  });
}

void Client::finish_queued() {
  ending_scheduled_ = false;
  while (!ending_.empty()) {
    Call* call = ending_.front();
    ending_.pop_front();
    finish(*call, call->end_status_, std::exchange(call->end_text_, {}));
  }
}

// Nothing more happens to it: its attempt is given up.
void Client::forget(Call& call) {
  deadlines_.erase(call);
  charge(call, -static_cast<int64_t>(call.charged_bytes_));
  switch (call.phase_) {
    case Call::Phase::kWaiting:
      std::erase(waiting_, &call);
      break;
    case Call::Phase::kPausing:
      std::erase_if(pausing_, [&](const auto& p) { return p.second == &call; });
      break;
    case Call::Phase::kEnding:
      std::erase(ending_, &call);
      break;
    case Call::Phase::kRunning:
      call.transport_->calls().abandon(call.stream_);
      call.transport_->output_ready();
      break;
    case Call::Phase::kIdle:
      return;
  }
  call.phase_ = Call::Phase::kIdle;
  call.transport_ = nullptr;
  --calls_;
}

// ---- deadlines ----

// The timer is set anew only for an earlier one; one that fires too early looks and goes on waiting.
void Client::arm_deadlines() {
  if (deadlines_.empty()) return;
  const io::MonotonicNs due = deadlines_.top().heap_key();
  if (deadline_timer_ && armed_for_ <= due) return;
  armed_for_ = due;
  deadline_timer_ = env_.timers.schedule(std::max<int64_t>(due - env_.clock.monotonic(), 0), env_.loop,
                                         [this] { deadlines_due(); });
}

void Client::deadlines_due() {
  deadline_timer_.reset();
  armed_for_ = INT64_MAX;
  const io::MonotonicNs now = env_.clock.monotonic();
  while (!deadlines_.empty() && deadlines_.top().heap_key() <= now) {
    Call& call = deadlines_.top();
    std::string text = "context deadline exceeded";
    if (call.phase_ == Call::Phase::kWaiting && !needs_token()) {
      text = link_error_.empty() ? "context deadline exceeded while waiting for connections to become ready"
                                 : "latest balancer error: " + link_error_;
    }
    finish_later(call, GrpcStatus::kDeadlineExceeded, std::move(text));
  }
  arm_deadlines();
}

// ---- tokens ----

void Client::fetch_token() {
  if (!login_->active()) login_->begin();
}

void Client::token_fetched(GrpcStatus status, std::string_view text, std::string token) {
  if (status == GrpcStatus::kOk) {
    token_ = std::move(token);
  } else if (text == error_info(Code::kAuthNotEnabled).text) {
    token_.clear();
  } else {
    // Those that wait for a connection wait for the login, too.
    while (!waiting_.empty()) finish_later(*waiting_.front(), status, std::string(text));
    return;
  }
  have_token_ = true;
  ++token_version_;
  serve_waiting();
}

}  // namespace quoin::client

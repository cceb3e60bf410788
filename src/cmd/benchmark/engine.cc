#include "cmd/benchmark/engine.h"

#include <termios.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <future>
#include <random>
#include <utility>

#include "client/methods.h"
#include "client/retry.h"
#include "posix/file.h"
#include "posix/log_duration.h"
#include "wire/message.h"
#include "wire/rpc.h"

namespace quoin::cmd::bench {
namespace {

namespace rpc = wire::etcdserverpb;

// Of a connection, if --dial-timeout does not say. etcd's waits for ever.
constexpr int64_t kDialNs = 10 * io::kSecond;

Result<std::string> ask_password() {
  termios old{};
  if (tcgetattr(STDIN_FILENO, &old) != 0) {
    return Error(Code::kInvalidArgument, "there is no terminal to ask for the password");
  }
  std::fputs("Password: ", stderr);
  std::fflush(stderr);
  termios silent = old;
  silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
  tcsetattr(STDIN_FILENO, TCSANOW, &silent);
  std::string password;
  int c = 0;
  while ((c = std::getchar()) != EOF && c != '\n') password += static_cast<char>(c);
  tcsetattr(STDIN_FILENO, TCSANOW, &old);
  std::fputs("\n", stderr);
  return password;
}

uint64_t random_seed() {
  std::random_device random;
  return (uint64_t{random()} << 32) | random();
}

// A call whose answer somebody waits for.
class OneCall final : public client::Call {
 public:
  std::future<Result<std::string>> answer() { return done_.get_future(); }
  void on_message(std::string_view message) override { message_.assign(message); }
  void on_end(GrpcStatus status, std::string_view text) override {
    if (status == GrpcStatus::kOk) {
      done_.set_value(std::move(message_));
    } else {
      // kNotFound: the server has answered, and has no such method or does not permit it.
      const bool answered = status == GrpcStatus::kUnimplemented ||
                            (client::is_etcd_error(text) && text != error_info(Code::kAuthFailed).text);
      done_.set_value(Error(answered ? Code::kNotFound : Code::kIo, error_text(status, text)));
    }
  }

 private:
  std::string message_;
  std::promise<Result<std::string>> done_;
};

// Of the first call on a connection: what keeps it from standing, and its user from logging in.
std::optional<std::string> dial_fault(const Result<std::string>& answer) {
  if (answer || answer.error().code() == Code::kNotFound) return std::nullopt;
  return fmt::format("dial error: {}", answer.error().text());
}

}  // namespace

std::string error_text(GrpcStatus status, std::string_view text) {
  constexpr std::array kNames = {
      "OK",       "Canceled",        "Unknown",          "InvalidArgument",   "DeadlineExceeded",
      "NotFound", "AlreadyExists",   "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
      "Aborted",  "OutOfRange",      "Unimplemented",    "Internal",          "Unavailable",
      "DataLoss", "Unauthenticated",
  };
  if (client::is_etcd_error(text)) return std::string(text);
  const auto code = static_cast<size_t>(status);
  const std::string name = code < kNames.size() ? kNames[code] : fmt::format("Code({})", code);
  return fmt::format("rpc error: code = {} desc = {}", name, text);
}

// --auto-sync-interval: the endpoints of one client follow the list of members.
class Engine::Sync final : public client::Call {
 public:
  Sync(Engine& engine, client::Client& client, int64_t every_ns)
      : engine_(engine), client_(client), every_ns_(every_ns) {
    arm();
  }
  void on_message(std::string_view message) override {
    const auto members = wire::decode<rpc::MemberListResponse>(message);
    if (!members) return;
    std::vector<std::string> urls;
    for (const rpc::Member& m : members->members) {
      if (m.name.empty() || m.is_learner) continue;
      urls.insert(urls.end(), m.client_urls.begin(), m.client_urls.end());
    }
    // A list with an address that is none leaves the old ones.
    if (!urls.empty()) static_cast<void>(client_.set_endpoints(urls));
  }
  void on_end(GrpcStatus, std::string_view) override { arm(); }

 private:
  void arm() {
    timer_ = engine_.after(every_ns_, [this] {
      const std::string request = wire::encode_string(rpc::MemberListRequest{.linearizable = true});
      client_.unary(*this, client::methods::kMemberList, request, {});
    });
  }
  Engine& engine_;
  client::Client& client_;
  const int64_t every_ns_;
  std::unique_ptr<io::Timer> timer_;
};

Engine::Engine(const Arguments& arguments, Interrupts& interrupts)
    : arguments_(arguments), interrupts_(interrupts) {}

Engine::~Engine() {
  on_loop([this] {
    syncs_.clear();
    for (auto* list : {&clients_, &others_}) {
      for (auto& c : *list) c->close();
      list->clear();
    }
  });
  timers_.stop();
  loop_.stop();
}

void Engine::on_loop(std::function<void()> f) {
  std::promise<void> done;
  loop_.post([&] {
    f();
    done.set_value();
  });
  done.get_future().get();
}

Result<std::string> Engine::call(client::Client& client, const client::Method& method,
                                 std::string_view request, int64_t timeout_ns, bool wait_for_ready) {
  auto call = std::make_unique<OneCall>();
  auto answer = call->answer();
  on_loop([&] {
    client::CallOptions options{.wait_for_ready = wait_for_ready};
    if (timeout_ns <= 0) timeout_ns = arguments_.stall_timeout_ns;
    if (timeout_ns > 0) options.deadline = now() + timeout_ns;
    client.unary(*call, method, request, options);
  });
  Result<std::string> result = answer.get();
  drop(call);
  return result;
}

// ---- connections ----

std::optional<std::string> Engine::load_credentials() {
  if (!arguments_.tls()) return std::nullopt;
  posix::DiskThread files("files");
  const auto fs = posix::make_file_system(files);
  tls::Options options;
  options.cert_file = arguments_.cert;
  options.key_file = arguments_.key;
  options.trusted_ca_file = arguments_.cacert;
  options.insecure_skip_verify = arguments_.insecure_skip_tls_verify;
  auto loaded = tls::Credentials::load(options, tls::Role::kClient, *fs, clock_, nullptr);
  if (!loaded) return fmt::format("bad tls config: {}", loaded.error().text());
  credentials_ = std::move(*loaded);
  return std::nullopt;
}

Result<std::unique_ptr<client::Client>> Engine::make(std::vector<std::string> endpoints) {
  client::ClientOptions options;
  options.endpoints = std::move(endpoints);
  options.username = username_;
  options.password = password_;
  options.seed = random_seed();
  options.connection.user_agent = "quoin-benchmark";
  options.connection.dial_timeout_ns = arguments_.dial_timeout_ns > 0 ? arguments_.dial_timeout_ns : kDialNs;
  if (credentials_) {
    options.connection.tls.credentials = [this] { return credentials_; };
  }
  Result<std::unique_ptr<client::Client>> made(nullptr);
  on_loop([&] { made = client::Client::make(std::move(options), env_); });
  return made;
}

std::optional<std::string> Engine::find_leader(std::vector<std::string>* urls) {
  auto client = make({arguments_.endpoints[0]});
  if (!client) return fmt::format("dial error: {}", client.error().text());
  const bool wait = arguments_.dial_timeout_ns > 0;
  const int64_t timeout = wait ? arguments_.dial_timeout_ns : kDialNs;
  const auto listed = call(**client, client::methods::kMemberList,
                           wire::encode_string(rpc::MemberListRequest{.linearizable = true}), timeout, wait);
  const auto told = call(**client, client::methods::kStatus, "", timeout, wait);
  on_loop([&] {
    (*client)->close();
    client->reset();
  });
  if (!listed) return fmt::format("failed to get a member list: {}", listed.error().text());
  const auto members = wire::decode<rpc::MemberListResponse>(*listed);
  const auto status =
      told ? wire::decode<rpc::StatusResponse>(*told) : Result<rpc::StatusResponse>(told.error());
  if (members && status && status->leader != 0) {
    for (const rpc::Member& m : members->members) {
      if (m.id == status->leader) urls->assign(m.client_urls.begin(), m.client_urls.end());
    }
  }
  if (urls->empty()) return "failed to find a leader endpoint";
  return std::nullopt;
}

std::optional<std::string> Engine::connect() {
  if (auto fault = load_credentials()) return fault;
  if (!arguments_.user.empty()) {
    const size_t colon = arguments_.user.find(':');
    username_ = arguments_.user.substr(0, colon);
    if (colon != std::string::npos) {
      password_ = arguments_.user.substr(colon + 1);
    } else if (auto asked = ask_password(); asked) {
      password_ = std::move(*asked);
    } else {
      return fmt::format("bad user information: {} {}", arguments_.user, asked.error().text());
    }
  }
  if (arguments_.target_leader) {
    if (auto fault = find_leader(&leader_urls_)) return fault;
  }
  for (uint64_t i = 0; i < arguments_.conns; ++i) {
    if (auto fault = connect_one_more(nullptr)) return fault;
  }
  // They are dialled side by side; a call on each shows that it stands, and that the user may log in.
  const bool wait = arguments_.dial_timeout_ns > 0;
  const int64_t timeout = wait ? arguments_.dial_timeout_ns : kDialNs;
  const io::MonotonicNs deadline = now() + timeout;
  for (const auto& c : clients_) {
    const int64_t left = std::max<int64_t>(deadline - now(), io::kMillisecond);
    const auto answer = call(*c, client::methods::kStatus, "", left, wait);
    if (const auto fault = dial_fault(answer)) return fault;
  }
  if (arguments_.auto_sync_interval_ns > 0) {
    on_loop([this] {
      for (const auto& c : clients_) {
        syncs_.push_back(std::make_unique<Sync>(*this, *c, arguments_.auto_sync_interval_ns));
      }
    });
  }
  return std::nullopt;
}

// Those of --conns if `client` is null.
std::optional<std::string> Engine::connect_one_more(client::Client** client, const std::string& endpoint) {
  std::vector<std::string> endpoints = leader_urls_;
  if (!endpoint.empty()) {
    endpoints = {endpoint};
  } else if (endpoints.empty()) {
    endpoints = {arguments_.endpoints[next_endpoint_++ % arguments_.endpoints.size()]};
  }
  auto made = make(std::move(endpoints));
  if (!made) return fmt::format("dial error: {}", made.error().text());
  if (client == nullptr) {
    clients_.push_back(std::move(*made));
    return std::nullopt;
  }
  others_.push_back(std::move(*made));
  *client = others_.back().get();
  const auto answer = call(**client, client::methods::kStatus, "", kDialNs, false);
  return dial_fault(answer);
}

// ---- phases ----

void Engine::finished() {
  std::lock_guard lock(mutex_);
  over_ = true;
  changed_.notify_one();
}

void Engine::failed(std::string why) {
  std::lock_guard lock(mutex_);
  if (std::exchange(over_, true)) return;
  failure_ = std::move(why);
  changed_.notify_one();
}

Ending Engine::run(Phase& phase) {
  over_ = false;
  failure_.clear();
  interrupts_.handle([this](int number) {
    std::lock_guard lock(mutex_);
    signal_ = number;
    changed_.notify_one();
  });
  Progress progress(now(), isatty(STDERR_FILENO) != 0);
  loop_.post([&] { phase.begin(*this); });
  uint64_t seen = 0;
  io::MonotonicNs moved = now();
  std::unique_lock lock(mutex_);
  while (!over_ && signal_ == 0) {
    changed_.wait_for(lock, std::chrono::nanoseconds(Progress::kEveryNs));
    if (over_ || signal_ != 0) break;
    const io::MonotonicNs t = now();
    const uint64_t done = phase.done.load(std::memory_order_relaxed);
    progress.show(done, phase.expected, t);
    if (std::exchange(seen, done) != done || !phase.waiting.load(std::memory_order_relaxed)) moved = t;
    if (arguments_.stall_timeout_ns <= 0 || t - moved <= arguments_.stall_timeout_ns) continue;
    lock.unlock();
    std::string link;
    on_loop([&] {
      for (const auto& c : clients_) {
        if (c->ready_links() == 0 && !c->link_error().empty()) link = ": " + c->link_error();
      }
    });
    failed(fmt::format("no answer for {}{}", posix::duration_text(arguments_.stall_timeout_ns), link));
    lock.lock();
  }
  const Ending ending = signal_ != 0       ? Ending::kInterrupted
                        : failure_.empty() ? Ending::kDone
                                           : Ending::kFailed;
  lock.unlock();
  interrupts_.forget();
  if (ending != Ending::kDone) on_loop([&] { phase.stop(); });
  return ending;
}

}  // namespace quoin::cmd::bench

#include "tls/session.h"

#include <algorithm>

#include "base/check.h"
#include "tls/error_text.h"
#include "tls/hooks.h"
#include "tls/record_scan.h"

namespace quoin::tls {

struct Session::Core {
  std::shared_ptr<const Credentials> credentials;
  HookState hooks;
  SslPtr ssl;
  State state = State::kHandshake;
  std::optional<Error> error;
  Identity identity;
  RecordScan scan;
  std::string input, output;
  size_t input_at = 0;
  size_t handshake_bytes = 0;
  bool step_wanted = false, eof = false, peer_closed = false, close_said = false;

  void fail(std::string text);
  void fill_identity();
  void set_client(const SessionOptions& options);
  void finish_handshake();
  // After a call that wants more input: whether more may come.
  void wait_for_input();
  // `result` is of an SSL call that did not succeed.
  void handle(int result);
  void append_alert(uint8_t alert);
};

namespace {
// ---- OpenSSL reads from and writes into the core's strings

int bio_read(BIO* bio, char* into, int size) {
  auto& core = *static_cast<Session::Core*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  // A flood is not read to its end.
  const size_t have = core.hooks.stop() ? 0 : core.input.size() - core.input_at;
  if (have == 0 || size <= 0) {
    BIO_set_retry_read(bio);
    return -1;
  }
  const size_t n = std::min(have, static_cast<size_t>(size));
  std::copy_n(core.input.data() + core.input_at, n, into);
  core.input_at += n;
  if (core.input_at == core.input.size()) {
    core.input_at = 0;
    // An idle connection holds no buffer.
    std::string().swap(core.input);
  }
  return static_cast<int>(n);
}

int bio_write(BIO* bio, const char* bytes, int size) {
  auto& core = *static_cast<Session::Core*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  if (size > 0) core.output.append(bytes, static_cast<size_t>(size));
  return size;
}

long bio_ctrl(BIO*, int command, long, void*) {
  return command == BIO_CTRL_FLUSH || command == BIO_CTRL_DUP ? 1 : 0;
}

int bio_create(BIO* bio) {
  BIO_set_init(bio, 1);
  return 1;
}

BIO_METHOD* bio_method() {
  static BIO_METHOD* const method = [] {
    BIO_METHOD* m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "strings");
    CHECK(m != nullptr);
    BIO_meth_set_read(m, bio_read);
    BIO_meth_set_write(m, bio_write);
    BIO_meth_set_ctrl(m, bio_ctrl);
    BIO_meth_set_create(m, bio_create);
    return m;
  }();
  return method;
}

// Go's hostnameInSNI: no addresses, no dot at the end.
std::string sni_of(std::string_view host) {
  std::string_view bare = host;
  if (bare.size() >= 2 && bare.front() == '[' && bare.back() == ']') bare = bare.substr(1, bare.size() - 2);
  bare = bare.substr(0, bare.find('%'));
  if (parse_ip(bare)) return {};
  while (host.ends_with('.')) host.remove_suffix(1);
  return std::string(host);
}
}  // namespace

void Session::Core::append_alert(uint8_t alert) {
  // A record in clear: type, version, length, level "fatal", number.
  const char record[] = {21, 3, 1, 0, 2, 2, static_cast<char>(alert)};
  output.append(record, sizeof record);
}

void Session::Core::fail(std::string text) {
  if (state == State::kFailed) return;
  const bool handshake = state == State::kHandshake;
  state = State::kFailed;
  error = Error(Code::kIo, std::move(text));
  if (handshake) fill_identity();
  std::string().swap(input);
  input_at = 0;
  step_wanted = false;
}

void Session::Core::fill_identity() {
  identity.server_name = hooks.role == Role::kServer ? hooks.server_name : hooks.host;
  identity.resumed = SSL_session_reused(ssl.get()) == 1;
  if (!hooks.peer && identity.resumed) {
    if (const X509* peer = SSL_get0_peer_certificate(ssl.get())) hooks.peer = names_of(peer);
  }
  if (hooks.peer) {
    identity.has_certificate = true;
    identity.names = std::move(*hooks.peer);
    identity.serials = std::move(hooks.serials);
  }
  hooks.peer.reset();
  std::vector<std::string>().swap(hooks.serials);
  std::vector<uint16_t>().swap(hooks.client_suites);
  if (state != State::kOpen) return;
  const unsigned char* protocol = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(ssl.get(), &protocol, &size);
  identity.alpn.assign(reinterpret_cast<const char*>(protocol), size);
  identity.version = static_cast<Version>(SSL_version(ssl.get()));
  const char* suite = SSL_CIPHER_standard_name(SSL_get_current_cipher(ssl.get()));
  if (suite != nullptr) identity.cipher_suite = suite;
}

void Session::Core::set_client(const SessionOptions& options) {
  const Options& o = credentials->options();
  hooks.host = o.server_name.empty() ? options.host : o.server_name;
  if (const std::string sni = sni_of(hooks.host); !sni.empty())
    SSL_set_tlsext_host_name(ssl.get(), sni.c_str());
  std::string protocols;
  for (const std::string& p : options.alpn) protocols += static_cast<char>(p.size()) + p;
  if (!protocols.empty())
    SSL_set_alpn_protos(ssl.get(), reinterpret_cast<const unsigned char*>(protocols.data()),
                        static_cast<unsigned>(protocols.size()));
  SSL_set_connect_state(ssl.get());
  step_wanted = true;
}

void Session::Core::finish_handshake() {
  state = State::kOpen;
  hooks.established = true;
  step_wanted = false;
  fill_identity();
  // etcd asks its list once the handshake is done: the client sees the end of the connection, not an alert.
  if (hooks.role != Role::kServer) return;
  if (auto ok = credentials->check_revoked(identity.serials); !ok) {
    SSL_shutdown(ssl.get());
    fail(std::string(ok.error().text()));
  }
}

void Session::Core::wait_for_input() {
  step_wanted = false;
  if (hooks.stop()) return fail(hooks.failure);
  if (!eof) return;
  if (!scan.at_boundary()) return fail("unexpected EOF");
  if (state == State::kHandshake) return fail("EOF");
  peer_closed = true;
}

void Session::Core::handle(int result) {
  switch (SSL_get_error(ssl.get(), result)) {
    case SSL_ERROR_WANT_READ:
      return wait_for_input();
    case SSL_ERROR_ZERO_RETURN:
      if (state == State::kHandshake) return fail("EOF");
      peer_closed = true;
      return;
    default:
      if (state == State::kHandshake && (SSL_get_shutdown(ssl.get()) & SSL_RECEIVED_SHUTDOWN) != 0 &&
          hooks.alert_received == 0 && hooks.alert_sent == 0) {
        ERR_clear_error();
        return fail("EOF");
      }
      return fail(failure_text(ssl.get(), hooks, scan.oversized()));
  }
}

Session::Session(std::shared_ptr<const Credentials> credentials, const SessionOptions& options)
    : core_(std::make_unique<Core>()) {
  core_->credentials = std::move(credentials);
  Core& c = *core_;
  c.hooks.credentials = c.credentials.get();
  c.hooks.role = c.credentials->role();
  ERR_clear_error();
  c.ssl.reset(SSL_new(c.credentials->context()));
  BIO* bio = BIO_new(bio_method());
  CHECK(c.ssl != nullptr && bio != nullptr);
  BIO_set_data(bio, core_.get());
  SSL_set_bio(c.ssl.get(), bio, bio);
  SSL_set_app_data(c.ssl.get(), &c.hooks);
  if (c.hooks.role == Role::kServer) {
    SSL_set_accept_state(c.ssl.get());
  } else {
    c.set_client(options);
  }
}

Session::~Session() = default;

Session::State Session::state() const {
  return core_->state;
}

const std::optional<Error>& Session::error() const {
  return core_->error;
}

size_t Session::input_bytes() const {
  return core_->input.size() - core_->input_at;
}

void Session::feed(std::string_view bytes) {
  Core& c = *core_;
  if (c.state == State::kFailed || c.eof || bytes.empty()) return;
  if (!c.scan.feed(bytes)) {
    if (c.scan.alert() != 0) c.append_alert(c.scan.alert());
    return c.fail(c.scan.error());
  }
  if (c.state == State::kHandshake) {
    c.step_wanted = c.scan.ready();
    c.handshake_bytes += bytes.size();
    if (c.handshake_bytes > kHandshakeBytesMax) return c.fail("tls: too many handshake bytes");
  }
  c.input.append(bytes);
}

void Session::feed_eof() {
  Core& c = *core_;
  if (c.state == State::kFailed || c.eof) return;
  c.eof = true;
  if (c.state == State::kHandshake) c.step_wanted = true;
}

bool Session::wants_step() const {
  return core_->step_wanted;
}

void Session::step() {
  Core& c = *core_;
  if (c.state != State::kHandshake) return;
  ERR_clear_error();
  const int result = SSL_do_handshake(c.ssl.get());
  if (result == 1) {
    c.finish_handshake();
  } else {
    c.handle(result);
  }
  ERR_clear_error();
}

const Identity& Session::identity() const {
  return core_->identity;
}

Identity Session::take_identity() {
  return std::exchange(core_->identity, Identity{});
}

size_t Session::read(std::span<char> into) {
  Core& c = *core_;
  if (c.state != State::kOpen || c.peer_closed) return 0;
  ERR_clear_error();
  const int result = SSL_read(c.ssl.get(), into.data(), static_cast<int>(into.size()));
  if (c.hooks.stop()) {
    c.fail(c.hooks.failure);
    return 0;
  }
  if (result > 0) {
    c.hooks.idle_messages = 0;
    return static_cast<size_t>(result);
  }
  c.handle(result);
  return 0;
}

bool Session::at_end() const {
  return core_->peer_closed;
}

void Session::write(std::string_view plaintext) {
  Core& c = *core_;
  if (c.state != State::kOpen || c.close_said) return;
  ERR_clear_error();
  // The output takes everything, so a write is never left half done.
  for (; !plaintext.empty(); plaintext.remove_prefix(std::min(plaintext.size(), kRecordBytesMax))) {
    const std::string_view part = plaintext.substr(0, kRecordBytesMax);
    const int result = SSL_write(c.ssl.get(), part.data(), static_cast<int>(part.size()));
    if (result <= 0) return c.handle(result);
  }
}

void Session::close() {
  Core& c = *core_;
  if (c.state != State::kOpen || c.close_said) return;
  c.close_said = true;
  ERR_clear_error();
  SSL_shutdown(c.ssl.get());
  ERR_clear_error();
}

bool Session::has_output() const {
  return !core_->output.empty();
}

std::string Session::take_output() {
  return std::exchange(core_->output, {});
}

}  // namespace quoin::tls

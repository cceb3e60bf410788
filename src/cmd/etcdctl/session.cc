#include "cmd/etcdctl/session.h"

#include <cerrno>
#include <fstream>
#include <sstream>

#include "base/go_text.h"
#include "base/result.h"
#include "cmd/etcd/flags_text.h"
#include "cmd/etcdctl/credentials.h"
#include "cmd/etcdctl/output.h"
#include "cmd/etcdctl/tls_check.h"

namespace quoin::ctl {
namespace {

Or<std::string> read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  if (!in) return tl::unexpected(bad_arguments("open {}: {}", path, go_errno_text(errno)));
  text << in.rdbuf();
  return text.str();
}

}  // namespace

Or<User> read_user(const std::string& user, const std::string& password, std::string_view prompt) {
  if (user.empty()) return User{};
  if (!password.empty()) return User{user, password};
  if (const size_t colon = user.find(':'); colon != std::string::npos) {
    return User{user.substr(0, colon), user.substr(colon + 1)};
  }
  auto typed = ask_password(prompt);
  if (!typed) return tl::unexpected(std::move(typed.error()));
  return User{user, std::move(*typed)};
}

Or<TlsConfig> read_tls(const TlsFiles& files) {
  if (files.certificate.empty() != files.key.empty()) {
    return tl::unexpected(bad_arguments("KeyFile and CertFile must both be present[key: {}, cert: {}]",
                                        files.key, files.certificate));
  }
  TlsConfig tls;
  tls.enabled = !files.certificate.empty() || !files.ca.empty();
  for (const auto& [path, into] : {std::pair(&files.certificate, &tls.certificate),
                                   std::pair(&files.key, &tls.key), std::pair(&files.ca, &tls.ca)}) {
    if (path->empty()) continue;
    auto pem = read_file(*path);
    if (!pem) return tl::unexpected(std::move(pem.error()));
    *into = std::move(*pem);
  }
  std::string wrong = files.certificate.empty() ? "" : pair_error(tls.certificate, tls.key);
  if (wrong.empty() && !files.ca.empty()) wrong = authorities_error(tls.ca);
  if (!wrong.empty()) return tl::unexpected(bad_arguments("{}", wrong));
  return tls;
}

Or<ClientConfig> Session::config() {
  if (!config_) {
    auto read = read_config();
    if (!read) return read;
    config_ = std::move(*read);
  }
  return *config_;
}

Or<ClientConfig> Session::read_config() {
  const auto bad = [](Ending e) { return tl::unexpected(std::move(e)); };
  if (auto r = apply_environment(command_); !r) return bad(std::move(r.error()));
  if (flag("debug")) {
    for (const cmd::CobraFlag* f : command_.inherited_flags().all()) {
      put_error(fmt::format("{}={}\n", environment_name(f->name), f->value_text()));
    }
    show_transport_log();
  }
  ClientConfig c;
  const std::string& domain = text("discovery-srv");
  if (!domain.empty()) {
    auto found = discover_endpoints(domain, text("discovery-srv-name"));
    if (!found) return bad(std::move(found.error()));
    for (std::string& url : *found) {
      if (!flag("insecure-discovery") && url.starts_with("http://")) {
        put_error(fmt::format("ignoring discovered insecure endpoint {}\n", go_quote(url)));
      } else {
        c.endpoints.push_back(std::move(url));
      }
    }
  }
  if (c.endpoints.empty()) {
    for (const std::string& e : list("endpoints")) c.endpoints.emplace_back(cmd::trim_space(e));
  }
  c.dial_timeout_ns = duration_ns("dial-timeout");
  c.keepalive_time_ns = duration_ns("keepalive-time");
  c.keepalive_timeout_ns = duration_ns("keepalive-timeout");
  c.send_bytes_max = number("max-request-bytes");
  c.receive_bytes_max = number("max-recv-bytes");
  for (const char* name : {"cert", "key", "cacert"}) {
    if (given(name) && text(name).empty())
      return bad(bad_arguments("empty string is passed to --{} option", name));
  }
  auto user = read_user(text("user"), text("password"), "Password: ");
  if (!user) return bad(std::move(user.error()));
  c.user = std::move(user->name);
  c.password = std::move(user->password);
  const auto format = read_format(text("write-out"));
  if (!format) return bad(fail(kExitBadFeature, "unsupported output format"));
  printer_ = {*format, flag("hex")};

  auto tls = read_tls({.certificate = text("cert"), .key = text("key"), .ca = text("cacert")});
  if (!tls) return bad(std::move(tls.error()));
  c.tls = std::move(*tls);
  c.tls.skip_verify = flag("insecure-skip-tls-verify");
  if (!flag("insecure-discovery")) c.tls.server_name = domain;
  c.tls.enabled =
      c.tls.enabled || !c.tls.server_name.empty() || c.tls.skip_verify || !flag("insecure-transport");
  return c;
}

Or<std::unique_ptr<Client>> Session::connect() {
  auto c = config();
  if (!c) return tl::unexpected(std::move(c.error()));
  return connect(c->endpoints);
}

Or<std::unique_ptr<Client>> Session::connect(std::vector<std::string> endpoints) {
  auto c = config();
  if (!c) return tl::unexpected(std::move(c.error()));
  c->endpoints = std::move(endpoints);
  auto client = Client::open(std::move(*c));
  if (!client) return tl::unexpected(fail(kExitBadConnection, "{}", client.error()));
  return std::move(*client);
}

Ending Session::print(const google::protobuf::Message& message, const Forms& forms) {
  const std::lock_guard lock(print_mutex_);
  return printer_.print(&message, forms);
}

Ending Session::print(const Forms& forms) {
  const std::lock_guard lock(print_mutex_);
  return printer_.print(nullptr, forms);
}

}  // namespace quoin::ctl

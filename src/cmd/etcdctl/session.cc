#include "cmd/etcdctl/session.h"

#include <cerrno>
#include <fstream>
#include <sstream>

#include "base/go_text.h"
#include "base/result.h"
#include "cmd/etcd/flags_text.h"
#include "cmd/etcdctl/output.h"

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
  if (const std::string& user = text("user"); !user.empty()) {
    c.user = user;
    c.password = text("password");
    const size_t colon = user.find(':');
    if (c.password.empty() && colon != std::string::npos) {
      c.user = user.substr(0, colon);
      c.password = user.substr(colon + 1);
    } else if (c.password.empty()) {
      auto typed = ask_password("Password: ");
      if (!typed) return bad(std::move(typed.error()));
      c.password = std::move(*typed);
    }
  }
  const auto format = read_format(text("write-out"));
  if (!format) return bad(fail(kExitBadFeature, "unsupported output format"));
  printer_ = {*format, flag("hex")};

  const std::string &cert = text("cert"), &key = text("key"), &ca = text("cacert");
  c.tls.skip_verify = flag("insecure-skip-tls-verify");
  if (!flag("insecure-discovery")) c.tls.server_name = domain;
  c.tls.enabled = !cert.empty() || !key.empty() || !ca.empty() || !c.tls.server_name.empty() ||
                  c.tls.skip_verify || !flag("insecure-transport");
  if (cert.empty() != key.empty()) {
    return bad(bad_arguments("KeyFile and CertFile must both be present[key: {}, cert: {}]", key, cert));
  }
  for (const auto& [path, into] :
       {std::pair(&cert, &c.tls.certificate), std::pair(&key, &c.tls.key), std::pair(&ca, &c.tls.ca)}) {
    if (path->empty()) continue;
    auto pem = read_file(*path);
    if (!pem) return bad(std::move(pem.error()));
    *into = std::move(*pem);
  }
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

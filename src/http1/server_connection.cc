#include "http1/server_connection.h"

#include <array>
#include <boost/beast/core/string.hpp>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/status.hpp>

#include "base/check.h"

namespace quoin::http1 {
namespace {
namespace beast = boost::beast;
namespace http = boost::beast::http;

bool equals_folded(std::string_view a, std::string_view b) {
  return a.size() == b.size() && beast::iequals({a.data(), a.size()}, {b.data(), b.size()});
}

// Collects one request out of Beast's parser. Text lives in one buffer; the views are made when it is
// complete.
class Parser final : public http::basic_parser<true> {
 public:
  explicit Parser(const Limits& limits) {
    header_limit(static_cast<std::uint32_t>(std::min<size_t>(limits.header_bytes, UINT32_MAX)));
    body_limit(limits.body_bytes);
    eager(true);
  }

  // Set when the request must be refused for a reason the parser does not know.
  unsigned refusal = 0;
  unsigned version = 0;
  bool expects_continue = false;
  bool has_host = false;

  void fill(Request& r) const {
    const std::string_view all(text_);
    const auto part = [all](Range p) { return all.substr(p.at, p.size); };
    r.method = part(method_);
    r.target = part(target_);
    r.version = version;
    r.fields.clear();
    for (const auto& [name, value] : fields_) r.fields.emplace_back(part(name), part(value));
    r.body = body_;
  }
  bool is_head() const { return std::string_view(text_).substr(method_.at, method_.size) == "HEAD"; }

 private:
  using string_view = beast::string_view;
  using error_code = beast::error_code;
  struct Range {
    size_t at = 0, size = 0;
  };

  Range keep(string_view s) {
    const Range r = {text_.size(), s.size()};
    text_.append(s.data(), s.size());
    return r;
  }
  void on_request_impl(http::verb, string_view method, string_view target, int v, error_code&) override {
    version = static_cast<unsigned>(v);
    method_ = keep(method);
    target_ = keep(target);
  }
  void on_response_impl(int, string_view, int, error_code&) override {}
  void on_field_impl(http::field field, string_view name, string_view value, error_code&) override {
    if (field == http::field::transfer_encoding && !beast::iequals(value, "chunked")) refusal = 501;
    if (field == http::field::expect) {
      if (beast::iequals(value, "100-continue")) {
        expects_continue = true;
      } else {
        refusal = 417;
      }
    }
    if (field == http::field::host) {
      // Two hosts let a proxy and this server disagree about whom the request is for.
      if (has_host) refusal = 400;
      has_host = true;
    }
    const Range n = keep(name);
    fields_.emplace_back(n, keep(value));
  }
  void on_header_impl(error_code&) override {}
  void on_body_init_impl(boost::optional<std::uint64_t> const&, error_code&) override {}
  std::size_t on_body_impl(string_view body, error_code&) override {
    body_.append(body.data(), body.size());
    return body.size();
  }
  void on_chunk_header_impl(std::uint64_t, string_view, error_code&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t, string_view body, error_code&) override {
    body_.append(body.data(), body.size());
    return body.size();
  }
  void on_finish_impl(error_code&) override {}

  std::string text_, body_;
  Range method_, target_;
  std::vector<std::pair<Range, Range>> fields_;
};

unsigned status_of(const beast::error_code& ec) {
  if (ec == http::error::header_limit || ec == http::error::buffer_overflow) return 431;
  if (ec == http::error::body_limit) return 413;
  if (ec == http::error::bad_version) return 505;
  return 400;
}

bool has_body(unsigned status) {
  return status >= 200 && status != 204 && status != 304;
}

}  // namespace

std::string_view reason_phrase(unsigned status) {
  if (status == 499) return "";
  const auto known = http::int_to_status(status);
  if (known == http::status::unknown) return "";
  const auto s = http::obsolete_reason(known);
  return {s.data(), s.size()};
}

std::optional<std::string_view> Request::field(std::string_view name) const {
  for (const auto& [n, value] : fields) {
    if (equals_folded(n, name)) return value;
  }
  return std::nullopt;
}

class ServerConnection::Impl {
 public:
  Impl(RequestHandler& h, const Limits& l) : handler(h), limits(l) {}

  RequestHandler& handler;
  const Limits limits;
  std::string in, out;
  std::optional<Parser> parser;
  Request request;
  bool continued = false;    // 100 Continue was sent for this request
  bool in_progress = false;  // told to the handler, answer not complete
  bool keep_alive = false, head = false;
  bool started = false, chunked = false, bodiless = false;  // a streamed answer
  bool eof = false, closing = false;
  bool parsing = false;

  // Parses what is buffered, as long as requests are answered at once. Not recursive: an answer within
  // on_request() returns into the loop.
  void parse() {
    if (parsing) return;
    parsing = true;
    while (!closing && !in_progress && parse_one()) {
    }
    parsing = false;
    if (eof && !in_progress) closing = true;
  }

  // False: needs more bytes.
  bool parse_one() {
    if (!parser) {
      // Empty lines before a request are forgiven, as by Go and RFC 9112 2.2.
      in.erase(0, std::min(in.find_first_not_of("\r\n"), in.size()));
      if (in.empty()) return false;
      parser.emplace(limits);
      continued = false;
    }
    beast::error_code ec;
    size_t used = 0;
    while (used < in.size() && !parser->is_done()) {
      // The end of a chunked body is at least "0\r\n\r\n"; shown less of it twice, Beast 1.81 asserts.
      if (parser->is_header_done() && parser->chunked() && in.size() - used < 5) break;
      const size_t n = parser->put(boost::asio::const_buffer(in.data() + used, in.size() - used), ec);
      used += n;
      if (ec) break;
      if (n == 0) break;
    }
    in.erase(0, used);
    if (ec == http::error::need_more) ec = {};
    if (ec) return refuse(status_of(ec));
    if (parser->is_header_done()) {
      if (parser->refusal != 0) return refuse(parser->refusal);
      if (parser->version != 10 && parser->version != 11) return refuse(505);
      if (parser->version == 11 && !parser->has_host) return refuse(400, ": missing required Host header");
      if (parser->expects_continue && !parser->is_done() && !continued && parser->version == 11) {
        continued = true;
        out += "HTTP/1.1 100 Continue\r\n\r\n";
      }
    } else if (in.size() > limits.header_bytes) {
      return refuse(431);
    }
    if (!parser->is_done()) return false;
    parser->fill(request);
    keep_alive = parser->keep_alive();
    head = parser->is_head();
    in_progress = true;
    started = chunked = bodiless = false;
    handler.on_request(request);
    return true;
  }

  bool refuse(unsigned status, std::string_view detail = {}) {
    const std::string line = fmt::format("{} {}", status, reason_phrase(status));
    out += fmt::format(
        "HTTP/1.1 {}{}\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n{}{}", line,
        detail, line, detail);
    closing = true;
    in.clear();
    return false;
  }

  void head_of_answer(unsigned status, const std::vector<std::pair<std::string, std::string>>& fields,
                      std::string_view date) {
    CHECK(in_progress && !started);
    out += fmt::format("HTTP/{}.{} {:03} {}\r\n", request.version / 10, request.version % 10, status,
                       reason_phrase(status));
    for (const auto& [name, value] : fields) append_field(name, value);
    if (!date.empty()) append_field("Date", date);
  }

  // A value from elsewhere must not begin a field of its own.
  void append_field(std::string_view name, std::string_view value) {
    out.append(name).append(": ");
    for (const char c : value) out += c == '\r' || c == '\n' || c == '\0' ? ' ' : c;
    out += "\r\n";
  }

  void connection_field() {
    if (!keep_alive) {
      append_field("Connection", "close");
    } else if (request.version == 10) {
      append_field("Connection", "keep-alive");
    }
  }

  void complete() {
    in_progress = false;
    parser.reset();
    if (!keep_alive) {
      closing = true;
      in.clear();
    }
    parse();
  }
};

ServerConnection::ServerConnection(RequestHandler& handler, const Limits& limits)
    : impl_(std::make_unique<Impl>(handler, limits)) {}
ServerConnection::~ServerConnection() = default;

void ServerConnection::feed(std::string_view bytes) {
  if (impl_->closing || impl_->eof) return;
  impl_->in.append(bytes);
  impl_->parse();
}

void ServerConnection::feed_eof() {
  impl_->eof = true;
  impl_->parse();
}

void ServerConnection::abort() {
  impl_->closing = true;
  impl_->in.clear();
  if (!impl_->in_progress) return;
  impl_->in_progress = false;
  impl_->handler.on_aborted();
}

bool ServerConnection::reading() const {
  return !impl_->closing && !impl_->eof &&
         (!impl_->in_progress || impl_->in.size() < impl_->limits.pipelined_bytes);
}
std::string ServerConnection::take_output() {
  return std::exchange(impl_->out, {});
}
bool ServerConnection::has_output() const {
  return !impl_->out.empty();
}
bool ServerConnection::closing() const {
  return impl_->closing && !impl_->in_progress;
}
bool ServerConnection::request_in_progress() const {
  return impl_->in_progress;
}
bool ServerConnection::receiving() const {
  return !impl_->in_progress && !impl_->closing && (impl_->parser || !impl_->in.empty());
}

void ServerConnection::respond(const Response& response, std::string_view date) {
  Impl& i = *impl_;
  if (!i.in_progress) return;
  i.head_of_answer(response.status, response.fields, date);
  if (has_body(response.status)) i.append_field("Content-Length", std::to_string(response.body.size()));
  i.connection_field();
  i.out += "\r\n";
  if (has_body(response.status) && !i.head) i.out += response.body;
  i.complete();
}

void ServerConnection::start(unsigned status, const std::vector<std::pair<std::string, std::string>>& fields,
                             std::string_view date) {
  Impl& i = *impl_;
  if (!i.in_progress) return;
  i.head_of_answer(status, fields, date);
  i.started = true;
  i.bodiless = i.head || !has_body(status);
  i.chunked = has_body(status) && i.request.version == 11;
  // An HTTP/1.0 client learns the end of a body without a length only from the connection's end.
  if (has_body(status) && !i.chunked) i.keep_alive = false;
  i.connection_field();
  if (i.chunked) i.append_field("Transfer-Encoding", "chunked");
  i.out += "\r\n";
}

void ServerConnection::write(std::string_view bytes) {
  Impl& i = *impl_;
  if (!i.in_progress || i.bodiless || bytes.empty()) return;
  CHECK(i.started);
  if (!i.chunked) {
    i.out += bytes;
    return;
  }
  i.out += fmt::format("{:x}\r\n", bytes.size());
  i.out.append(bytes).append("\r\n");
}

void ServerConnection::finish() {
  Impl& i = *impl_;
  if (!i.in_progress) return;
  CHECK(i.started);
  if (i.chunked && !i.bodiless) i.out += "0\r\n\r\n";
  i.complete();
}

}  // namespace quoin::http1

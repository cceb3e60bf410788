#include "http1/server_connection.h"

#include <boost/beast/http/status.hpp>

#include "base/check.h"
#include "http1/request_parser.h"

namespace quoin::http1 {
namespace {
namespace http = boost::beast::http;

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
  std::string in;   // received behind the request in progress
  std::string out;  // of the answers, not taken yet
  std::optional<RequestParser> parser;
  Request request;
  bool continued = false;    // 100 Continue was sent for this request
  bool in_progress = false;  // told to the handler, answer not complete
  bool writing = false;      // output was taken and is not written yet
  bool after_post = false;   // the request before was a POST
  bool keep_alive = false, head = false;
  bool started = false, chunked = false, bodiless = false;  // a streamed answer
  bool eof = false, closing = false;
  bool parsing = false;

  bool waits() const { return writing || !out.empty(); }

  // Parses `in` and `bytes`, as long as requests are answered at once and their answers are gone. Not
  // recursive: an answer within on_request() returns into the loop.
  void parse(std::string_view bytes = {}) {
    if (parsing) {
      in.append(bytes);
      return;
    }
    parsing = true;
    if (!in.empty()) {
      in.append(bytes);
      const std::string all = std::exchange(in, {});
      parse_all(all);
    } else {
      parse_all(bytes);
    }
    parsing = false;
    if (eof && !in_progress && (in.empty() || parser)) closing = true;
  }

  void parse_all(std::string_view bytes) {
    while (!closing && !in_progress) {
      if (!parser && !begin_request(bytes)) break;
      const size_t used = parser->feed(bytes);
      bytes.remove_prefix(used);
      if (parser->refusal() != 0) return refuse(parser->refusal(), parser->detail());
      if (!parser->done()) {
        if (parser->head_done() && parser->expects_continue() && parser->version() == 11 &&
            !std::exchange(continued, true)) {
          out += "HTTP/1.1 100 Continue\r\n\r\n";
        }
        return;
      }
      tell();
    }
    if (!closing) in.append(bytes);
  }

  // False: nothing of it is there, or its turn has not come.
  bool begin_request(std::string_view& bytes) {
    if (waits()) return false;
    // Old clients send an empty line behind a POST's body (RFC 9112 2.2).
    if (after_post) bytes.remove_prefix(std::min(bytes.find_first_not_of("\r\n"), bytes.size()));
    if (bytes.empty()) return false;
    parser.emplace(limits);
    continued = false;
    return true;
  }

  void tell() {
    parser->fill(request);
    keep_alive = parser->keep_alive();
    head = request.method == "HEAD";
    after_post = request.method == "POST";
    in_progress = true;
    started = chunked = bodiless = false;
    handler.on_request(request);
  }

  void refuse(unsigned status, std::string_view detail) {
    const std::string line = fmt::format("{} {}", status, reason_phrase(status));
    out += fmt::format(
        "HTTP/1.1 {}{}\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n{}{}", line,
        detail,
        status == 417   ? ""
        : status == 501 ? "Unsupported transfer encoding"
                        : line,
        detail);
    end();
  }

  void end() {
    closing = true;
    in = {};
    parser.reset();
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
    if (!keep_alive) end();
    parse();
  }
};

ServerConnection::ServerConnection(RequestHandler& handler, const Limits& limits)
    : impl_(std::make_unique<Impl>(handler, limits)) {}
ServerConnection::~ServerConnection() = default;

void ServerConnection::feed(std::string_view bytes) {
  if (impl_->closing || impl_->eof) return;
  impl_->parse(bytes);
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
         ((!impl_->in_progress && !impl_->waits()) || impl_->in.size() < impl_->limits.pipelined_bytes);
}
std::string ServerConnection::take_output() {
  impl_->writing |= !impl_->out.empty();
  return std::exchange(impl_->out, {});
}
void ServerConnection::output_written() {
  impl_->writing = false;
  impl_->parse();
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

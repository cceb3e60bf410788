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
  std::string in;   // received behind what is wanted of the request in progress
  std::string out;  // of the answers, not taken yet
  std::optional<RequestParser> parser;
  Request request;
  BodyDecoder body;
  std::string collected;     // the body, where the handler wants it whole
  bool pieces = false;       // the handler takes it in pieces
  bool wanted = false;       // read_body() was called
  bool body_told = false;    // its end or its failure
  size_t unconsumed = 0;     // of the pieces
  bool continued = false;    // 100 Continue was sent for this request
  bool in_progress = false;  // told to the handler, answer not complete
  bool discarding = false;   // answered, and the rest of its body is thrown away
  bool writing = false;      // output was taken and is not written yet
  bool after_post = false;   // the request before was a POST
  bool keep_alive = false, head = false;
  bool started = false, chunked = false, bodiless = false;  // a streamed answer
  bool eof = false, closing = false, taken_over = false;
  bool parsing = false;

  bool waits() const { return writing || !out.empty(); }
  bool takes_pieces() const {
    return in_progress && pieces && wanted && !body_told && unconsumed < limits.body_window_bytes;
  }

  // Parses `in` and `bytes`, as long as requests are answered at once and their answers are gone. Not
  // recursive: an answer within a callback returns into the loop.
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
    if (eof && in_progress && pieces && wanted && !body_told) fail_body(Error(Code::kIo, "unexpected EOF"));
    parsing = false;
    if (eof && !in_progress && (in.empty() || parser || discarding)) closing = true;
  }

  void parse_all(std::string_view bytes) {
    while (!closing && !taken_over) {
      if (discarding) {
        bytes.remove_prefix(body.feed(bytes, [](std::string_view) {}));
        if (!body.done()) return;  // its length is known: it cannot fail
        discarding = false;
      } else if (in_progress) {
        if (!pieces || !wanted || body_told) break;
        bytes.remove_prefix(hand_on(bytes));
        if (in_progress && !body_told) return;
      } else if (parser && parser->head_done()) {
        if (!collect(bytes)) return;
      } else {
        if (!parser && !begin_request(bytes)) break;
        bytes.remove_prefix(parser->feed(bytes));
        if (parser->refusal() != 0) return refuse(parser->refusal(), parser->detail());
        if (!parser->head_done()) return;
        head_arrived();
      }
    }
    if (!closing && !taken_over) in.append(bytes);
  }

  // False: nothing of it is there, or its turn has not come.
  bool begin_request(std::string_view& bytes) {
    if (waits()) return false;
    // Old clients send an empty line behind a POST's body (RFC 9112 2.2).
    if (after_post) bytes.remove_prefix(std::min(bytes.find_first_not_of("\r\n"), bytes.size()));
    if (bytes.empty()) return false;
    parser.emplace(limits);
    return true;
  }

  void head_arrived() {
    parser->fill(request);
    body = parser->body();
    keep_alive = parser->keep_alive();
    head = request.method == "HEAD";
    after_post = request.method == "POST";
    collected.clear();
    continued = wanted = body_told = false;
    started = chunked = bodiless = false;
    unconsumed = 0;
    in_progress = pieces = true;
    const bool in_pieces = handler.on_head(request);
    if (in_pieces || closing || taken_over) return;
    CHECK(in_progress);  // who answers within on_head() takes the body in pieces
    in_progress = pieces = false;
    body.set_bytes_max(limits.body_bytes);
    if (body.left().value_or(0) > limits.body_bytes) refuse(413, {});
  }

  // More of a body that is told when it is whole. False: there is no more now.
  bool collect(std::string_view& bytes) {
    bytes.remove_prefix(body.feed(bytes, [this](std::string_view piece) { collected.append(piece); }));
    if (body.failure() != BodyDecoder::Failure::kNone) {
      refuse(body.failure() == BodyDecoder::Failure::kTooLong ? 413 : 400, {});
      return false;
    }
    if (!body.done()) {
      say_continue();
      return false;
    }
    request.body = collected;
    in_progress = true;
    handler.on_request(request);
    return true;
  }

  void say_continue() {
    if (body.done() || !parser->expects_continue() || request.version < 11) return;
    if (!std::exchange(continued, true)) out += "HTTP/1.1 100 Continue\r\n\r\n";
  }

  // More of a body in pieces.
  size_t hand_on(std::string_view bytes) {
    const size_t used = body.feed(bytes, [this](std::string_view piece) {
      if (!in_progress) return;  // answered meanwhile
      unconsumed += piece.size();
      handler.on_body(piece);
    });
    if (!in_progress) return used;
    if (body.failure() == BodyDecoder::Failure::kTooLong) {
      fail_body(Error(Code::kLimit, "http: request body too large"));
    } else if (body.failure() != BodyDecoder::Failure::kNone) {
      fail_body(Error(Code::kMalformed, "malformed chunked encoding"));
    } else if (body.done()) {
      body_told = true;
      handler.on_body_end();
    }
    return used;
  }

  void fail_body(Error why) {
    body_told = true;
    keep_alive = false;
    handler.on_body_failed(std::move(why));
  }

  // Whether what the client still sends of the request leaves the connection usable.
  bool rest_is_short() const {
    if (body.done()) return true;
    if (body.failure() != BodyDecoder::Failure::kNone) return false;
    // A client that waits for 100 Continue may send the body, or may not.
    if (parser->expects_continue() && !continued) return false;
    return body.left() && *body.left() <= kDiscardedBodyMax;
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
    collected = {};
    parser.reset();
  }

  void head_of_answer(unsigned status, const std::vector<std::pair<std::string, std::string>>& fields,
                      std::string_view date) {
    CHECK(in_progress && !started);
    if (!rest_is_short()) keep_alive = false;
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
    discarding = !body.done();
    collected = {};
    parser.reset();
    if (!keep_alive) end();
    parse();
  }
};

ServerConnection::ServerConnection(RequestHandler& handler, const Limits& limits)
    : impl_(std::make_unique<Impl>(handler, limits)) {}
ServerConnection::~ServerConnection() = default;

void ServerConnection::feed(std::string_view bytes) {
  if (impl_->closing || impl_->eof || impl_->taken_over) return;
  impl_->parse(bytes);
}

void ServerConnection::feed_eof() {
  if (impl_->taken_over) return;
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
  const Impl& i = *impl_;
  if (i.closing || i.eof || i.taken_over) return false;
  if (i.in_progress && i.pieces && i.wanted && !i.body_told) return i.takes_pieces();
  return i.discarding || (!i.in_progress && !i.waits()) || i.in.size() < i.limits.pipelined_bytes;
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
  const Impl& i = *impl_;
  if (i.closing || i.taken_over) return false;
  return i.in_progress ? i.takes_pieces() : i.discarding || i.parser || !i.in.empty();
}

void ServerConnection::read_body(uint64_t bytes_max) {
  Impl& i = *impl_;
  if (!i.in_progress || !i.pieces || i.wanted) return;
  i.wanted = true;
  i.body.set_bytes_max(bytes_max);
  if (i.body.left().value_or(0) > bytes_max)
    return i.fail_body(Error(Code::kLimit, "http: request body too large"));
  i.say_continue();
  i.parse();
}

void ServerConnection::consumed(size_t bytes) {
  Impl& i = *impl_;
  if (!i.in_progress || !i.pieces) return;
  CHECK_LE(bytes, i.unconsumed);
  i.unconsumed -= bytes;
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

bool ServerConnection::take_over() {
  Impl& i = *impl_;
  CHECK(i.in_progress && i.started);
  i.in_progress = false;
  i.taken_over = true;
  i.in = {};
  return i.chunked;
}

}  // namespace quoin::http1

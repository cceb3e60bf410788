#include "http1/client_connection.h"

#include "base/check.h"
#include "http1/chunk.h"
#include "http1/response_parser.h"

namespace quoin::http1 {
namespace {
// What Go puts before an error in the head of an answer.
constexpr std::string_view kBroken = "net/http: HTTP/1.x transport connection broken";
}  // namespace

std::optional<std::string_view> ResponseHead::field(std::string_view name) const {
  for (const auto& [n, value] : fields) {
    if (equals_folded(n, name)) return value;
  }
  return std::nullopt;
}

class ClientConnection::Impl {
 public:
  Impl(ResponseHandler& h, const ClientLimits& l) : handler(h), limits(l) {}

  ResponseHandler& handler;
  const ClientLimits limits;
  std::string out;      // not taken yet
  size_t taken = 0;     // taken, and not known to be written
  bool broken = false;  // of no use any more

  // ---- the exchange ----
  bool in_progress = false;
  bool head_only = false;  // a HEAD request
  bool sent = false;       // the request is whole
  bool chunked = false;    // its body
  uint64_t promised = 0;   // of a body with Content-Length, not written yet
  bool begun = false;      // a byte of the answer came
  std::optional<ResponseParser> parser;
  ResponseHead head;
  bool head_told = false;
  BodyDecoder body;

  void request_head(const ClientRequest& request, std::string_view framing, std::string_view value) {
    CHECK(!in_progress && !broken);
    out.append(request.method).append(" ").append(request.target).append(" HTTP/1.1\r\n");
    append_field("Host", request.host);
    for (const auto& [name, v] : request.fields) append_field(name, v);
    if (!framing.empty()) append_field(framing, value);
    out += "\r\n";
    in_progress = true;
    head_only = request.method == "HEAD";
    sent = chunked = begun = head_told = false;
    promised = 0;
    parser.emplace(limits.head_bytes);
    body = {};
  }

  // A value from elsewhere must not begin a field of its own.
  void append_field(std::string_view name, std::string_view value) {
    out.append(name).append(": ");
    for (const char c : value) out += c == '\r' || c == '\n' || c == '\0' ? ' ' : c;
    out += "\r\n";
  }

  void feed(std::string_view bytes) {
    if (bytes.empty() || broken) return;
    begun |= in_progress;
    while (in_progress && !head_told) {
      bytes.remove_prefix(parser->feed(bytes));
      if (parser->error()) return fail(parser->error()->prefixed(kBroken));
      if (!parser->head_done()) return;
      if (parser->status() / 100 == 1 && parser->status() != 101) {
        const size_t before = parser->head_bytes();
        parser.emplace(limits.head_bytes, before);
        continue;
      }
      head_told = true;
      parser->fill(head);
      body = parser->body(head_only);
      handler.on_head(head);
    }
    if (in_progress && !body.done()) {
      bytes.remove_prefix(body.feed(bytes, [this](std::string_view piece) {
        if (in_progress) handler.on_body(piece);  // else it was given up
      }));
      if (body.failure() != BodyDecoder::Failure::kNone)
        return fail(Error(Code::kMalformed, "malformed chunked encoding"));
    }
    if (in_progress && body.done()) complete();
    // Nobody asked for what is left: what it would answer cannot be known.
    if (!bytes.empty()) broken = true;
  }

  void complete() {
    in_progress = false;
    if (!sent || !parser->keep_alive() || parser->status() == 101) broken = true;
    drop_rest();
    handler.on_complete();
  }

  void fail(Error error) {
    broken = true;
    if (!std::exchange(in_progress, false)) return;
    drop_rest();
    handler.on_error(std::move(error));
  }

  // Nothing more of a broken connection's request is sent.
  void drop_rest() {
    if (broken) out = {};
  }
};

ClientConnection::ClientConnection(ResponseHandler& handler, const ClientLimits& limits)
    : impl_(std::make_unique<Impl>(handler, limits)) {}
ClientConnection::~ClientConnection() = default;

void ClientConnection::send(const ClientRequest& request, std::string_view body) {
  const std::string_view m = request.method;
  if (body.empty() && m != "POST" && m != "PUT" && m != "PATCH") {
    impl_->request_head(request, {}, {});
  } else {
    start(request, body.size());
    write(body);
  }
  finish();
}

void ClientConnection::start(const ClientRequest& request) {
  impl_->request_head(request, "Transfer-Encoding", "chunked");
  impl_->chunked = true;
}

void ClientConnection::start(const ClientRequest& request, uint64_t content_length) {
  impl_->request_head(request, "Content-Length", std::to_string(content_length));
  impl_->promised = content_length;
}

void ClientConnection::write(std::string_view bytes) {
  Impl& i = *impl_;
  if (!i.in_progress || bytes.empty()) return;
  CHECK(!i.sent);
  if (i.chunked) {
    i.out.append(chunk_head(bytes.size())).append(bytes).append(kChunkEnd);
  } else {
    CHECK_LE(bytes.size(), i.promised);
    i.promised -= bytes.size();
    i.out.append(bytes);
  }
}

void ClientConnection::finish() {
  Impl& i = *impl_;
  if (!i.in_progress) return;
  CHECK(!i.sent);
  CHECK_EQ(i.promised, 0u);
  i.sent = true;
  if (i.chunked) i.out += kLastChunk;
}

size_t ClientConnection::queued_bytes() const {
  return impl_->out.size() + impl_->taken;
}

void ClientConnection::feed(std::string_view bytes) {
  impl_->feed(bytes);
}

void ClientConnection::feed_eof() {
  Impl& i = *impl_;
  if (i.broken) return;
  if (i.in_progress && i.head_told && i.body.feed_eof()) {
    i.broken = true;
    return i.complete();
  }
  const Error torn(Code::kIo, "unexpected EOF");
  i.fail(!i.begun ? Error(Code::kIo, "EOF") : i.head_told ? torn : torn.prefixed(kBroken));
}

void ClientConnection::abort(Error error) {
  impl_->fail(std::move(error));
}

bool ClientConnection::has_output() const {
  return !impl_->out.empty();
}

std::string ClientConnection::take_output() {
  impl_->taken += impl_->out.size();
  return std::exchange(impl_->out, {});
}

void ClientConnection::output_written() {
  Impl& i = *impl_;
  i.taken = 0;
  if (i.in_progress && !i.sent && i.out.empty()) i.handler.on_writable();
}

bool ClientConnection::in_progress() const {
  return impl_->in_progress;
}

bool ClientConnection::request_sent() const {
  return impl_->sent;
}

bool ClientConnection::response_begun() const {
  return impl_->begun;
}

bool ClientConnection::keep_alive() const {
  return !impl_->in_progress && !impl_->broken;
}

}  // namespace quoin::http1

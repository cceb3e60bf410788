// Feeds an HTTP/1.1 client connection whatever a server might answer, in pieces whose length is the input's first
// byte. The same bytes in one piece must give the same answers. The second byte says what was asked.
#include <cstdint>
#include <string>

#include "base/check.h"
#include "http1/client_connection.h"

namespace {
struct Handler final : quoin::http1::ResponseHandler {
  std::string seen;
  void on_head(const quoin::http1::ResponseHead& head) override {
    seen.append("<").append(head.status_text);
    for (const auto& [name, value] : head.fields) seen.append(name).append("=").append(value).append(";");
    seen += ">";
  }
  void on_body(std::string_view bytes) override {
    CHECK(!bytes.empty());
    seen += bytes;
  }
  void on_complete() override { seen += "."; }
  void on_error(quoin::Error e) override { seen.append("!").append(e.text()); }
};

std::string run(std::string_view input, size_t piece, uint8_t asked) {
  Handler handler;
  quoin::http1::ClientConnection connection(handler, {.head_bytes = 4096});
  if (asked & 1) {
    connection.start({"POST", "/", "h", {}});
    connection.write("body");
    if (asked & 2) connection.finish();
  } else {
    connection.send({asked & 2 ? "HEAD" : "GET", "/", "h", {}});
  }
  // One exchange: what came behind an answer in the same piece makes the connection useless, so a second one would show
  // where the cuts are.
  for (size_t at = 0; at < input.size() && connection.in_progress(); at += piece) {
    connection.feed(input.substr(at, piece));
    if (at == 0) (void)connection.take_output();
    connection.output_written();
  }
  connection.feed_eof();
  CHECK(!connection.in_progress());
  CHECK(!connection.keep_alive());
  return handler.seen;
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 3) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data + 2), size - 2);
  const std::string whole = run(input, input.size(), data[1]);
  const std::string cut = run(input, data[0] == 0 ? 1 : data[0], data[1]);
  CHECK(whole == cut);
  return 0;
}

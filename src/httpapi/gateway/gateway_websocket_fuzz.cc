// A byte that says how the rest is cut, then what a client sends by WebSocket. However it is cut, the same is told,
// and nothing is told behind a close or violation.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "base/check.h"
#include "httpapi/gateway/websocket_frames.h"

namespace {
using quoin::httpapi::gateway::WebSocketReader;

struct Told final : WebSocketReader::Handler {
  std::string log;
  bool over = false;
  void tell(std::string_view what, std::string_view text) {
    CHECK(!over);
    log.append(what).append(text);
  }
  void on_payload(std::string_view part) override {
    CHECK(!part.empty());
    tell("", part);
  }
  void on_message_end() override { tell("|", ""); }
  void on_ping(std::string_view payload) override {
    CHECK_LE(payload.size(), 125u);
    tell("ping", payload);
  }
  void on_close(uint16_t code) override {
    tell("close", std::to_string(code));
    over = true;
  }
  void on_violation(std::string_view text) override {
    tell("violation", text);
    over = true;
  }
};
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const size_t cut = data[0] + size_t{1};
  WebSocketReader whole, pieces;
  Told a, b;
  whole.feed(bytes, a);
  for (size_t i = 0; i < bytes.size(); i += cut) pieces.feed(bytes.substr(i, cut), b);
  CHECK(a.log == b.log);
  return 0;
}

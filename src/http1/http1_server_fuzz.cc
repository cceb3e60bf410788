// Feeds an HTTP/1.1 server connection whatever a client might send, in pieces whose length is the input's
// first byte. The same bytes in one piece must give the same requests. Targets that begin with "/p" are taken in
// pieces, those that begin with "/q" are answered before their body is whole.
#include <cstdint>
#include <string>
#include <vector>

#include "base/check.h"
#include "http1/server_connection.h"

namespace {
struct Handler final : quoin::http1::RequestHandler {
  quoin::http1::ServerConnection* connection = nullptr;
  const quoin::http1::Request* head = nullptr;  // of a body in pieces
  std::vector<std::string> seen;
  void on_request(const quoin::http1::Request& r) override {
    std::string all = std::string(r.method) + " " + std::string(r.target) + " " + std::string(r.body);
    for (const auto& [name, value] : r.fields) all.append(name).append("=").append(value).append(";");
    seen.push_back(std::move(all));
    answer(r, r.body);
  }
  bool on_head(const quoin::http1::Request& r) override {
    if (!r.path.starts_with("/p") && !r.path.starts_with("/q")) return false;
    head = &r;
    seen.push_back("head " + std::string(r.target) + " ");
    if (r.path.starts_with("/q0")) {
      answer(r, "");
    } else {
      connection->read_body(r.path.ends_with("1") ? 1 : 20'000);
    }
    return true;
  }
  void on_body(std::string_view piece) override {
    CHECK(!piece.empty());
    connection->consumed(piece.size());
    // Where the cuts are, must not show.
    if (!head->path.starts_with("/q")) seen.back() += piece;
    if (head->path.starts_with("/q")) answer(*head, "");
  }
  void on_body_end() override {
    if (!head->path.starts_with("/q")) seen.back() += ".";
    answer(*head, "end");
  }
  void on_body_failed(quoin::Error e) override {
    if (!head->path.starts_with("/q")) seen.back() += e.text();
    answer(*head, "failed");
  }
  void answer(const quoin::http1::Request& r, std::string_view body) {
    if (r.path.ends_with("s")) {
      connection->start(200, {}, "");
      connection->write(body);
      connection->finish();
    } else {
      connection->respond({200, {{"X", std::string(r.target)}}, std::string(body)}, "");
    }
  }
};

std::vector<std::string> run(std::string_view input, size_t piece) {
  quoin::http1::Limits limits;
  limits.header_bytes = 4096;
  limits.body_bytes = 10'000;
  Handler handler;
  quoin::http1::ServerConnection connection(handler, limits);
  handler.connection = &connection;
  for (size_t i = 0; i < input.size() && connection.reading(); i += piece) {
    connection.feed(input.substr(i, piece));
    while (connection.has_output()) {
      (void)connection.take_output();
      connection.output_written();
    }
  }
  connection.feed_eof();
  while (connection.has_output()) {
    (void)connection.take_output();
    connection.output_written();
  }
  CHECK(connection.closing());
  connection.abort();
  return handler.seen;
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data + 1), size - 1);
  const auto whole = run(input, input.size());
  const auto cut = run(input, data[0] == 0 ? 1 : data[0]);
  CHECK_EQ(whole.size(), cut.size());
  for (size_t i = 0; i < whole.size(); ++i) CHECK(whole[i] == cut[i]);
  return 0;
}

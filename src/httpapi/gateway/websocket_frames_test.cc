#include "httpapi/gateway/websocket_frames.h"

#include <gtest/gtest.h>

namespace quoin::httpapi::gateway {
namespace {

// What was told, as one line.
struct Told final : WebSocketReader::Handler {
  std::string log;
  void on_payload(std::string_view part) override { log += part; }
  void on_message_end() override { log += "|"; }
  void on_ping(std::string_view payload) override { log += fmt::format("<ping {}>", payload); }
  void on_close(uint16_t code) override { log += fmt::format("<close {}>", code); }
  void on_violation(std::string_view text) override { log += fmt::format("<{}>", text); }
};

std::string frame(uint8_t first, std::string_view payload) {
  std::string out = {static_cast<char>(first)};
  if (payload.size() < 126) {
    out += static_cast<char>(0x80 | payload.size());
  } else {
    out += static_cast<char>(0x80 | 126);
    out += static_cast<char>(payload.size() >> 8);
    out += static_cast<char>(payload.size());
  }
  const unsigned char mask[4] = {1, 0x80, 0x7f, 0xff};
  out.append(reinterpret_cast<const char*>(mask), 4);
  for (size_t i = 0; i < payload.size(); ++i) out += static_cast<char>(payload[i] ^ mask[i & 3]);
  return out;
}

std::string told(std::string_view bytes, size_t cut) {
  WebSocketReader reader;
  Told t;
  for (size_t i = 0; i < bytes.size(); i += cut) reader.feed(bytes.substr(i, cut), t);
  return t.log;
}

TEST(WebSocketFrames, ReadInAnyCut) {
  const std::string longer(300, 'x');
  const struct {
    std::string bytes, log;
  } rows[] = {
      {frame(0x81, "hello"), "hello|"},
      {frame(0x81, ""), "|"},
      {frame(0x82, longer), longer + "|"},
      {frame(0x01, "a") + frame(0x89, "p") + frame(0x80, "b"), "a<ping p>b|"},
      {frame(0x8a, "pong") + frame(0x81, "x"), "x|"},
      {frame(0x88, "") + frame(0x81, "x"), "<close 1005>"},
      {frame(0x88,
             "\x03\xe8"
             "bye"),
       "<close 1000>"},
      {frame(0x88, "\x03\xed"), "<invalid close code>"},
      {frame(0x88, "\x03\xe8\xff"), "<invalid utf8 payload in close frame>"},
      {frame(0xc1, "x"), "<unexpected reserved bits>"},
      {frame(0x83, "x"), "<unknown opcode>"},
      {frame(0x80, "x"), "<continuation after final message frame>"},
      {frame(0x01, "x") + frame(0x81, "y"), "x<message start before final message frame>"},
      {frame(0x09, "x"), "<control frame not final>"},
      {frame(0x89, longer), "<control frame length > 125>"},
      {std::string("\x81\x01x", 3), "<incorrect mask flag>"},
  };
  for (const auto& row : rows) {
    for (const size_t cut : {1, 2, 3, 1000}) EXPECT_EQ(told(row.bytes, cut), row.log) << row.log;
  }
}

TEST(WebSocketFrames, Written) {
  EXPECT_EQ(websocket_frame(WebSocketOpcode::kText, "hi"), "\x81\x02hi");
  EXPECT_EQ(websocket_frame(WebSocketOpcode::kText, std::string(126, 'x')).substr(0, 4),
            std::string("\x81\x7e\x00\x7e", 4));
  EXPECT_EQ(websocket_frame(WebSocketOpcode::kText, std::string(65'536, 'x')).substr(0, 10),
            std::string("\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00", 10));
  EXPECT_EQ(websocket_close_payload(1002, "x"), "\x03\xeax");
  EXPECT_EQ(websocket_close_payload(1005, ""), "");
  // RFC 6455, 1.3
  EXPECT_EQ(websocket_accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

// The messages that a client makes of unmasked frames, each in "<>".
std::string messages(std::string_view bytes) {
  std::string out;
  bool open = false;
  while (!bytes.empty()) {
    const auto first = static_cast<uint8_t>(bytes[0]);
    size_t n = static_cast<uint8_t>(bytes[1]), head = 2;
    if (n == 126) {
      n = static_cast<size_t>(static_cast<uint8_t>(bytes[2]) << 8 | static_cast<uint8_t>(bytes[3]));
      head = 4;
    }
    EXPECT_EQ(first & 0x7f, open ? 0 : 1);
    if (!open) out += '<';
    out += bytes.substr(head, n);
    open = (first & 0x80) == 0;
    if (!open) out += '>';
    bytes.remove_prefix(head + n);
  }
  EXPECT_FALSE(open);
  return out;
}

TEST(WebSocketFrames, EachLineIsAMessageInAnyCut) {
  const std::string longer(300, 'x');
  const struct {
    std::string text, seen;
  } rows[] = {
      {"", ""},
      {"a", "<a>"},
      {"a\n", "<a>"},
      {"a\nb", "<a><b>"},
      {"\n\na\n\nbc\n\n", "<a><bc>"},
      {"a\r\nb\r", "<a><b>"},
      {"\r\n\r", ""},
      {"\r\r\n\ra\r\r\n", "<\r><\ra\r>"},
      {longer + "\n" + longer, "<" + longer + "><" + longer + ">"},
  };
  for (const auto& row : rows) {
    for (const size_t cut : {1, 2, 3, 7, 1000}) {
      WebSocketLines lines;
      std::string out;
      for (size_t i = 0; i < row.text.size(); i += cut)
        lines.add(std::string_view(row.text).substr(i, cut), out);
      lines.end(out);
      EXPECT_EQ(messages(out), row.seen) << row.text << " by " << cut;
    }
  }
}

TEST(WebSocketFrames, WholeLinesAreWholeFrames) {
  WebSocketLines lines;
  std::string out;
  lines.add("ab\ncd\n", out);
  EXPECT_EQ(out,
            "\x81\x02"
            "ab\x81\x02"
            "cd");
}

}  // namespace
}  // namespace quoin::httpapi::gateway

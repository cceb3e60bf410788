#include "http2/session.h"

#include <gtest/gtest.h>

#include "base/prng.h"

namespace quoin::http2 {
namespace {

std::string frame(uint8_t type, uint8_t flags, uint32_t stream, std::string_view payload) {
  std::string f;
  const auto n = static_cast<uint32_t>(payload.size());
  for (const uint32_t b : {n >> 16, n >> 8, n, uint32_t{type}, uint32_t{flags}, stream >> 24, stream >> 16,
                           stream >> 8, stream}) {
    f += static_cast<char>(b);
  }
  return f.append(payload);
}
const std::string kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, "");
// :method POST, :scheme http, :path /
const std::string kBlock = "\x83\x86\x84";

struct Handler final : SessionHandler {
  int headers = 0, closed = 0, pings = 0;
  void on_headers(StreamId id, void*, HeaderBlock&, bool) override {
    ++headers;
    if (session) session->set_stream_user(id, this);
  }
  void on_data(StreamId, void*, std::string_view) override {}
  void on_end_stream(StreamId, void*) override {}
  void on_stream_closed(StreamId, void*, ErrorCode) override { ++closed; }
  void on_ping(bool ack, uint64_t) override { pings += ack ? 0 : 1; }
  Session* session = nullptr;
};

struct Server {
  explicit Server(Limits limits = {}) : session(Session::Role::kServer, handler, limits) {
    handler.session = &session;
  }
  Handler handler;
  Session session;
  Result<> result{};
  bool feed(std::string_view bytes) {
    result = session.feed(bytes, 1);
    return bool(result);
  }
  std::string output() {
    ByteQueue out;
    (void)session.produce(out, SIZE_MAX);
    return out.take_all();
  }
};

TEST(Session, FirstSettings) {
  Server s;
  EXPECT_EQ(s.output(), frame(4, 0, 0, std::string("\0\5\0\0\x40\0", 6)));
  Limits limits;
  limits.max_concurrent_streams = 7;
  Server t(limits);
  EXPECT_EQ(t.output(), frame(4, 0, 0, std::string("\0\5\0\0\x40\0\0\3\0\0\0\7", 12)));
}

TEST(Session, NotHttp2) {
  Server s;
  EXPECT_FALSE(s.feed("GET / HTTP/1.1\r\n\r\n"));
  EXPECT_EQ(s.result.error().code(), Code::kMalformed);
  EXPECT_TRUE(s.session.done());
  EXPECT_FALSE(s.feed("more"));
}

// Published attacks, each as frames sent without end while nothing is read (CVE-2019-9512 to 9518,
// CVE-2023-44487, CVE-2024-27316): the session ends by itself, within a bounded number of frames.
TEST(Session, FloodsEndTheSession) {
  const std::pair<const char*, std::string> cases[] = {
      {"ping", frame(6, 0, 0, "12345678")},
      {"settings", frame(4, 0, 0, "")},
      {"priority", frame(2, 0, 1, std::string("\0\0\0\0\1", 5))},
      {"empty data", frame(0, 0, 1, "")},
      {"window update", frame(8, 0, 0, std::string("\0\0\0\1", 4))},
  };
  for (const auto& [name, bytes] : cases) {
    Server s;
    ASSERT_TRUE(s.feed(kPreface + frame(1, 4, 1, kBlock)));
    int n = 0;
    while (n < 50'000 && s.feed(bytes)) ++n;
    EXPECT_LE(n, 10'001) << name;
    ASSERT_FALSE(s.result) << name;
    EXPECT_EQ(s.result.error().code(), Code::kLimit) << name << ": " << s.result.error().text();
  }
}

TEST(Session, ContinuationFloodEndsTheSession) {
  Server s;
  ASSERT_TRUE(s.feed(kPreface + frame(1, 0, 1, kBlock)));
  int n = 0;
  while (n < 1000 && s.feed(frame(9, 0, 1, std::string("\0\1a\1b", 5)))) ++n;
  EXPECT_LE(n, 20);
  EXPECT_FALSE(s.result);
}

// One byte names a field of 3,000 bytes again: what is small on the wire is bounded by what it unpacks to.
TEST(Session, OversizedHeaderListsEndTheSession) {
  Server s;
  std::string field;  // literal with indexing: name "x", value of 127 + 0x39 + 22 * 128 = 3,000 bytes
  for (const char c : {'\x40', '\1', 'x', '\x7f', '\xb9', '\x16'}) field += c;
  field.resize(field.size() + 3'000, 'v');
  std::string few = kBlock + field, many = few;
  few.resize(few.size() + 10, '\xbe');  // index 62: the newest entry
  many.resize(many.size() + 400, '\xbe');
  ASSERT_TRUE(s.feed(kPreface + frame(1, 4, 1, few)));
  EXPECT_EQ(s.handler.headers, 1);
  EXPECT_FALSE(s.feed(frame(1, 4, 3, many)));
  EXPECT_EQ(s.result.error().code(), Code::kLimit);
  EXPECT_EQ(s.handler.headers, 1);
}

TEST(Session, ProtocolErrorsDrawnFromUsCountAsResets) {
  Limits limits;
  limits.resets_burst = 10;
  limits.resets_per_second = 0;
  Server s(limits);
  ASSERT_TRUE(s.feed(kPreface));
  int n = 0;
  // A request, then a window update of 0 on it (CVE-2025-8671): ends the session or counts as a reset.
  for (; n < 1000 && !s.session.done(); ++n) {
    const auto id = static_cast<uint32_t>(2 * n + 1);
    if (!s.feed(frame(1, 4, id, kBlock) + frame(8, 0, id, std::string(4, '\0')))) break;
    s.output();
  }
  EXPECT_LE(n, 12);
}

TEST(Session, GoawayOfAFloodIsSent) {
  Limits limits;
  limits.empty_frames = 5;
  Server s(limits);
  ASSERT_TRUE(s.feed(kPreface));
  for (int i = 0; i < 10 && s.feed(frame(2, 0, 1, std::string("\0\0\0\0\1", 5))); ++i) {
  }
  EXPECT_FALSE(s.result);
  const std::string out = s.output();
  EXPECT_NE(out.find("frames without content"), std::string::npos);
  EXPECT_TRUE(s.session.done());
}

TEST(HeaderBlock, KeepsOrderAndFindsFirst) {
  HeaderBlock b;
  b.add("a", "1");
  b.add("b", "");
  b.add("a", "2");
  EXPECT_EQ(b.size(), 3u);
  EXPECT_EQ(b.find("a"), "1");
  EXPECT_EQ(b.find("b"), "");
  EXPECT_EQ(b.find("c"), std::nullopt);
  EXPECT_EQ(b[2].value, "2");
}

TEST(ByteQueue, MovesSharesAndDrops) {
  ByteQueue a, b;
  const Blob big = Blob::copy(std::string(10'000, 'B'));
  a.append("head");
  a.append(big);
  std::memcpy(a.grow(4), "tail", 4);
  EXPECT_EQ(a.size(), 10'008u);
  a.move_to(6'004, b);
  EXPECT_EQ(b.size(), 6'004u);
  EXPECT_EQ(b.pop().view(), "head");
  const auto piece = b.pop();
  EXPECT_EQ(piece.view().data(), big.view().data());
  EXPECT_EQ(piece.view().size(), 6'000u);
  EXPECT_TRUE(b.empty());
  a.drop(3'000);
  const std::string rest = a.take_all();
  EXPECT_EQ(rest.size(), 1'004u);
  EXPECT_TRUE(rest.ends_with("Btail"));
  a.append("x");
  a.clear(0);
  EXPECT_TRUE(a.empty());
  a.append("y");
  EXPECT_EQ(a.take_all(), "y");
}

// A slow twin: the same operations on a string.
TEST(ByteQueue, AgreesWithAString) {
  ByteQueue q, to;
  std::string twin, moved;
  Prng prng(7);
  const auto below = [&prng](uint64_t n) { return prng.below(n); };
  for (int i = 0; i < 20'000; ++i) {
    const std::string bytes(below(9'000), static_cast<char>('a' + i % 26));
    switch (below(5)) {
      case 0:
        q.append(bytes);
        twin += bytes;
        break;
      case 1:
        q.append(Blob::copy(bytes));
        twin += bytes;
        break;
      case 2: {
        const size_t n = below(twin.size() + 1);
        q.move_to(n, to);
        moved += twin.substr(0, n);
        twin.erase(0, n);
        break;
      }
      case 3: {
        const size_t n = below(twin.size() + 1);
        q.drop(n);
        twin.erase(0, n);
        break;
      }
      case 4:
        while (!to.empty()) {
          const auto p = to.pop();
          ASSERT_TRUE(moved.starts_with(p.view()));
          moved.erase(0, p.view().size());
        }
        ASSERT_TRUE(moved.empty());
        break;
    }
    ASSERT_EQ(q.size(), twin.size());
    ASSERT_EQ(to.size(), moved.size());
  }
  EXPECT_EQ(q.take_all(), twin);
}

}  // namespace
}  // namespace quoin::http2

#include "http2/session.h"

#include <gtest/gtest.h>

#include "base/prng.h"
#include "http2/frames_test.h"

namespace quoin::http2 {
namespace {

using test::frame;
const std::string kPreface = test::preface();
// :method POST, :scheme http, :path /
const std::string kBlock = "\x83\x86\x84";

struct Handler final : SessionHandler {
  int headers = 0, closed = 0, pings = 0, refused = 0;
  size_t room = SIZE_MAX;
  size_t work = 0;  // of a request, beside the session's own
  bool take_streams = true;
  void on_headers(StreamId id, void*, HeaderBlock&, bool) override {
    ++headers;
    if (session && work > 0) session->add_work(work);
    if (session && take_streams) session->set_stream_user(id, this);
  }
  size_t header_room() override { return room; }
  void on_stream_refused(StreamId) override { ++refused; }
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
  io::MonotonicNs now = 1;
  int interrupted = 0;
  bool feed(std::string_view bytes) {
    result = session.feed(bytes, now);
    while (result && session.unfed()) {
      ++interrupted;
      result = session.feed({}, now);
    }
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

// The same frames in the course of a long life are no flood, however many.
TEST(Session, RatesNotTotalsEndTheSession) {
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
    for (int i = 0; i < 25'000; ++i) {
      // 952 a second, the time for one in uneven parts: half of them come before their token is whole.
      s.now += (i % 2 == 0 ? 500 : 1'600) * io::kMicrosecond;
      ASSERT_TRUE(s.feed(bytes)) << name << " " << i;
      s.output();
    }
  }
}

// Many small fragments of one block: counted as frames that carry nothing.
TEST(Session, ContinuationFloodEndsTheSession) {
  Server s;
  ASSERT_TRUE(s.feed(kPreface + frame(1, 0, 1, kBlock)));
  int n = 0;
  while (n < 50'000 && s.feed(frame(9, 0, 1, std::string("\0\1a\1b", 5)))) ++n;
  EXPECT_LE(n, 14'000);
  EXPECT_EQ(s.result.error().code(), Code::kLimit);
  EXPECT_LE(s.session.unfinished_header_bytes(), 1u << 20);
}

// One byte names a field of 3,000 bytes again: what is small on the wire is bounded by what it unpacks to. A
// block beyond that costs its stream only.
TEST(Session, OversizedHeaderListsCostTheirStream) {
  Server s;
  s.handler.room = 1'000'000;
  std::string field;  // literal with indexing: name "x", value of 127 + 0x39 + 22 * 128 = 3,000 bytes
  for (const char c : {'\x40', '\1', 'x', '\x7f', '\xb9', '\x16'}) field += c;
  field.resize(field.size() + 3'000, 'v');
  std::string few = kBlock + field, many = few;
  few.resize(few.size() + 10, '\xbe');  // index 62: the newest entry
  many.resize(many.size() + 400, '\xbe');
  ASSERT_TRUE(s.feed(kPreface + frame(1, 4, 1, few)));
  EXPECT_EQ(s.handler.headers, 1);
  ASSERT_TRUE(s.feed(frame(1, 4, 3, many)));
  EXPECT_EQ(s.handler.headers, 1);
  EXPECT_EQ(s.session.unfinished_header_bytes(), 0u);
  EXPECT_NE(s.output().find(test::rst_stream(3, 6)), std::string::npos);
  // The library's table went on with the block: its entries are known.
  ASSERT_TRUE(s.feed(frame(1, 4, 5, kBlock + "\xbe")));
  EXPECT_EQ(s.handler.headers, 2);
  // 16 MiB is the most that is taken at all, in steps.
  s.handler.room = SIZE_MAX;
  s.interrupted = 0;
  ASSERT_TRUE(s.feed(frame(1, 4, 7, kBlock + std::string(5'000, '\xbe'))));
  EXPECT_EQ(s.handler.headers, 3);
  EXPECT_NEAR(s.interrupted, 5'000 * 3'033 / static_cast<int>(Session::kTurnWork), 10);
  ASSERT_TRUE(s.feed(frame(1, 4, 9, kBlock + std::string(6'000, '\xbe'))));
  EXPECT_EQ(s.handler.headers, 3);
}

// Whatever arrives at once is worked off in turns, each of about the same work, and nothing of it is lost.
TEST(Session, MuchWorkIsDoneInTurns) {
  Server s;
  ASSERT_TRUE(s.feed(kPreface));
  std::string input, resets;
  for (uint32_t id = 1; id < 4'000; id += 2) {
    input += frame(1, 4, id, kBlock) + test::rst_stream(id, 8);
  }
  s.interrupted = 0;
  ASSERT_TRUE(s.feed(input));
  EXPECT_EQ(s.handler.headers, 2'000);
  const int least = 2'000 * 2 * static_cast<int>(Session::kFrameWork) / static_cast<int>(Session::kTurnWork);
  EXPECT_GT(s.interrupted, least);
  EXPECT_LT(s.interrupted, 8 * least);
  // Frames without headers as well.
  std::string updates;
  for (int i = 0; i < 5'000; ++i) updates += frame(8, 0, 0, std::string("\0\0\0\1", 4));
  s.interrupted = 0;
  ASSERT_TRUE(s.feed(updates));
  EXPECT_NEAR(s.interrupted, 5'000 * Session::kFrameWork / Session::kTurnWork, 2);
  // A few frames are one turn. A handler's own work counts.
  s.interrupted = 0;
  ASSERT_TRUE(s.feed(frame(1, 4, 4'001, kBlock) + frame(1, 4, 4'003, kBlock)));
  EXPECT_EQ(s.interrupted, 0);
  s.handler.work = Session::kTurnWork;
  std::string more;
  for (uint32_t id = 5'001; id < 5'400; id += 2) more += frame(1, 4, id, kBlock);
  ASSERT_TRUE(s.feed(more));
  EXPECT_EQ(s.handler.headers, 2'202);
  EXPECT_GE(s.interrupted, static_cast<int>(more.size() / 2'048) - 1);
}

// A client that opens more streams than it was told loses those, not the connection.
TEST(Session, StreamsOverTheLimitAreRefused) {
  Limits limits;
  limits.max_concurrent_streams = 2;
  Server s(limits);
  ASSERT_TRUE(s.feed(kPreface));
  s.output();
  ASSERT_TRUE(s.feed(frame(4, 1, 0, "")));  // SETTINGS acknowledged
  uint32_t id = 1;
  const auto open = [&] {
    EXPECT_TRUE(s.feed(frame(1, 4, id, kBlock)));
    id += 2;
    return s.output();
  };
  open();
  open();
  for (int i = 0; i < 5; ++i) {
    const uint32_t refused = id;
    EXPECT_NE(open().find(test::rst_stream(refused, 7)), std::string::npos);
  }
  EXPECT_EQ(s.handler.headers, 2);
  EXPECT_EQ(s.handler.refused, 5);
  // A stream that ends makes room for one.
  ASSERT_TRUE(s.feed(test::rst_stream(1, 8)));
  EXPECT_EQ(open(), "");
  EXPECT_EQ(s.handler.headers, 3);
  const uint32_t refused = id;
  EXPECT_NE(open().find(test::rst_stream(refused, 7)), std::string::npos);
  EXPECT_TRUE(s.result);
}

// Bytes for a stream that nobody listens to any more are given back to the connection's window.
TEST(Session, DataOfForgottenStreamsIsGivenBack) {
  Server s;
  s.handler.take_streams = false;
  ASSERT_TRUE(s.feed(kPreface + frame(1, 4, 1, kBlock)));
  s.output();
  ASSERT_TRUE(s.feed(frame(0, 0, 1, std::string(16'000, 'd'))));
  ASSERT_TRUE(s.feed(frame(0, 0, 1, std::string(16'000, 'd'))));
  ASSERT_TRUE(s.feed(frame(0, 0, 1, std::string(16'000, 'd'))));
  // WINDOW_UPDATE of stream 0.
  EXPECT_NE(s.output().find(std::string("\0\0\4\x08\0\0\0\0\0", 9)), std::string::npos);
}

TEST(Session, ProtocolErrorsDrawnFromUsCountAsResets) {
  Limits limits;
  limits.faults = {10, 0};
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
  limits.empty_frames = {5, 0};
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

TEST(HeaderBlock, GivesBackALargeBuffer) {
  for (const size_t fields : {1u, 5'000u}) {
    HeaderBlock b, taken;
    for (size_t i = 0; i < fields; ++i) b.add("n", std::string(1'000'000 / fields, 'v'));
    EXPECT_GE(b.held_bytes(), 1'000'000u);
    b.clear();
    EXPECT_LE(b.held_bytes(), HeaderBlock::kKeepBytes);
    b.add("a", "1");
    b.swap(taken);
    EXPECT_EQ(taken.find("a"), "1");
  }
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

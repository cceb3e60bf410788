// What a server connection may hold and how it holds its client back; floods.
#include <gtest/gtest.h>

#include <algorithm>

#include "base/prng.h"
#include "grpc/harness_test.h"
#include "http2/frames_test.h"

namespace quoin::grpc::test {
namespace {
namespace raw = http2::test;

TEST(Bounds, ALargeMessageNeedsNoRoundTripPer64KiB) {
  Harness h;
  const std::string big(1'000'000, 'q');
  auto& s = h.call("/test.Echo/Unary", framed(big));
  h.client.session.raise_window(0, 8 << 20);
  int rounds = 0;
  for (; rounds < 20 && s.to_send.size() > 0; ++rounds) {
    http2::ByteQueue out;
    ASSERT_TRUE(h.client.session.produce(out, 4 << 20));
    ASSERT_TRUE(h.server->feed(out.take_all(), h.now));
    ASSERT_TRUE(h.server->produce(out, 4 << 20));
    ASSERT_TRUE(h.client.session.feed(out.take_all(), h.now));
  }
  EXPECT_LE(rounds, 3);
  h.run();
  EXPECT_EQ(s.body, framed(big));
  EXPECT_EQ(h.server->held_bytes(), 0u);
}

// Sends one request after the other, so that they are complete one by one.
void call_in_turn(Harness& h, int n, std::string_view body) {
  for (int i = 0; i < n; ++i) {
    h.call("/test.Echo/Later", body);
    h.run();
  }
}
void answer_all(Harness& h) {
  for (size_t i = 0; i < h.later.calls.size(); ++i) {
    if (Call* call = h.calls.find(h.later.calls[i])) call->respond(Blob());
    h.run();
  }
}

TEST(Bounds, HeldRequestsStopTheWindowAndEndingCallsOpenIt) {
  auto limits = Harness::small_limits();
  limits.request_bytes = 300'000;
  Harness h(limits);
  call_in_turn(h, 60, framed(std::string(50'000, 'r')));
  // The bound, and the window that was open when it was reached.
  EXPECT_LT(h.server->held_bytes(), 300'000u + (1 << 20) + 60 * 2048);
  EXPECT_LT(h.later.calls.size(), 40u);
  answer_all(h);
  EXPECT_EQ(h.later.calls.size(), 60u);
  for (const auto& [id, s] : h.client.streams) EXPECT_EQ(s->status(), "0 ");
  EXPECT_EQ(h.server->held_bytes(), 0u);
  h.server.reset();
  EXPECT_EQ(h.memory.used(), 0u);
}

TEST(Bounds, InterleavedRequestsAllEndWell) {
  auto limits = Harness::small_limits();
  limits.request_bytes = 1'000'000;
  Harness h(limits);
  // 60 times 50,000 bytes within initial windows, and ten long messages that wait for each other's windows.
  for (int i = 0; i < 60; ++i) h.call("/test.Echo/Later", framed(std::string(50'000, 'r')));
  for (int i = 0; i < 10; ++i) h.call("/test.Echo/Later", framed(std::string(400'000, 'l')));
  size_t most = 0;
  for (int i = 0; i < 200 && h.later.cancels.empty(); ++i) {
    h.run();
    most = std::max(most, h.server->held_bytes());
    answer_all(h);
  }
  EXPECT_EQ(h.later.calls.size(), 70u);
  for (const auto& [id, s] : h.client.streams) EXPECT_EQ(s->status(), "0 ");
  EXPECT_LT(most, 4'000'000u + 400'000);
  EXPECT_EQ(h.server->held_bytes(), 0u);
}

TEST(Bounds, UnfinishedRequestsGiveWayYoungestFirst) {
  auto limits = Harness::small_limits();
  limits.request_bytes = 300'000;
  Harness h(limits);
  // 60 requests that announce 60,000 bytes, send 50,000 and stop.
  const std::string whole = framed(std::string(60'000, 'r'));
  std::vector<http2::StreamId> ids;
  for (int i = 0; i < 60; ++i) {
    ids.push_back(h.client.request(RawClient::post("/test.Echo/Unary"), whole.substr(0, 50'000), false));
  }
  h.run();
  constexpr size_t kHard = 4 * 300'000 + (1 << 20);
  EXPECT_LT(h.server->held_bytes(), kHard + 20'000);
  EXPECT_GT(h.server->held_bytes(), kHard - 60'000);
  for (size_t i = 0; i < ids.size(); ++i) {
    const auto& s = *h.client.streams[ids[i]];
    if (i < 40 || i > 50) {
      EXPECT_EQ(s.closed, i > 50) << i;
    }
    if (s.closed) {
      EXPECT_EQ(s.code, http2::ErrorCode::kRefusedStream);
    }
  }
  // The oldest can go on and end well.
  h.client.send(ids[0], whole.substr(50'000), true);
  h.run();
  EXPECT_EQ(h.client.streams[ids[0]]->status(), "0 ");
}

// An upload whose window was withheld goes on when there is room again, although nothing of it arrives any more.
TEST(Bounds, AWithheldUploadGoesOn) {
  auto limits = Harness::small_limits();
  limits.request_bytes = 300'000;
  Harness h(limits);
  h.call("/test.Echo/Later", framed(std::string(290'000, 'h')));  // complete, and held
  h.run();
  // The oldest message under way has a window of its own, so that none is left for the next.
  h.call("/test.Echo/Unary", framed(std::string(200'000, 'o')).substr(0, 10), false);
  h.run();
  auto& withheld = h.call("/test.Echo/Unary", framed(std::string(200'000, 'w')));
  h.run();
  EXPECT_GT(withheld.to_send.size(), 100'000u);
  EXPECT_EQ(withheld.status(), "none");
  h.calls.find(h.later.calls.at(0))->respond(Blob());
  h.run();
  EXPECT_EQ(withheld.status(), "0 ");
}

// The oldest message under way always moves, even when nothing may.
TEST(Bounds, TheOldestUploadIsNeverWithheld) {
  auto limits = Harness::small_limits();
  limits.request_bytes = 100'000;
  Harness h(limits, 1);
  h.memory.add(1'000'000);  // others hold more than there is
  auto& s = h.call("/test.Echo/Unary", framed(std::string(900'000, 'o')));
  h.run();
  EXPECT_EQ(s.status(), "0 ");
}

// Windows that were given to long messages are given again.
TEST(Bounds, WindowsOfLongMessagesComeBack) {
  auto limits = Harness::small_limits();
  limits.request_bytes = 2'100'000;
  Harness h(limits);
  for (int i = 0; i < 10; ++i) {
    h.call("/test.Echo/Unary", framed(std::string(1'000'000, 'q')));
    h.run();
  }
  auto& s = h.call("/test.Echo/Unary", framed(std::string(1'000'000, 'q')));
  int rounds = 0;
  for (; rounds < 30 && !s.to_send.empty(); ++rounds) {
    http2::ByteQueue out;
    ASSERT_TRUE(h.client.session.produce(out, 4 << 20));
    ASSERT_TRUE(h.server->feed(out.take_all(), h.now));
    ASSERT_TRUE(h.server->produce(out, 4 << 20));
    ASSERT_TRUE(h.client.session.feed(out.take_all(), h.now));
  }
  EXPECT_LE(rounds, 5);
}

// Once no complete request is held there is nothing to wait for, and the connection's window opens.
TEST(Bounds, TheWindowOpensWhenNothingIsBeingAnswered) {
  auto limits = Harness::small_limits();
  limits.request_bytes = 100'000;
  Harness h(limits);
  for (int i = 0; i < 3; ++i) {
    h.call("/test.Echo/Later", framed(std::string(60'000, 'h')));
    h.run();
    h.calls.find(h.later.calls.back())->respond(Blob());
    h.run();
  }
  std::vector<RawClient::Stream*> streams;
  for (int i = 0; i < 30; ++i)
    streams.push_back(&h.call("/test.Echo/Unary", framed(std::string(60'000, 'u')).substr(0, 59'000), false));
  h.run();
  // All of it is here, although it is more than the bound and a window.
  for (const auto* s : streams) EXPECT_TRUE(s->to_send.empty() || s->closed);
}

TEST(Bounds, AMessageOfTheGreatestLengthIsTaken) {
  Harness h;
  auto& most = h.call("/test.Echo/Unary", framed(std::string(1 << 20, 'm')));
  auto& more = h.call("/test.Echo/Unary", framed(std::string((1 << 20) + 1, 'm')));
  h.run();
  EXPECT_EQ(most.status(), "0 ");
  EXPECT_EQ(more.status(), "8 grpc: received message larger than max (1048577 vs. 1048576)");
}

// A stream is told that it may write when half of its queue is free, not before.
TEST(Bounds, WritableAtHalfTheQueue) {
  auto limits = Harness::small_limits();
  limits.stream_queue_bytes = 100'000;
  Harness h(limits);
  h.client.read = false;
  const auto id = h.client.request(RawClient::post("/test.Echo/Bidi"), framed("-"), false);
  h.run();
  StreamLog& log = *h.bidi.streams.at(0);
  while (log.call->writable()) {
    log.call->send({}, Blob::copy(std::string(5'000, 'b')));
    h.run();
  }
  const auto take = [&](size_t n) {
    h.client.session.consume_connection(n);
    h.client.session.consume_stream(id, n);
    h.run();
  };
  take(40'000);
  EXPECT_GT(log.call->queued_bytes(), 50'000u);
  EXPECT_LT(log.call->queued_bytes(), 70'000u);
  EXPECT_EQ(log.events.back(), "message -");
  take(40'000);
  EXPECT_LE(log.call->queued_bytes(), 50'000u);
  EXPECT_EQ(log.events.back(), "writable");
}

// A unary answer in pieces, and what of it is held before it is sent.
TEST(Bounds, AnswersUnderConstructionCount) {
  Harness h;
  auto& s = h.call("/test.Echo/Later", framed("long"));
  auto& cancelled = h.call("/test.Echo/Later", framed("never"));
  h.run();
  const size_t requests = h.server->held_bytes();
  Call& call = *h.calls.find(h.later.calls[0]);
  const std::vector<Blob> parts = {Blob::copy(std::string(5'000, 'a')), Blob(), Blob::copy("bc"),
                                   Blob::copy(std::string(100'000, 'd'))};
  call.hold_prepared(50'000);
  call.hold_prepared(105'002);
  h.calls.find(h.later.calls[1])->hold_prepared(3'000'000);
  EXPECT_EQ(h.server->held_bytes(), requests + 3'105'002);
  EXPECT_GT(h.memory.used(), 3'000'000u);
  call.respond("head", parts, 105'002);
  h.run();
  EXPECT_EQ(s.status(), "0 ");
  EXPECT_EQ(s.body, framed("head" + std::string(5'000, 'a') + "bc" + std::string(100'000, 'd')));
  h.client.session.reset(h.client.streams.rbegin()->first, http2::ErrorCode::kCancel);
  h.run();
  EXPECT_TRUE(cancelled.closed);
  EXPECT_EQ(h.server->held_bytes(), 0u);
}

TEST(Bounds, AnAnswerTooLongToKeepFails) {
  Harness h;
  auto& s = h.call("/test.Echo/Later", framed("longer"));
  h.run();
  h.calls.find(h.later.calls[0])->respond("12345", {}, kMaxSentMessageBytes);
  h.run();
  EXPECT_EQ(s.status(), "8 trying to send message larger than max (2147483652 vs. 2147483647)");
}

TEST(Bounds, AllConnectionsTogether) {
  Harness h(Harness::small_limits(), 100'000);
  h.memory.add(1'000'000);  // others hold too much
  call_in_turn(h, 60, framed(std::string(50'000, 'r')));
  EXPECT_LT(h.server->held_bytes(), (256u << 10) + (1 << 20) + 100'000);
  EXPECT_LT(h.later.calls.size(), 40u);
  h.memory.add(-1'000'000);
  answer_all(h);
  EXPECT_EQ(h.later.calls.size(), 60u);
}

// HTTP/2 by hand: header blocks that no library makes.
struct RawBytes {
  explicit RawBytes(ConnectionLimits limits = Harness::small_limits(), size_t memory_limit = 1 << 30)
      : h(limits, memory_limit) {
    feed(raw::preface());
  }
  void feed(std::string_view bytes) {
    for (size_t at = 0; at < bytes.size() && alive(); at += 50'000) {
      h.server_result = h.server->feed(bytes.substr(at, 50'000), h.now);
      while (alive() && h.server->unfed()) h.server_result = h.server->feed({}, h.now);
      most_held = std::max(most_held, h.server->held_bytes());
    }
  }
  bool alive() const { return bool(h.server_result); }
  // All that the server has sent so far.
  raw::Decoder& sent() {
    http2::ByteQueue out;
    (void)h.server->produce(out, SIZE_MAX);
    decoder.feed(out.take_all());
    return decoder;
  }
  static raw::Fields post(std::string_view path) {
    raw::Fields f;
    for (auto& field : RawClient::post(path)) f.push_back(field);
    return f;
  }
  Harness h;
  raw::Encoder encoder;
  raw::Decoder decoder;
  size_t most_held = 0;
};

// Each block is some 500 bytes on the wire and 1 MB in memory: it names a table entry of 3,000 bytes again and
// again.
TEST(Bounds, ExpandingHeadersAreCharged) {
  for (const bool process : {false, true}) {
    for (const char* path : {"/test.Echo/Later", "/test.Echo/Bidi", "/test.Echo/Down"}) {
      RawBytes r(Harness::small_limits(), process ? 1 << 20 : 1 << 30);
      const std::string block = raw::literals(RawBytes::post(path));
      std::string entry = "\x40\1x\x7f\xb9\x16";  // literal with indexing, of 3,000 bytes
      entry.append(3'000, '~');
      r.feed(raw::headers(1, block + entry, false));
      const std::string bomb = block + std::string(340, '\xbe');  // index 62: that entry
      for (uint32_t id = 3; id < 800; id += 2) r.feed(raw::headers(id, bomb, false));
      ASSERT_TRUE(r.alive());
      const ConnectionLimits limits;
      // A string's buffer may be twice what it holds.
      const size_t bound = process ? (1 << 20) + (2 << 20) : limits.header_bytes;
      EXPECT_LT(r.most_held, bound + 400 * 2 * ServerConnection::kHeadersAlwaysTaken) << path;
      EXPECT_GT(r.h.probe.bounds[Bound::kHeaders], 350);
      EXPECT_EQ(r.sent().fields[799]["grpc-status"], "8");
      EXPECT_EQ(r.sent().fields[799]["grpc-message"], "grpc: received metadata larger than max");
      // Ordinary calls go on beside them.
      r.feed(raw::headers(1001, raw::literals(RawBytes::post("/test.Echo/Unary")), false) +
             raw::frame(raw::kData, raw::kEndStream, 1001, framed("hello")));
      EXPECT_EQ(r.sent().data[1001], framed("hello"));
      std::string resets;
      for (uint32_t id = 1; id < 800; id += 2) resets += raw::rst_stream(id, 8);
      r.feed(resets);
      EXPECT_EQ(r.h.server->held_bytes(), 0u);
      r.h.server.reset();
      EXPECT_EQ(r.h.memory.used(), 0u);
    }
  }
}

TEST(Bounds, AHeaderBlockCountsWhileItArrives) {
  RawBytes r;
  auto fields = RawBytes::post("/test.Echo/Unary");
  for (int i = 0; i < 50; ++i) fields.emplace_back("n" + std::to_string(i), std::string(40'000, '~'));
  const std::string bytes = raw::headers(1, r.encoder.block(fields), true);
  r.feed(std::string_view(bytes).substr(0, bytes.size() - 1000));
  EXPECT_GT(r.h.server->held_bytes(), 1'900'000u);
  EXPECT_GT(r.h.memory.used(), 1'900'000u);
  r.feed(std::string_view(bytes).substr(bytes.size() - 1000));
  r.sent();
  EXPECT_EQ(r.h.server->held_bytes(), 0u);
  // The next call keeps none of it.
  r.feed(raw::headers(3, r.encoder.block(RawBytes::post("/test.Echo/Later")), false));
  EXPECT_LT(r.h.server->held_bytes(), 8'000u);
}

// Metadata that etcd takes is taken; what can't be taken fails its call and leaves the others alone.
TEST(Bounds, MetadataTooLargeFailsItsCall) {
  RawBytes r;
  auto ordinary = RawBytes::post("/test.Echo/Later");
  for (int i = 0; i < 16; ++i) ordinary.emplace_back("meta" + std::to_string(i), std::string(4'000, '~'));
  auto large = RawBytes::post("/test.Echo/Later");
  large.emplace_back("token", std::string(4'000'000, '~'));
  r.feed(raw::headers(1, r.encoder.block(ordinary), false) + raw::frame(raw::kData, 1, 1, framed("a")));
  r.feed(raw::headers(3, r.encoder.block(large), false) + raw::frame(raw::kData, 1, 3, framed("b")));
  r.feed(raw::headers(5, r.encoder.block(ordinary), false) + raw::frame(raw::kData, 1, 5, framed("c")));
  ASSERT_TRUE(r.alive());
  ASSERT_EQ(r.h.later.requests.size(), 2u);
  EXPECT_EQ(r.h.later.requests[1], "c");
  EXPECT_EQ(r.h.calls.find(r.h.later.calls[1])->metadata("meta15")->size(), 4'000u);
  EXPECT_EQ(r.sent().fields[3]["grpc-message"], "grpc: received metadata larger than max");
  EXPECT_EQ(r.sent().fields[3]["grpc-status"], "8");
}

// CVE-2023-44487: streams that are opened and reset cost nothing afterwards, so they are not counted.
TEST(Floods, ResetsAreFree) {
  Harness h;
  for (int i = 0; i < 20'000; ++i) {
    const auto id = h.client.request(RawClient::post("/test.Echo/Later"), framed("x"), i % 2 == 0);
    h.run();
    if (i % 3 == 0) h.calls.find(h.later.calls.back())->respond(Blob());
    h.client.session.reset(id, http2::ErrorCode::kCancel);
    h.run();
    h.client.streams.clear();
    h.client.names.clear();
    h.probe.lines.clear();
  }
  EXPECT_TRUE(h.server_result);
  EXPECT_EQ(h.calls.size(), 0u);
  EXPECT_EQ(h.server->held_bytes(), 0u);
  EXPECT_TRUE(h.client.goaways.empty());
  EXPECT_FALSE(h.server->blocked());
}

// Thousands of deadlines that fire at once, as after a pause of the server.
TEST(Floods, ManyCallsMayBeGivenUpAtOnce) {
  Harness h;
  for (int i = 0; i < 5000; ++i) h.call("/test.Echo/Later", framed("x"));
  h.run();
  for (const auto& [id, s] : h.client.streams) h.client.session.reset(id, http2::ErrorCode::kCancel);
  h.run();
  EXPECT_TRUE(h.server_result);
  EXPECT_EQ(h.calls.size(), 0u);
}

// Messages are work, however many there are in a frame.
TEST(Floods, MessagesTakeTurns) {
  Harness h;
  const auto id = h.client.request(RawClient::post("/test.Echo/Bidi"), "", false);
  h.run();
  std::string messages;
  for (int i = 0; i < 2'000; ++i) messages += framed("m");
  ASSERT_TRUE(
      h.server->feed(http2::test::frame(http2::test::kData, 0, static_cast<uint32_t>(id), messages), h.now));
  int turns = 1;
  for (; h.server->unfed(); ++turns) ASSERT_TRUE(h.server->feed({}, h.now));
  EXPECT_GE(turns, 5);
  h.run();
  EXPECT_EQ(h.client.streams[id]->body.size(), messages.size());
}

// An idle watch with a client that pings as often as it may, for 14 hours.
TEST(Floods, PermittedPingsNeverEndTheConnection) {
  Harness h;
  h.client.request(RawClient::post("/test.Echo/Bidi"), framed("-"), false);
  h.run();
  for (int i = 0; i < 11'000; ++i) {
    h.now += 5 * io::kSecond;
    h.client.session.submit_ping(1);
    h.run();
    ASSERT_TRUE(h.server_result) << i;
  }
}

// What was begun for cancelled calls and is not done: too much of it and nothing is read, until there is less.
TEST(Bounds, WorkLeftBehindBlocks) {
  Harness h;
  std::vector<std::shared_ptr<const void>> work;
  for (size_t i = 0; i < ServerConnection::kWorkAfterCalls + 1; ++i) {
    const auto id = h.client.request(RawClient::post("/test.Echo/Later"), framed("x"), true);
    h.run();
    const Call& call = *h.calls.find(h.later.calls.back());
    // Many references are one piece of work.
    work.push_back(call.work());
    const auto more = call.work();
    if (i == 7) continue;  // goes on
    h.client.session.reset(id, http2::ErrorCode::kCancel);
    h.run();
  }
  EXPECT_FALSE(h.server->blocked());
  h.end(Harness::End::kReset, {15});
  EXPECT_TRUE(h.server->blocked());
  work.pop_back();
  EXPECT_FALSE(h.server->blocked());
  // What was done by the time of the end leaves nothing behind, and work may outlive its connection.
  h.call("/test.Echo/Later", framed("x"));
  h.run();
  h.calls.find(h.later.calls.back())->respond(Blob());
  h.run();
  EXPECT_FALSE(h.server->blocked());
  h.server.reset();
}

// A client that reads no answers: after a bound of bytes, and a number of calls, new ones wait for their turn.
struct Unread {
  static constexpr size_t kAnswer = 10'000;
  static ConnectionLimits limits() {
    auto l = Harness::small_limits();
    l.answer_bytes = 500'000;
    return l;
  }
  Harness h{limits()};
  Unread() {
    h.client.read = false;
    for (int i = 0; i < 300; ++i) h.call("/test.Echo/Unary", framed(std::string(kAnswer, 'a')));
    h.run();
  }
  size_t served() const {
    return static_cast<size_t>(std::count(h.probe.lines.begin(), h.probe.lines.end(), "started Unary"));
  }
  void read() {
    h.client.read = true;
    size_t unread = 0;
    for (auto& [id, s] : h.client.streams) {
      unread += s->body.size();
      if (!s->closed) h.client.session.consume_stream(id, s->body.size());
    }
    h.client.session.consume_connection(unread);
    h.run();
  }
};

TEST(Bounds, UnreadAnswersMakeCallsWait) {
  Unread u;
  EXPECT_EQ(u.served(), ServerConnection::kCallsAlwaysServed + 65'535 / (Unread::kAnswer + kPrefixBytes));
  EXPECT_GE(u.h.probe.bounds[Bound::kAnswers], 1);
  u.read();
  EXPECT_EQ(u.served(), 300u);
  for (const auto& [id, s] : u.h.client.streams) EXPECT_EQ(s->status(), "0 ");
  EXPECT_EQ(u.h.server->held_bytes(), 0u);
}

TEST(Bounds, CallsThatWaitMayBeCancelled) {
  Unread u;
  const auto lines = [&u](std::string_view line) {
    return std::count(u.h.probe.lines.begin(), u.h.probe.lines.end(), line);
  };
  size_t cancelled = 0;
  for (const auto& [id, s] : u.h.client.streams) {
    if (!s->to_send.empty() || s->closed || id % 4 == 1) continue;
    u.h.client.session.reset(id, http2::ErrorCode::kCancel);
    ++cancelled;
  }
  u.h.run();
  // Those that were answered count as such, those that waited as cancelled, and the others move up.
  EXPECT_GE(lines("handled Unary 1"), 20);
  u.read();
  EXPECT_EQ(lines("started Unary"), 300);
  EXPECT_EQ(lines("handled Unary 0") + lines("handled Unary 1"), 300);
  size_t well = 0;
  for (const auto& [id, s] : u.h.client.streams) well += s->status() == "0 " ? 1 : 0;
  EXPECT_EQ(well, 300 - cancelled);
  EXPECT_EQ(u.h.server->held_bytes(), 0u);
  EXPECT_EQ(u.h.server->calls_in_progress(), 0u);
}

TEST(Bounds, FewCallsNeverWait) {
  auto limits = Harness::small_limits();
  limits.answer_bytes = 100'000;
  Harness h(limits);
  h.client.read = false;
  for (int i = 0; i < 20; ++i) h.call("/test.Echo/Later", framed("x"));
  h.run();
  for (size_t i = 0; i < 19; ++i)
    h.calls.find(h.later.calls[i])->respond(Blob::copy(std::string(50'000, 'a')));
  h.run();
  ASSERT_GT(h.server->held_bytes(), 500'000u);
  h.call("/test.Echo/Later", framed("y"));
  h.run();
  EXPECT_EQ(h.later.calls.size(), 21u);
}

// The bytes of a whole connection, cut and damaged at random places: no crash, no call left behind.
TEST(Floods, DamagedBytesNeverHarm) {
  Prng prng(42);
  for (int round = 0; round < 300; ++round) {
    Harness h;
    h.call("/test.Echo/Unary", framed("hello"));
    h.call("/test.Echo/Bidi", framed("a") + framed("b"), prng.chance(1, 2));
    h.call("/test.Echo/Down", framed("down"));
    http2::ByteQueue out;
    ASSERT_TRUE(h.client.session.produce(out, 1 << 20));
    std::string bytes = out.take_all();
    for (uint64_t n = prng.below(4); n > 0; --n)
      bytes[24 + prng.below(bytes.size() - 24)] = static_cast<char>(prng.next());
    if (prng.chance(1, 3)) bytes.resize(prng.below(bytes.size()));
    for (size_t i = 0; i < bytes.size() && h.server_result;) {
      const size_t n = prng.between(1, 50);
      h.server_result = h.server->feed(std::string_view(bytes).substr(i, n), h.now);
      (void)h.server->produce(out, 1 << 20);
      i += n;
    }
    h.server.reset();
    EXPECT_EQ(h.calls.size(), 0u);
    EXPECT_EQ(h.memory.used(), 0u);
  }
}

}  // namespace
}  // namespace quoin::grpc::test

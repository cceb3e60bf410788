// Streams, flow control, keepalive and stopping of a server connection.
#include <gtest/gtest.h>

#include "grpc/harness_test.h"

namespace quoin::grpc::test {
namespace {
using Lines = std::vector<std::string>;
// What the metadata of a stream of the test client is charged with, at most.
constexpr size_t kHead = 400;

TEST(ServerStream, ServerStreamWaitsForTheHalfClose) {
  Harness h;
  const auto id = h.client.request(RawClient::post("/test.Echo/Down"), framed("go"), false);
  h.run();
  StreamLog& log = *h.down.streams.at(0);
  EXPECT_EQ(log.events, Lines{});
  h.client.send(id, "", true);
  h.run();
  EXPECT_EQ(log.events, (Lines{"message go"}));
  log.call->send("one", Blob());
  log.call->send("t", Blob::copy("wo"));
  h.run();
  auto& s = *h.client.streams[id];
  EXPECT_EQ(s.body, framed("one") + framed("two"));
  EXPECT_EQ(s.status(), "none");
  log.call->finish(GrpcStatus::kOk, {});
  h.run();
  EXPECT_EQ(s.status(), "0 ");
  EXPECT_EQ(s.blocks, 2);
  EXPECT_EQ(h.probe.lines,
            (Lines{"started Down", "received Down 2", "sent Down 3", "sent Down 3", "handled Down 0"}));
}

TEST(ServerStream, CardinalityOfServerStreams) {
  const std::pair<std::string, const char*> cases[] = {
      {"", "13 cardinality violation: received no request message from non-client-streaming RPC"},
      {std::string(2, '\0'),
       "13 cardinality violation: received no request message from non-client-streaming RPC"},
      {framed("a") + framed("b"),
       "13 cardinality violation: received multiple request messages for non-client-streaming RPC"},
      {framed("hello").substr(0, 8), "13 unexpected EOF"},
  };
  for (const auto& [body, status] : cases) {
    Harness h;
    auto& s = h.call("/test.Echo/Down", body);
    h.run();
    EXPECT_EQ(s.status(), status);
    EXPECT_EQ(h.down.streams.at(0)->events, (Lines{"cancelled 4"}));
    EXPECT_EQ(h.probe.lines, (Lines{"started Down", "handled Down 13"}));
    EXPECT_EQ(h.server->held_bytes(), 0u);
  }
}

TEST(ServerStream, BidiEchoesInAnyCut) {
  for (const size_t chunk : {SIZE_MAX, size_t{1}, size_t{5}}) {
    Harness h;
    const auto id =
        h.client.request(RawClient::post("/test.Echo/Bidi"), framed("a") + framed("bb") + framed(""), false);
    h.run(chunk);
    auto& s = *h.client.streams[id];
    EXPECT_EQ(s.body, framed("a") + framed("bb") + framed(""));
    EXPECT_LT(h.server->held_bytes(), kHead);
    h.client.send(id, framed("-quiet"), true);
    h.run(chunk);
    StreamLog& log = *h.bidi.streams.at(0);
    EXPECT_EQ(log.events, (Lines{"message a", "message bb", "message ", "message -quiet", "half-close"}));
    // The stream stays open until the service ends it.
    EXPECT_FALSE(s.ended);
    log.call->send({}, Blob::copy("more"));
    log.call->finish(GrpcStatus::kCanceled, "etcdserver: watch canceled");
    h.run(chunk);
    EXPECT_TRUE(s.body.ends_with(framed("more")));
    EXPECT_EQ(s.status(), "1 etcdserver: watch canceled");
  }
}

TEST(ServerStream, BidiCutMessages) {
  Harness h;
  auto& body = h.call("/test.Echo/Bidi", framed("hello").substr(0, 8));
  auto& prefix = h.call("/test.Echo/Bidi", std::string(3, '\0'));
  h.run();
  EXPECT_EQ(body.status(), "13 unexpected EOF");
  EXPECT_EQ(h.bidi.streams.at(0)->events, (Lines{"cancelled 4"}));
  EXPECT_FALSE(prefix.ended);
  EXPECT_EQ(h.bidi.streams.at(1)->events, (Lines{"half-close"}));
}

TEST(ServerStream, EndedBeforeAnythingWasSentIsTrailersOnly) {
  Harness h;
  const auto id = h.client.request(RawClient::post("/test.Echo/Bidi"), "", false);
  h.run();
  h.bidi.streams.at(0)->call->fail(GrpcStatus::kUnavailable, "etcdserver: no leader");
  h.run();
  EXPECT_TRUE(h.client.streams[id]->trailers_only());
  EXPECT_EQ(h.client.streams[id]->status(), "14 etcdserver: no leader");
  EXPECT_TRUE(h.client.streams[id]->closed);
  EXPECT_EQ(h.client.streams[id]->code, http2::ErrorCode::kNoError);
}

TEST(ServerStream, AServiceMayRefuseAtOpening) {
  Harness h;
  auto headers = RawClient::post("/test.Echo/Bidi");
  headers.emplace_back("refuse", "1");
  auto& s = *h.client.streams[h.client.request(headers, framed("x"), false)];
  h.run();
  EXPECT_EQ(s.status(), "14 refused");
  EXPECT_EQ(h.bidi.streams.at(0)->events, Lines{});
  EXPECT_EQ(h.server->calls_in_progress(), 0u);
}

TEST(ServerStream, ASlowReaderMakesTheStreamUnwritable) {
  Harness h;
  h.client.read = false;
  const auto id = h.client.request(RawClient::post("/test.Echo/Bidi"), framed("-"), false);
  h.run();
  StreamLog& log = *h.bidi.streams.at(0);
  const Blob block = Blob::copy(std::string(500, 'b'));
  size_t sent = 0;
  // The client's window is 65,535 bytes; behind it the queue holds its bound and no more.
  while (log.call->writable()) {
    log.call->send({}, block);
    ++sent;
    h.run();
    ASSERT_LT(sent, 1000u);
  }
  EXPECT_NEAR(static_cast<double>(sent * 505), 65'535 + 1000, 1000);
  EXPECT_GE(log.call->queued_bytes(), 1000u);
  EXPECT_GT(h.server->held_bytes(), log.call->queued_bytes());
  EXPECT_LT(h.server->held_bytes(), log.call->queued_bytes() + kHead);
  EXPECT_EQ(log.events, (Lines{"message -"}));
  // The client reads on.
  auto& s = *h.client.streams[id];
  h.client.read = true;
  h.client.session.consume_connection(s.body.size());
  h.client.session.consume_stream(id, s.body.size());
  h.run();
  EXPECT_EQ(log.events, (Lines{"message -", "writable"}));
  EXPECT_TRUE(log.call->writable());
  EXPECT_EQ(s.body.size(), sent * 505);
}

TEST(ServerStream, AnAnswerAsLargeAsYouLikeIsSharedNotCopied) {
  Harness h;
  auto& s = h.call("/test.Echo/Later", framed("x"));
  h.run();
  const Blob big = Blob::copy(std::string(3 << 20, 'z'));
  h.calls.find(h.later.calls[0])->respond(big);
  h.run();
  EXPECT_EQ(s.body.size(), big.size() + kPrefixBytes);
  EXPECT_EQ(s.body.substr(kPrefixBytes), big.view());
  EXPECT_EQ(s.status(), "0 ");
  // The pieces of a frame point into the blob.
  h.call("/test.Echo/Later", framed("x"));
  h.produce = false;
  h.run();
  h.calls.find(h.later.calls[1])->respond(big);
  http2::ByteQueue out;
  ASSERT_TRUE(h.server->produce(out, 1 << 20));
  size_t shared = 0;
  while (!out.empty()) {
    const auto piece = out.pop();
    const std::string_view v = piece.view();
    if (v.data() >= big.view().data() && v.data() < big.view().data() + big.size()) shared += v.size();
  }
  EXPECT_GT(shared, 60'000u);
}

TEST(ServerStream, SmallMessagesArePackedIntoOneFrame) {
  Harness h;
  const auto id = h.client.request(RawClient::post("/test.Echo/Bidi"), framed("-"), false);
  h.run();
  Call& call = *h.bidi.streams.at(0)->call;
  const Blob tail = Blob::copy("0123456789");
  for (int i = 0; i < 50; ++i) call.send("head", tail);
  http2::ByteQueue out;
  ASSERT_TRUE(h.server->produce(out, 1 << 20));
  const std::string bytes = out.take_all();
  EXPECT_LT(bytes.size(), 50 * (14 + kPrefixBytes) + 100);  // one frame head, one header block
  ASSERT_TRUE(h.client.session.feed(bytes, h.now));
  EXPECT_EQ(h.client.streams[id]->body.size(), 50 * (14 + kPrefixBytes));
}

TEST(ServerStream, PausedReadingHoldsTheClientBack) {
  Harness h;
  const auto id = h.client.request(RawClient::post("/test.Echo/Bidi"), framed("pause"), false);
  h.run();
  StreamLog& log = *h.bidi.streams.at(0);
  const std::string many(200, 'm');
  std::string body;
  for (int i = 0; i < 1000; ++i) body += framed("-" + many);
  h.client.send(id, body, true);
  h.run();
  EXPECT_EQ(log.events, (Lines{"message pause"}));
  // No more than the window it had.
  EXPECT_LE(h.server->held_bytes(), 65'535u + kHead);
  EXPECT_GT(h.client.streams[id]->to_send.size(), body.size() - 65'535);
  log.call->resume_reading();
  EXPECT_EQ(h.notified, 1);
  h.run();
  EXPECT_EQ(log.events.size(), 1002u);
  EXPECT_EQ(log.events.back(), "half-close");
  EXPECT_LT(h.server->held_bytes(), kHead);
}

TEST(ServerStream, PausedInTheMiddleOfAFrame) {
  Harness h;
  const auto id = h.client.request(RawClient::post("/test.Echo/Bidi"),
                                   framed("pause") + framed("-b") + framed("-c"), true);
  h.run();
  StreamLog& log = *h.bidi.streams.at(0);
  EXPECT_EQ(log.events, (Lines{"message pause"}));
  log.call->resume_reading();
  EXPECT_EQ(log.events, (Lines{"message pause", "message -b", "message -c", "half-close"}));
  log.call->pause_reading();
  log.call->resume_reading();
  EXPECT_EQ(log.events.size(), 4u);
  log.call->finish(GrpcStatus::kOk, {});
  h.run();
  EXPECT_TRUE(h.client.streams[id]->trailers_only());
}

TEST(Keepalive, TooManyPings) {
  Harness h;
  h.client.request(RawClient::post("/test.Echo/Bidi"), framed("-"), false);
  h.run();
  const auto ping = [&](int64_t after) {
    h.now += after;
    h.client.session.submit_ping(1);
    h.run();
  };
  ping(0);  // after headers or data of ours: never counted (here none was sent yet, the first is free)
  ping(5 * io::kSecond);  // long enough after the one before
  EXPECT_TRUE(h.server_result);
  ping(io::kSecond);
  ping(io::kSecond);
  EXPECT_TRUE(h.server_result);
  // Data to the client wipes the strikes.
  h.bidi.streams.at(0)->call->send("x", Blob());
  h.run();
  ping(io::kSecond);
  ping(io::kSecond);
  ping(io::kSecond);
  EXPECT_TRUE(h.server_result);
  ping(io::kSecond);
  ASSERT_FALSE(h.server_result);
  EXPECT_EQ(h.server_result.error().text(), "too_many_pings");
  EXPECT_EQ(h.client.goaways, (Lines{"11 1 too_many_pings"}));
  EXPECT_TRUE(h.server->done());
}

TEST(Keepalive, PingsWithoutAStreamAreAllowedOncePerTwoHours) {
  Harness h;
  h.run();
  for (int i = 0; i < 3; ++i) {
    h.client.session.submit_ping(1);
    h.run();
    h.now += 60 * io::kSecond;
  }
  EXPECT_TRUE(h.server_result);
  h.client.session.submit_ping(1);
  h.run();
  EXPECT_FALSE(h.server_result);
}

TEST(Keepalive, ASilentClientIsAskedAndGivenUp) {
  Harness h;
  h.run();
  EXPECT_EQ(h.server->next_tick(), h.now + 7'200 * io::kSecond);
  h.now += 7'200 * io::kSecond;
  EXPECT_TRUE(h.server->tick(h.now));
  h.run();  // the client acknowledges
  EXPECT_EQ(h.server->next_tick(), h.now + 7'200 * io::kSecond);
  h.now += 7'200 * io::kSecond;
  EXPECT_TRUE(h.server->tick(h.now));
  EXPECT_TRUE(h.server->wants_write());
  h.now += 20 * io::kSecond;
  auto r = h.server->tick(h.now);
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code(), Code::kStopped);
}

TEST(Stopping, GracefulWaitsForCallsInProgress) {
  Harness h;
  auto& s = h.call("/test.Echo/Later", framed("x"));
  h.run();
  h.server->shutdown(h.now);
  h.run();
  EXPECT_EQ(h.client.goaways, (Lines{"0 2147483647 ", "0 1 "}));
  EXPECT_FALSE(h.server->done());
  h.calls.find(h.later.calls[0])->respond(Blob::copy("bye"));
  h.run();
  EXPECT_EQ(s.body, framed("bye"));
  EXPECT_TRUE(h.server->done());
}

// A client that does not acknowledge the drain ping is told the last stream all the same.
TEST(Stopping, TheDrainDoesNotWaitForAMutedClient) {
  Harness h;
  h.run();
  h.now += io::kSecond;
  h.server->shutdown(h.now);
  http2::ByteQueue out;
  ASSERT_TRUE(h.server->produce(out, SIZE_MAX));
  EXPECT_FALSE(h.server->done());
  EXPECT_EQ(h.server->next_tick(), h.now + ServerConnection::kDrainPingNs);
  h.now += ServerConnection::kDrainPingNs;
  EXPECT_TRUE(h.server->tick(h.now));
  ASSERT_TRUE(h.server->produce(out, SIZE_MAX));
  EXPECT_TRUE(h.server->done());
  ASSERT_TRUE(h.client.session.feed(out.take_all(), h.now));
  EXPECT_EQ(h.client.goaways, (Lines{"0 2147483647 ", "0 0 "}));
}

TEST(Stopping, CloseCancelsWithItsReason) {
  Harness h;
  h.call("/test.Echo/Later", framed("x"));
  h.call("/test.Echo/Bidi", framed("-x"), false);
  h.run();
  h.server->close(CancelReason::kServerStopped);
  EXPECT_EQ(h.later.cancels.at(0).second, CancelReason::kServerStopped);
  EXPECT_EQ(h.bidi.streams.at(0)->events, (Lines{"message -x", "cancelled 3"}));
  EXPECT_TRUE(h.server->done());
  EXPECT_EQ(h.calls.size(), 0u);
}

}  // namespace
}  // namespace quoin::grpc::test

// How long a client of the HTTP side may take (front/http1_transport.h, Http1Times), in simulated time.
#include "front/http1_rig_test.h"

namespace quoin::front {
namespace {

using Http1Time = Http1Rig;

constexpr const char* kVersionRequest = "GET /version HTTP/1.1\r\nHost: x\r\n\r\n";

TEST_F(Http1Time, ARequestThatDoesNotEndIsCutAfterFiveMinutesWithoutAWord) {
  connect({});
  send("GET /version HTTP/1.1\r\nHos");
  world_.run_for(2 * kMinute);
  send("t: x\r\n");  // more of it does not give it more time
  world_.run_for(2 * kMinute + 50 * io::kSecond);
  EXPECT_FALSE(closed_);
  world_.run_for(20 * io::kSecond);
  EXPECT_TRUE(closed_);
  EXPECT_EQ(client_.got, "");
}

TEST_F(Http1Time, SilenceBetweenRequestsHasNoEnd) {
  connect({});
  send(kVersionRequest);
  world_.run_for(600 * kMinute);
  EXPECT_FALSE(closed_);
  const size_t first = client_.got.size();
  EXPECT_GT(first, 0U);
  send(kVersionRequest);
  world_.run_for(io::kSecond);
  EXPECT_EQ(client_.got.size(), 2 * first);
  EXPECT_FALSE(closed_);
}

TEST_F(Http1Time, AnAnswerUnderWayHasAllTheTimeItNeeds) {
  source_.hold = true;
  connect({});
  send("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
  world_.run_for(20 * kMinute);
  EXPECT_FALSE(closed_);
  server_.executor("loop").post([this] { source_.held({}); });
  world_.run_for(io::kSecond);
  EXPECT_NE(client_.got.find("\"health\":\"true\""), std::string::npos);
}

TEST_F(Http1Time, WhoTakesNothingOfAnAnswerIsCut) {
  source_.members = std::string(4 << 20, 'x');  // more than the network holds
  connect({}, httpapi::Surface::kPeer);
  client_process_.executor("loop").post([this] { client_.stream->pause_reading(); });
  send("GET /members HTTP/1.1\r\nHost: x\r\n\r\n");
  world_.run_for(4 * kMinute);
  EXPECT_FALSE(closed_);
  world_.run_for(2 * kMinute);
  EXPECT_TRUE(closed_);
}

TEST_F(Http1Time, WhoTakesAnAnswerSlowlyIsNot) {
  source_.members = std::string(4 << 20, 'x');
  connect({}, httpapi::Surface::kPeer);
  client_process_.executor("loop").post([this] { client_.stream->pause_reading(); });
  send("GET /members HTTP/1.1\r\nHost: x\r\n\r\n");
  for (int i = 0; i < 10; ++i) {
    world_.run_for(4 * kMinute);
    EXPECT_FALSE(closed_) << i;
    const size_t before = client_.got.size();
    client_process_.executor("loop").post([this] { client_.stream->resume_reading(); });
    world_.run_until([&] { return client_.got.size() > before + 100'000; }, io::kSecond);
    client_process_.executor("loop").post([this] { client_.stream->pause_reading(); });
    world_.run_for(io::kMillisecond);
  }
}

TEST_F(Http1Time, ARefusalIsReadBeforeTheEnd) {
  connect({});
  send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999\r\n\r\n" + std::string(100'000, 'x'));
  world_.run_for(100 * io::kMillisecond);
  EXPECT_TRUE(client_.got.starts_with("HTTP/1.1 413 "));
  EXPECT_TRUE(client_.ended);  // our side is shut down
  EXPECT_FALSE(closed_);       // but a close would have reset what is under way
  send(std::string(100'000, 'x'));
  world_.run_for(300 * io::kMillisecond);
  EXPECT_FALSE(closed_);
  world_.run_for(200 * io::kMillisecond);
  EXPECT_TRUE(closed_);
}

TEST_F(Http1Time, AClientThatClosesEndsTheWait) {
  connect({});
  send("GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  world_.run_for(50 * io::kMillisecond);
  EXPECT_TRUE(client_.ended);
  EXPECT_FALSE(closed_);
  client_process_.executor("loop").post([this] { client_.stream->shutdown(); });
  world_.run_for(50 * io::kMillisecond);
  EXPECT_TRUE(closed_);
}

TEST_F(Http1Time, WhoSendsOnIsNotReadFromForEver) {
  connect({});
  send("GARBAGE\r\n");
  world_.run_for(50 * io::kMillisecond);
  send(std::string(8 << 20, 'x'));
  world_.run_for(100 * io::kMillisecond);
  EXPECT_FALSE(closed_);
  size_t left = 0;
  client_process_.executor("loop").post([this, &left] { left = client_.stream->queued_bytes(); });
  world_.run_for(io::kMillisecond);
  EXPECT_GT(left, size_t{4 << 20});
  world_.run_for(500 * io::kMillisecond);
  EXPECT_TRUE(closed_);
}

TEST_F(Http1Time, PipelinedRequestsAreAnsweredOneByOne) {
  source_.members = std::string(512 << 10, 'x');
  connect({}, httpapi::Surface::kPeer);
  client_process_.executor("loop").post([this] { client_.stream->pause_reading(); });
  std::string many;
  for (int i = 0; i < 4; ++i) many += "GET /members HTTP/1.1\r\nHost: x\r\n\r\n";
  send(many);
  world_.run_for(io::kSecond);
  EXPECT_EQ(source_.members_asked, 1);
  client_process_.executor("loop").post([this] { client_.stream->resume_reading(); });
  world_.run_until([&] { return client_.got.size() > size_t{2 << 20}; }, 60 * io::kSecond);
  EXPECT_EQ(source_.members_asked, 4);
}

TEST_F(Http1Time, AStopEndsTheWaitForAClient) {
  connect({});
  send("GARBAGE\r\n");
  world_.run_for(50 * io::kMillisecond);
  EXPECT_FALSE(closed_);
  server_.executor("loop").post([this] { transport_->shutdown(); });
  world_.run_for(10 * io::kMillisecond);
  EXPECT_TRUE(closed_);
}

TEST_F(Http1Time, TheHostOfAnAbsoluteTargetIsWhatIsChecked) {
  connect({});
  send("GET http://other/version HTTP/1.1\r\nHost: x\r\n\r\n");
  world_.run_for(50 * io::kMillisecond);
  EXPECT_TRUE(client_.got.starts_with("HTTP/1.1 421 ")) << client_.got;
  client_.got.clear();
  send("GET http://x/version HTTP/1.1\r\nHost: other\r\n\r\n");
  world_.run_for(50 * io::kMillisecond);
  EXPECT_TRUE(client_.got.starts_with("HTTP/1.1 200 ")) << client_.got;
}

TEST_F(Http1Time, ASilentPeerIsCutAfterItsReadTimeout) {
  connect({.silence_ns = 5 * io::kSecond}, httpapi::Surface::kPeer);
  for (int i = 0; i < 4; ++i) {
    send(kVersionRequest);
    world_.run_for(4 * io::kSecond);
    EXPECT_FALSE(closed_);
  }
  world_.run_for(2 * io::kSecond);
  EXPECT_TRUE(closed_);
}

// A timer goes through a lock that all connections share; who sends often must not take it each time.
TEST_F(Http1Time, TheTimerIsNotSetForEachRequest) {
  connect({.answer_ns = 5 * io::kSecond, .silence_ns = 5 * io::kSecond}, httpapi::Surface::kPeer);
  for (int i = 0; i < 1000; ++i) {
    client_.got.clear();
    send(kVersionRequest);
    ASSERT_TRUE(world_.run_until([&] { return !client_.got.empty(); }, io::kSecond));
    world_.run_for(10 * io::kMillisecond);
  }
  EXPECT_FALSE(closed_);
  EXPECT_LE(timers_.set, 5);  // 10 s
  world_.run_for(5500 * io::kMillisecond);
  EXPECT_TRUE(closed_) << "and it still tells in time";
}

}  // namespace
}  // namespace quoin::front

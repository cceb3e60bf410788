// Every kind of call, ended in every way, at every step of its life.
#include <gtest/gtest.h>

#include <algorithm>

#include "base/prng.h"
#include "grpc/harness_test.h"

namespace quoin::grpc::test {
namespace {
using End = Harness::End;

// Calls of all kinds, side by side, whose steps a test takes one by one.
struct Conversation {
  Conversation() {
    limits.request_bytes = 200'000;
    h = std::make_unique<Harness>(limits);
  }
  http2::StreamId open(std::string_view method, std::string_view body, bool end) {
    auto headers = RawClient::post(std::string("/test.Echo/").append(method));
    headers.emplace_back("grpc-timeout", Harness::kTimeout);
    const auto id = h->client.request(headers, body, end);
    ids.push_back(id);
    return id;
  }
  // False: there is no such step.
  bool step(int n) {
    const std::string message = framed(std::string(70'000, 'm'));
    switch (n) {
      case 0:
        open("Later", "", false);
        open("Bidi", "", false);
        open("Down", "", false);
        break;
      case 1:  // a message begins
        for (const auto id : ids) h->client.send(id, std::string_view(message).substr(0, 3), false);
        break;
      case 2:
        for (const auto id : ids) h->client.send(id, std::string_view(message).substr(3, 40'000), false);
        break;
      case 3:  // it is complete
        for (const auto id : ids) h->client.send(id, std::string_view(message).substr(40'003), false);
        break;
      case 4:
        for (const auto id : ids) h->client.send(id, "", true);
        break;
      case 5: {  // a stream that does not read
        h->client.read = false;
        open("Bidi", framed("pause") + framed("-a") + framed("-b"), false);
        break;
      }
      case 6:
        for (const auto& log : h->bidi.streams) {
          for (int i = 0; i < 40 && !log->call->ended(); ++i)
            log->call->send("0123456789", Blob::copy(message));
        }
        break;
      case 7:
        h->bidi.streams.back()->call->resume_reading();
        break;
      case 8:  // answered, and not sent
        if (Call* call = h->calls.find(h->later.calls.at(0))) call->respond(Blob::copy(message));
        break;
      case 9:
        for (const auto& log : h->down.streams) log->call->send("x", Blob::copy(message));
        for (const auto& log : h->down.streams) log->call->finish(GrpcStatus::kOk, {});
        break;
      case 10:  // it reads again
        read_all();
        break;
      default:
        return false;
    }
    h->run();
    return true;
  }
  void read_all() {
    h->client.read = true;
    for (const auto& [id, s] : h->client.streams) {
      h->client.session.consume_connection(s->body.size());
      if (!s->closed) h->client.session.consume_stream(id, s->body.size());
    }
    h->run();
  }
  ConnectionLimits limits = Harness::small_limits();
  std::unique_ptr<Harness> h;
  std::vector<http2::StreamId> ids;
};

// What must hold once every call has ended.
void expect_nothing_left(Conversation& c) {
  Harness& h = *c.h;
  EXPECT_EQ(h.calls.size(), 0u);
  EXPECT_EQ(h.later.over, h.later.calls.size());
  for (const CallId id : h.later.calls) EXPECT_EQ(h.calls.find(id), nullptr);
  size_t started = 0, handled = 0;
  for (const std::string& line : h.probe.lines) {
    started += line.starts_with("started") ? 1 : 0;
    handled += line.starts_with("handled") ? 1 : 0;
  }
  EXPECT_EQ(started, handled);
  // At most one end is told of a stream.
  for (const StreamService* service : {&h.down, &h.bidi}) {
    for (const auto& log : service->streams) {
      EXPECT_LE(std::count_if(log->events.begin(), log->events.end(),
                              [](const std::string& e) { return e.starts_with("cancelled"); }),
                1);
    }
  }
  if (h.server) {
    EXPECT_EQ(h.server->calls_in_progress(), 0u);
  }
  h.server.reset();
  EXPECT_EQ(h.memory.used(), 0u);
}

TEST(Cancel, EveryWayAtEveryStep) {
  for (const End how : {End::kReset, End::kDeadline, End::kConnection, End::kStop}) {
    for (int last = 0; last <= 10; ++last) {
      SCOPED_TRACE(fmt::format("way {} after step {}", static_cast<int>(how), last));
      Conversation c;
      for (int n = 0; n <= last; ++n) ASSERT_TRUE(c.step(n));
      c.h->end(how, c.ids);
      if (how == End::kReset || how == End::kDeadline) {
        // The connection goes on. What was answered before the deadline leaves as soon as it is read.
        Harness& h = *c.h;
        EXPECT_TRUE(h.server_result);
        EXPECT_TRUE(how == End::kDeadline || h.server->held_bytes() == 0);
        auto& s = h.call("/test.Echo/Unary", framed("after"));
        c.read_all();
        EXPECT_EQ(s.status(), "0 ");
        EXPECT_EQ(h.server->held_bytes(), 0u);
      }
      expect_nothing_left(c);
    }
  }
}

// The same in an order drawn from a seed: several calls at different steps, ended one by one.
TEST(Cancel, InAnyOrder) {
  for (uint64_t seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE(seed);
    Prng prng(seed);
    Conversation c;
    Harness& h = *c.h;
    constexpr std::string_view kMethods[] = {"Later", "Unary", "Bidi", "Down"};
    for (int i = 0; i < 60; ++i) {
      switch (prng.below(8)) {
        case 0:
        case 1:
          c.open(kMethods[prng.below(4)], framed(std::string(prng.below(3) * 40'000, '-')),
                 prng.chance(1, 2));
          break;
        case 2:
          if (!c.ids.empty()) {
            const auto id = c.ids[prng.below(c.ids.size())];
            if (!h.client.streams[id]->closed && !h.client.streams[id]->end)
              h.client.send(id, framed("more"), prng.chance(1, 2));
          }
          break;
        case 3:
          // Once: a request that was not sent yet is forgotten, and its stream may not be named again.
          if (!c.ids.empty()) {
            const auto at = c.ids.begin() + static_cast<ptrdiff_t>(prng.below(c.ids.size()));
            h.client.session.reset(*at, http2::ErrorCode::kCancel);
            c.ids.erase(at);
          }
          break;
        case 4:
          if (!h.later.calls.empty()) {
            if (Call* call = h.calls.find(h.later.calls[prng.below(h.later.calls.size())]))
              call->respond(Blob());
          }
          break;
        case 5:
          h.now += io::kSecond * static_cast<int64_t>(prng.below(12));
          ASSERT_TRUE(h.server->tick(h.now));
          break;
        case 6:
          h.client.read = prng.chance(2, 3);
          break;
        default:
          h.run(prng.chance(1, 2) ? SIZE_MAX : 1 + prng.below(20'000));
          break;
      }
      ASSERT_TRUE(h.server_result);
      ASSERT_TRUE(h.client.goaways.empty());
    }
    const auto how = static_cast<End>(prng.below(4));
    h.run();
    h.end(how, c.ids);
    expect_nothing_left(c);
  }
}

}  // namespace
}  // namespace quoin::grpc::test

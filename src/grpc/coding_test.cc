// Compression and decompression in steps: other calls go on between two of them, the messages of a stream keep
// their order, and a call may end at each.
#include <gtest/gtest.h>

#include <algorithm>

#include "base/prng.h"
#include "grpc/gzip.h"
#include "grpc/harness_test.h"
#include "grpc/packer.h"

namespace quoin::grpc::test {
namespace {
using End = Harness::End;

// Half of it can be compressed away.
std::string text_of(size_t bytes) {
  Prng prng(bytes);
  std::string s(bytes, '\0');
  for (char& c : s) c = static_cast<char>('a' + prng.below(16));
  return s;
}

std::string zipped(std::string_view text) {
  std::string s;
  gzip(text, s);
  return s;
}

http2::StreamId open(Harness& h, std::string_view method, std::string_view body, bool end) {
  auto headers = RawClient::post(std::string("/test.Echo/").append(method));
  headers.emplace_back("grpc-encoding", "gzip");
  headers.emplace_back("grpc-timeout", Harness::kTimeout);
  return h.client.request(headers, body, end);
}

// The messages in a stream's body, decompressed.
std::vector<std::string> messages(std::string_view body) {
  std::vector<std::string> out;
  while (body.size() >= kPrefixBytes) {
    const size_t size = load_prefix_size(body.data());
    EXPECT_EQ(body[0], 1);
    EXPECT_GE(body.size(), kPrefixBytes + size);
    if (body.size() < kPrefixBytes + size) break;
    EXPECT_TRUE(gunzip(body.substr(kPrefixBytes, size), SIZE_MAX / 2, out.emplace_back()));
    body.remove_prefix(kPrefixBytes + size);
  }
  EXPECT_TRUE(body.empty());
  return out;
}

// Steps that `bytes` take.
size_t steps_of(size_t bytes) {
  return (bytes + Packer::kStepBytes - 1) / Packer::kStepBytes;
}

TEST(Coding, APackerAppendsWholeMessagesInOrder) {
  const std::string a = text_of(100'000), b = text_of(200'001);
  const std::vector<Blob> parts{Blob(), Blob::copy(a), Blob::copy(b), Blob()};
  Packer packer;
  packer.add("head", parts);
  packer.add("", {});
  packer.add(b, {});
  packer.add("end", std::span(parts).subspan(3));
  EXPECT_EQ(packer.waiting_bytes(), 4 + a.size() + b.size() + b.size() + 3);
  http2::ByteQueue out;
  size_t steps = 0;
  for (; !packer.idle(); ++steps) {
    // A part counts until all of it is compressed.
    EXPECT_LE(packer.held_bytes(), a.size() + 3 * b.size() + Gzip::kStateBytes);
    packer.step(out);
  }
  EXPECT_GE(steps, steps_of(a.size() + 2 * b.size()));
  EXPECT_LE(steps, steps_of(a.size() + 2 * b.size()) + 1);
  EXPECT_EQ(packer.held_bytes(), 0u);
  const std::vector<std::string> expected{"head" + a + b, "", b, "end"};
  EXPECT_EQ(messages(out.take_all()), expected);
}

TEST(Coding, ManySmallMessagesAreSeveralSteps) {
  Packer packer;
  for (int i = 0; i < 1'000; ++i) packer.add("x", {});
  http2::ByteQueue out;
  size_t steps = 0;
  for (; !packer.idle(); ++steps) packer.step(out);
  EXPECT_GT(steps, 20u);
  EXPECT_EQ(messages(out.take_all()).size(), 1'000u);
}

TEST(Coding, GunzipTakesStepsWhateverTheMessageIsMadeOf) {
  const std::string text = text_of(300'000);
  const std::string zeros(1'000'000, '\0');
  std::string members;
  for (int i = 0; i < 2'000; ++i) members += zipped("");
  for (const auto& [bytes, expected] :
       {std::pair{zipped(text), text}, std::pair{zipped(zeros), zeros}, std::pair{members, std::string()},
        std::pair{zipped("a") + zipped(text) + zipped("c"), "a" + text + "c"}}) {
    Gunzip gunzip(bytes, 1'000'000);
    std::string out;
    size_t steps = 1;
    for (;; ++steps) {
      const size_t before = out.size();
      auto whole = gunzip.step(10'000, out);
      ASSERT_TRUE(whole) << whole.error().text();
      EXPECT_LE(out.size() - before, 20'000u);
      if (*whole) break;
    }
    EXPECT_EQ(out, expected);
    EXPECT_GE(steps, std::max(bytes.size(), expected.size()) / 20'000);
  }
}

// The errors do not depend on where the steps end.
TEST(Coding, GunzipFailsAlikeInStepsAndAtOnce) {
  Prng prng(1);
  const std::string good = zipped(text_of(3'000)) + zipped(text_of(500));
  for (int i = 0; i < 2'000; ++i) {
    std::string bytes = good;
    if (prng.chance(1, 2)) bytes.resize(prng.below(bytes.size()));
    if (!bytes.empty() && prng.chance(2, 3))
      bytes[prng.below(bytes.size())] ^= static_cast<char>(1 + prng.below(255));
    const size_t limit = prng.chance(1, 4) ? prng.below(4'000) : 4'000;
    std::string at_once, out;
    const Result<> expected = gunzip(bytes, limit, at_once);
    Gunzip steps(bytes, limit);
    Result<bool> r = false;
    while (r && !*r) r = steps.step(1 + prng.below(300), out);
    ASSERT_EQ(bool(r), bool(expected));
    if (r) {
      EXPECT_EQ(out, at_once);
    } else {
      EXPECT_EQ(r.error().code(), expected.error().code());
      EXPECT_EQ(r.error().text(), expected.error().text());
    }
  }
}

TEST(Coding, OthersGoOnWhileAnAnswerIsCompressed) {
  Harness h;
  const std::string text = text_of(1'000'000);
  RawClient::Stream& s = *h.client.streams[open(h, "Later", framed("x"), true)];
  h.run();
  h.code = false;
  h.calls.find(h.later.calls.at(0))->respond(Blob::copy(text));
  EXPECT_EQ(h.notified, 1);
  size_t steps = 0;
  for (; h.server->coding(); ++steps) {
    ASSERT_LT(steps, 100u);
    EXPECT_EQ(s.blocks, 0);
    EXPECT_GT(h.server->held_bytes(), text.size() / 3);
    auto& other = h.call("/test.Echo/Unary", framed("other"));
    h.run();
    EXPECT_EQ(other.body, framed("other"));
    h.server->code(h.now);
  }
  EXPECT_EQ(steps, steps_of(text.size()));
  h.run();
  EXPECT_EQ(s.status(), "0 ");
  EXPECT_EQ(messages(s.body), std::vector{text});
  EXPECT_EQ(h.server->held_bytes(), 0u);
}

TEST(Coding, ShortAnswersAreCompressedAtOnce) {
  Harness h;
  auto& s = *h.client.streams[open(h, "Unary", framed("short"), true)];
  h.code = false;
  h.run();
  EXPECT_FALSE(h.server->coding());
  EXPECT_EQ(messages(s.body), std::vector<std::string>{"short"});
}

// However small they are, so many do not go in one task.
TEST(Coding, ManyShortAnswersOfOneRoundAreSeveralSteps) {
  Harness h;
  for (int i = 0; i < 500; ++i) open(h, "Later", framed("x"), true);
  h.run();
  h.code = false;
  for (const CallId id : h.later.calls) h.calls.find(id)->respond(Blob::copy("short"));
  size_t steps = 0;
  for (; h.server->coding(); ++steps) h.server->code(h.now);
  EXPECT_GT(steps, 10u);
  h.run();
  for (const auto& [id, s] : h.client.streams)
    EXPECT_EQ(messages(s->body), std::vector<std::string>{"short"});
}

TEST(Coding, MessagesOfAStreamKeepTheirOrderAndItsEnd) {
  for (const GrpcStatus status : {GrpcStatus::kOk, GrpcStatus::kUnavailable}) {
    Harness h;
    auto& s = *h.client.streams[open(h, "Down", framed("x"), true)];
    h.run();
    Call& call = *h.down.streams.at(0)->call;
    std::vector<std::string> sent{text_of(200'000), "short", text_of(70'000), "", "last"};
    for (const std::string& m : sent) call.send({}, Blob::copy(m));
    EXPECT_FALSE(call.writable());
    call.finish(status, "");
    h.run();
    EXPECT_EQ(messages(s.body), sent);
    EXPECT_EQ(s.status(), fmt::format("{} ", static_cast<int>(status)));
  }
}

TEST(Coding, AStreamIsToldThatItsMessagesWereCompressed) {
  Harness h;
  h.client.read = false;
  open(h, "Down", framed("x"), true);
  h.run();
  StreamLog& log = *h.down.streams.at(0);
  // Nothing but compression makes room: what comes of it is less than half of the bound.
  log.call->send({}, Blob::copy(std::string(100'000, 'z')));
  EXPECT_FALSE(log.call->writable());
  h.run();
  EXPECT_TRUE(log.call->writable());
  EXPECT_EQ(log.events.back(), "writable");
}

TEST(Coding, OthersGoOnWhileARequestIsDecompressed) {
  Harness h;
  const std::string text(1'000'000, 'q');
  h.code = false;
  auto& s = *h.client.streams[open(h, "Later", framed(zipped(text), 1), true)];
  h.run();
  size_t steps = 0;
  for (; h.server->coding(); ++steps) {
    ASSERT_LT(steps, 100u);
    EXPECT_TRUE(h.later.calls.empty());
    auto& other = h.call("/test.Echo/Unary", framed("other"));
    h.run();
    EXPECT_EQ(other.body, framed("other"));
    h.server->code(h.now);
  }
  EXPECT_GE(steps + 1, steps_of(text.size()));
  ASSERT_EQ(h.later.requests, std::vector<std::string_view>{text});
  EXPECT_GE(h.server->held_bytes(), text.size());
  h.calls.find(h.later.calls[0])->respond(Blob());
  h.run();
  EXPECT_EQ(s.status(), "0 ");
  EXPECT_EQ(h.server->held_bytes(), 0u);
}

// However few bytes they arrive as.
TEST(Coding, SmallBombsOfOneRoundAreSeveralSteps) {
  Harness h;
  h.code = false;
  const std::string text(30'000, '\0');
  for (int i = 0; i < 100; ++i) open(h, "Later", framed(zipped(text), 1), true);
  http2::ByteQueue sent;
  ASSERT_TRUE(h.client.session.produce(sent, SIZE_MAX));
  ASSERT_TRUE(h.server->feed(sent.take_all(), h.now));
  while (h.server->unfed()) ASSERT_TRUE(h.server->feed({}, h.now));
  EXPECT_LE(h.later.calls.size(), 3u);
  size_t steps = 0;
  for (; h.server->coding(); ++steps) h.server->code(h.now);
  EXPECT_GE(steps, 97u);
  EXPECT_EQ(h.later.calls.size(), 100u);
}

// A client that sends many has one of them under way, not a part of each.
TEST(Coding, RequestsAreDecompressedOneAfterTheOther) {
  Harness h;
  h.code = false;
  const std::string text(1'000'000, '\0');
  for (int i = 0; i < 10; ++i) {
    open(h, "Later", framed(zipped(text), 1), true);
    h.run();
  }
  while (h.server->coding()) {
    h.server->code(h.now);
    ASSERT_LE(h.server->held_bytes(), (h.later.calls.size() + 1) * text.size() + 100'000);
  }
  EXPECT_EQ(h.later.calls.size(), 10u);
}

// A bomb takes no more than what its client is charged.
TEST(Coding, ARequestIsChargedAsItIsDecompressed) {
  Harness h;
  h.code = false;
  open(h, "Later", framed(zipped(std::string(1'000'000, '\0')), 1), true);
  h.run();
  while (h.later.calls.empty()) {
    const size_t before = h.server->held_bytes();
    ASSERT_TRUE(h.server->coding());
    h.server->code(h.now);
    EXPECT_LE(h.server->held_bytes(), before + 2 * Packer::kStepBytes);
    if (h.later.calls.empty()) {
      EXPECT_GE(h.server->held_bytes(), before + Packer::kStepBytes / 2);
    }
  }
  EXPECT_GE(h.server->held_bytes(), 1'000'000u);
}

// A service that pauses and resumes while a message of its stream is decompressed gets it once it is open again.
TEST(Coding, MessagesOfAStreamArriveInOrderThroughPauses) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    SCOPED_TRACE(seed);
    Prng prng(seed);
    Harness h;
    h.code = false;
    const auto id = open(h, "Bidi", "", false);
    std::vector<std::string> expected;
    size_t sent = 0;
    while (sent < 20 || expected.size() + 1 > h.bidi.streams.at(0)->events.size() || h.server->coding()) {
      StreamLog* log = h.bidi.streams.empty() ? nullptr : h.bidi.streams[0].get();
      switch (prng.below(5)) {
        case 0:
          if (sent == 20) break;
          {
            const std::string text = fmt::format("-{} {}", sent++, std::string(prng.below(200'000), 'q'));
            expected.push_back("message " + text.substr(0, 40));
            h.client.send(id, prng.chance(2, 3) ? framed(zipped(text), 1) : framed(text), sent == 20);
          }
          break;
        case 1:
          if (log) log->call->pause_reading();
          break;
        case 2:
          if (log) log->call->resume_reading();
          break;
        case 3:
          h.server->code(h.now);
          break;
        default:
          h.run(prng.chance(1, 2) ? SIZE_MAX : 1 + prng.below(3'000));
      }
      ASSERT_TRUE(h.server_result);
    }
    expected.emplace_back("half-close");
    h.bidi.streams[0]->call->resume_reading();
    EXPECT_EQ(h.bidi.streams[0]->events, expected);
    h.bidi.streams[0]->call->finish(GrpcStatus::kOk, {});
    h.code = true;
    h.run();
    EXPECT_EQ(h.client.streams[id]->status(), "0 ");
    EXPECT_EQ(h.server->held_bytes(), 0u);
  }
}

// Several calls with messages on both ways through zlib, ended after each number of steps.
TEST(Coding, EveryCallMayEndAtEveryStep) {
  const std::string text = text_of(70'000);
  for (const End how : {End::kReset, End::kDeadline, End::kConnection, End::kStop}) {
    for (size_t last = 0; last < 20; ++last) {
      SCOPED_TRACE(fmt::format("way {} after step {}", static_cast<int>(how), last));
      auto limits = Harness::small_limits();
      limits.request_bytes = 200'000;
      Harness h(limits);
      std::vector<http2::StreamId> ids{open(h, "Later", framed("x"), true),
                                       open(h, "Down", framed("x"), true), open(h, "Bidi", "", false)};
      h.run();
      h.code = false;
      h.calls.find(h.later.calls.at(0))->respond(Blob::copy(text));
      h.down.streams.at(0)->call->send("head", Blob::copy(text));
      h.down.streams.at(0)->call->finish(GrpcStatus::kOk, {});
      h.client.send(ids[2], framed(zipped(text), 1) + framed(zipped("-" + text), 1), last % 2 == 0);
      ids.push_back(open(h, "Later", framed(zipped(text), 1), true));
      ids.push_back(open(h, "Unary", framed(zipped(text), 1), true));
      h.run();
      for (size_t n = 0; n < last && h.server->coding(); ++n) {
        h.server->code(h.now);
        h.run();
      }
      h.end(how, ids);
      if (how == End::kReset) {
        EXPECT_FALSE(h.server->coding());
      }
      if (h.server && how != End::kStop) {
        for (int n = 0; h.server->coding(); ++n) {
          ASSERT_LT(n, 100);
          h.server->code(h.now);
          h.run();
        }
        EXPECT_TRUE(h.server_result);
        EXPECT_EQ(h.server->calls_in_progress(), 0u);
        EXPECT_EQ(h.server->held_bytes(), 0u);
      }
      h.server.reset();
      EXPECT_EQ(h.calls.size(), 0u);
      EXPECT_EQ(h.memory.used(), 0u);
    }
  }
}

}  // namespace
}  // namespace quoin::grpc::test

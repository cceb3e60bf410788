#include "http2/header_guard.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "base/prng.h"
#include "http2/frames_test.h"
#include "http2/session.h"

namespace quoin::http2 {
namespace {
using namespace test;

// What a server session makes of the requests it gets.
struct Server final : SessionHandler {
  Server() : session(Session::Role::kServer, *this, Limits{}) { feed(preface()); }
  void on_headers(StreamId id, void*, HeaderBlock& h, bool end) override {
    Fields& f = requests[id];
    for (size_t i = 0; i < h.size(); ++i) f.emplace_back(h[i].name, h[i].value);
    ended[id] = end;
  }
  bool on_headers_too_large(StreamId id) override {
    too_large.push_back(id);
    return false;
  }
  size_t header_room() override { return room; }
  void on_data(StreamId, void*, std::string_view) override {}
  void on_end_stream(StreamId, void*) override {}
  void on_stream_closed(StreamId, void*, ErrorCode) override {}
  bool feed(std::string_view bytes) {
    result = session.feed(bytes, 1);
    while (result && session.unfed()) result = session.feed({}, 1);
    return bool(result);
  }
  std::string output() {
    ByteQueue out;
    (void)session.produce(out, SIZE_MAX);
    return out.take_all();
  }
  size_t room = SIZE_MAX;
  std::map<StreamId, Fields> requests;
  std::map<StreamId, bool> ended;
  std::vector<StreamId> too_large;
  Result<> result{};
  Session session;
};

const Fields kPost = {{":method", "POST"}, {":scheme", "http"}, {":path", "/a.B/C"}, {":authority", "x"}};
Fields with(std::string name, std::string value) {
  Fields f = kPost;
  f.emplace_back(std::move(name), std::move(value));
  return f;
}

TEST(HeaderGuard, OneFrameBlocksPassUntouched) {
  HeaderGuard guard;
  Encoder encoder;
  const std::string bytes = preface() + headers(1, encoder.block(kPost), false) +
                            frame(kData, 0, 1, "hello") + headers(3, encoder.block(kPost), true) +
                            frame(kPing, 0, 0, "12345678");
  EXPECT_EQ(guard.pass(bytes).data(), bytes.data());
  std::string passed;
  HeaderGuard pieces;
  for (const char c : bytes) passed += pieces.pass({&c, 1});
  EXPECT_EQ(passed, bytes);
}

// A value that libnghttp2 would end the connection for costs its stream alone, and the compression tables of
// both sides stay equal.
TEST(HeaderGuard, AStringThatIsTooLongCostsItsStream) {
  for (const size_t length : {70'000u, 300'000u, 4'000'000u}) {
    Server s;
    Encoder encoder;
    ASSERT_TRUE(s.feed(headers(1, encoder.block(with("a", "indexed")), true)));
    ASSERT_TRUE(s.feed(headers(3, encoder.block(with("long", std::string(length, '~'))), true)));
    ASSERT_TRUE(s.feed(headers(5, encoder.block(with(std::string(length, '~'), "v")), true)));
    ASSERT_TRUE(s.feed(headers(7, encoder.block(with("a", "indexed")), true))) << s.result.error().text();
    ASSERT_TRUE(s.feed(headers(9, encoder.block(with("a", "indexed")), true)));
    EXPECT_EQ(s.too_large, (std::vector<StreamId>{3, 5}));
    EXPECT_EQ(s.requests.size(), 3u);
    EXPECT_EQ(s.requests[7], with("a", "indexed"));
    EXPECT_EQ(s.requests[9], with("a", "indexed"));
    const std::string out = s.output();
    EXPECT_NE(out.find(rst_stream(3, 6)), std::string::npos);  // FRAME_SIZE_ERROR
    EXPECT_NE(out.find(rst_stream(5, 6)), std::string::npos);
  }
}

// Such a string with indexing leaves both tables empty: an index that the client does not use any more names
// nothing.
TEST(HeaderGuard, AStringThatIsTooLongEmptiesTheTable) {
  for (const bool long_one : {false, true}) {
    Server s;
    const std::string post = literals(kPost);
    ASSERT_TRUE(s.feed(headers(1, post + "\x40\1a\1b", true)));
    ASSERT_TRUE(s.feed(headers(3, post + "\xbe", true)));  // index 62: the newest entry
    if (long_one) {
      std::string block = literals({{"x", std::string(70'000, '~')}});
      block[0] = '\x40';
      ASSERT_TRUE(s.feed(headers(5, post + block, true)));
    }
    s.feed(headers(7, post + "\xbe", true));
    EXPECT_EQ(s.requests.contains(7), !long_one);
  }
}

TEST(HeaderGuard, WhatGoTakesIsTaken) {
  Server s;
  Encoder encoder;
  Fields many = kPost;
  for (int i = 0; i < 100; ++i) many.emplace_back("name-" + std::to_string(i), std::string(40'000, '~'));
  ASSERT_TRUE(s.feed(headers(1, encoder.block(many), true)));  // 4 MB
  EXPECT_EQ(s.requests[1], many);
  // 65,536 bytes are the longest string on the wire.
  ASSERT_TRUE(s.feed(headers(3, encoder.block(with("long", std::string(65'536, '~'))), true)));
  EXPECT_EQ(s.requests[3], with("long", std::string(65'536, '~')));
  EXPECT_TRUE(s.too_large.empty());
}

// Random requests in random frames, read in random pieces: what fits arrives as it was sent, the rest is
// refused, and nothing ends the session.
TEST(HeaderGuard, AgreesWithWhatWasSent) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    Prng prng(seed);
    Server s;
    s.room = 200'000;
    Encoder encoder;
    std::string bytes;
    std::map<StreamId, Fields> fit;
    std::vector<StreamId> too_large;
    for (StreamId id = 1; id < 40; id += 2) {
      Fields fields = kPost;
      size_t total = 0;
      bool cut = false;
      for (uint64_t n = prng.below(6); n > 0; --n) {
        const uint64_t kind = prng.below(10);
        const size_t length = kind < 6 ? prng.below(30) : kind < 8 ? prng.below(6'000) : prng.below(150'000);
        // Letters that Huffman shortens, or not.
        fields.emplace_back("n" + std::to_string(prng.below(20)),
                            std::string(length, prng.chance(1, 2) ? 'e' : '~'));
      }
      for (const auto& [name, value] : fields) {
        total += name.size() + value.size() + 32;
        // '~' is 13 bits long, so it is sent as it is; 'e' has 5.
        cut = cut || (value.size() > 1 && value[0] == '~' && value.size() > HeaderGuard::kMaxStringBytes) ||
              (value.size() > 1 && value[0] == 'e' &&
               (value.size() * 5 + 7) / 8 > HeaderGuard::kMaxStringBytes);
      }
      if (cut || total > s.room) {
        too_large.push_back(id);
      } else {
        fit[id] = fields;
      }
      // Frames of random sizes, some empty, the first one padded or with a priority.
      std::string block = encoder.block(fields);
      uint8_t type = kHeaders;
      do {
        std::string_view part = std::string_view(block).substr(0, prng.below(16'000));
        int flags = part.size() == block.size() ? kEndHeaders : 0;
        std::string payload(part);
        if (type == kHeaders) {
          flags |= kEndStream;
          if (prng.chance(1, 3)) {
            flags |= kPriorityFlag;
            payload.insert(0, std::string("\0\0\0\0\7", 5));
          }
          if (prng.chance(1, 3)) {
            const auto pad = prng.below(200);
            flags |= kPadded;
            payload.insert(0, 1, static_cast<char>(pad));
            payload.append(pad, '\0');
          }
        }
        bytes += frame(type, static_cast<uint8_t>(flags), static_cast<uint32_t>(id), payload);
        block.erase(0, part.size());
        type = kContinuation;
        if (flags & kEndHeaders) break;
      } while (true);
      bytes += frame(kPing, 0, 0, "12345678");
    }
    const size_t piece = prng.chance(1, 3) ? 100'000 : 3'000;
    for (size_t at = 0; at < bytes.size();) {
      const size_t n = 1 + prng.below(piece);
      ASSERT_TRUE(s.feed(std::string_view(bytes).substr(at, n))) << seed << " " << s.result.error().text();
      s.output();
      at += n;
    }
    EXPECT_EQ(s.requests, fit) << seed;
    EXPECT_EQ(s.too_large, too_large) << seed;
    EXPECT_EQ(std::count_if(s.ended.begin(), s.ended.end(), [](auto& e) { return !e.second; }), 0);
    EXPECT_EQ(s.session.unfinished_header_bytes(), 0u);
  }
}

// Faults are left for the library to find and name.
TEST(HeaderGuard, FaultsEndTheSession) {
  const std::string start = frame(kHeaders, 0, 1, "\x83\x86\x84");
  const std::string cases[] = {
      start + frame(kPing, 0, 0, "12345678"),
      start + frame(kContinuation, kEndHeaders, 3, ""),
      start + frame(kHeaders, kEndHeaders, 3, "\x83\x86\x84"),
      frame(kHeaders, kPadded, 1, std::string("\x09") + "abc"),
      frame(kHeaders, kPadded, 1, ""),
      frame(kHeaders, kPriorityFlag, 1, "abc"),
      frame(kHeaders, 0, 0, "\x83"),
      frame(kHeaders, 0, 1, std::string(16'385, '\x83')),
      frame(kContinuation, kEndHeaders, 1, "\x83"),
      // No end to a number: an index, a length.
      start + frame(kContinuation, kEndHeaders, 1, std::string(12, '\xff')),
      start + frame(kContinuation, kEndHeaders, 1, std::string("\0\x7f", 2) + std::string(12, '\xff')),
      // An index that names nothing.
      start + frame(kContinuation, kEndHeaders, 1, "\xfe"),
  };
  for (const std::string& bytes : cases) {
    for (const size_t piece : {SIZE_MAX, size_t{1}}) {
      Server s;
      bool alive = true;
      for (size_t at = 0; at < bytes.size() && alive;) {
        const size_t n = std::min(piece, bytes.size() - at);
        alive = s.feed(std::string_view(bytes).substr(at, n));
        at += n;
      }
      s.feed(frame(kPing, 0, 0, "12345678"));
      const std::string out = s.output();
      EXPECT_TRUE(s.session.done()) << &bytes - cases;
      EXPECT_TRUE(s.requests.empty()) << &bytes - cases;
    }
  }
}

TEST(HeaderGuard, ABlockWithoutEndIsNotTaken) {
  Server s;
  ASSERT_TRUE(s.feed(frame(kHeaders, 0, 1, "\x83\x86\x84")));
  // A value of 2^28 bytes is announced: all of it would be skipped.
  ASSERT_TRUE(s.feed(frame(kContinuation, 0, 1, std::string("\0\1a\x7f\xff\xff\xff\x7f", 8))));
  const std::string more = frame(kContinuation, 0, 1, std::string(16'384, 'v'));
  size_t sent = 0;
  while (sent < (100u << 20) && s.feed(more)) sent += more.size();
  EXPECT_LE(sent, HeaderGuard::kMaxBlockBytes + 100'000);
  EXPECT_EQ(s.result.error().code(), Code::kLimit);
  EXPECT_NE(s.output().find("header bytes"), std::string::npos);
}

}  // namespace
}  // namespace quoin::http2

// The bytes are those of the sheets: captured from real members, or derived from the field rules.
#include "peer/stream_codec.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/coding.h"
#include "base/prng.h"
#include "peer/raft_bytes.h"
#include "raft/codec.h"

namespace quoin::peer {
namespace {

constexpr MemberId kSelf{0x475c9544c4aedc89}, kRemote{0x34a607e04d4291c7};

std::string unhex(std::string_view text) {
  std::string out;
  int high = -1;
  for (char c : text) {
    if (c == ' ') continue;
    const int v = c <= '9' ? c - '0' : c - 'a' + 10;
    if (high < 0) {
      high = v;
    } else {
      out.push_back(static_cast<char>(high << 4 | v));
      high = -1;
    }
  }
  return out;
}

// A 3.4 member's conversation: two link heartbeats, an append as a message, an append of one entry, a commit.
std::string captured_msgapp() {
  return unhex(
      "00 00"
      "02 0000000000000036"
      "08031089b9bba5cca8a5ae4718c7a38aea84fc81d3342002280130033a0608001002180440034a0a12080a0228001000180050"
      "00"
      "5800"
      "01 0000000000000001 0000000000000021"
      "0800100218092219220a0a03666f6f1203626172a2060a088494f3d4c0bfa8b911 0000000000000008"
      "01 0000000000000000 0000000000000009");
}

// A type byte (none for the message stream) and numbers.
std::string numbers(StreamKind kind, char type, const std::vector<uint64_t>& values) {
  std::string s;
  if (kind == StreamKind::kMsgApp) s.push_back(type);
  for (uint64_t v : values) s.append(be64(v));
  return s;
}

struct Decoded {
  std::vector<raft::Message> messages;
  std::string error;
};
Decoded decode(StreamDecoder& decoder, std::string_view bytes, size_t step) {
  Decoded out;
  for (size_t at = 0; at < bytes.size(); at += step) {
    const auto ok =
        decoder.feed(bytes.substr(at, step), [&](raft::Message m) { out.messages.push_back(std::move(m)); });
    if (!ok) {
      out.error = ok.error().text();
      return out;
    }
  }
  return out;
}
Decoded decode(StreamKind kind, std::string_view bytes, size_t step = SIZE_MAX) {
  return decode(*make_decoder(kind, kSelf, kRemote), bytes, std::min(step, bytes.size()));
}
std::string encode(StreamKind kind, const std::vector<raft::Message>& messages) {
  const auto encoder = make_encoder(kind);
  Pieces out;
  for (const raft::Message& m : messages) encoder->encode(m, out);
  return out.joined();
}
std::vector<std::string> bytes_of(const std::vector<raft::Message>& messages) {
  std::vector<std::string> out;
  for (const raft::Message& m : messages) out.push_back(raft::encode_string(m));
  return out;
}

raft::Message append(uint64_t term, uint64_t log_term, uint64_t index, std::vector<size_t> sizes,
                     uint64_t commit) {
  raft::Message m;
  m.type = raft::MessageType::kApp;
  m.from = kRemote, m.to = kSelf;
  m.term = Term{term}, m.log_term = Term{log_term};
  m.index = Index{index}, m.commit = Index{commit};
  for (size_t size : sizes) {
    m.entries.push_back({Term{term}, Index{++index}, raft::EntryType::kNormal,
                         Blob::copy(std::string(size, static_cast<char>('a' + index % 26)))});
  }
  return m;
}

TEST(MsgAppStream, ReadsWhatARealMemberSent) {
  for (size_t step : {size_t{1}, size_t{2}, size_t{7}, size_t{1000}}) {
    const Decoded d = decode(StreamKind::kMsgApp, captured_msgapp(), step);
    EXPECT_EQ(d.error, "");
    ASSERT_EQ(d.messages.size(), 5u);
    EXPECT_TRUE(is_link_heartbeat(d.messages[0]));
    EXPECT_TRUE(is_link_heartbeat(d.messages[1]));
    EXPECT_EQ(bytes_of({d.messages[2]}), bytes_of({append(2, 1, 3, {0}, 3)}));

    const raft::Message& entries = d.messages[3];
    EXPECT_EQ(entries.type, raft::MessageType::kApp);
    EXPECT_EQ(entries.from, kRemote);
    EXPECT_EQ(entries.to, kSelf);
    EXPECT_EQ(entries.term, Term{2});
    EXPECT_EQ(entries.log_term, Term{2});
    EXPECT_EQ(entries.index, Index{4});
    EXPECT_EQ(entries.commit, Index{8});
    ASSERT_EQ(entries.entries.size(), 1u);
    EXPECT_EQ(entries.entries[0].index, Index{9});
    EXPECT_EQ(entries.entries[0].data.size(), 25u);

    EXPECT_EQ(d.messages[4].index, Index{5});
    EXPECT_EQ(d.messages[4].commit, Index{9});
    EXPECT_TRUE(d.messages[4].entries.empty());
  }
}

TEST(MsgAppStream, AnAppendThatContinuesIsItsEntriesAlone) {
  const std::string bytes = encode(StreamKind::kMsgApp, {link_heartbeat(), append(2, 1, 3, {0}, 3),
                                                         append(2, 2, 4, {3}, 4), append(2, 2, 5, {}, 5)});
  EXPECT_EQ(
      hex_bytes(bytes),
      "00"
      "02000000000000002c08031089b9bba5cca8a5ae4718c7a38aea84fc81d3342002280130033a06080010021804400350005800"
      "6800"
      "010000000000000001000000000000000b"
      "08001002180522036666660000000000000004"
      "0100000000000000000000000000000005");
}

// From the same rules: the first append of a connection or a term, and one that goes back, is a whole message.
TEST(MsgAppStream, WhatDoesNotContinueIsAWholeMessage) {
  const std::vector<std::pair<raft::Message, char>> cases{
      {append(2, 2, 7, {1}, 3), 2},     // first of the connection
      {append(2, 2, 8, {1, 1}, 3), 1},  // goes on
      {append(2, 2, 9, {1}, 3), 2},     // back
      {append(2, 2, 10, {}, 3), 1},     //
      {append(2, 2, 10, {}, 4), 1},     // the same place again
      {append(3, 2, 10, {1}, 4), 2},    // a new term
      {append(3, 3, 11, {1}, 4), 1},    //
      {append(3, 2, 12, {1}, 4), 2},    // the entry before is of another term
      {append(3, 3, 13, {}, 4), 1},     //
      {append(4, 4, 13, {}, 4), 2},     // same place, other term
      {append(4, 4, 13, {}, 4), 1},     // an empty one continues from its own index
  };
  const auto encoder = make_encoder(StreamKind::kMsgApp);
  const auto decoder = make_decoder(StreamKind::kMsgApp, kSelf, kRemote);
  for (const auto& [message, type] : cases) {
    Pieces out;
    encoder->encode(message, out);
    const std::string bytes = out.joined();
    EXPECT_EQ(bytes[0], type) << message.index.v;
    const Decoded d = decode(*decoder, bytes, 5);
    EXPECT_EQ(d.error, "");
    EXPECT_EQ(bytes_of(d.messages), bytes_of({message}));
  }
}

TEST(MsgAppStream, AnUnknownTypeEndsIt) {
  EXPECT_EQ(decode(StreamKind::kMsgApp, std::string("\0\x03", 2)).error,
            "failed to parse type 3 in msgappv2 stream");
}

TEST(MessageStream, ReadsAndWritesWhatRealMembersSend) {
  // Link heartbeats of 3.5 and 3.6, a POST body's message of 3.4, one of 3.7 with the fields it sets alone.
  const std::string bytes = unhex(
      "000000000000001e 08081000180020002800300040004a0a12080a0228001000180050005800"
      "0000000000000014 0808100018002000280030004000500058006800"
      "000000000000002f "
      "080910d1e88e92bdc3aff64318fafc9c858aa4a492e90120022800300040004a0a12080a02280010001800500058"
      "00"
      "0000000000000002 0808"
      "0000000000000018 0809 10d1e88e92bdc3aff643 18fafc9c858aa4a492e901 2002");
  // The last is one byte longer than said: lengths are computed below.
  std::string fixed = bytes.substr(0, bytes.size() - 25 - 8);
  const std::string last = bytes.substr(bytes.size() - 25);
  fixed += be64(last.size());
  fixed += last;
  for (size_t step : {size_t{1}, size_t{3}, size_t{1000}}) {
    const Decoded d = decode(StreamKind::kMessage, fixed, step);
    EXPECT_EQ(d.error, "");
    ASSERT_EQ(d.messages.size(), 5u);
    EXPECT_TRUE(is_link_heartbeat(d.messages[0]));
    EXPECT_TRUE(is_link_heartbeat(d.messages[1]));
    EXPECT_EQ(d.messages[2].type, raft::MessageType::kHeartbeatResp);
    EXPECT_EQ(d.messages[2].snapshot, nullptr);
    EXPECT_TRUE(is_link_heartbeat(d.messages[3]));
    EXPECT_EQ(bytes_of({d.messages[4]}), bytes_of({d.messages[2]}));
  }
  EXPECT_EQ(hex_bytes(encode(StreamKind::kMessage, {link_heartbeat()})),
            "00000000000000140808100018002000280030004000500058006800");
}

TEST(MessageStream, RefusesLongMessagesBeforeTheyArrive) {
  EXPECT_EQ(decode(StreamKind::kMessage, be64((512u << 20) + 1)).error, "rafthttp: error limit exceeded");
  EXPECT_EQ(decode(StreamKind::kMsgApp, numbers(StreamKind::kMsgApp, 2, {(512u << 20) + 1})).error,
            "rafthttp: error limit exceeded");
  EXPECT_EQ(decode(StreamKind::kMsgApp, numbers(StreamKind::kMsgApp, 1, {1, UINT64_MAX})).error,
            "rafthttp: error limit exceeded");
}

TEST(MessageStream, AClaimedLengthCostsNothing) {
  for (StreamKind kind : {StreamKind::kMessage, StreamKind::kMsgApp}) {
    const auto decoder = make_decoder(kind, kSelf, kRemote);
    const std::string begin = numbers(kind, 2, {512u << 20});
    EXPECT_EQ(decode(*decoder, begin, begin.size()).error, "");
    EXPECT_LE(decoder->held_bytes(), ArrivingBlob::kFirstBytes);
    EXPECT_EQ(decode(*decoder, std::string(1 << 20, 'x'), 4096).error, "");
    EXPECT_LE(decoder->held_bytes(), (3u << 20) + ArrivingBlob::kFirstBytes);
  }
  // A number of entries is a claim too.
  const auto decoder = make_decoder(StreamKind::kMsgApp, kSelf, kRemote);
  EXPECT_EQ(decode(*decoder, numbers(StreamKind::kMsgApp, 1, {UINT64_MAX}), 17).error, "");
  EXPECT_LE(decoder->held_bytes(), 4096u);
}

// Two bytes name an entry, a nested message or an id: what they become is counted before it is made.
TEST(MessageStream, PartsWithoutBytesAreBounded) {
  const auto framed = [](std::string_view part, size_t times, std::string_view before = "",
                         std::string_view after = "") {
    std::string body(before);
    for (size_t i = 0; i < times; ++i) body += part;
    body += after;
    return be64(body.size()) + body;
  };
  const size_t entries = kPartsBytesMax / sizeof(raft::Entry),
               nested = kPartsBytesMax / sizeof(raft::Message);
  using namespace std::string_view_literals;
  const auto error = [](const std::string& bytes) {
    return decode(StreamKind::kMessage, bytes, bytes.size()).error;
  };
  EXPECT_EQ(error(framed("\x3a\x00"sv, entries)), "");
  EXPECT_EQ(error(framed("\x3a\x00"sv, entries + 1)), "raft: a message of too many parts");
  EXPECT_EQ(error(framed("\x72\x00"sv, nested + 1)), "raft: a message of too many parts");
  // Nine million voters in the configuration of a snapshot, packed and not.
  const auto snapshot = [&](std::string_view id, size_t times, bool packed) {
    const auto wrapped = [](char tag, const std::string& bytes) {
      std::string out(1, tag);
      size_t n = bytes.size();
      for (; n >= 0x80; n >>= 7) out += static_cast<char>(n | 0x80);
      out += static_cast<char>(n);
      return out + bytes;
    };
    std::string ids;
    for (size_t i = 0; i < times; ++i) ids += id;
    const std::string conf_state = packed ? wrapped('\x0a', ids) : ids;
    const std::string message = "\x08\x07" + wrapped('\x4a', wrapped('\x12', wrapped('\x0a', conf_state)));
    return be64(message.size()) + message;
  };
  EXPECT_EQ(error(snapshot("\x01", 8 << 20, true)), "");
  EXPECT_EQ(error(snapshot("\x01", 9 << 20, true)), "raft: a message of too many parts");
  EXPECT_EQ(error(snapshot("\x08\x01", 9 << 20, false)), "raft: a message of too many parts");
  // The entries of an append that come one by one.
  std::string append = numbers(StreamKind::kMsgApp, 1, {UINT64_MAX});
  append.resize(append.size() + 8 * (entries + 1));  // of length 0
  EXPECT_EQ(decode(StreamKind::kMsgApp, append, append.size()).error, "rafthttp: error limit exceeded");
}

// However long a message is, what one piece of it costs depends on the piece.
TEST(ArrivingBlobTest, GrowsWithoutCopyingAllAtOnce) {
  for (const size_t size :
       {size_t{0}, size_t{1}, ArrivingBlob::kFirstBytes, ArrivingBlob::kFirstBytes + 1, size_t{1'000'003},
        size_t{(64 << 20) - 1}, size_t{64 << 20}, size_t{(64 << 20) + 1}}) {
    SCOPED_TRACE(size);
    ArrivingBlob blob;
    blob.begin(size);
    EXPECT_LE(blob.held_bytes(), ArrivingBlob::kFirstBytes);
    const std::string piece = [] {
      std::string s;
      for (int i = 0; i < 9973; ++i) s += static_cast<char>(i * 7);
      return s;
    }();
    for (size_t have = 0; have < size;) {
      const std::string_view next = std::string_view(piece).substr(0, std::min(piece.size(), size - have));
      const size_t before = blob.copied_bytes();
      ASSERT_EQ(blob.feed(next), next.size());
      have += next.size();
      ASSERT_LE(blob.copied_bytes() - before, 3 * next.size());
      ASSERT_LE(blob.held_bytes(), 3 * have + ArrivingBlob::kFirstBytes);
    }
    ASSERT_TRUE(blob.done());
    EXPECT_EQ(blob.feed("more"), 0u);
    const Blob all = blob.take();
    ASSERT_EQ(all.size(), size);
    for (size_t i = 0; i < size; i += 9973) {
      ASSERT_EQ(all.view().substr(i, 9973),
                std::string_view(piece).substr(0, std::min<size_t>(9973, size - i)));
    }
  }
}

// Entries of no bytes cost memory although hardly anything arrives.
TEST(MsgAppStream, WhatIsHeldIsCountedAndBounded) {
  const auto decoder = make_decoder(StreamKind::kMsgApp, kSelf, kRemote);
  EXPECT_EQ(decode(*decoder, numbers(StreamKind::kMsgApp, 1, {UINT64_MAX}), 17).error, "");
  std::string empty_entries;
  for (int i = 0; i < 10'000; ++i) empty_entries += be64(0);
  EXPECT_EQ(decode(*decoder, empty_entries, empty_entries.size()).error, "");
  EXPECT_GE(decoder->held_bytes(), 10'000 * sizeof(raft::Entry));
}

TEST(StreamCodecs, LargeDataIsSharedAndNotCopied) {
  raft::Message m = append(5, 5, 100, {10, 5000, 3, 100'000}, 7);
  m.context = Blob::copy("read");
  for (StreamKind kind : {StreamKind::kMessage, StreamKind::kMsgApp}) {
    const auto encoder = make_encoder(kind);
    Pieces out;
    encoder->encode(m, out);
    const std::string whole = out.joined();
    EXPECT_EQ(out.size(), whole.size());
    size_t shared = 0;
    for (const Pieces::Piece& p : out.take()) {
      if (!std::holds_alternative<Blob>(p)) continue;
      const std::string_view bytes = std::get<Blob>(p).view();
      for (const raft::Entry& e : m.entries)
        shared += e.data.view().data() == bytes.data() ? bytes.size() : 0;
    }
    EXPECT_EQ(shared, 105'000u);
    const Decoded d = decode(kind, whole, 999);
    EXPECT_EQ(d.error, "");
    EXPECT_TRUE(bytes_of(d.messages) == bytes_of({m}));
  }
}

TEST(StreamCodecs, AnySequenceComesBackInAnyCut) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    Prng prng(seed);
    std::vector<raft::Message> sent;
    uint64_t term = 1, index = 1;
    for (int i = 0; i < 60; ++i) {
      const uint64_t what = prng.below(10);
      if (what == 0) ++term;
      if (what == 1) index -= prng.below(index);
      if (what == 2) {
        sent.push_back(link_heartbeat());
        continue;
      }
      std::vector<size_t> sizes(prng.below(4));
      for (size_t& s : sizes) s = prng.below(prng.below(5) == 0 ? 200'000 : 2000);
      sent.push_back(append(term, what == 3 ? term - 1 : term, index, sizes, prng.below(100)));
      index += sizes.size();
    }
    for (StreamKind kind : {StreamKind::kMessage, StreamKind::kMsgApp}) {
      const std::string bytes = encode(kind, sent);
      const auto decoder = make_decoder(kind, kSelf, kRemote);
      std::vector<raft::Message> got;
      for (size_t at = 0; at < bytes.size();) {
        const size_t n = 1 + prng.below(prng.below(3) == 0 ? 70'000 : 50);
        const auto ok = decoder->feed(std::string_view(bytes).substr(at, n),
                                      [&](raft::Message m) { got.push_back(std::move(m)); });
        ASSERT_TRUE(ok.has_value()) << ok.error().text();
        at += n;
      }
      EXPECT_TRUE(bytes_of(got) == bytes_of(sent)) << "seed " << seed;
      EXPECT_EQ(decoder->held_bytes(), 0u);
    }
  }
}

TEST(FramedMessage, LeavesWhatFollows) {
  Pieces out;
  const raft::Message m = append(1, 1, 1, {5}, 0);
  append_framed(m, out);
  const std::string bytes = out.joined() + "database";
  for (size_t step : {size_t{1}, size_t{6}, bytes.size()}) {
    FramedMessage framed(1000);
    size_t at = 0;
    while (!framed.done()) {
      const auto n = framed.feed(std::string_view(bytes).substr(at, step));
      ASSERT_TRUE(n.has_value());
      at += *n;
    }
    EXPECT_EQ(bytes.substr(at), "database");
    EXPECT_EQ(bytes_of({*framed.take()}), bytes_of({m}));
  }
  FramedMessage small(10);
  EXPECT_EQ(small.feed(bytes).error().code(), Code::kLimit);
}

}  // namespace
}  // namespace quoin::peer

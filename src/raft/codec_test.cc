#include "raft/codec.h"

#include <gtest/gtest.h>

#include "base/coding.h"
#include "base/prng.h"

namespace quoin::raft {
namespace {

std::string from_hex(std::string_view text) {
  std::string out, digits;
  for (char c : text) {
    if (c == ' ') continue;
    digits.push_back(c);
    if (digits.size() < 2) continue;
    uint64_t v = 0;
    EXPECT_TRUE(parse_hex(digits, &v));
    out.push_back(static_cast<char>(v));
    digits.clear();
  }
  return out;
}
Blob blob_from_hex(std::string_view text) {
  return Blob::copy(from_hex(text));
}

template <class T>
std::string hex_of(const T& x) {
  return hex_bytes(encode_string(x));
}

TEST(Codec, ZeroValuesAreWrittenInFull) {
  EXPECT_EQ(hex_of(Entry{}), "080010001800");
  EXPECT_EQ(hex_of(HardState{}), "080010001800");
  EXPECT_EQ(hex_of(ConfChange{}), "080010001800");
  EXPECT_EQ(hex_of(ConfState{}), "2800");
  EXPECT_EQ(hex_of(SnapshotMetadata{}), "0a02280010001800");
  EXPECT_EQ(hex_of(Snapshot{}), "12080a02280010001800");
  EXPECT_EQ(hex_of(ConfChangeV2{}), "0800");
  EXPECT_EQ(hex_of(ConfChangeSingle{}), "08001000");
  EXPECT_EQ(hex_of(Message{}), "0800100018002000280030004000500058006800");
  EXPECT_EQ(hex_of(ConfState{.voters = {MemberId{1}, MemberId{2}}}), "080108022800");
}

// Spec raft-and-peers 1.2: bytes seen on real members.
TEST(Codec, LinkHeartbeat) {
  Message m;
  m.type = MessageType::kHeartbeat;
  EXPECT_EQ(hex_of(m), "0808100018002000280030004000500058006800");
}

TEST(Codec, AppendAsWrittenBy35And36) {
  Message m;
  m.type = MessageType::kApp;
  m.to = MemberId{0x475c9544c4aedc89};
  m.from = MemberId{0x34a607e04d4291c7};
  m.term = Term{2};
  m.log_term = Term{1};
  m.index = Index{3};
  m.commit = Index{3};
  m.entries.push_back({Term{2}, Index{4}, EntryType::kNormal, Blob()});
  EXPECT_EQ(hex_of(m),
            "08031089b9bba5cca8a5ae4718c7a38aea84fc81d3342002280130033a060800100218044003500058006800");

  const auto old = decode_message(blob_from_hex(
      "08031089b9bba5cca8a5ae4718c7a38aea84fc81d3342002280130033a0608001002180440034a0a12080a0228001000"
      "180050005800"));
  ASSERT_TRUE(old) << old.error().text();
  EXPECT_EQ(old->snapshot, nullptr) << "3.5's empty snapshot reads as none";
  EXPECT_EQ(hex_of(*old), hex_of(m));
}

TEST(Codec, FoundingEntry) {
  const std::string context =
      R"({"id":3793728396056498631,"peerURLs":["http://127.0.0.1:23031"],"name":"m3"})";
  ConfChange cc;
  cc.node_id = MemberId{3793728396056498631};
  cc.context = Blob::copy(context);
  const Entry e{Term{1}, Index{1}, EntryType::kConfChange, encode_blob(cc)};
  EXPECT_EQ(hex_of(e), "080110011801225c0800100018c7a38aea84fc81d334224c" + hex_bytes(context));
  const auto back = decode_entry(encode_blob(e));
  ASSERT_TRUE(back);
  const auto change = conf_change_of(*back);
  ASSERT_TRUE(change);
  ASSERT_EQ(change->changes.size(), 1u);
  EXPECT_EQ(change->changes[0], (ConfChangeSingle{ConfChangeType::kAddNode, cc.node_id}));
  EXPECT_EQ(change->context.view(), context);
}

TEST(Codec, AbsentFieldsAreZero) {
  const auto e = decode_entry(blob_from_hex("2203666f6f"));
  ASSERT_TRUE(e);
  EXPECT_EQ(e->type, EntryType::kNormal);
  EXPECT_EQ(e->term, Term{0});
  EXPECT_EQ(e->data.view(), "foo");
  const auto hb = decode_message(blob_from_hex("0808"));
  ASSERT_TRUE(hb);
  EXPECT_EQ(hb->type, MessageType::kHeartbeat);
  EXPECT_FALSE(hb->snapshot);
}

TEST(Codec, PackedAndUnpackedLists) {
  const auto packed = decode_conf_state(from_hex("0a03010203 1801 120105 2801"));
  ASSERT_TRUE(packed);
  EXPECT_EQ(packed->voters, (std::vector<MemberId>{MemberId{1}, MemberId{2}, MemberId{3}}));
  EXPECT_EQ(packed->voters_outgoing, std::vector<MemberId>{MemberId{1}});
  EXPECT_EQ(packed->learners, std::vector<MemberId>{MemberId{5}});
  EXPECT_TRUE(packed->auto_leave);
  EXPECT_EQ(hex_of(*packed), "080108020803100518012801");
}

TEST(Codec, UnknownFieldsAndGroupsAreSkipped) {
  // Field 20 varint, 21 bytes, 22 fixed32, 23 fixed64, 24 group with a nested one.
  const auto hs = decode_hard_state(
      from_hex("0805 a00101 aa0102ffff b50100000000 b9010000000000000000 c301 0801 c301 c401 c401 1007"));
  ASSERT_TRUE(hs) << hs.error().text();
  EXPECT_EQ(*hs, (HardState{Term{5}, MemberId{7}, Index{0}}));
}

TEST(Codec, DataIsASliceOfTheInput) {
  const Blob bytes = encode_blob(Entry{Term{1}, Index{2}, EntryType::kNormal, Blob::copy("payload")});
  const auto e = decode_entry(bytes);
  ASSERT_TRUE(e);
  EXPECT_EQ(e->data.view().data(), bytes.view().data() + bytes.size() - 7);
}

TEST(Codec, Malformed) {
  const struct {
    const char* hex;
    const char* error;
  } kCases[] = {
      {"08", "unexpected EOF"},
      {"0a0101", "proto: wrong wireType = 2 for field Term"},
      {"0880808080808080808080808001", "proto: integer overflow"},
      {"0c", "proto: unexpected end of group"},
      {"0000", "proto: illegal tag 0"},
      {"0f", "proto: illegal wireType 7"},
      {"a3010801", "unexpected EOF"},
      {"aa01ffffffffffffffffff01", "unexpected EOF"},
  };
  for (const auto& c : kCases) {
    const auto r = decode_hard_state(from_hex(c.hex));
    ASSERT_FALSE(r) << c.hex;
    EXPECT_EQ(r.error().code(), Code::kMalformed);
    EXPECT_EQ(r.error().text(), c.error) << c.hex;
  }
  EXPECT_FALSE(decode_entry(blob_from_hex("0803"))) << "no such entry type";
  EXPECT_FALSE(decode_message(blob_from_hex("0818"))) << "no such message type";
  EXPECT_FALSE(decode_conf_change(blob_from_hex("1004"))) << "no such change";
  EXPECT_FALSE(decode_entry(blob_from_hex("220466"))) << "data longer than the input";
}

TEST(Codec, NestingIsLimited) {
  std::string bytes = encode_string(Message{});
  for (int i = 0; i < kNestingMax; ++i) {
    ASSERT_TRUE(decode_message(Blob::copy(bytes))) << i;
    Message outer;
    std::string wrapped = encode_string(outer);
    wrapped.push_back(14 << 3 | 2);
    for (size_t n = bytes.size();;) {
      wrapped.push_back(static_cast<char>(n >= 0x80 ? (n & 0x7f) | 0x80 : n));
      if ((n >>= 7) == 0) break;
    }
    bytes = wrapped + bytes;
  }
  ASSERT_TRUE(decode_message(Blob::copy(bytes)));
  std::string deeper = {14 << 3 | 2, static_cast<char>((bytes.size() & 0x7f) | 0x80),
                        static_cast<char>(bytes.size() >> 7)};
  ASSERT_LT(bytes.size(), 1u << 14);
  EXPECT_FALSE(decode_message(Blob::copy(deeper + bytes)));
}

uint64_t any_number(Prng& rng) {
  return rng.next() >> rng.below(64);
}
std::vector<MemberId> any_ids(Prng& rng) {
  std::vector<MemberId> ids(rng.below(4));
  for (auto& id : ids) id = MemberId{any_number(rng)};
  return ids;
}
Blob any_blob(Prng& rng) {
  std::string s(rng.below(300), '\0');
  for (char& c : s) c = static_cast<char>(rng.next());
  return Blob::copy(s);
}
Snapshot any_snapshot(Prng& rng) {
  Snapshot s;
  s.data = any_blob(rng);
  s.metadata = {{any_ids(rng), any_ids(rng), any_ids(rng), any_ids(rng), rng.chance(1, 2)},
                Index{any_number(rng) | 1},
                Term{any_number(rng)}};
  return s;
}
Message any_message(Prng& rng, int depth) {
  Message m;
  m.type = static_cast<MessageType>(rng.below(24));
  m.to = MemberId{any_number(rng)};
  m.from = MemberId{any_number(rng)};
  m.term = Term{any_number(rng)};
  m.log_term = Term{any_number(rng)};
  m.index = Index{any_number(rng)};
  m.commit = Index{any_number(rng)};
  m.vote = MemberId{any_number(rng)};
  m.reject = rng.chance(1, 2);
  m.reject_hint = Index{any_number(rng)};
  m.context = any_blob(rng);
  for (uint64_t n = rng.below(4); n > 0; --n) {
    m.entries.push_back(
        {Term{any_number(rng)}, Index{any_number(rng)}, static_cast<EntryType>(rng.below(3)), any_blob(rng)});
  }
  if (rng.chance(1, 3)) m.snapshot = std::make_shared<const Snapshot>(any_snapshot(rng));
  if (depth < 2) {
    for (uint64_t n = rng.below(3); n > 0; --n) m.responses.push_back(any_message(rng, depth + 1));
  }
  return m;
}

TEST(Codec, RoundTripOfRandomMessages) {
  Prng rng(20261121);
  for (int i = 0; i < 500; ++i) {
    const Message m = any_message(rng, 0);
    const std::string bytes = encode_string(m);
    const auto back = decode_message(Blob::copy(bytes));
    ASSERT_TRUE(back) << back.error().text();
    ASSERT_EQ(encode_string(*back), bytes) << i;
    // No prefix is longer than it says.
    const auto cut = decode_message(Blob::copy(std::string_view(bytes).substr(0, rng.below(bytes.size()))));
    if (cut) {
      ASSERT_LT(encoded_size(*cut), bytes.size() + 20);
    }
  }
}

TEST(Codec, EntrySizeIsWhatIsWritten) {
  Prng rng(7);
  for (int i = 0; i < 1000; ++i) {
    const Entry e{Term{any_number(rng)}, Index{any_number(rng)}, static_cast<EntryType>(rng.below(3)),
                  any_blob(rng)};
    std::string buffer(encoded_size(e), '\0');
    ASSERT_EQ(encode(e, buffer.data()), buffer.data() + buffer.size());
  }
}

}  // namespace
}  // namespace quoin::raft

#include "wire/coding.h"

#include <gtest/gtest.h>

#include <limits>

#include "base/coding.h"
#include "wire/message.h"
#include "wire/rpc.h"

namespace quoin::wire {
namespace {

TEST(Coding, VarintsOfEveryLengthForwardsBackwardsAndBack) {
  std::vector<uint64_t> values = {0, std::numeric_limits<uint64_t>::max()};
  for (int bit = 0; bit < 64; ++bit) {
    values.push_back(uint64_t{1} << bit);
    values.push_back((uint64_t{1} << bit) - 1);
  }
  for (const uint64_t v : values) {
    char forwards[kVarintBytesMax], backwards[kVarintBytesMax];
    const char* end = put_varint(forwards, v);
    const std::string_view written(forwards, static_cast<size_t>(end - forwards));
    EXPECT_EQ(written.size(), varint_size(v)) << v;
    const char* start = put_varint_back(backwards + kVarintBytesMax, v);
    EXPECT_EQ(std::string_view(start, static_cast<size_t>(backwards + kVarintBytesMax - start)), written)
        << v;
    const char* p = forwards;
    uint64_t back = 0;
    EXPECT_EQ(get_varint(&p, end, &back), VarintStatus::kOk);
    EXPECT_EQ(back, v);
    EXPECT_EQ(p, end);
    for (size_t n = 0; n < written.size(); ++n) {
      p = forwards;
      EXPECT_EQ(get_varint(&p, forwards + n, &back), VarintStatus::kTruncated) << v << " cut at " << n;
    }
  }
}

TEST(Coding, TenContinuedBytesOverflowWhateverFollows) {
  const std::string in(11, '\xff');
  for (size_t n = 0; n <= in.size(); ++n) {
    const char* p = in.data();
    uint64_t v;
    EXPECT_EQ(get_varint(&p, in.data() + n, &v), n < 10 ? VarintStatus::kTruncated : VarintStatus::kOverflow)
        << n;
  }
}

// A watch message put together from an own head and a tail that other watchers share.
TEST(Coding, PartsByHandEqualTheWhole) {
  const std::string key_value = encode_string(mvccpb::KeyValue{.key = "k", .mod_revision = 5, .value = "v"});
  mvccpb::Event event;
  event.kv.emplace().bytes = key_value;
  etcdserverpb::WatchResponse whole;
  whole.header.emplace().revision = 300;
  whole.watch_id = 9;
  etcdserverpb::WatchResponse head = whole;
  whole.events = {event, event};

  std::string tail;
  for (int i = 0; i < 2; ++i) {
    const size_t kv_size = length_delimited_size(mvccpb::Event::kKvField, key_value.size());
    const size_t at = tail.size();
    tail.resize(at + length_delimited_size(etcdserverpb::WatchResponse::kEventsField, kv_size));
    char* out =
        put_length_delimited_head(tail.data() + at, etcdserverpb::WatchResponse::kEventsField, kv_size);
    out = put_bytes_field(out, mvccpb::Event::kKvField, key_value);
    EXPECT_EQ(out, tail.data() + tail.size());
  }
  EXPECT_EQ(hex_bytes(encode_string(head) + tail), hex_bytes(encode_string(whole)));

  std::string varint_field(varint_size(tag(2, WireType::kVarint)) + varint_size(9), '\0');
  put_varint_field(varint_field.data(), etcdserverpb::WatchResponse::kWatchIdField, 9);
  EXPECT_EQ(hex_bytes(varint_field), "1009");
}

TEST(Types, BoxesAndUnknownFieldsAreCopiedWithTheirMessage) {
  etcdserverpb::RequestOp op;
  op.set_request_txn().success.emplace_back().set_request_put().key = "a";
  etcdserverpb::RequestOp copy = op;
  op.set_request_txn().failure.emplace_back();
  ASSERT_NE(copy.request_txn(), nullptr);
  EXPECT_EQ(copy.request_txn()->success.at(0).request_put()->key, "a");
  EXPECT_EQ(copy.request_case(), etcdserverpb::RequestOp::RequestCase::kRequestTxn);
  EXPECT_EQ(copy.request_put(), nullptr);

  const std::string in("\x98\x06\x05\x98\x06\x06", 6);
  auto put = decode<etcdserverpb::PutRequest>(in);
  ASSERT_TRUE(put);
  EXPECT_EQ(put->unknown.fields().size(), 1u);  // side by side: one view
  const etcdserverpb::PutRequest copied = *put;
  put->unknown = {};
  EXPECT_EQ(encode_string(copied), in);
  EXPECT_EQ(encode_string(*put), "");
}

}  // namespace
}  // namespace quoin::wire

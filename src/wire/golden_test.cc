// Bytes given in spec wire.md ("Zero values in bytes" and the paragraph above it), as etcd 3.6 writes them.
#include <gtest/gtest.h>

#include "base/coding.h"
#include "wire/etcdserver.h"
#include "wire/message.h"
#include "wire/raft.h"
#include "wire/raft_internal.h"
#include "wire/record.h"
#include "wire/rpc.h"
#include "wire/snap.h"

namespace quoin::wire {
namespace {

template <class M>
std::string encoded(const M& m) {
  return hex_bytes(encode_string(m));
}

TEST(Golden, ZeroValuesOfAlwaysEncodedFields) {
  EXPECT_EQ(encoded(raftpb::Entry{}), "080010001800");
  EXPECT_EQ(encoded(raftpb::HardState{}), "080010001800");
  EXPECT_EQ(encoded(raftpb::ConfChange{}), "080010001800");
  EXPECT_EQ(encoded(raftpb::ConfState{}), "2800");
  EXPECT_EQ(encoded(raftpb::SnapshotMetadata{}), "0a02280010001800");
  EXPECT_EQ(encoded(raftpb::Snapshot{}), "12080a02280010001800");
  EXPECT_EQ(encoded(raftpb::ConfChangeV2{}), "0800");
  EXPECT_EQ(encoded(raftpb::ConfChangeSingle{}), "08001000");
  EXPECT_EQ(encoded(etcdserverpb::Metadata{}), "08001000");
  EXPECT_EQ(encoded(raftpb::Message{}), "0800100018002000280030004000500058006800");
  EXPECT_EQ(encoded(walpb::Record{}), "08001000");
  EXPECT_EQ(encoded(walpb::Snapshot{}), "08001000");
  EXPECT_EQ(encoded(snappb::Snapshot{}), "0800");
}

TEST(Golden, RepeatedScalarsArePackedInProto3Only) {
  raftpb::ConfState conf_state;
  conf_state.voters = {1, 2};
  EXPECT_EQ(encoded(conf_state), "080108022800");
  using Filter = etcdserverpb::WatchCreateRequest::FilterType;
  etcdserverpb::WatchCreateRequest create;
  create.filters = {Filter::kNoput, Filter::kNodelete};
  EXPECT_EQ(encoded(create), "2a020001");
}

TEST(Golden, PresenceShows) {
  raftpb::Entry entry;
  entry.data.emplace();
  EXPECT_EQ(encoded(entry), "0800100018002200");
  etcdserverpb::Compare compare;
  compare.set_version(0);
  EXPECT_EQ(encoded(compare), "2000");
  etcdserverpb::RangeResponse response;
  response.header.emplace();
  EXPECT_EQ(encoded(response), "0a00");
  etcdserverpb::Request request;
  request.prev_exist = false;
  EXPECT_EQ(encoded(request), "080012001a00220028003200380040004800500058006000680070007800800100");
}

TEST(Golden, NegativeNumbersTakeTenBytes) {
  EXPECT_EQ(encoded(etcdserverpb::PutRequest{.lease = -1}), "18ffffffffffffffffff01");
  EXPECT_EQ(encoded(authpb::Permission{.perm_type = authpb::Permission::Type{-1}}), "08ffffffffffffffffff01");
}

TEST(Golden, AscendingNumbersWhateverTheDeclaration) {
  etcdserverpb::InternalRaftRequest r;
  r.header.emplace().id = 7;
  r.id = 1;
  r.compaction.emplace();
  r.auth_enable.emplace();
  EXPECT_EQ(encoded(r), "08013a00a206020807c23e00");
}

TEST(Golden, UnknownFieldsComeLastExceptInRaftpb) {
  const std::string in("\x98\x06\x05\x0a\x01k\xa3\x06\x08\x01\xa4\x06", 12);
  const auto put = decode<etcdserverpb::PutRequest>(in);
  ASSERT_TRUE(put);
  EXPECT_EQ(put->key, "k");
  EXPECT_EQ(encoded(*put), "0a016b980605a3060801a406");
  const auto change = decode<raftpb::ConfChangeSingle>(std::string_view("\x98\x06\x05\x10\x03", 5));
  ASSERT_TRUE(change);
  EXPECT_EQ(encoded(*change), "08001003");
}

TEST(Golden, SubMessagesMergeAndOneofMembersReplace) {
  using std::string_literals::operator""s;
  const std::string in = "\x0a\x02\x08\x01\x0a\x02\x10\x02"s;
  const auto response = decode<etcdserverpb::CompactionResponse>(in);
  ASSERT_TRUE(response);
  EXPECT_EQ(encoded(*response), "0a0408011002");
  const std::string ops = "\x12\x03\x0a\x01k\x12\x03\x12\x01v"s;
  const auto op = decode<etcdserverpb::RequestOp>(ops);
  ASSERT_TRUE(op);
  EXPECT_EQ(encoded(*op), "1203120176");
}

// `in` as field `field` of a message around it.
std::string wrapped(uint32_t field, const std::string& in) {
  std::string out(length_delimited_size(field, in.size()), '\0');
  put_bytes_field(out.data(), field, in);
  return out;
}

TEST(Golden, NestingIsBounded) {
  std::string in;
  for (int levels = 0; levels <= kNestingMax; ++levels) {
    EXPECT_TRUE(decode<raftpb::Message>(in)) << levels;
    in = wrapped(raftpb::Message::kResponsesField, in);
  }
  const auto r = decode<raftpb::Message>(in);
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().text(), "proto: messages nested too deeply");
}

TEST(Golden, TransactionsNestToTheBoundAndKeepTheirBytes) {
  const auto deeper = [](const std::string& txn) {
    return wrapped(etcdserverpb::TxnRequest::kSuccessField,
                   wrapped(etcdserverpb::RequestOp::kRequestTxnField, txn));
  };
  std::string in;
  for (int levels = 0; levels < kNestingMax; levels += 2) in = deeper(in);
  auto txn = decode<etcdserverpb::TxnRequest>(in);
  ASSERT_TRUE(txn);
  const etcdserverpb::TxnRequest copy = *txn;
  txn = Code::kStopped;
  EXPECT_EQ(encode_string(copy), in);
  in = deeper(in);
  EXPECT_FALSE(decode<etcdserverpb::TxnRequest>(in));
}

}  // namespace
}  // namespace quoin::wire

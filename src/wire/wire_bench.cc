// What decoding and encoding cost on the paths of every request, beside libprotobuf doing the same.
#include <benchmark/benchmark.h>

#include "base/check.h"
#include "base/coding.h"
#include "pb/rpc.pb.h"
#include "wire/message.h"
#include "wire/raft.h"
#include "wire/raft_internal.h"
#include "wire/rpc.h"

namespace quoin::wire {
namespace {

const std::string kKey(32, 'k');
const std::string kValue(256, 'v');

std::string put_bytes() {
  return encode_string(etcdserverpb::PutRequest{.key = kKey, .value = kValue, .lease = 7});
}

// What Kubernetes sends to update an object: compare mod revision, put, else get.
std::string txn_bytes() {
  etcdserverpb::TxnRequest txn;
  auto& compare = txn.compare.emplace_back();
  compare.target = etcdserverpb::Compare::CompareTarget::kMod;
  compare.key = kKey;
  compare.set_mod_revision(123'456);
  auto& put = txn.success.emplace_back().set_request_put();
  put.key = kKey;
  put.value = kValue;
  txn.failure.emplace_back().set_request_range().key = kKey;
  return encode_string(txn);
}

template <class M>
void decode_ours(benchmark::State& state, const std::string& in) {
  for (auto _ : state) {
    M m;
    CHECK(decode(in, &m).has_value());
    benchmark::DoNotOptimize(m);
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * in.size()));
}
template <class M>
void decode_libprotobuf(benchmark::State& state, const std::string& in) {
  for (auto _ : state) {
    M m;
    CHECK(m.ParseFromString(in));
    benchmark::DoNotOptimize(m);
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * in.size()));
}

void decode_put(benchmark::State& state) {
  decode_ours<etcdserverpb::PutRequest>(state, put_bytes());
}
void decode_put_libprotobuf(benchmark::State& state) {
  decode_libprotobuf<::etcdserverpb::PutRequest>(state, put_bytes());
}
void decode_txn(benchmark::State& state) {
  decode_ours<etcdserverpb::TxnRequest>(state, txn_bytes());
}
void decode_txn_libprotobuf(benchmark::State& state) {
  decode_libprotobuf<::etcdserverpb::TxnRequest>(state, txn_bytes());
}
BENCHMARK(decode_put);
BENCHMARK(decode_put_libprotobuf);
BENCHMARK(decode_txn);
BENCHMARK(decode_txn_libprotobuf);

// The proposal: a decoded request wrapped with its header, encoded once into a Blob.
void propose_put(benchmark::State& state) {
  const std::string in = put_bytes();
  for (auto _ : state) {
    etcdserverpb::InternalRaftRequest r;
    r.header.emplace().id = 0x1122334455667788;
    CHECK(decode(in, &r.put.emplace()).has_value());
    Blob b = encode_blob(r);
    benchmark::DoNotOptimize(b);
  }
}
BENCHMARK(propose_put);

void decode_proposal(benchmark::State& state) {
  etcdserverpb::InternalRaftRequest r;
  r.header.emplace().id = 0x1122334455667788;
  const std::string put = put_bytes();
  CHECK(decode(put, &r.put.emplace()).has_value());
  decode_ours<etcdserverpb::InternalRaftRequest>(state, encode_string(r));
}
BENCHMARK(decode_proposal);

// A page of stored keys into an answer.
void encode_range_response(benchmark::State& state) {
  const std::string stored = encode_string(mvccpb::KeyValue{
      .key = kKey, .create_revision = 1'000'000, .mod_revision = 2'000'000, .version = 3, .value = kValue});
  const auto n = static_cast<size_t>(state.range(0));
  std::string out;
  for (auto _ : state) {
    etcdserverpb::RangeResponse r;
    r.header.emplace() = {.cluster_id = ~0ull, .member_id = ~0ull, .revision = 2'000'000, .raft_term = 2};
    r.kvs.resize(n);
    for (auto& kv : r.kvs) kv.bytes = stored;
    r.count = static_cast<int64_t>(n);
    out.clear();
    append(&out, r);
    benchmark::DoNotOptimize(out.data());
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * out.size()));
}
BENCHMARK(encode_range_response)->Arg(1)->Arg(1000);

void encode_append_message(benchmark::State& state) {
  const std::string data(330, 'd');
  raftpb::Message m;
  m.type = raftpb::MessageType::kMsgApp;
  m.to = m.from = ~0ull;
  m.term = m.log_term = 5;
  for (int64_t i = 0; i < state.range(0); ++i) {
    m.entries.push_back({.term = 5, .index = static_cast<uint64_t>(1'000'000 + i), .data = data});
  }
  std::string out;
  for (auto _ : state) {
    out.clear();
    append(&out, m);
    benchmark::DoNotOptimize(out.data());
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * out.size()));
}
BENCHMARK(encode_append_message)->Arg(1)->Arg(64);

}  // namespace
}  // namespace quoin::wire

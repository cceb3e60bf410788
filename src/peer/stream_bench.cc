// What an append costs on its way to a member and from one: entries of 256 bytes, 1 or 100 an append.
#include <benchmark/benchmark.h>

#include "peer/stream_codec.h"

namespace quoin::peer {
namespace {

raft::Message append(uint64_t index, int64_t entries, int64_t bytes) {
  raft::Message m;
  m.type = raft::MessageType::kApp;
  m.from = MemberId{0x34a607e04d4291c7}, m.to = MemberId{0x475c9544c4aedc89};
  m.term = m.log_term = Term{5};
  m.index = Index{index};
  for (int64_t i = 0; i < entries; ++i) {
    m.entries.push_back({Term{5}, Index{++index}, raft::EntryType::kNormal,
                         Blob::copy(std::string(static_cast<size_t>(bytes), 'x'))});
  }
  return m;
}

void encode(benchmark::State& state) {
  const auto encoder = make_encoder(StreamKind::kMsgApp);
  uint64_t index = 1'000'000;
  raft::Message m = append(index, state.range(0), state.range(1));
  {
    Pieces first;
    encoder->encode(m, first);
    index = m.entries.back().index.v;
  }
  for (auto _ : state) {
    m.index = Index{index};
    for (raft::Entry& e : m.entries) e.index = Index{++index};
    Pieces out;
    encoder->encode(m, out);
    benchmark::DoNotOptimize(out.size());
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(encode)->Args({1, 256})->Args({100, 256})->Args({1, 100'000});

void decode(benchmark::State& state) {
  const auto encoder = make_encoder(StreamKind::kMsgApp);
  Pieces out;
  uint64_t index = 1'000'000;
  for (int i = 0; i < 20; ++i) {
    const raft::Message m = append(index, state.range(0), state.range(1));
    encoder->encode(m, out);
    index += static_cast<uint64_t>(state.range(0));
  }
  const std::string bytes = out.joined();
  int64_t entries = 0;
  for (auto _ : state) {
    const auto decoder = make_decoder(StreamKind::kMsgApp, MemberId{1}, MemberId{2});
    const auto ok =
        decoder->feed(bytes, [&](raft::Message m) { entries += static_cast<int64_t>(m.entries.size()); });
    CHECK(ok.has_value());
  }
  state.SetItemsProcessed(entries);
}
BENCHMARK(decode)->Args({1, 256})->Args({100, 256})->Args({1, 100'000});

}  // namespace
}  // namespace quoin::peer

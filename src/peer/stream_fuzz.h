// What both fuzz targets of the streams check; the first byte of the input seeds the cuts.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/prng.h"
#include "peer/stream_codec.h"
#include "raft/codec.h"

namespace quoin::peer {

inline void fuzz_stream(StreamKind kind, const uint8_t* data, size_t size) {
  if (size == 0) return;
  Prng prng(data[0]);
  const std::string_view bytes{reinterpret_cast<const char*>(data) + 1, size - 1};
  constexpr MemberId kSelf{1}, kRemote{2};
  const auto run = [&](std::string_view all, bool cut, std::vector<raft::Message>& out) -> Result<> {
    const auto decoder = make_decoder(kind, kSelf, kRemote);
    while (!all.empty()) {
      const size_t n = cut ? std::min<size_t>(all.size(), 1 + prng.below(20)) : all.size();
      const std::string piece(all.substr(0, n));  // a block of its own, so that a read past its end is seen
      TRY(decoder->feed(piece, [&](raft::Message m) { out.push_back(std::move(m)); }));
      CHECK(decoder->held_bytes() <= 3 * size * (sizeof(raft::Entry) + 1) + ArrivingBlob::kFirstBytes);
      all.remove_prefix(n);
    }
    return {};
  };
  const auto text = [](const std::vector<raft::Message>& messages) {
    std::string s;
    for (const raft::Message& m : messages) s += raft::encode_string(m);
    return s;
  };

  // The same however it is cut, errors included.
  std::vector<raft::Message> whole, pieces;
  const Result<> a = run(bytes, false, whole), b = run(bytes, true, pieces);
  CHECK(a.has_value() == b.has_value());
  if (!a) CHECK(a.error() == b.error());
  CHECK(text(whole) == text(pieces));

  // What was read can be written and read again; the msgapp stream carries appends alone.
  Pieces out;
  const auto encoder = make_encoder(kind);
  std::erase_if(whole, [&](const raft::Message& m) {
    const bool append = m.type == raft::MessageType::kApp && m.from == kRemote && m.to == kSelf &&
                        !m.reject && !m.reject_hint && m.context.empty() && !m.vote && !m.snapshot &&
                        m.responses.empty();
    return kind == StreamKind::kMsgApp && !append && !is_link_heartbeat(m);
  });
  std::erase_if(whole, [](const raft::Message& m) {
    return is_link_heartbeat(m) && raft::encoded_size(m) != raft::encoded_size(link_heartbeat());
  });
  if (kind == StreamKind::kMsgApp) {
    // Entries are numbered without gaps: the streams rely on it.
    for (const raft::Message& m : whole) {
      for (size_t i = 0; i < m.entries.size(); ++i) {
        if (m.entries[i].index != m.index + (i + 1)) return;
      }
    }
  }
  for (const raft::Message& m : whole) encoder->encode(m, out);
  std::vector<raft::Message> again;
  const Result<> ok = run(out.joined(), true, again);
  CHECK(ok.has_value(), "{}", ok.error().text());
  CHECK(text(again) == text(whole));
}

}  // namespace quoin::peer

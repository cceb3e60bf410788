// Names and bytes of snapshot files.
#include "base/coding.h"
#include "base/crc32c.h"
#include "raft/codec.h"
#include "snap/snapshotter.h"
#include "wire/coding.h"
#include "wire/message.h"
#include "wire/snap.h"

namespace quoin::snap {
namespace {
constexpr std::string_view kSnapSuffix = ".snap";
constexpr std::string_view kDbSuffix = ".snap.db";
}  // namespace

std::string snap_name(Term term, Index index) {
  return fmt::format("{}-{}{}", hex16(term.v), hex16(index.v), kSnapSuffix);
}

std::string snap_db_name(Index index) {
  return fmt::format("{}{}", hex16(index.v), kDbSuffix);
}

bool parse_snap_name(std::string_view name, Term* term, Index* index) {
  return name.size() == 33 + kSnapSuffix.size() && name[16] == '-' && name.ends_with(kSnapSuffix) &&
         parse_hex(name.substr(0, 16), &term->v) && parse_hex(name.substr(17, 16), &index->v);
}

bool parse_snap_db_name(std::string_view name, Index* index) {
  return name.size() == 16 + kDbSuffix.size() && name.ends_with(kDbSuffix) &&
         parse_hex(name.substr(0, 16), &index->v);
}

std::string encode_snap(const raft::Snapshot& snapshot) {
  // One buffer: the inner message is written in place, its head before it once the checksum is known.
  const size_t inner = raft::encoded_size(snapshot);
  constexpr size_t kHeadMax = 2 * (1 + wire::kVarintBytesMax);
  std::string out(kHeadMax + inner, '\0');
  raft::encode(snapshot, out.data() + kHeadMax);
  const uint32_t crc = crc32c(0, std::string_view(out).substr(kHeadMax));
  char head[kHeadMax];
  const char* const end = wire::put_length_delimited_head(wire::put_varint_field(head, 1, crc), 2, inner);
  const size_t head_bytes = static_cast<size_t>(end - head);
  out.replace(0, kHeadMax, head, head_bytes);
  return out;
}

Result<raft::Snapshot> decode_snap(const Blob& bytes) {
  const Error empty(Code::kCorruption, "snap: empty snapshot");
  if (bytes.empty()) return empty;
  const auto m = wire::decode<wire::snappb::Snapshot>(bytes.view());
  if (!m) return Error(Code::kCorruption, std::string(m.error().text()));
  if (!m->data || m->data->empty() || m->crc == 0) return empty;
  const uint32_t crc = crc32c(0, *m->data);
  if (crc != m->crc) return Error(Code::kCorruption, "snap: crc mismatch");
  auto snapshot = raft::decode_snapshot(bytes.slice(*m->data));
  if (!snapshot) return Error(Code::kCorruption, std::string(snapshot.error().text()));
  return snapshot;
}

}  // namespace quoin::snap

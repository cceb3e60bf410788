#include "wal/record.h"

#include <array>

#include "base/check.h"
#include "base/coding.h"
#include "base/crc32c.h"
#include "raft/codec.h"
#include "wire/coding.h"
#include "wire/message.h"
#include "wire/record.h"

namespace quoin::wal {

std::string encode_snapshot_record(const SnapshotRecord& record) {
  const size_t conf_bytes = record.conf_state ? raft::encoded_size(*record.conf_state) : 0;
  std::string out(2 * (1 + wire::kVarintBytesMax) + 1 + wire::kVarintBytesMax + conf_bytes, '\0');
  char* p = wire::put_varint_field(out.data(), 1, record.index.v);
  p = wire::put_varint_field(p, 2, record.term.v);
  if (record.conf_state) {
    p = wire::put_length_delimited_head(p, 3, conf_bytes);
    p = raft::encode(*record.conf_state, p);
  }
  out.resize(static_cast<size_t>(p - out.data()));
  return out;
}

namespace {
std::vector<MemberId> member_ids(const std::vector<uint64_t>& ids) {
  std::vector<MemberId> out;
  out.reserve(ids.size());
  for (uint64_t id : ids) out.emplace_back(id);
  return out;
}
}  // namespace

Result<SnapshotRecord> decode_snapshot_record(std::string_view bytes) {
  ASSIGN_OR_RETURN(const auto m, wire::decode<wire::walpb::Snapshot>(bytes));
  SnapshotRecord record{quoin::Index(m.index), quoin::Term(m.term), std::nullopt};
  if (m.conf_state) {
    const auto& c = *m.conf_state;
    record.conf_state =
        raft::ConfState{member_ids(c.voters), member_ids(c.learners), member_ids(c.voters_outgoing),
                        member_ids(c.learners_next), c.auto_leave};
  }
  return record;
}

void BatchEncoder::note_buffered(size_t size) {
  if (!parts_.empty() && !parts_.back().external) {
    parts_.back().size += size;
  } else {
    parts_.push_back({nullptr, size});
  }
}

void BatchEncoder::add(RecordType type, std::string_view head, std::string_view tail) {
  const size_t data_bytes = head.size() + tail.size();
  crc_ = crc32c(crc32c(crc_, head), tail);
  const size_t record_bytes = wire::tag_size(1) + wire::varint_size(static_cast<uint64_t>(type)) +
                              wire::tag_size(2) + wire::varint_size(crc_) +
                              (data_bytes ? wire::length_delimited_size(3, data_bytes) : 0);
  const size_t padding = (8 - record_bytes % 8) % 8;
  const bool copy_tail = tail.size() <= kInlineBytes;

  const size_t at = buffer_.size();
  const size_t ahead = record_bytes - (copy_tail ? 0 : tail.size()) + kFrameHeadBytes;
  buffer_.resize(at + ahead + padding);  // zeros
  char* p = buffer_.data() + at;
  store_le<uint64_t>(p, record_bytes | (padding ? (0x80 | padding) << 56 : 0));
  p = wire::put_varint_field(p + kFrameHeadBytes, 1, static_cast<uint64_t>(type));
  p = wire::put_varint_field(p, 2, crc_);
  if (data_bytes) p = wire::put_length_delimited_head(p, 3, data_bytes);
  p = wire::put_bytes(p, head);
  if (copy_tail) p = wire::put_bytes(p, tail);
  DCHECK(p == buffer_.data() + at + ahead);

  if (copy_tail) {
    note_buffered(ahead + padding);
  } else {
    note_buffered(ahead);
    parts_.push_back({tail.data(), tail.size()});
    if (padding) note_buffered(padding);
  }
  bytes_ += kFrameHeadBytes + record_bytes + padding;
}

void BatchEncoder::add_crc() {
  // Data that is empty is not written, and leaves the rolling CRC as it is.
  add(RecordType::kCrc, {});
}

void BatchEncoder::add_state(const raft::HardState& state) {
  std::array<char, 3 * (1 + wire::kVarintBytesMax)> head;
  const char* const end = raft::encode(state, head.data());
  add(RecordType::kState, {head.data(), static_cast<size_t>(end - head.data())});
}

void BatchEncoder::add_snapshot(const SnapshotRecord& record) {
  add(RecordType::kSnapshot, encode_snapshot_record(record));
}

void BatchEncoder::add_entry(const raft::Entry& entry) {
  // All of a raftpb.Entry but its data, whose bytes come last: as raft::encode writes it.
  std::array<char, 4 * (1 + wire::kVarintBytesMax)> head;
  char* p = wire::put_varint_field(head.data(), 1, static_cast<uint64_t>(entry.type));
  p = wire::put_varint_field(p, 2, entry.term.v);
  p = wire::put_varint_field(p, 3, entry.index.v);
  if (!entry.data.empty()) p = wire::put_length_delimited_head(p, 4, entry.data.size());
  add(RecordType::kEntry, {head.data(), static_cast<size_t>(p - head.data())}, entry.data.view());
}

std::vector<std::string_view> BatchEncoder::parts() const {
  std::vector<std::string_view> out;
  out.reserve(parts_.size());
  const char* p = buffer_.data();
  for (const Part& part : parts_) {
    out.emplace_back(part.external ? part.external : p, part.size);
    if (!part.external) p += part.size;
  }
  return out;
}

void BatchEncoder::clear() {
  bytes_ = 0;
  buffer_.clear();
  parts_.clear();
}

}  // namespace quoin::wal

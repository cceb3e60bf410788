// Records of the log and their frames, as bytes.
//
//   u64 LE length field | walpb.Record | zeros to a multiple of 8
//     bits 0..55 length of the record; bits 56..58 number of padding bytes; bit 63 set iff there is padding
//   walpb.Record{1: type, 2: crc, 3: data}; type and crc always written
//
// The CRC of a record is the rolling CRC-32C over the data of all records of the log up to and including its
// own; a kCrc record has no data and restates it. Source: spec storage-formats 3.2.
//
// Threads: an encoder is confined to its owner.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "raft/types.h"
#include "wal/wal.h"

namespace quoin::wal {

enum class RecordType : int64_t { kMetadata = 1, kEntry = 2, kState = 3, kCrc = 4, kSnapshot = 5 };

constexpr uint64_t kFrameHeadBytes = 8;

// walpb.Snapshot; conf_state only if there is one.
std::string encode_snapshot_record(const SnapshotRecord& record);
Result<SnapshotRecord> decode_snapshot_record(std::string_view bytes);

// Collects frames for one write. Small data is copied into the encoder's buffer, larger data is referred to
// and must stay until the write has ended.
class BatchEncoder {
 public:
  // Data of entries up to this size is copied: an element more in the system call's vector costs as much, and
  // the vector has 1024.
  static constexpr size_t kInlineBytes = 512;

  explicit BatchEncoder(uint32_t crc) : crc_(crc) {}

  void add_crc();
  void add_metadata(std::string_view metadata) { add(RecordType::kMetadata, metadata); }
  void add_state(const raft::HardState& state);
  void add_snapshot(const SnapshotRecord& record);
  void add_entry(const raft::Entry& entry);

  uint32_t crc() const { return crc_; }
  uint64_t bytes() const { return bytes_; }
  bool empty() const { return bytes_ == 0; }
  // The frames in order. The views end with clear().
  std::vector<std::string_view> parts() const;
  // Forgets the frames; the rolling CRC stays.
  void clear();

 private:
  // `head` and `tail` together are the data.
  void add(RecordType type, std::string_view head, std::string_view tail = {});
  struct Part {
    const char* external;  // null: `size` bytes of buffer_ follow
    size_t size;
  };
  void note_buffered(size_t size);

  uint32_t crc_;
  uint64_t bytes_ = 0;
  std::string buffer_;
  std::vector<Part> parts_;
};

}  // namespace quoin::wal

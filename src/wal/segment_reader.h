// Reads a WAL segment front to back and hands out whole records.
//
// Threads: confined to the thread that created it.
// Lifetime: `file` must outlive the reader. A record's data is a slice of a block of at most kReadBlockBytes
// (or of the record alone, if it is longer) and keeps that block alive.
// Errors: kCorruption  a record does not parse or its checksum does not hold; the text ends with
//                      ": in file '%s' at position: %d" (start of the bad record's frame)
//         kTornTail    the record is incomplete, or (last segment only) one of the 512-byte sectors it
//         touches
//                      holds nothing but zeros of it; offset() is where to truncate
//         kIo          the operating system refused a read
//         After an error the reader is dead.
// Format: docs/formats/wal.md. Rules of torn and corrupt: spec storage-formats 3.6.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "base/blob.h"
#include "base/result.h"
#include "io/file.h"
#include "wal/record.h"

namespace quoin::wal {

struct Record {
  RecordType type;
  uint32_t crc;
  Blob data;
  uint64_t offset;  // of its frame
};

class SegmentReader {
 public:
  // `bytes` is the file's size, `crc` the rolling CRC where the segment begins. `last`: no segment follows,
  // so that torn sectors are looked for.
  SegmentReader(io::File& file, std::string name, uint64_t bytes, uint32_t crc, bool last);

  // Empty at a clean end: the end of the file or a length field of 0.
  Result<std::optional<Record>> next();
  // Just after the last record returned; a multiple of 8.
  uint64_t offset() const { return offset_; }
  // Rolling CRC there. A kCrc record does not change it: whoever reads compares, then calls set_crc().
  uint32_t crc() const { return crc_; }
  void set_crc(uint32_t crc) { crc_ = crc; }
  const std::string& name() const { return name_; }
  uint64_t bytes() const { return bytes_; }

  // To look beyond damage: goes on from offset() in steps of 8 bytes to the next record that parses, checksum
  // unchecked. A frame whose length field is plausible is stepped over whole, so that the inside of a record
  // is not taken for records. Empty at the end of the file.
  Result<std::optional<Record>> next_plausible();
  // Whether any of the `bytes_max` bytes from offset() on is not zero.
  Result<bool> anything_beyond(uint64_t bytes_max);

 private:
  struct Frame {
    uint64_t record_bytes;
    uint64_t padding;
  };
  // `bytes` bytes from `offset`, which lie within the file. Ends with the next call.
  Result<std::string_view> view(uint64_t offset, uint64_t bytes);
  bool torn(std::string_view data) const;
  Error damaged(std::string_view data, std::string_view text) const;
  Result<std::optional<Frame>> frame();

  io::File& file_;
  const std::string name_;
  const uint64_t bytes_;
  const bool last_;
  uint64_t offset_ = 0;
  uint32_t crc_;
  Blob block_;
  uint64_t block_offset_ = 0;
};

}  // namespace quoin::wal

// Reads several segments as one stream of records, checking the CRC record at the head of each.
//
// Threads: confined to its owner. Lifetime: the files outlive it.
// Errors: of SegmentReader; a torn tail in any segment but the last is kCorruption (etcd cannot start
// either), as is a CRC record that does not restate the running CRC.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "io/file.h"
#include "wal/segment_reader.h"

namespace quoin::wal {

struct SegmentFile {
  std::string name;
  uint64_t sequence = 0;
  quoin::Index index;
  std::unique_ptr<io::File> file;
  uint64_t bytes = 0;
};

class LogReader {
 public:
  // Oldest first, at least one.
  explicit LogReader(const std::vector<SegmentFile>& segments);
  // Empty at the clean end of the last segment. CRC records are not handed out.
  Result<std::optional<Record>> next();
  // The segment being read; at the end and after kTornTail the last one.
  SegmentReader& segment() { return *reader_; }

 private:
  void begin_segment(uint32_t crc);
  const std::vector<SegmentFile>& segments_;
  size_t at_ = 0;
  std::unique_ptr<SegmentReader> reader_;
};

// The highest index of a snapshot record that stands beyond damage, or beyond an end behind which bytes other
// than zeros follow; 0 if none is found. Looks for frames at every multiple of 8, steps over those whose
// length field is plausible, and takes snapshot records that parse: their checksums depend on what is lost.
Result<quoin::Index> snapshot_beyond(SegmentReader& reader);

}  // namespace quoin::wal

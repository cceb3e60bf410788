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

#include "base/ids.h"
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

// What stands beyond damage, or beyond an end behind which bytes other than zeros follow.
//
// The records of one write may reach the disk in any order, so that a power loss can leave a hole in front of
// records that are whole. But a write begins only once the one before it is synced. So damage is no torn
// write if something beyond it comes from a later write, and then what it destroyed had been acknowledged:
// - two runs of entries, each with its hard state behind it, the second without a configuration change and right
//   behind the first. A hard state right behind entries is the last record of their write, so the second run is a
//   later write. (Not so before a batch with a configuration change, wal/group_encoder.h, and if something
//   between the runs is lost, that may be one. A hard state behind no entry proves nothing: etcd leaves several
//   commits unsynced in front of its next entries.)
// - a hard state whose commit reaches what is lost, if this member is the only one (OpenOptions::alone);
// - the record of a snapshot that this member made itself, for an index that is lost: it made it of entries that
//   it had synced before. In front of its record stands a hard state whose commit reaches it (wal/appender.h).
//   The record of a snapshot that was received proves nothing. It stands in front of the first commit that reaches
//   it, maybe in one write with the entries that are lost, and this member acknowledges the snapshot only once the
//   database it came with is in place; then the database's consistent index is the proof (OpenOptions).
struct Beyond {
  quoin::Index snapshot;     // highest one of a record of an own snapshot; 0: none
  quoin::Index commit;       // highest one of a hard state; 0: none
  bool later_write = false;  // the second run of entries was found
};
// Looks for frames at every multiple of 8 and steps over those whose length field is plausible. A hard state
// and an entry count if their checksum follows from the record beside them; a snapshot record counts as it
// is, since the record right before it may be what is lost.
Result<Beyond> look_beyond(SegmentReader& reader);

}  // namespace quoin::wal

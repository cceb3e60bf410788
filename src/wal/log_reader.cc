#include "wal/log_reader.h"

#include <algorithm>

#include "base/check.h"

namespace quoin::wal {

LogReader::LogReader(const std::vector<SegmentFile>& segments) : segments_(segments) {
  CHECK(!segments.empty());
  begin_segment(0);
}

void LogReader::begin_segment(uint32_t crc) {
  const SegmentFile& s = segments_[at_];
  reader_ = std::make_unique<SegmentReader>(*s.file, s.name, s.bytes, crc, at_ + 1 == segments_.size());
}

Result<std::optional<Record>> LogReader::next() {
  while (true) {
    auto record = reader_->next();
    if (!record) {
      if (record.error().code() != Code::kTornTail || at_ + 1 == segments_.size()) return record;
      return make_error(Code::kCorruption, "{}: in file '{}' at position: {}", record.error().text(),
                        reader_->name(), reader_->offset());
    }
    if (!*record) {
      if (at_ + 1 == segments_.size()) return record;
      ++at_;
      begin_segment(reader_->crc());
      continue;
    }
    if ((*record)->type != RecordType::kCrc) return record;
    // 0: reading has begun here, and the record says where the rolling CRC stands.
    const uint32_t stated = (*record)->crc;
    if (reader_->crc() != 0 && stated != reader_->crc()) {
      return make_error(Code::kCorruption,
                        "wal: crc mismatch: expected: {:x} computed: {:x}: in file '{}' at position: {}",
                        stated, reader_->crc(), reader_->name(), (*record)->offset);
    }
    reader_->set_crc(stated);
  }
}

Result<quoin::Index> snapshot_beyond(SegmentReader& reader) {
  quoin::Index highest;
  while (true) {
    ASSIGN_OR_RETURN(const auto record, reader.next_plausible());
    if (!record) return highest;
    if (record->type != RecordType::kSnapshot) continue;
    const auto snapshot = decode_snapshot_record(record->data.view());
    if (snapshot) highest = std::max(highest, snapshot->index);
  }
}

}  // namespace quoin::wal

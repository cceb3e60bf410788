#include "wal/log_reader.h"

#include <algorithm>

#include "base/check.h"
#include "base/crc32c.h"
#include "raft/codec.h"

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

namespace {
// The records beyond damage whose checksums hold, in order. A run is the entries between two hard states.
class Findings {
 public:
  void take(const Record& record) {
    if (record.type == RecordType::kState) {
      const auto state = raft::decode_hard_state(record.data.view());
      if (!state) return;
      out_.commit = std::max(out_.commit, state->commit);
      end_run();
    } else if (record.type == RecordType::kSnapshot) {
      run_ = earlier_ = {};
    } else if (record.type == RecordType::kEntry) {
      const auto entry = raft::decode_entry(record.data);
      run_.entries = true;
      run_.changes = run_.changes || !entry || entry->type != raft::EntryType::kNormal;
    }
  }
  // Behind take() of what stands in front of it.
  void take_snapshot(quoin::Index index) {
    if (index <= out_.commit) out_.snapshot = std::max(out_.snapshot, index);
  }
  // Something between what was taken and what comes is lost: whatever ended a run may have stood there.
  void take_gap() { run_ = earlier_ = {}; }
  const Beyond& out() const { return out_; }

 private:
  struct Run {
    bool entries = false;
    bool changes = false;  // one of them changes the configuration, or can't be read
  };
  void end_run() {
    // A hard state may stand before a batch with a configuration change in the midst of a write.
    out_.later_write = out_.later_write || (earlier_.entries && run_.entries && !run_.changes);
    earlier_ = run_;
    run_ = {};
  }

  Beyond out_;
  Run run_, earlier_;
};
}  // namespace

Result<Beyond> look_beyond(SegmentReader& reader) {
  Findings found;
  std::optional<Record> last;
  uint64_t last_end = 0;
  bool last_taken = false;
  while (true) {
    ASSIGN_OR_RETURN(const auto record, reader.next_plausible());
    if (!record) return found.out();
    const bool follows =
        last && last_end == record->offset && crc32c(last->crc, record->data.view()) == record->crc;
    if (follows) {
      if (!last_taken) found.take(*last);
      found.take(*record);
    } else {
      found.take_gap();
    }
    if (record->type == RecordType::kSnapshot) {
      const auto snapshot = decode_snapshot_record(record->data.view());
      if (snapshot) found.take_snapshot(snapshot->index);
    }
    last = *record;
    last_end = reader.offset();
    last_taken = follows;
  }
}

}  // namespace quoin::wal

#include "cmd/etcdutl/check_log.h"

#include <algorithm>

#include "cmd/etcdutl/remedies.h"
#include "cmd/text/size.h"
#include "raft/codec.h"
#include "wal/record.h"

namespace quoin::utl {

namespace {

constexpr uint64_t kRecordsPerStep = 1 << 8;
constexpr uint64_t kLookBeyondBytes = 1 << 20;  // as far as a start looks behind a clean end

class LogCheck {
 public:
  LogCheck(std::string dir, Index asked_for, const Job& job, Report* report)
      : dir_(std::move(dir)), asked_for_(asked_for), job_(job), report_(report) {}

  Result<LogFacts> run(io::FileSystem& fs) {
    if (!open(fs)) return facts_;
    facts_.there = true;
    for (const wal::SegmentFile& s : segments_) total_ += s.bytes;
    wal::LogReader reader(segments_);
    TRY(read(reader));
    look_at_end(reader.segment());
    report_->fact(dir_,
                  fmt::format("{} segments, {}, entries {} to {}, commit {} of term {}, {} snapshot records",
                              segments_.size(), cmd::si_size(total_), facts_.first, facts_.last,
                              facts_.hard_state.commit, facts_.hard_state.term, facts_.snapshots.size()));
    return facts_;
  }

 private:
  std::string path(const std::string& name) const { return dir_ + "/" + name; }
  void fault(std::string where, std::string what) {
    report_->fault(std::move(where), std::move(what), kLogRemedy);
  }

  // Opens the segments behind the last gap of their numbers. False: there is nothing to read.
  bool open(io::FileSystem& fs) {
    const auto entries = fs.list(dir_);
    if (!entries) {
      fault(dir_, entries.error().code() == Code::kFileNotFound ? "the log is missing"
                                                                : std::string(entries.error().text()));
      return false;
    }
    for (const io::DirEntry& entry : *entries) {
      wal::SegmentFile s;
      if (!wal::parse_segment_name(entry.name, &s.sequence, &s.index)) {
        if (entry.name.ends_with(".broken")) {
          report_->note(path(entry.name), "a segment as it was before a start cut its torn tail");
        } else if (!entry.name.ends_with(".tmp")) {
          report_->note(path(entry.name), "no file of a log");
        }
        continue;
      }
      s.name = entry.name;
      if (!segments_.empty() && s.sequence != segments_.back().sequence + 1) {
        fault(dir_, fmt::format("segments are missing between {} and {}", segments_.back().name, s.name));
        segments_.clear();
      }
      auto file = fs.open(path(entry.name), {});
      const auto bytes = file ? (*file)->size() : Result<uint64_t>(file.error());
      if (!bytes) {
        fault(path(entry.name), std::string(bytes.error().text()));
        continue;
      }
      s.file = std::move(*file);
      s.bytes = *bytes;
      segments_.push_back(std::move(s));
    }
    if (segments_.empty()) fault(dir_, "the directory holds no segment of a log");
    return !segments_.empty();
  }

  Result<> read(wal::LogReader& reader) {
    for (;;) {
      if (records_++ % kRecordsPerStep == 0) TRY(job_.step("checking the log", read_bytes_, total_));
      const auto record = reader.next();
      if (!record) {
        if (record.error().code() == Code::kTornTail) {
          facts_.torn = true;
          facts_.read_to_the_end = true;
        } else {
          fault(dir_, std::string(record.error().text()));
        }
        return {};
      }
      if (!*record) {
        facts_.read_to_the_end = true;
        return {};
      }
      read_bytes_ += (*record)->data.size();
      if (auto wrong = take(**record); !wrong.empty()) {
        fault(path(reader.segment().name()),
              fmt::format("{} (record at position {})", wrong, (*record)->offset));
      }
    }
  }

  std::string take(const wal::Record& record) {
    switch (record.type) {
      case wal::RecordType::kMetadata: {
        if (!facts_.metadata.empty() && facts_.metadata != record.data.view()) {
          return "the log names another member or cluster than it did before";
        }
        facts_.metadata = record.data.view();
        return "";
      }
      case wal::RecordType::kEntry:
        return take_entry(record);
      case wal::RecordType::kState: {
        const auto state = raft::decode_hard_state(record.data.view());
        if (!state) return fmt::format("a hard state that does not parse: {}", state.error().text());
        if (state->term < facts_.hard_state.term) {
          return fmt::format("the term goes back from {} to {}", facts_.hard_state.term, state->term);
        }
        facts_.hard_state = *state;
        return "";
      }
      case wal::RecordType::kSnapshot: {
        auto snapshot = wal::decode_snapshot_record(record.data.view());
        if (!snapshot)
          return fmt::format("a snapshot record that does not parse: {}", snapshot.error().text());
        facts_.last = std::max(facts_.last, snapshot->index);
        facts_.snapshots.push_back(std::move(*snapshot));
        return "";
      }
      case wal::RecordType::kCrc:
        break;  // LogReader keeps them
    }
    return fmt::format("a record of the unknown type {}", static_cast<int64_t>(record.type));
  }

  std::string take_entry(const wal::Record& record) {
    const auto entry = raft::decode_entry(record.data);
    if (!entry) return fmt::format("an entry that does not parse: {}", entry.error().text());
    const Index index = entry->index;
    if (!run_end_) {
      facts_.first = index;
    } else if (index > *run_end_ + 1) {
      facts_.gaps.push_back({*run_end_ + 1, index});
    }
    run_end_ = index;
    // An entry that is written again takes away those behind it.
    std::erase_if(facts_.gaps, [&](const LogFacts::Gap& gap) { return gap.from >= index; });
    std::erase_if(facts_.changes, [&](const LogFacts::Change& change) { return change.index >= index; });
    facts_.last = index;
    if (index <= asked_for_) facts_.term_asked_for.reset();
    if (index == asked_for_) facts_.term_asked_for = entry->term;
    if (entry->type == raft::EntryType::kConfChange) {
      auto change = raft::decode_conf_change(entry->data);
      if (!change)
        return fmt::format("entry {}: a configuration change that does not parse: {}", index,
                           change.error().text());
      facts_.changes.push_back({index, std::move(*change)});
    }
    return "";
  }

  // What a start would find behind the end: nothing, the rest of a torn write, or what had been acknowledged.
  void look_at_end(wal::SegmentReader& reader) {
    facts_.end = fmt::format("{} at position {}", reader.name(), reader.offset());
    if (!facts_.read_to_the_end) return;
    if (!facts_.torn) {
      const auto more = reader.anything_beyond(kLookBeyondBytes);
      if (!more) return fault(path(reader.name()), std::string(more.error().text()));
      if (!*more) return;
      facts_.torn = true;
    }
    const auto beyond = wal::look_beyond(reader);
    if (!beyond) return fault(path(reader.name()), std::string(beyond.error().text()));
    facts_.beyond = *beyond;
  }

  const std::string dir_;
  const Index asked_for_;
  const Job& job_;
  Report* const report_;
  std::vector<wal::SegmentFile> segments_;
  LogFacts facts_;
  std::optional<Index> run_end_;
  uint64_t records_ = 0, read_bytes_ = 0, total_ = 0;
};

}  // namespace

Result<LogFacts> check_log(const std::string& dir, Index asked_for, io::FileSystem& fs, const Job& job,
                           Report* report) {
  return LogCheck(dir, asked_for, job, report).run(fs);
}

}  // namespace quoin::utl

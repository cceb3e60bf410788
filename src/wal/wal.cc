#include "wal/wal.h"

#include <algorithm>

#include "base/check.h"
#include "base/coding.h"
#include "raft/codec.h"
#include "wal/log_reader.h"
#include "wal/record.h"

namespace quoin::wal {

std::string segment_name(uint64_t sequence, quoin::Index index) {
  return hex16(sequence) + "-" + hex16(index.v) + ".wal";
}

bool parse_segment_name(std::string_view name, uint64_t* sequence, quoin::Index* index) {
  return name.size() == 37 && name[16] == '-' && name.ends_with(".wal") &&
         parse_hex(name.substr(0, 16), sequence) && parse_hex(name.substr(17, 16), &index->v);
}

namespace {

// How far behind a clean end is looked for bytes that a zeroed length field has cut off.
constexpr uint64_t kLookBeyondBytes = 1 << 20;

std::string join(const std::string& dir, std::string_view name) {
  return fmt::format("{}/{}", dir, name);
}

Error not_found() {
  return Error(Code::kFileNotFound, "wal: file not found");
}

// All segments of the directory, oldest first, without files. kFileNotFound if there are none.
Result<std::vector<SegmentFile>> list_segments(io::FileSystem& fs, const std::string& dir, log::Logger& log) {
  ASSIGN_OR_RETURN(const auto entries, fs.list(dir));
  std::vector<SegmentFile> out;
  for (const io::DirEntry& entry : entries) {  // sorted by name, and so by sequence
    SegmentFile s;
    if (parse_segment_name(entry.name, &s.sequence, &s.index)) {
      s.name = entry.name;
      out.push_back(std::move(s));
    } else if (!entry.name.ends_with(".tmp")) {
      LOG(log, kWarn, "ignored file in WAL directory", {"path", entry.name});
    }
  }
  if (out.empty()) return not_found();
  return out;
}

// Where to start reading for an index: the last segment whose own index is not beyond it. Checks that the
// sequence numbers from there on have no gap.
Result<size_t> select_first(const std::vector<SegmentFile>& segments, quoin::Index index) {
  size_t first = segments.size();
  for (size_t i = 0; i < segments.size(); ++i) {
    if (segments[i].index <= index) first = i;
  }
  if (first == segments.size()) {
    return make_error(Code::kFileNotFound, "wal: file not found which matches the snapshot index '{}'",
                      index);
  }
  for (size_t i = first + 1; i < segments.size(); ++i) {
    if (segments[i].sequence != segments[i - 1].sequence + 1) {
      return make_error(Code::kMalformed,
                        "wal: file sequence numbers (starting from {}) do not increase continuously", first);
    }
  }
  return first;
}

Result<> open_files(io::FileSystem& fs, const std::string& dir, std::vector<SegmentFile>& segments,
                    bool for_append) {
  for (SegmentFile& s : segments) {
    ASSIGN_OR_RETURN(s.file, fs.open(join(dir, s.name), {.write = for_append}));
    if (for_append) {
      if (auto locked = s.file->lock_ofd(); !locked) {
        if (locked.error().code() != Code::kLocked) return locked;
        return Error(Code::kLocked, "fileutil: file already locked");
      }
    }
    ASSIGN_OR_RETURN(s.bytes, s.file->size());
  }
  return {};
}

Error out_of_range(const SnapshotRecord& start, const raft::Entry& entry, size_t entries) {
  return make_error(Code::kMalformed,
                    "wal: slice bounds out of range, snapshot[Index: {}, Term: {}], current entry[Index: {}, "
                    "Term: {}], len(ents): {}",
                    start.index, start.term, entry.index, entry.term, entries);
}

// The record holds, but what it says does not: the same error with its place. (Its type is not under the
// checksum, so a flipped bit there ends here.)
Error at_record(const Error& error, LogReader& reader, const Record& record) {
  return make_error(error.code(), "{}: in file '{}' at position: {}", error.text(), reader.segment().name(),
                    record.offset);
}

// What reading has to remember beside the contents.
struct Reading {
  bool has_metadata = false;
  std::optional<quoin::Term> term_at_start;  // of the newest entry at the start's index
  // A snapshot beyond the start that was received in place of what stood there: its index. Nothing tells which of the
  // entries up to it were overwritten.
  std::optional<quoin::Index> replaced;
};

// One record's effect on what has been read. As etcd's ReadAll, except where an entry at or below the start, or a
// snapshot that was received, ended the log that goes on beyond the start: etcd brings that back to life.
Result<> take_record(LogReader& reader, const Record& record, const SnapshotRecord& start, Contents* out,
                     Reading* reading) {
  switch (record.type) {
    case RecordType::kEntry: {
      auto entry = raft::decode_entry(record.data);
      if (!entry) return at_record(entry.error(), reader, record);
      out->last_index = entry->index;
      // Sent by a leader who knew that all before it is right.
      if (reading->replaced && entry->index <= *reading->replaced) reading->replaced.reset();
      if (entry->index <= start.index) {
        // Written later, so it replaced all that stood from its index on.
        out->entries.clear();
        reading->term_at_start.reset();
        if (entry->index == start.index) reading->term_at_start = entry->term;
        return {};
      }
      const uint64_t place = entry->index - start.index - 1;
      if (place > out->entries.size()) {
        return at_record(out_of_range(start, *entry, out->entries.size()), reader, record);
      }
      out->entries.resize(place);  // overwritten by a later leader
      out->entries.push_back(std::move(*entry));
      return {};
    }
    case RecordType::kState: {
      auto state = raft::decode_hard_state(record.data.view());
      if (!state) return at_record(state.error(), reader, record);
      out->hard_state = *state;
      return {};
    }
    case RecordType::kMetadata:
      if (reading->has_metadata && out->metadata.view() != record.data.view()) {
        return at_record(Error(Code::kMalformed, "wal: conflicting metadata found"), reader, record);
      }
      reading->has_metadata = true;
      out->metadata = Blob::copy(record.data.view());  // does not keep a block alive
      return {};
    case RecordType::kSnapshot: {
      auto snapshot = decode_snapshot_record(record.data.view());
      if (!snapshot) return at_record(snapshot.error(), reader, record);
      if (snapshot->index == start.index) {
        if (snapshot->term != start.term)
          return at_record(Error(Code::kMalformed, "wal: snapshot mismatch"), reader, record);
        out->snapshot_found = true;
        // raft takes a leader's snapshot only where its own log says otherwise, and then gives up all of that log.
        if (reading->term_at_start && *reading->term_at_start != start.term) {
          out->entries.clear();
          reading->term_at_start = start.term;
          out->last_index = start.index;
        }
      }
      if (snapshot->index > start.index) {
        const uint64_t place = snapshot->index - start.index - 1;
        if (place < out->entries.size() && out->entries[place].term != snapshot->term) {
          reading->replaced = snapshot->index;
        }
      }
      out->last_index = std::max(out->last_index, snapshot->index);
      return {};
    }
    case RecordType::kCrc:
      break;  // LogReader keeps them
  }
  return at_record(
      make_error(Code::kMalformed, "unexpected block type {}", static_cast<int64_t>(record.type)), reader,
      record);
}

// Reads to the end. kTornTail as the reader reports it, with what was read before in *out.
Result<> read_records(LogReader& reader, const SnapshotRecord& start, Contents* out) {
  Reading reading;
  Result<> ended;
  while (true) {
    auto record = reader.next();
    if (!record) ended = record.error();
    if (!record || !*record) break;
    TRY(take_record(reader, **record, start, out, &reading));
  }
  // A record beyond the commit counts for nothing. etcd goes on with entries of leaders that lost.
  if (reading.replaced && *reading.replaced <= out->hard_state.commit) {
    return make_error(Code::kMalformed,
                      "wal: the snapshot of index {} replaced entries, and the log is read from index {}",
                      *reading.replaced, start.index);
  }
  return ended;
}

// Whether the entries read so far add more than one member.
bool adds_others(const Contents& contents) {
  std::optional<MemberId> added;
  for (const raft::Entry& e : contents.entries) {
    if (e.type != raft::EntryType::kConfChange) continue;
    const auto change = raft::decode_conf_change(e.data);
    if (!change || change->type == raft::ConfChangeType::kRemoveNode) continue;
    if (added && *added != change->node_id) return true;
    added = change->node_id;
  }
  return false;
}

// Refuses to go on where the log, cut at reader.offset(), would lack what is known to have been acknowledged.
// `torn`: the record there is incomplete; else the log ends cleanly.
Result<> check_cut(SegmentReader& reader, const Contents& contents, const OpenOptions& options, bool torn) {
  if (options.allow_cut) return {};
  const uint64_t end = reader.offset();
  const auto refuse = [&](std::string_view what, std::string_view proof) {
    return make_error(Code::kCorruption,
                      "wal: damaged tail: file '{}' breaks off at position {} after index {}, but {} ({}); "
                      "--quoin-allow-wal-cut goes on without what is lost",
                      reader.name(), end, contents.last_index, what, proof);
  };
  const auto up_to = [](quoin::Index index) {
    return fmt::format("entries up to {} were acknowledged", index);
  };
  if (contents.last_index < options.acknowledged)
    return refuse(up_to(options.acknowledged), "consistent index");
  if (!torn) {
    // A length field that was zeroed looks like the end; what follows it tells.
    ASSIGN_OR_RETURN(const bool more, reader.anything_beyond(kLookBeyondBytes));
    if (!more) return {};
  }
  ASSIGN_OR_RETURN(const Beyond beyond, look_beyond(reader));
  if (contents.last_index < beyond.snapshot) {
    return refuse(up_to(beyond.snapshot), "snapshot record beyond the damage");
  }
  if (options.alone && contents.last_index < beyond.commit && !adds_others(contents)) {
    return refuse(up_to(beyond.commit), "hard state beyond the damage");
  }
  if (beyond.later_write) {
    return refuse("the records there were acknowledged", "a later write stands beyond the damage");
  }
  return {};
}

// Cuts the torn tail off the last segment, which is kept whole beside it.
Result<> repair(io::FileSystem& fs, const std::string& dir, SegmentFile& segment, uint64_t end,
                const Error& error, log::Logger& log) {
  const std::string path = join(dir, segment.name);
  LOG(log, kInfo, "repairing", {"path", path});
  ASSIGN_OR_RETURN(auto broken, fs.open(path + ".broken", {.write = true, .create = true, .truncate = true}));
  std::string block(kReadBlockBytes, '\0');
  for (uint64_t at = 0; at < segment.bytes;) {
    ASSIGN_OR_RETURN(const size_t n, segment.file->read_at(at, block));
    if (n == 0) break;
    TRY(broken->write_at(at, std::string_view(block).substr(0, n)));
    at += n;
  }
  TRY(broken->sync());
  TRY(fs.sync_dir(dir));
  TRY(segment.file->truncate(end));
  TRY(segment.file->sync());
  LOG(log, kInfo, "repaired", {"path", path}, {"error", error.text()});
  return {};
}

// What was read may stand in the system's cache alone: after a sync that failed the process may have started
// anew, and no later sync writes what the system takes for written. Everything acknowledged from now on
// depends on these bytes, so they are written once more.
Result<> write_again(io::File& file, uint64_t end) {
  std::string block;
  for (uint64_t at = 0; at < end; at += block.size()) {
    block.resize(std::min<uint64_t>(kReadBlockBytes, end - at));
    ASSIGN_OR_RETURN(const size_t n, file.read_at(at, block));
    if (n != block.size())
      return make_error(Code::kIo, "{}: {} bytes at {}, {} expected", file.path(), n, at, block.size());
    TRY(file.write_at(at, block));
  }
  return file.sync();
}

// One attempt. *repaired: a torn tail was cut off; try again.
Result<OpenedLog> open_once(io::FileSystem& fs, const std::string& dir, const SnapshotRecord& start,
                            const OpenOptions& options, log::Logger& log, bool may_repair, bool* repaired) {
  auto listed = list_segments(fs, dir, log);
  if (!listed) return listed.error().prefixed("openAtIndex failed: [openAtIndex] selectWALFiles failed");
  auto first = select_first(*listed, start.index);
  if (!first) return first.error().prefixed("openAtIndex failed: [openAtIndex] selectWALFiles failed");
  OpenedLog out;
  for (size_t i = 0; i < *first; ++i) out.tail.older.push_back((*listed)[i].name);
  std::vector<SegmentFile> segments(std::make_move_iterator(listed->begin() + static_cast<ptrdiff_t>(*first)),
                                    std::make_move_iterator(listed->end()));
  if (auto opened = open_files(fs, dir, segments, true); !opened) {
    return opened.error().prefixed("openAtIndex failed: [openAtIndex] openWALFiles failed");
  }

  LogReader reader(segments);
  const auto read = read_records(reader, start, &out.contents);
  const bool torn = !read && read.error().code() == Code::kTornTail;
  if (!read && !torn) return read.error();
  const uint64_t end = reader.segment().offset();
  const uint32_t crc = reader.segment().crc();
  TRY(check_cut(reader.segment(), out.contents, options, torn));
  SegmentFile& last = segments.back();
  if (torn) {
    if (!may_repair) return read.error();
    TRY(repair(fs, dir, last, end, read.error(), log));
    LOG(log, kInfo, "repaired WAL", {"error", read.error().text()});
    *repaired = true;
    return read.error();
  }
  // Stale bytes behind the end would be read as records once the log grows up to them.
  TRY(last.file->truncate(end));
  if (last.bytes > end) TRY(last.file->allocate(last.bytes));
  TRY(write_again(*last.file, end));
  // The same for its name: the process before may have ended between the rename and the sync of the
  // directory.
  TRY(fs.sync_dir(dir));

  Tail& tail = out.tail;
  tail.dir = dir;
  tail.offset = end;
  tail.crc = crc;
  tail.metadata = out.contents.metadata;
  tail.hard_state = out.contents.hard_state;
  tail.last_index = out.contents.last_index;
  for (const raft::Entry& e : out.contents.entries) {
    if (e.type != raft::EntryType::kNormal && e.index > tail.hard_state.commit)
      tail.uncommitted_change = e.index;
  }
  for (SegmentFile& s : segments) {
    tail.segments.push_back({std::move(s.name), s.sequence, s.index, std::move(s.file)});
  }
  return out;
}

Result<std::vector<SegmentFile>> open_for_read(io::FileSystem& fs, const std::string& dir, quoin::Index index,
                                               log::Logger& log) {
  auto listed = list_segments(fs, dir, log);
  if (!listed) return listed.error().prefixed("[openAtIndex] selectWALFiles failed");
  auto first = select_first(*listed, index);
  if (!first) return first.error().prefixed("[openAtIndex] selectWALFiles failed");
  listed->erase(listed->begin(), listed->begin() + static_cast<ptrdiff_t>(*first));
  TRY(open_files(fs, dir, *listed, false));
  return listed;
}

}  // namespace

Result<bool> exists(io::FileSystem& fs, const std::string& dir) {
  const auto entries = fs.list(dir);
  if (!entries && entries.error().code() == Code::kFileNotFound) return false;
  if (!entries) return entries.error();
  return std::any_of(entries->begin(), entries->end(),
                     [](const io::DirEntry& e) { return e.name.ends_with(".wal"); });
}

namespace {
Result<> write_first_segment(io::FileSystem& fs, const std::string& tmp, std::string_view metadata) {
  ASSIGN_OR_RETURN(auto file, fs.open(join(tmp, segment_name(0, quoin::Index(0))),
                                      {.write = true, .create = true, .exclusive = true, .mode = 0600}));
  TRY(file->lock_ofd());
  TRY(file->allocate(kSegmentBytes));
  BatchEncoder encoder(0);
  encoder.add_crc();
  encoder.add_metadata(metadata);
  encoder.add_snapshot({});
  uint64_t at = 0;
  for (std::string_view part : encoder.parts()) {
    TRY(file->write_at(at, part));
    at += part.size();
  }
  TRY(file->sync());
  return fs.sync_dir(tmp);
}

std::string parent_dir(const std::string& dir) {
  const size_t end = dir.find_last_not_of('/');
  const size_t slash = end == std::string::npos ? std::string::npos : dir.find_last_of('/', end);
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : dir.substr(0, slash);
}
}  // namespace

Result<OpenedLog> create(io::FileSystem& fs, const std::string& dir, std::string_view metadata,
                         log::Logger& log) {
  ASSIGN_OR_RETURN(const bool there, exists(fs, dir));
  if (there) return Error(Code::kFileExists);
  std::string tmp = dir;
  while (tmp.size() > 1 && tmp.back() == '/') tmp.pop_back();
  tmp += ".tmp";
  TRY(fs.remove_all(tmp));
  TRY(fs.make_dirs(tmp, 0700));
  if (auto written = write_first_segment(fs, tmp, metadata); !written) {
    (void)fs.remove_all(tmp);  // the first error is the one to tell
    return written.error();
  }
  TRY(fs.remove_all(dir));
  TRY(fs.rename(tmp, dir));
  TRY(fs.sync_dir(parent_dir(dir)));
  return open(fs, dir, {}, {}, log);
}

Result<OpenedLog> open(io::FileSystem& fs, const std::string& dir, const SnapshotRecord& start,
                       const OpenOptions& options, log::Logger& log) {
  bool repaired = false;
  auto opened = open_once(fs, dir, start, options, log, true, &repaired);
  if (!repaired) return opened;
  return open_once(fs, dir, start, options, log, false, &repaired);
}

Result<Contents> read(io::FileSystem& fs, const std::string& dir, const SnapshotRecord& start,
                      log::Logger& log) {
  ASSIGN_OR_RETURN(const auto segments, open_for_read(fs, dir, start.index, log));
  LogReader reader(segments);
  Contents out;
  const auto ok = read_records(reader, start, &out);
  if (!ok && ok.error().code() != Code::kTornTail) return ok.error();
  return out;
}

Result<std::vector<SnapshotRecord>> valid_snapshots(io::FileSystem& fs, const std::string& dir,
                                                    log::Logger& log) {
  ASSIGN_OR_RETURN(auto segments, list_segments(fs, dir, log));
  // A removal of old segments may have been lost in part: what stands before a gap is not needed.
  size_t first = segments.size() - 1;
  while (first > 0 && segments[first - 1].sequence + 1 == segments[first].sequence) --first;
  segments.erase(segments.begin(), segments.begin() + static_cast<ptrdiff_t>(first));
  TRY(open_files(fs, dir, segments, false));
  LogReader reader(segments);
  std::vector<SnapshotRecord> out;
  raft::HardState state;
  while (true) {
    const auto record = reader.next();
    if (!record) {
      if (record.error().code() == Code::kTornTail) break;
      return record.error();
    }
    if (!*record) break;
    if ((*record)->type == RecordType::kSnapshot) {
      auto snapshot = decode_snapshot_record((*record)->data.view());
      if (!snapshot) return at_record(snapshot.error(), reader, **record);
      out.push_back(std::move(*snapshot));
    } else if ((*record)->type == RecordType::kState) {
      auto decoded = raft::decode_hard_state((*record)->data.view());
      if (!decoded) return at_record(decoded.error(), reader, **record);
      state = *decoded;
    }
  }
  std::erase_if(out, [&](const SnapshotRecord& s) { return s.index > state.commit; });
  return out;
}

Result<raft::HardState> verify(io::FileSystem& fs, const std::string& dir, const SnapshotRecord& start,
                               log::Logger& log) {
  ASSIGN_OR_RETURN(const Contents contents, read(fs, dir, start, log));
  if (!contents.snapshot_found) return Error(Code::kNotFound, "wal: snapshot not found");
  return contents.hard_state;
}

}  // namespace quoin::wal

// The reading half of the codec.
#include <optional>

#include "base/check.h"
#include "raft/codec.h"

namespace quoin::raft {
namespace {

constexpr int kVarint = 0, kFixed64 = 1, kBytes = 2, kGroupStart = 3, kGroupEnd = 4, kFixed32 = 5;

struct Field {
  uint64_t number = 0;
  int wire = 0;
  uint64_t value = 0;      // kVarint, kFixed32, kFixed64
  std::string_view bytes;  // kBytes
};

template <class... A>
Error malformed(fmt::format_string<A...> f, A&&... args) {
  return make_error(Code::kMalformed, f, std::forward<A>(args)...);
}

class Reader {
 public:
  explicit Reader(std::string_view bytes) : p_(bytes.data()), end_(p_ + bytes.size()) {}
  bool done() const { return p_ == end_; }

  Result<uint64_t> varint() {
    uint64_t v = 0;
    for (int shift = 0; shift < 70; shift += 7) {
      if (p_ == end_) return malformed("unexpected EOF");
      const uint8_t b = static_cast<uint8_t>(*p_++);
      v |= static_cast<uint64_t>(b & 0x7f) << shift;
      if (b < 0x80) return v;
    }
    return malformed("proto: integer overflow");
  }

  // The next field; groups are skipped whole and come out as kGroupStart.
  Result<Field> next() {
    ASSIGN_OR_RETURN(Field f, tag());
    switch (f.wire) {
      case kVarint: {
        ASSIGN_OR_RETURN(f.value, varint());
        return f;
      }
      case kFixed64:
        TRY(take(8));
        return f;
      case kFixed32:
        TRY(take(4));
        return f;
      case kBytes: {
        ASSIGN_OR_RETURN(const uint64_t size, varint());
        const char* from = p_;
        TRY(take(size));
        f.bytes = {from, size};
        return f;
      }
      case kGroupStart:
        TRY(skip_group());
        return f;
      case kGroupEnd:
        return malformed("proto: unexpected end of group");
      default:
        return malformed("proto: illegal wireType {}", f.wire);
    }
  }

 private:
  Result<Field> tag() {
    ASSIGN_OR_RETURN(const uint64_t tag, varint());
    Field f;
    f.number = tag >> 3;
    f.wire = static_cast<int>(tag & 7);
    if (f.number == 0 || f.number > 0x1fffffff) return malformed("proto: illegal tag {}", f.number);
    return f;
  }
  Result<> take(uint64_t n) {
    if (n > static_cast<uint64_t>(end_ - p_)) return malformed("unexpected EOF");
    p_ += n;
    return {};
  }
  // After a group's start: everything up to the end that belongs to it. Counts instead of calling itself.
  Result<> skip_group() {
    for (int depth = 1; depth > 0;) {
      ASSIGN_OR_RETURN(const Field f, tag());
      switch (f.wire) {
        case kVarint:
          TRY(varint());
          break;
        case kFixed64:
          TRY(take(8));
          break;
        case kFixed32:
          TRY(take(4));
          break;
        case kBytes: {
          ASSIGN_OR_RETURN(const uint64_t size, varint());
          TRY(take(size));
          break;
        }
        case kGroupStart:
          ++depth;
          break;
        case kGroupEnd:
          --depth;
          break;
        default:
          return malformed("proto: illegal wireType {}", f.wire);
      }
    }
    return {};
  }

  const char* p_;
  const char* end_;
};

// Memory that the structures of one message may take, beside its bytes: few bytes can name many of them.
class Room {
 public:
  explicit Room(size_t bytes) : left_(bytes) {}
  Result<> take(size_t bytes) {
    if (bytes > left_) return make_error(Code::kLimit, "raft: a message of too many parts");
    left_ -= bytes;
    return {};
  }

 private:
  size_t left_;
};

Result<> expect(const Field& f, int wire, const char* name) {
  if (f.wire != wire) return malformed("proto: wrong wireType = {} for field {}", f.wire, name);
  return {};
}

Result<> read(const Field& f, const char* name, uint64_t& out) {
  TRY(expect(f, kVarint, name));
  out = f.value;
  return {};
}
template <class Tag>
Result<> read(const Field& f, const char* name, StrongId<Tag, uint64_t>& out) {
  return read(f, name, out.v);
}
Result<> read(const Field& f, const char* name, bool& out) {
  TRY(expect(f, kVarint, name));
  out = f.value != 0;
  return {};
}
template <class E>
Result<> read_enum(const Field& f, const char* name, E max, E& out) {
  TRY(expect(f, kVarint, name));
  if (f.value > static_cast<uint64_t>(max)) return malformed("unknown {} {}", name, f.value);
  out = static_cast<E>(f.value);
  return {};
}
Result<> read_ids(const Field& f, const char* name, Room& room, std::vector<MemberId>& out) {
  if (f.wire == kVarint) {
    TRY(room.take(sizeof(MemberId)));
    out.push_back(MemberId{f.value});
    return {};
  }
  TRY(expect(f, kBytes, name));
  for (Reader packed(f.bytes); !packed.done();) {
    ASSIGN_OR_RETURN(const uint64_t v, packed.varint());
    TRY(room.take(sizeof(MemberId)));
    out.push_back(MemberId{v});
  }
  return {};
}
// `all` holds the bytes that are read.
Result<> read_blob(const Field& f, const char* name, const Blob& all, Blob& out) {
  TRY(expect(f, kBytes, name));
  out = f.bytes.empty() ? Blob() : all.slice(f.bytes);
  return {};
}

// Each of these reads fields into what is there already, so that a nested message that comes twice is merged.
Result<> merge(std::string_view bytes, HardState& x) {
  for (Reader r(bytes); !r.done();) {
    ASSIGN_OR_RETURN(const Field f, r.next());
    switch (f.number) {
      case 1:
        TRY(read(f, "Term", x.term));
        break;
      case 2:
        TRY(read(f, "Vote", x.vote));
        break;
      case 3:
        TRY(read(f, "Commit", x.commit));
        break;
    }
  }
  return {};
}

Result<> merge(std::string_view bytes, Room& room, ConfState& x) {
  for (Reader r(bytes); !r.done();) {
    ASSIGN_OR_RETURN(const Field f, r.next());
    switch (f.number) {
      case 1:
        TRY(read_ids(f, "Voters", room, x.voters));
        break;
      case 2:
        TRY(read_ids(f, "Learners", room, x.learners));
        break;
      case 3:
        TRY(read_ids(f, "VotersOutgoing", room, x.voters_outgoing));
        break;
      case 4:
        TRY(read_ids(f, "LearnersNext", room, x.learners_next));
        break;
      case 5:
        TRY(read(f, "AutoLeave", x.auto_leave));
        break;
    }
  }
  return {};
}

Result<> merge(std::string_view bytes, Room& room, SnapshotMetadata& x) {
  for (Reader r(bytes); !r.done();) {
    ASSIGN_OR_RETURN(const Field f, r.next());
    switch (f.number) {
      case 1:
        TRY(expect(f, kBytes, "ConfState"));
        TRY(merge(f.bytes, room, x.conf_state));
        break;
      case 2:
        TRY(read(f, "Index", x.index));
        break;
      case 3:
        TRY(read(f, "Term", x.term));
        break;
    }
  }
  return {};
}

Result<> merge(std::string_view bytes, const Blob& all, Room& room, Snapshot& x) {
  for (Reader r(bytes); !r.done();) {
    ASSIGN_OR_RETURN(const Field f, r.next());
    switch (f.number) {
      case 1:
        TRY(read_blob(f, "Data", all, x.data));
        break;
      case 2:
        TRY(expect(f, kBytes, "Metadata"));
        TRY(merge(f.bytes, room, x.metadata));
        break;
    }
  }
  return {};
}

Result<> merge(std::string_view bytes, const Blob& all, Entry& x) {
  for (Reader r(bytes); !r.done();) {
    ASSIGN_OR_RETURN(const Field f, r.next());
    switch (f.number) {
      case 1:
        TRY(read_enum(f, "entry type", EntryType::kConfChangeV2, x.type));
        break;
      case 2:
        TRY(read(f, "Term", x.term));
        break;
      case 3:
        TRY(read(f, "Index", x.index));
        break;
      case 4:
        TRY(read_blob(f, "Data", all, x.data));
        break;
    }
  }
  return {};
}

Result<> merge(std::string_view bytes, const Blob& all, ConfChange& x) {
  for (Reader r(bytes); !r.done();) {
    ASSIGN_OR_RETURN(const Field f, r.next());
    switch (f.number) {
      case 1:
        TRY(read(f, "ID", x.id));
        break;
      case 2:
        TRY(read_enum(f, "conf change type", ConfChangeType::kAddLearnerNode, x.type));
        break;
      case 3:
        TRY(read(f, "NodeID", x.node_id));
        break;
      case 4:
        TRY(read_blob(f, "Context", all, x.context));
        break;
    }
  }
  return {};
}

Result<> merge(std::string_view bytes, ConfChangeSingle& x) {
  for (Reader r(bytes); !r.done();) {
    ASSIGN_OR_RETURN(const Field f, r.next());
    switch (f.number) {
      case 1:
        TRY(read_enum(f, "conf change type", ConfChangeType::kAddLearnerNode, x.type));
        break;
      case 2:
        TRY(read(f, "NodeID", x.node_id));
        break;
    }
  }
  return {};
}

Result<> merge(std::string_view bytes, const Blob& all, ConfChangeV2& x) {
  for (Reader r(bytes); !r.done();) {
    ASSIGN_OR_RETURN(const Field f, r.next());
    switch (f.number) {
      case 1:
        TRY(read_enum(f, "transition", ConfChangeTransition::kJointExplicit, x.transition));
        break;
      case 2:
        TRY(expect(f, kBytes, "Changes"));
        TRY(merge(f.bytes, x.changes.emplace_back()));
        break;
      case 3:
        TRY(read_blob(f, "Context", all, x.context));
        break;
    }
  }
  return {};
}

Result<> merge(std::string_view bytes, const Blob& all, int depth, Room& room, Message& x);

// The fields of a message that hold other messages. False: not one of them.
Result<bool> merge_nested(const Field& f, const Blob& all, int depth, Room& room,
                          std::optional<Snapshot>& snapshot, Message& x) {
  switch (f.number) {
    case 7:
      TRY(expect(f, kBytes, "Entries"));
      TRY(room.take(sizeof(Entry)));
      TRY(merge(f.bytes, all, x.entries.emplace_back()));
      return true;
    case 9:
      TRY(expect(f, kBytes, "Snapshot"));
      if (!snapshot) snapshot.emplace();
      TRY(merge(f.bytes, all, room, *snapshot));
      return true;
    case 14:
      TRY(expect(f, kBytes, "Responses"));
      if (depth == kNestingMax) return malformed("messages nested too deeply");
      TRY(room.take(sizeof(Message)));
      TRY(merge(f.bytes, all, depth + 1, room, x.responses.emplace_back()));
      return true;
    default:
      return false;
  }
}

Result<> merge(std::string_view bytes, const Blob& all, int depth, Room& room, Message& x) {
  std::optional<Snapshot> snapshot;
  for (Reader r(bytes); !r.done();) {
    ASSIGN_OR_RETURN(const Field f, r.next());
    ASSIGN_OR_RETURN(const bool nested, merge_nested(f, all, depth, room, snapshot, x));
    if (nested) continue;
    switch (f.number) {
      case 1:
        TRY(read_enum(f, "message type", MessageType::kForgetLeader, x.type));
        break;
      case 2:
        TRY(read(f, "To", x.to));
        break;
      case 3:
        TRY(read(f, "From", x.from));
        break;
      case 4:
        TRY(read(f, "Term", x.term));
        break;
      case 5:
        TRY(read(f, "LogTerm", x.log_term));
        break;
      case 6:
        TRY(read(f, "Index", x.index));
        break;
      case 8:
        TRY(read(f, "Commit", x.commit));
        break;
      case 10:
        TRY(read(f, "Reject", x.reject));
        break;
      case 11:
        TRY(read(f, "RejectHint", x.reject_hint));
        break;
      case 12:
        TRY(read_blob(f, "Context", all, x.context));
        break;
      case 13:
        TRY(read(f, "Vote", x.vote));
        break;
    }
  }
  // 3.5 sends an empty snapshot with everything; only in MsgSnap one means something.
  if (snapshot && (x.type == MessageType::kSnap || !snapshot->empty())) {
    x.snapshot = std::make_shared<const Snapshot>(std::move(*snapshot));
  }
  return {};
}

}  // namespace

Result<HardState> decode_hard_state(std::string_view bytes) {
  HardState x;
  TRY(merge(bytes, x));
  return x;
}
Result<ConfState> decode_conf_state(std::string_view bytes) {
  ConfState x;
  Room room(SIZE_MAX);
  TRY(merge(bytes, room, x));
  return x;
}
Result<SnapshotMetadata> decode_snapshot_metadata(std::string_view bytes) {
  SnapshotMetadata x;
  Room room(SIZE_MAX);
  TRY(merge(bytes, room, x));
  return x;
}
Result<Snapshot> decode_snapshot(const Blob& bytes) {
  Snapshot x;
  Room room(SIZE_MAX);
  TRY(merge(bytes.view(), bytes, room, x));
  return x;
}
Result<Entry> decode_entry(const Blob& bytes) {
  Entry x;
  TRY(merge(bytes.view(), bytes, x));
  return x;
}
Result<Message> decode_message(const Blob& bytes, size_t parts_bytes_max) {
  Message x;
  Room room(parts_bytes_max);
  TRY(merge(bytes.view(), bytes, 0, room, x));
  return x;
}
Result<ConfChange> decode_conf_change(const Blob& bytes) {
  ConfChange x;
  TRY(merge(bytes.view(), bytes, x));
  return x;
}
Result<ConfChangeV2> decode_conf_change_v2(const Blob& bytes) {
  ConfChangeV2 x;
  TRY(merge(bytes.view(), bytes, x));
  return x;
}

ConfChangeV2 to_v2(const ConfChange& change) {
  ConfChangeV2 v2;
  v2.changes.push_back({change.type, change.node_id});
  v2.context = change.context;
  return v2;
}

Result<ConfChangeV2> conf_change_of(const Entry& entry) {
  CHECK(entry.type != EntryType::kNormal);
  if (entry.type == EntryType::kConfChangeV2) return decode_conf_change_v2(entry.data);
  ASSIGN_OR_RETURN(const ConfChange v1, decode_conf_change(entry.data));
  return to_v2(v1);
}

}  // namespace quoin::raft

#include "peer/msgapp_stream.h"

#include <algorithm>

#include "base/coding.h"
#include "peer/raft_bytes.h"
#include "raft/codec.h"

namespace quoin::peer {
namespace {

constexpr char kLinkHeartbeat = 0, kAppEntries = 1, kMsgApp = 2;

// What an append that follows `message` continues from.
raft::EntryId end_of(const raft::Message& message) {
  return {message.term, message.entries.empty() ? message.index : message.entries.back().index};
}

}  // namespace

void MsgAppEncoder::encode(const raft::Message& m, Pieces& out) {
  if (is_link_heartbeat(m)) {
    out.append(std::string_view(&kLinkHeartbeat, 1));
    return;
  }
  if (at_.index == m.index && at_.term == m.log_term && m.log_term == m.term) {
    out.append(std::string_view(&kAppEntries, 1));
    store_be64(out.grow(8), m.entries.size());
    for (const raft::Entry& e : m.entries) {
      store_be64(out.grow(8), raft::encoded_size(e));
      append_entry(e, out);
    }
    store_be64(out.grow(8), m.commit.v);
    at_.index = at_.index + m.entries.size();
    return;
  }
  out.append(std::string_view(&kMsgApp, 1));
  append_framed(m, out);
  at_ = end_of(m);
}

Result<> MsgAppDecoder::feed(std::string_view bytes, Sink sink) {
  while (!bytes.empty()) {
    switch (state_) {
      case State::kType:
        TRY(take_type(static_cast<uint8_t>(bytes[0]), sink));
        bytes.remove_prefix(1);
        break;
      case State::kEntry:
      case State::kMessage:
        bytes.remove_prefix(part_.feed(bytes));
        if (part_.done()) TRY(take_part(sink));
        break;
      default: {
        const size_t n = std::min(bytes.size(), sizeof number_ - number_have_);
        std::copy_n(bytes.data(), n, number_ + number_have_);
        bytes.remove_prefix(n);
        number_have_ += n;
        if (number_have_ < sizeof number_) break;
        number_have_ = 0;
        TRY(take_number(load_be64(number_), sink));
      }
    }
  }
  return {};
}

Result<> MsgAppDecoder::take_type(uint8_t type, Sink sink) {
  switch (type) {
    case kLinkHeartbeat:
      sink(link_heartbeat());
      return {};
    case kAppEntries:
      append_ = {};
      append_.type = raft::MessageType::kApp;
      append_.from = remote_, append_.to = self_;
      append_.term = append_.log_term = at_.term;
      append_.index = at_.index;
      state_ = State::kCount;
      return {};
    case kMsgApp:
      state_ = State::kMessageLength;
      return {};
    default:
      return make_error(Code::kMalformed, "failed to parse type {} in msgappv2 stream", type);
  }
}

Result<> MsgAppDecoder::take_number(uint64_t value, Sink sink) {
  switch (state_) {
    case State::kCount:
      missing_ = value;
      state_ = missing_ == 0 ? State::kCommit : State::kEntryLength;
      return {};
    case State::kEntryLength:
      TRY(begin_part(value, State::kEntry));
      // Nothing would arrive that ends an entry of no bytes.
      return part_.done() ? take_part(sink) : Result<>();
    case State::kMessageLength:
      TRY(begin_part(value, State::kMessage));
      return part_.done() ? take_part(sink) : Result<>();
    default:  // kCommit
      append_.commit = Index{value};
      at_.index = at_.index + append_.entries.size();
      held_ = 0;
      state_ = State::kType;
      sink(std::exchange(append_, {}));
      return {};
  }
}

Result<> MsgAppDecoder::begin_part(uint64_t size, State state) {
  if (size > kMessageBytesMax) return Error(Code::kLimit, "rafthttp: error limit exceeded");
  part_.begin(size);
  state_ = state;
  return {};
}

Result<> MsgAppDecoder::take_part(Sink sink) {
  if (state_ == State::kMessage) {
    ASSIGN_OR_RETURN(raft::Message m, raft::decode_message(part_.take(), kPartsBytesMax));
    at_ = end_of(m);
    state_ = State::kType;
    sink(std::move(m));
    return {};
  }
  held_ += part_.held_bytes() + sizeof(raft::Entry);
  ASSIGN_OR_RETURN(raft::Entry e, raft::decode_entry(part_.take()));
  append_.entries.push_back(std::move(e));
  if (held_ > kHeldBytesMax || append_.entries.size() > kPartsBytesMax / sizeof(raft::Entry))
    return Error(Code::kLimit, "rafthttp: error limit exceeded");
  state_ = --missing_ == 0 ? State::kCommit : State::kEntryLength;
  return {};
}

}  // namespace quoin::peer

// The msgapp v2 stream. Purpose and bounds: stream_codec.h. Format: docs/formats/peer-streams.md.
#pragma once
#include "peer/arriving_blob.h"
#include "peer/stream_codec.h"

namespace quoin::peer {

class MsgAppEncoder final : public StreamEncoder {
 public:
  void encode(const raft::Message& message, Pieces& out) override;

 private:
  // What the next append continues from.
  raft::EntryId at_{};
};

class MsgAppDecoder final : public StreamDecoder {
 public:
  MsgAppDecoder(MemberId self, MemberId remote) : self_(self), remote_(remote) {}
  Result<> feed(std::string_view bytes, Sink sink) override;
  size_t held_bytes() const override { return held_ + part_.held_bytes(); }

 private:
  enum class State : uint8_t { kType, kCount, kEntryLength, kEntry, kCommit, kMessageLength, kMessage };

  Result<> take_type(uint8_t type, Sink sink);
  Result<> take_number(uint64_t value, Sink sink);
  Result<> take_part(Sink sink);
  Result<> begin_part(uint64_t size, State state);

  const MemberId self_, remote_;
  raft::EntryId at_{};
  State state_ = State::kType;
  char number_[8];
  size_t number_have_ = 0;
  ArrivingBlob part_;
  uint64_t missing_ = 0;  // entries
  raft::Message append_;  // of entries alone, in the making
  size_t held_ = 0;       // by append_'s entries
};

}  // namespace quoin::peer

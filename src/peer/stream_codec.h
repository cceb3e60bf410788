// The two streams on which members send each other raft's messages, without sockets: messages in, bytes out, and
// back.
//
//   kMessage   every message with its length in front.
//   kMsgApp    ("msgapp v2") appends to the log alone: mostly only the entries, since both ends remember the term
//              and index that the next append continues from. Every append must be encoded, in order, on one
//              connection; a new connection has a new encoder and decoder.
//
// On both, a link heartbeat says "I am here" where nothing else is sent.
//
// Bytes arrive in any cut. Lengths are believed only as far as bytes arrive (arriving_blob.h), and a decoder holds
// at most kHeldBytesMax for the one message that is not complete.
//
// Errors: kLimit      a message longer than kMessageBytesMax, or with more in it than kPartsBytesMax; more held than
//                     kHeldBytesMax
//         kMalformed  what is not the protocol; the connection is of no use any more
// Threads: confined to their connection's loop.
// Format: docs/formats/peer-streams.md; spec raft-and-peers 22.
#pragma once
#include <absl/functional/function_ref.h>

#include <cstdint>
#include <memory>
#include <string_view>

#include "base/ids.h"
#include "base/result.h"
#include "peer/arriving_blob.h"
#include "peer/pieces.h"
#include "raft/types.h"

namespace quoin::peer {

enum class StreamKind : uint8_t { kMsgApp = 0, kMessage = 1 };
constexpr size_t kStreamKinds = 2;
// "stream MsgApp v2", "stream Message": how logs name them.
std::string_view name_of(StreamKind kind);
// "/raft/stream/msgapp", "/raft/stream/message".
std::string_view endpoint_of(StreamKind kind);

constexpr size_t kMessageBytesMax = 512u << 20;
// Of the entries' structures and the like in one message. What a member sends has at most its limit of one append (1
// MiB), or the proposals that waited for a leader (64 MiB), of which each counts with more than its structure.
constexpr size_t kPartsBytesMax = 64u << 20;
constexpr size_t kHeldBytesMax = kMessageBytesMax + kPartsBytesMax;

// A heartbeat from and to nobody.
const raft::Message& link_heartbeat();
bool is_link_heartbeat(const raft::Message& message);

class StreamEncoder {
 public:
  virtual ~StreamEncoder() = default;
  virtual void encode(const raft::Message& message, Pieces& out) = 0;
};
std::unique_ptr<StreamEncoder> make_encoder(StreamKind kind);

class StreamDecoder {
 public:
  using Sink = absl::FunctionRef<void(raft::Message message)>;
  virtual ~StreamDecoder() = default;
  // Takes all bytes; `sink` is called for each message they complete, link heartbeats too. After an error
  // nothing more may be fed.
  virtual Result<> feed(std::string_view bytes, Sink sink) = 0;
  // Memory of the message that is not complete yet.
  virtual size_t held_bytes() const = 0;
};
// `self` and `remote`: the ends of an append that came as entries alone.
std::unique_ptr<StreamDecoder> make_decoder(StreamKind kind, MemberId self, MemberId remote);

// One message with its length in front, as a snapshot's transfer begins; what follows it is left.
class FramedMessage {
 public:
  explicit FramedMessage(size_t bytes_max) : bytes_max_(bytes_max) {}
  // Takes bytes from the front until the message is complete; returns how many.
  Result<size_t> feed(std::string_view bytes);
  bool done() const { return done_; }
  size_t held_bytes() const { return body_.held_bytes(); }
  // What it is that the bytes end here, in Go's words: "EOF" where the length or the message would begin.
  Error end_of_bytes() const;
  // When done; decodes and begins again.
  Result<raft::Message> take();

 private:
  const size_t bytes_max_;
  char head_[8];
  size_t head_have_ = 0;
  bool done_ = false;
  ArrivingBlob body_;
};
void append_framed(const raft::Message& message, Pieces& out);

}  // namespace quoin::peer

// What raft has to say to a member, on one of the two streams that the member opened.
//
// Messages wait in a queue, are encoded when the socket has room, and leave in one write a round of the loop. The
// queue is bounded in messages and bytes; a message that finds no room is dropped by the caller, before the encoder
// saw it. While nobody has opened the stream nothing is queued. A new stream takes the place of the old one.
//
// What the socket does not take within the write time-out, or refuses, ends the stream: what is queued is lost, and
// the member counts as unreachable once.
//
// Threads: the peer loop.
#pragma once
#include <deque>
#include <memory>
#include <string_view>

#include "base/ids.h"
#include "io/stream.h"
#include "io/timer.h"
#include "peer/stall_watch.h"
#include "peer/stream_codec.h"
#include "raft/types.h"

namespace quoin::peer {

struct Context;
class PeerStatus;

class StreamWriter {
 public:
  StreamWriter(Context& context, PeerStatus& status, MemberId peer, StreamKind kind);
  ~StreamWriter();

  bool attached() const { return outlet_ != nullptr; }
  // `stream` as Exchange::take_over() gives it.
  void attach(std::unique_ptr<io::Stream> stream, bool chunked);
  // `bytes`: its encoded size. False: there is no room, and the message is untouched.
  bool push(raft::Message& message, size_t bytes);
  void stop();

 private:
  struct Queued {
    raft::Message message;
    size_t bytes;
  };
  // The stream and who listens to it. It outlives the writer's interest by one task, since it may be given up
  // within its own callbacks.
  struct Outlet final : io::StreamHandler {
    StreamWriter* owner = nullptr;  // null: given up
    std::unique_ptr<io::Stream> stream;
    void on_data(std::string_view) override {}
    void on_eof() override;
    void on_drained() override;
    void on_closed(Result<> error) override;
  };
  // The socket's own queue is filled up to here; encoded in steps of kStepBytes.
  static constexpr size_t kWindowBytes = 1u << 20, kStepBytes = 256 << 10;

  void want_flush();
  void flush();
  void write(Pieces pieces);
  void heartbeat();
  void watch();
  void look();
  void lost(std::string_view action, std::string_view why);
  bool detach();

  Context& context_;
  PeerStatus& status_;
  const MemberId peer_;
  const StreamKind kind_;
  std::unique_ptr<Outlet> outlet_;
  bool chunked_ = true;
  std::unique_ptr<StreamEncoder> encoder_;
  std::deque<Queued> queue_;
  size_t queued_bytes_ = 0;
  bool flush_wanted_ = false;
  bool heartbeat_last_ = false;  // what was written last, for the words of a failure
  uint64_t written_ = 0;
  StallWatch stall_;
  std::unique_ptr<io::Timer> heartbeat_timer_, stall_timer_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace quoin::peer

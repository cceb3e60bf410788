// What a member has to say to raft, on one of the two streams that this side opens.
//
// Dials, reads until the connection ends, and dials again: at most once in kRedialNs, the next URL after each
// failure. A stream that is silent for the read time-out is given up.
//
// What one read brings is handed on together, proposals by themselves. What is received and not taken by raft is
// counted; at the bound the stream is not read until half of it is free.
// Proposals are counted by themselves and dropped at the bound: without a leader they wait, and must not keep votes
// and appends from being read.
//
// Threads: the peer loop.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "base/ids.h"
#include "io/timer.h"
#include "peer/budget.h"
#include "peer/client_link.h"
#include "peer/stream_codec.h"
#include "peer/url_picker.h"

namespace quoin::peer {

struct Context;
class PeerStatus;

class StreamReader final : public http1::ResponseHandler {
 public:
  static constexpr int64_t kRedialNs = 100 * io::kMillisecond;

  StreamReader(Context& context, PeerStatus& status, UrlPicker& picker, MemberId peer, StreamKind kind);
  ~StreamReader() override;
  void start();
  void stop();

 private:
  enum class State : uint8_t { kIdle, kDialing, kRefused, kReading };
  static constexpr size_t kRefusalBytesMax = 4096;

  // http1::ResponseHandler
  void on_head(const http1::ResponseHead& head) override;
  void on_body(std::string_view bytes) override;
  void on_complete() override;
  void on_error(Error error) override;

  void dial();
  void dial_failed(std::string_view why);
  void refused_412();
  void established();
  void lost(std::string_view why, bool ended);
  void redial();
  void give_up_link();
  // What one read brought, handed on together.
  struct Batch {
    std::vector<raft::Message> messages, proposals;
    size_t bytes = 0, proposal_bytes = 0;
  };
  void take(raft::Message message, Batch& batch);
  void hand_on(Batch batch);
  void pause_if_full();

  Context& context_;
  PeerStatus& status_;
  UrlPicker& picker_;
  const MemberId peer_;
  const StreamKind kind_;
  State state_ = State::kIdle;
  bool stopped_ = false;
  std::string url_;
  std::unique_ptr<ClientLink> link_;
  std::unique_ptr<StreamDecoder> decoder_;
  std::string refusal_, refusal_cluster_;
  io::MonotonicNs dialed_ = 0;
  std::unique_ptr<io::Timer> timer_;
  std::shared_ptr<Budget> budget_, proposals_;
  bool paused_ = false;
};

}  // namespace quoin::peer

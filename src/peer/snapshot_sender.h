// Sends a member the whole database: MsgSnap, then the file, as the body of one POST.
//
// The file is read in pieces on an executor of its own, one ahead of what the socket takes, so that a transfer holds
// some pieces and never the file. At most one transfer to a member at a time. It ends with the answer, with what
// goes wrong, or with stop(); the source is dropped then, once a read under way has come back.
//
// Bounds in time: a socket that takes nothing for kStallNs, or an answer that does not come within kAnswerNs of the
// last byte, ends it, so that the copy of the database is not held for ever.
//
// Threads: the peer loop; SnapshotSource::read on Context::files.
#pragma once
#include <memory>
#include <string>

#include "base/ids.h"
#include "io/timer.h"
#include "peer/client_link.h"
#include "peer/url_picker.h"
#include "raft/types.h"
#include "server/peers.h"

namespace quoin::peer {

struct Context;
class PeerStatus;

class SnapshotSender final : public http1::ResponseHandler {
 public:
  static constexpr size_t kPieceBytes = 256 << 10;
  // A further piece is written while less than this waits for the socket.
  static constexpr size_t kWindowBytes = 512 << 10;
  static constexpr int64_t kStallNs = 60 * io::kSecond;
  static constexpr int64_t kAnswerNs = 300 * io::kSecond;
  static constexpr int64_t kAnswerBodyNs = 5 * io::kSecond;
  static constexpr size_t kAnswerBytesMax = 64 << 10;

  SnapshotSender(Context& context, PeerStatus& status, UrlPicker& picker, MemberId peer);
  ~SnapshotSender() override;
  // The outcome comes by PeerHandler::snapshot_sent.
  void send(raft::Message message, std::shared_ptr<backend::SnapshotSource> source);
  void stop();

 private:
  // http1::ResponseHandler
  void on_head(const http1::ResponseHead& head) override;
  void on_body(std::string_view bytes) override;
  void on_complete() override;
  void on_error(Error error) override;
  void on_writable() override;

  void read_next();
  void piece_read(Result<std::string> piece);
  void write_on();
  int64_t pause_ns() const;
  void end(Result<> result);

  Context& context_;
  PeerStatus& status_;
  UrlPicker& picker_;
  const MemberId peer_;

  // ---- of the transfer; source_ is null between two ----
  std::shared_ptr<backend::SnapshotSource> source_;
  Index index_;
  uint64_t total_bytes_ = 0;  // of MsgSnap and the file
  std::string url_;
  std::unique_ptr<ClientLink> link_;
  io::MonotonicNs began_ = 0;
  uint64_t read_ = 0;  // of the file
  bool reading_ = false, finished_ = false;
  std::string piece_;  // read and not written
  server::PeerAnswer answer_;
  std::unique_ptr<io::Timer> pause_timer_, answer_timer_;
  // Expires with the transfer: a read that comes back later finds nobody.
  std::shared_ptr<int> alive_;
};

}  // namespace quoin::peer

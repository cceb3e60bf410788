// Messages for a member with no stream, each a POST: at most kInFlightMax at a time, the others wait.
//
// Threads: the peer loop.
#pragma once
#include <deque>
#include <list>
#include <memory>

#include "base/ids.h"
#include "peer/call.h"
#include "peer/url_picker.h"
#include "raft/types.h"

namespace quoin::peer {

struct Context;
class PeerStatus;

class Pipeline {
 public:
  static constexpr size_t kInFlightMax = 4;
  // A POST that brings no answer for so long has failed, and is not sent again: what it said is old by then. etcd waits
  // without end, which a proposal at a member without a leader makes long; a member that hangs would keep all the
  // posts there are.
  static constexpr int64_t kSilenceNs = 30 * io::kSecond;

  Pipeline(Context& context, PeerStatus& status, UrlPicker& picker, IdleLinks& links, MemberId peer);
  ~Pipeline();
  // False: there is no room, and the message is untouched.
  bool push(raft::Message& message, size_t bytes);
  void stop();

 private:
  struct Post {
    size_t bytes;
    std::string url;
    std::unique_ptr<Call> call;
  };
  struct Queued {
    raft::Message message;
    size_t bytes;
  };

  void begin_next();
  void answered(std::list<Post>::iterator post, Result<server::PeerAnswer> answer);

  Context& context_;
  PeerStatus& status_;
  UrlPicker& picker_;
  IdleLinks& links_;
  const MemberId peer_;
  std::deque<Queued> queue_;
  size_t bytes_ = 0;  // queued and in flight
  std::list<Post> in_flight_;
};

}  // namespace quoin::peer

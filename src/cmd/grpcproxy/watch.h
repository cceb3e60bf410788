// Watch: watchers of one range share a watch at the member, a broadcast.
//
// A watcher joins a broadcast that has not gone past its first revision; else it gets one of its own, which
// is merged with another of its range as soon as the two stand at the same place. What it was sent already it
// is not sent again: it knows the next revision that it has to be told.
//
// The events of one message are encoded once (twice, if some watchers want previous values and others do not)
// and shared by all who are told the same. Many watchers are told in steps, behind what else waits for a turn
// of the loop.
//
// As in etcd, a watcher's right to read is asked when it is created; identities chosen by the client,
// fragments, requests for progress and hasleader are not served.
//
// Bounds: a stream holds kQueueBytes of unsent messages; one that reads more slowly is ended with kCanceled
// (etcd: 1,024 messages and 50 ms). Messages that wait to be told are copies of a member's: beyond
// kPendingBytes the member waits.
// Threads: the proxy's loop. Source: etcd's server/proxy/grpcproxy/watch*.go.
#pragma once
#include <memory>

#include "client/watches.h"
#include "cmd/grpcproxy/context.h"
#include "grpc/method_table.h"

namespace quoin::cmd::grpcproxy {

class WatchProxy final : public grpc::StreamHandler {
 public:
  static constexpr size_t kQueueBytes = 32 << 20;
  static constexpr size_t kPendingBytes = 64 << 20;
  static constexpr size_t kReceiversAStep = 512;
  static constexpr size_t kPopular = 5;  // a broadcast with as many watchers stays by itself

  WatchProxy(Context& context, grpc::MethodTable& methods);
  ~WatchProxy() override;
  std::unique_ptr<grpc::StreamListener> open(grpc::Call& call) override;

 private:
  class Stream;
  class Broadcast;
  class Ranges;
  struct Watcher;
  Context& context_;
  std::unique_ptr<Ranges> ranges_;
};

}  // namespace quoin::cmd::grpcproxy

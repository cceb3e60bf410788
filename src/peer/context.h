// What every part of the transport works with. All parts are confined to `loop`.
#pragma once
#include "base/ids.h"
#include "base/log.h"
#include "io/clock.h"
#include "io/executor.h"
#include "io/loop.h"
#include "io/stream.h"
#include "io/timer.h"
#include "peer/options.h"
#include "peer/peer_tls.h"
#include "peer/probe.h"
#include "server/peers.h"

namespace quoin::peer {

struct Context {
  Options options;
  io::Network& network;
  io::Loop& loop;
  io::TimerService& timers;
  io::Clock& clock;
  io::Executor& files;  // reads databases on their way out
  log::Logger& log;
  Probe probe;
  PeerTls tls;

  // From Transport::start() on.
  server::PeerHandler* handler = nullptr;
  MemberId self;
  ClusterId cluster;
};

}  // namespace quoin::peer

// What connections to https URLs of members need.
#pragma once
#include <functional>
#include <memory>

#include "io/executor.h"
#include "tls/credentials.h"

namespace quoin::peer {

struct PeerTls {
  // The newest credentials of the client role. Empty: members are not reached by TLS.
  std::function<std::shared_ptr<const tls::Credentials>()> credentials;
  // Computes handshakes; outlives the transport. Null: the peer loop does.
  io::Executor* handshakes = nullptr;
};

}  // namespace quoin::peer

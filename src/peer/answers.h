// What the answer to a POST of a message or a snapshot means.
//
// Source: spec raft-and-peers 21.
#pragma once
#include <string_view>

#include "base/ids.h"
#include "base/result.h"
#include "server/peers.h"

namespace quoin::peer {

struct Context;

// Ok if the member took it; otherwise an error with etcd's words. Writes the log line where there is one. A 403 says
// that this member was removed: PeerHandler::found_removed is called.
Result<> check_answer(Context& context, MemberId peer, std::string_view url,
                      const server::PeerAnswer& answer);

}  // namespace quoin::peer

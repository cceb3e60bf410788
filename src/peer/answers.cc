#include "peer/answers.h"

#include "base/go_text.h"
#include "http1/fields.h"
#include "http1/server_connection.h"
#include "peer/compatibility.h"
#include "peer/context.h"

namespace quoin::peer {

Result<> check_answer(Context& context, MemberId peer, std::string_view url,
                      const server::PeerAnswer& answer) {
  switch (answer.status) {
    case 204:
      return {};
    case 403:
      context.handler->found_removed();
      return Error(Code::kIo, "the member has been permanently removed from the cluster");
    case 412:
      break;
    default:
      return make_error(Code::kIo, "unexpected http status {} while posting to {}",
                        http1::reason_phrase(answer.status), go_quote(url));
  }
  const std::string_view reason = without_newline(answer.body);
  if (reason == kIncompatibleVersion) {
    LOG(context.log, kError, "request sent was ignored by peer", {"remote-peer-id", log::Hex{peer.v}});
    return Error(Code::kIo, std::string(reason));
  }
  if (reason == kClusterIdMismatch) {
    std::string_view cluster;
    for (const auto& [name, value] : answer.fields) {
      if (http1::equals_folded(name, "X-Etcd-Cluster-Id")) cluster = value;
    }
    LOG(context.log, kError, "request sent was ignored due to cluster ID mismatch",
        {"remote-peer-id", log::Hex{peer.v}}, {"remote-peer-cluster-id", cluster},
        {"local-member-cluster-id", log::Hex{context.cluster.v}});
    return Error(Code::kIo, std::string(reason));
  }
  return make_error(Code::kIo, "unhandled error {} when precondition failed", go_quote(answer.body));
}

}  // namespace quoin::peer

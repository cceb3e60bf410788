#include "scenarios/requests.h"

#include <algorithm>

#include "base/error_table.h"
#include "wire/message.h"
#include "wire/raft_internal.h"
#include "wire/rpc.h"

namespace quoin::scenarios {

namespace pb = wire::etcdserverpb;
using Kind = Request::Kind;

namespace {

constexpr Code kRefusals[] = {Code::kLeaseNotFound,  Code::kLeaseExist,      Code::kCompacted,
                              Code::kFutureRev,      Code::kTooManyRequests, Code::kRequestTooLarge,
                              Code::kProposalDropped};

void fill(const std::string& key, const Write& w, pb::PutRequest* p) {
  p->key = key;
  p->value = w.value;
  p->lease = w.lease;
}
void fill(const Request& r, pb::DeleteRangeRequest* d) {
  d->key = r.key;
  d->range_end = r.end;
}
void fill(const Request& r, pb::TxnRequest* t) {
  pb::Compare& c = t->compare.emplace_back();
  c.key = r.key;
  c.target = pb::Compare::CompareTarget::kVersion;
  c.result = pb::Compare::CompareResult::kLess;
  c.set_version(r.version_limit);
  for (const auto& [branch, ops] : {std::pair(&r.success, &t->success), std::pair(&r.failure, &t->failure)}) {
    for (const auto& [key, write] : *branch) {
      if (write) {
        fill(key, *write, &ops->emplace_back().set_request_put());
      } else {
        ops->emplace_back().set_request_delete_range().key = key;
      }
    }
  }
}
void fill(const Request& r, pb::LeaseGrantRequest* g) {
  g->id = r.lease;
  g->ttl = kTtlSeconds;
}

template <class Response>
std::optional<WireAnswer> decode_header(std::string_view bytes) {
  const auto response = wire::decode<Response>(bytes);
  if (!response || !response->header) return std::nullopt;
  WireAnswer answer{response->header->revision};
  if constexpr (std::is_same_v<Response, pb::DeleteRangeResponse>) answer.deleted = response->deleted;
  return answer;
}

}  // namespace

Blob encode_proposal(uint64_t id, const Request& r) {
  pb::InternalRaftRequest out;
  out.header.emplace().id = id;
  // What it points into must live until it is encoded.
  const Write own{r.value, r.lease};
  switch (r.kind) {
    case Kind::kPut:
      fill(r.key, own, &out.put.emplace());
      break;
    case Kind::kDelete:
      fill(r, &out.delete_range.emplace());
      break;
    case Kind::kTxn:
      fill(r, &out.txn.emplace());
      break;
    case Kind::kCompact:
      out.compaction.emplace().revision = r.revision;
      break;
    case Kind::kGrant:
      fill(r, &out.lease_grant.emplace());
      break;
    case Kind::kRevoke:
      out.lease_revoke.emplace().id = r.lease;
      break;
  }
  return wire::encode_blob(out);
}

WireCall encode_call(const Request& r) {
  switch (r.kind) {
    case Kind::kPut: {
      const Write own{r.value, r.lease};
      pb::PutRequest put;
      fill(r.key, own, &put);
      return {"KV/Put", wire::encode_string(put)};
    }
    case Kind::kDelete: {
      pb::DeleteRangeRequest d;
      fill(r, &d);
      return {"KV/DeleteRange", wire::encode_string(d)};
    }
    case Kind::kTxn: {
      pb::TxnRequest t;
      fill(r, &t);
      return {"KV/Txn", wire::encode_string(t)};
    }
    case Kind::kCompact: {
      pb::CompactionRequest c;
      c.revision = r.revision;
      c.physical = r.number % 4 == 0;
      return {"KV/Compact", wire::encode_string(c)};
    }
    case Kind::kGrant: {
      pb::LeaseGrantRequest g;
      fill(r, &g);
      return {"Lease/LeaseGrant", wire::encode_string(g)};
    }
    case Kind::kRevoke: {
      pb::LeaseRevokeRequest v;
      v.id = r.lease;
      return {"Lease/LeaseRevoke", wire::encode_string(v)};
    }
  }
  return {};
}

std::optional<WireAnswer> decode_answer(Kind kind, std::string_view bytes) {
  switch (kind) {
    case Kind::kPut:
      return decode_header<pb::PutResponse>(bytes);
    case Kind::kDelete:
      return decode_header<pb::DeleteRangeResponse>(bytes);
    case Kind::kTxn:
      return decode_header<pb::TxnResponse>(bytes);
    case Kind::kCompact:
      return decode_header<pb::CompactionResponse>(bytes);
    case Kind::kGrant:
      return decode_header<pb::LeaseGrantResponse>(bytes);
    case Kind::kRevoke:
      return decode_header<pb::LeaseRevokeResponse>(bytes);
  }
  return std::nullopt;
}

bool is_refusal(Code code) {
  return std::find(std::begin(kRefusals), std::end(kRefusals), code) != std::end(kRefusals);
}

bool is_refusal(std::string_view text) {
  return std::any_of(std::begin(kRefusals), std::end(kRefusals),
                     [text](Code code) { return error_info(code).text == text; });
}

}  // namespace quoin::scenarios

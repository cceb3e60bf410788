#include "server/old_request.h"

#include "base/coding.h"
#include "membership/member.h"
#include "wire/etcdserver.h"
#include "wire/message.h"

namespace quoin::server {

namespace {
constexpr std::string_view kMembers = "/0/members/";
constexpr std::string_view kAttributes = "/attributes";

Error disallowed() {
  return Error(Code::kCorruption, "detected disallowed v2 WAL for stage --v2-deprecation=write-only");
}

// The id in ".../0/members/<1-16 hex digits>/attributes...": anywhere in the path, as etcd's pattern is
// unanchored.
bool member_of_path(std::string_view path, uint64_t* id) {
  for (size_t at = path.find(kMembers); at != std::string_view::npos; at = path.find(kMembers, at + 1)) {
    const std::string_view rest = path.substr(at + kMembers.size());
    const size_t end = rest.find('/');
    if (end == std::string_view::npos || !rest.substr(end).starts_with(kAttributes)) continue;
    if (parse_hex(rest.substr(0, end), id)) return true;
  }
  return false;
}
}  // namespace

Result<OldRequest> translate_old_request(std::string_view bytes) {
  auto r = wire::decode<wire::etcdserverpb::Request>(bytes);
  if (!r)
    return Error(Code::kCorruption, fmt::format("entry holds neither kind of request: {}", r.error().text()));
  return translate_old_request(*r);
}

Result<OldRequest> translate_old_request(const wire::etcdserverpb::Request& r) {
  OldRequest out;
  out.id = r.id;
  if (r.method == "QGET") {
    out.quorum_read = true;
    return out;
  }
  if (r.method != "PUT") return disallowed();
  out.storage = std::make_shared<std::vector<std::string>>();
  out.request.header.emplace().id = r.id;
  uint64_t member = 0;
  if (member_of_path(r.path, &member)) {
    membership::Member m;
    TRY(membership::parse_attributes(r.val, &m));
    auto& set = out.request.cluster_member_attr_set.emplace();
    set.member_id = member;
    auto& attributes = set.member_attributes.emplace();
    out.storage->push_back(std::move(m.name));
    for (std::string& url : m.client_urls) out.storage->push_back(std::move(url));
    attributes.name = out.storage->front();
    for (size_t i = 1; i < out.storage->size(); ++i) attributes.client_urls.push_back((*out.storage)[i]);
    return out;
  }
  if (r.path == "/0/version") {
    out.request.cluster_version_set.emplace().ver = r.val;
    return out;
  }
  return disallowed();
}

Result<> check_request(std::string_view bytes) {
  const auto request = wire::decode<wire::etcdserverpb::InternalRaftRequest>(bytes);
  if (!request || request->v2) {
    ASSIGN_OR_RETURN(const OldRequest old,
                     request ? translate_old_request(*request->v2) : translate_old_request(bytes));
    if (old.quorum_read) return disallowed();
    return {};
  }
  if (request->id == 0 && !request->header) {
    return Error(Code::kCorruption, "a request without an id or a header");
  }
  return {};
}

}  // namespace quoin::server

#include "server/range.h"

#include "mvcc/key_value.h"

namespace quoin::server {

namespace pb = wire::etcdserverpb;

mvcc::RangeRequest to_mvcc(const pb::RangeRequest& r) {
  mvcc::RangeRequest m;
  m.key = r.key;
  m.range_end = r.range_end;
  m.limit = r.limit;
  m.revision = r.revision;
  m.sort_order = static_cast<mvcc::SortOrder>(r.sort_order);
  m.sort_target = static_cast<mvcc::SortTarget>(r.sort_target);
  m.count_only = r.count_only;
  m.min_mod_revision = r.min_mod_revision;
  m.max_mod_revision = r.max_mod_revision;
  m.min_create_revision = r.min_create_revision;
  m.max_create_revision = r.max_create_revision;
  return m;
}

Result<> add_kv(std::string_view encoded, bool keys_only, pb::RangeResponse* out,
                std::deque<std::string>* stripped) {
  if (keys_only) {
    ASSIGN_OR_RETURN(const mvcc::WithoutValue parts, mvcc::without_value(encoded));
    std::string& s = stripped->emplace_back();
    s.reserve(parts.before.size() + parts.behind.size());
    s.append(parts.before).append(parts.behind);
    encoded = s;
  }
  out->kvs.push_back({encoded});
  return {};
}

Result<int64_t> read_range(const std::shared_ptr<const mvcc::ReadView>& view, const pb::RangeRequest& request,
                           pb::RangeResponse* out, std::deque<std::string>* stripped) {
  ASSIGN_OR_RETURN(mvcc::RangeScan scan, mvcc::RangeScan::start(view, to_mvcc(request)));
  Result<> added;
  TRY(scan.run([&](std::string_view encoded) {
    if (added) added = add_kv(encoded, request.keys_only, out, stripped);
    return added.has_value();
  }));
  TRY(std::move(added));
  out->count = scan.count();
  out->more = scan.more();
  return scan.header_revision();
}

Result<RangeReply> read_range(std::shared_ptr<const mvcc::ReadView> view, const pb::RangeRequest& request) {
  RangeReply reply;
  reply.view = std::move(view);
  ASSIGN_OR_RETURN(reply.header_revision, read_range(reply.view, request, &reply.response, &reply.stripped));
  return reply;
}

}  // namespace quoin::server

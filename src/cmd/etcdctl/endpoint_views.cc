#include "cmd/etcdctl/endpoint_views.h"

#include "cmd/etcd/flags_text.h"
#include "cmd/etcdctl/message_json.h"
#include "cmd/etcdctl/output.h"
#include "cmd/text/size.h"

namespace quoin::ctl {
namespace {

using Row = std::vector<std::string>;
using Statuses = std::vector<std::pair<std::string, pb::StatusResponse>>;
using Hashes = std::vector<std::pair<std::string, pb::HashKVResponse>>;

std::string truth(bool b) {
  return b ? "true" : "false";
}

Row status_row(const std::string& endpoint, const pb::StatusResponse& r) {
  // etcd divides by zero where a server tells no size.
  const int64_t used = r.dbsize() == 0 ? 100 : r.dbsizeinuse() * 100 / r.dbsize();
  return {endpoint,
          fmt::format("{:x}", r.header().member_id()),
          r.version(),
          r.storageversion(),
          cmd::si_size(static_cast<uint64_t>(r.dbsize())),
          cmd::si_size(static_cast<uint64_t>(r.dbsizeinuse())),
          fmt::format("{}%", 100 - used),
          cmd::si_size(static_cast<uint64_t>(r.dbsizequota())),
          truth(r.leader() == r.header().member_id()),
          truth(r.islearner()),
          fmt::format("{}", r.raftterm()),
          fmt::format("{}", r.raftindex()),
          fmt::format("{}", r.raftappliedindex()),
          fmt::format("{}", fmt::join(r.errors(), ", ")),
          r.downgradeinfo().targetversion(),
          truth(r.downgradeinfo().enabled())};
}

Row hash_row(const std::string& endpoint, const pb::HashKVResponse& r) {
  return {endpoint, fmt::format("{}", r.hash()), fmt::format("{}", r.hash_revision())};
}

template <class All, class MakeRow>
std::function<void(std::string&)> comma_lines(const All& all, MakeRow make_row) {
  return [&all, make_row](std::string& o) {
    for (const auto& [endpoint, response] : all) o += cmd::join(make_row(endpoint, response), ", ") + "\n";
  };
}

template <class All, class MakeRow>
std::function<cmd::Table()> table_of(Row titles, const All& all, MakeRow make_row) {
  return [&all, make_row, titles = std::move(titles)] {
    cmd::Table table(titles);
    for (const auto& [endpoint, response] : all) table.add(make_row(endpoint, response));
    return table;
  };
}

// Go writes an empty list that was never made as null.
template <class All, class Put>
std::string list_json(const All& all, Put put) {
  cmd::GoJson j;
  if (all.empty()) return j.null().take();
  j.open_array();
  for (const auto& one : all) {
    j.open_object();
    put(j, one);
    j.close_object();
  }
  return j.close_array().take();
}

// What etcd prints stands under Status. The same values stand beside it under the names that many runbooks look for.
void put_status(cmd::GoJson& j, const std::string& endpoint, const pb::StatusResponse& r) {
  j.put("Endpoint", std::string_view(endpoint));
  put_message(j.key("Status"), r);
  j.put("version", std::string_view(r.version()))
      .put("dbSize", r.dbsize())
      .put("raftTerm", r.raftterm())
      .put("raftIndex", r.raftindex())
      .put("raftAppliedIndex", r.raftappliedindex());
  j.key("leaderInfo").open_object().put("leader", r.leader()).close_object();
}

void put_status(Fields& f, const std::string& endpoint, const pb::StatusResponse& r) {
  f.header(r.header());
  f.quoted("Version", r.version());
  f.quoted("StorageVersion", r.storageversion());
  f.put("DBSize", r.dbsize());
  f.put("DBSizeInUse", r.dbsizeinuse());
  f.put("DBSizeQuota", r.dbsizequota());
  f.put("Leader", r.leader());
  f.put("IsLearner", r.islearner());
  f.put("RaftIndex", r.raftindex());
  f.put("RaftAppliedIndex", r.raftappliedindex());
  f.put("Errors", fmt::format("[{}]", fmt::join(r.errors(), " ")));
  f.quoted("Endpoint", endpoint);
  f.quoted("DowngradeTargetVersion", r.downgradeinfo().targetversion());
  f.put("DowngradeEnabled", r.downgradeinfo().enabled());
  f.empty_line();
}

}  // namespace

Forms health_forms(const std::vector<EndpointHealth>& all) {
  Forms forms;
  forms.simple = [&all](std::string&) {
    for (const EndpointHealth& h : all) {
      if (h.error.empty()) {
        out().line("{} is healthy: successfully committed proposal: took = {}", h.endpoint, h.took);
      } else {
        put_error(fmt::format("{} is unhealthy: failed to commit proposal: {}\n", h.endpoint, h.error));
      }
    }
  };
  forms.fields = [&all](Fields& f) {
    for (const EndpointHealth& h : all) {
      f.quoted("Endpoint", h.endpoint);
      f.put("Health", h.healthy);
      f.put("Took", h.took);
      f.put("Error", h.error);
      f.empty_line();
    }
  };
  forms.table = [&all] {
    cmd::Table table({"endpoint", "health", "took", "error"});
    for (const EndpointHealth& h : all) table.add({h.endpoint, truth(h.healthy), h.took, h.error});
    return table;
  };
  forms.json = [&all] {
    return list_json(all, [](cmd::GoJson& j, const EndpointHealth& h) {
      j.put("endpoint", std::string_view(h.endpoint))
          .put("health", h.healthy)
          .put("took", std::string_view(h.took));
      j.put_some("error", std::string_view(h.error));
    });
  };
  return forms;
}

Forms status_forms(const Statuses& all) {
  Forms forms;
  forms.simple = comma_lines(all, status_row);
  forms.table =
      table_of({"endpoint", "ID", "version", "storage version", "db size", "in use", "percentage not in use",
                "quota", "is leader", "is learner", "raft term", "raft index", "raft applied index", "errors",
                "downgrade target version", "downgrade enabled"},
               all, status_row);
  forms.fields = [&all](Fields& f) {
    for (const auto& [endpoint, r] : all) put_status(f, endpoint, r);
  };
  forms.json = [&all] {
    return list_json(all, [](cmd::GoJson& j, const auto& one) { put_status(j, one.first, one.second); });
  };
  return forms;
}

Forms hashkv_forms(const Hashes& all) {
  Forms forms;
  forms.simple = comma_lines(all, hash_row);
  forms.table = table_of({"endpoint", "hash", "hash_revision"}, all, hash_row);
  forms.fields = [&all](Fields& f) {
    for (const auto& [endpoint, r] : all) {
      f.header(r.header());
      f.quoted("Endpoint", endpoint);
      f.put("Hash", r.hash());
      f.put("HashRevision", r.hash_revision());
      f.empty_line();
    }
  };
  forms.json = [&all] {
    return list_json(all, [](cmd::GoJson& j, const auto& one) {
      j.put("Endpoint", std::string_view(one.first));
      put_message(j.key("HashKV"), one.second);
    });
  };
  return forms;
}

}  // namespace quoin::ctl

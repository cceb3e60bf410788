#include <thread>

#include "base/result.h"
#include "cmd/etcdctl/commands.h"
#include "cmd/etcdctl/endpoint_list.h"
#include "cmd/etcdctl/endpoint_views.h"
#include "cmd/etcdctl/methods.h"
#include "cmd/etcdctl/output.h"
#include "posix/log_duration.h"

namespace quoin::ctl {
namespace {

void look_at_alarms(Client& client, Deadline deadline, EndpointHealth& h) {
  pb::AlarmRequest request;
  request.set_action(pb::AlarmRequest::GET);
  const auto alarms = client.call(kAlarm, request, deadline);
  if (!alarms) {
    h.healthy = false;
    h.error = "Unable to fetch the alarm list";
  } else if (!alarms->alarms().empty()) {
    h.healthy = false;
    h.error = "Active Alarm(s): ";
    for (const auto& a : alarms->alarms()) {
      h.error += a.alarm() == pb::NOSPACE ? "NOSPACE " : a.alarm() == pb::CORRUPT ? "CORRUPT " : "UNKNOWN ";
    }
  }
}

EndpointHealth probe(ClientConfig config, const std::string& endpoint, int64_t timeout_ns) {
  EndpointHealth h;
  h.endpoint = endpoint;
  config.endpoints = {endpoint};
  config.logger = "client";
  auto client = Client::open(std::move(config));
  if (!client) {
    h.error = client.error();
    return h;
  }
  const auto began = std::chrono::steady_clock::now();
  const Deadline deadline = Deadline::after(timeout_ns);
  pb::RangeRequest request;
  request.set_key("health");
  const auto r = (*client)->call(kRange, request, deadline);
  h.took = posix::duration_text(
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - began).count());
  // A refusal went through consensus too.
  h.healthy = r.has_value() || r.error().is(Code::kPermissionDenied);
  if (h.healthy) {
    look_at_alarms(**client, deadline, h);
  } else {
    h.error = r.error().text();
  }
  return h;
}

Ending run_health(Session& s) {
  const auto config = s.config();
  if (!config) return config.error();
  const auto endpoints = endpoints_of(s);
  if (!endpoints) return endpoints.error();
  std::vector<EndpointHealth> all;
  std::mutex mutex;
  {
    std::vector<std::jthread> threads;
    for (const std::string& e : *endpoints) {
      threads.emplace_back([&, e] {
        EndpointHealth h = probe(*config, e, s.duration_ns("command-timeout"));
        const std::lock_guard lock(mutex);
        all.push_back(std::move(h));
      });
    }
  }
  const Ending shown = s.print(health_forms(all));
  if (shown.code != kExitOk) return shown;
  for (const EndpointHealth& h : all) {
    if (!h.error.empty()) return fail(kExitError, "unhealthy cluster");
  }
  return ok();
}

// One call to each endpoint in turn, over a connection of its own. `ask` returns nothing if the call failed, and tells
// why on standard error.
template <class Answer>
Or<std::vector<std::pair<std::string, Answer>>> ask_each(Session& s,
                                                         const std::function<Rpc<Answer>(Client&)>& ask,
                                                         std::string_view what,
                                                         std::optional<std::string>& last_error) {
  if (const auto config = s.config(); !config) return tl::unexpected(config.error());
  const auto endpoints = endpoints_of(s);
  if (!endpoints) return tl::unexpected(endpoints.error());
  std::vector<std::pair<std::string, Answer>> answers;
  for (const std::string& e : *endpoints) {
    auto client = s.connect({e});
    if (!client) return tl::unexpected(client.error());
    auto r = ask(**client);
    if (r) {
      answers.emplace_back(e, std::move(*r));
    } else {
      last_error = r.error().text();
      put_error(fmt::format("Failed to get the {} of endpoint {} ({})\n", what, e, *last_error));
    }
  }
  return answers;
}

Ending run_status(Session& s) {
  std::optional<std::string> error;
  const auto all = ask_each<pb::StatusResponse>(
      s, [&](Client& c) { return c.call(kStatus, pb::StatusRequest(), s.deadline()); }, "status", error);
  if (!all) return all.error();
  const Ending shown = s.print(status_forms(*all));
  if (shown.code != kExitOk) return shown;
  return {error ? kExitError : kExitOk, ""};
}

Ending run_hashkv(Session& s) {
  std::optional<std::string> error;
  pb::HashKVRequest request;
  request.set_revision(s.number("rev"));
  const auto all = ask_each<pb::HashKVResponse>(
      s, [&](Client& c) { return c.call(kHashKv, request, s.deadline()); }, "hash", error);
  if (!all) return all.error();
  const Ending shown = s.print(hashkv_forms(*all));
  if (shown.code != kExitOk) return shown;
  return error ? fail(kExitError, "{}", *error) : ok();
}

}  // namespace

Or<std::vector<std::string>> endpoints_of(Session& s) {
  if (!s.flag("cluster")) return s.list("endpoints");
  auto client = s.connect();
  if (!client) {
    Ending e = client.error();
    e.code = kExitError;
    return tl::unexpected(e);
  }
  pb::MemberListRequest request;
  request.set_linearizable(true);
  const auto members = (*client)->call(kMemberList, request, s.deadline());
  if (!members) {
    return tl::unexpected(fail(kExitError, "failed to fetch endpoints from etcd cluster member list: {}",
                               members.error().text()));
  }
  std::vector<std::string> out;
  for (const auto& m : members->members())
    out.insert(out.end(), m.clienturls().begin(), m.clienturls().end());
  return out;
}

void add_endpoint_commands(Registry& r) {
  CobraCommand& endpoint = r.root().add("endpoint <subcommand>", "Endpoint related commands");
  endpoint.persistent.add({.name = "cluster",
                           .kind = CobraFlag::Kind::kBool,
                           .help = "use all endpoints from the cluster member list"});
  r.add(endpoint, "health", "Checks the healthiness of endpoints specified in `--endpoints` flag",
        run_health);
  CobraCommand& status = r.add(
      endpoint, "status", "Prints out the status of endpoints specified in `--endpoints` flag", run_status);
  status.description =
      "When --write-out is set to simple, this command prints out comma-separated status lists for each "
      "endpoint.\n"
      "The items in the lists are endpoint, ID, version, db size, is leader, is learner, raft term, raft "
      "index, raft "
      "applied index, errors.\n";
  r.add(endpoint, "hashkv", "Prints the KV history hash for each endpoint in --endpoints", run_hashkv)
      .flags.add({.name = "rev",
                  .kind = CobraFlag::Kind::kInt64,
                  .help = "maximum revision to hash (default: latest revision)"});
}

}  // namespace quoin::ctl

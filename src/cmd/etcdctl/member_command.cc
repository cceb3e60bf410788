// Source: etcdctl/ctlv3/command/member_command.go, client/v3/cluster.go; spec cli 7.1.
#include "base/go_text.h"
#include "cmd/etcdctl/commands.h"
#include "cmd/etcdctl/kv_requests.h"
#include "cmd/etcdctl/methods.h"
#include "cmd/etcdctl/numbers.h"
#include "cmd/text/go_json.h"
#include "membership/go_url.h"

namespace quoin::ctl {
namespace {

template <class List>
std::string joined(const List& texts) {
  std::string out;
  for (const std::string& t : texts) {
    if (&t != &texts.Get(0)) out += ',';
    out += t;
  }
  return out;
}

// --peer-urls, which the client checks before it sends anything.
std::vector<std::string> read_urls(const std::string& list) {
  std::vector<std::string> urls;
  for (size_t from = 0;;) {
    const size_t comma = list.find(',', from);
    urls.push_back(list.substr(from, comma == std::string::npos ? comma : comma - from));
    if (comma == std::string::npos) return urls;
    from = comma + 1;
  }
}

std::optional<Ending> check_urls(const std::vector<std::string>& urls) {
  for (const std::string& u : urls) {
    if (const auto url = membership::parse_member_url(u); !url)
      return fail(kExitError, "{}", url.error().text());
  }
  return std::nullopt;
}

Or<uint64_t> read_id(const Session& s) {
  if (s.words().size() != 1) return tl::unexpected(bad_arguments("member ID is not provided"));
  const auto id = parse_uint(s.words()[0], 16);
  if (!id) return tl::unexpected(bad_arguments("bad member ID arg ({}), expecting ID in Hex", id.error()));
  return *id;
}

std::function<void(std::string&)> done_to(uint64_t id, std::string_view what, uint64_t cluster) {
  return [=, text = std::string(what)](std::string& o) {
    o += fmt::format("Member {:16x} {} cluster {:16x}\n", id, text, cluster);
  };
}

// What the new member has to be started with.
void show_start(std::string& o, const pb::MemberAddResponse& r, const std::string& name,
                const std::string& urls) {
  std::string cluster;
  for (const auto& m : r.members()) {
    for (const std::string& url : m.peerurls()) {
      if (!cluster.empty()) cluster += ',';
      cluster += fmt::format("{}={}", m.id() == r.member().id() ? name : m.name(), url);
    }
  }
  o += fmt::format(
      "\nETCD_NAME={}\nETCD_INITIAL_CLUSTER={}\nETCD_INITIAL_ADVERTISE_PEER_URLS={}\n"
      "ETCD_INITIAL_CLUSTER_STATE=\"existing\"\n",
      go_quote(name), go_quote(cluster), go_quote(urls));
}

Ending run_add(Session& s) {
  const auto& words = s.words();
  if (words.empty()) return bad_arguments("member name not provided");
  if (words.size() > 1) {
    std::string text = "too many arguments";
    for (const std::string& w : words) {
      if (strncasecmp(w.c_str(), "http", 4) == 0) text += ", did you mean --peer-urls=" + w;
    }
    return bad_arguments("{}", text);
  }
  const std::string& urls = s.text("peer-urls");
  if (urls.empty()) return bad_arguments("member peer urls not provided");
  const auto list = read_urls(urls);
  auto client = s.connect();
  if (!client) return client.error();
  if (auto e = check_urls(list)) return *e;
  pb::MemberAddRequest request;
  for (const std::string& u : list) request.add_peerurls(u);
  request.set_islearner(s.flag("learner"));
  const auto r = (*client)->call(kMemberAdd, request, s.deadline());
  if (!r) return Session::failed(r.error());
  return s.print(*r, {.simple = [&](std::string& o) {
    const char* what = r->member().islearner() ? "added as learner to" : "added to";
    done_to(r->member().id(), what, r->header().cluster_id())(o);
    show_start(o, *r, words[0], urls);
  }});
}

template <class Request, class Response>
Ending change(Session& s, const Method<Request, Response>& method, const Request& request, uint64_t id,
              std::string_view what) {
  auto client = s.connect();
  if (!client) return client.error();
  if constexpr (std::is_same_v<Request, pb::MemberUpdateRequest>) {
    if (auto e = check_urls({request.peerurls().begin(), request.peerurls().end()})) return *e;
  }
  const auto r = (*client)->call(method, request, s.deadline());
  if (!r) return Session::failed(r.error());
  return s.print(*r, {.simple = done_to(id, what, r->header().cluster_id())});
}

Ending run_remove(Session& s) {
  const auto id = read_id(s);
  if (!id) return id.error();
  pb::MemberRemoveRequest request;
  request.set_id(*id);
  return change(s, kMemberRemove, request, *id, "removed from");
}

Ending run_update(Session& s) {
  const auto id = read_id(s);
  if (!id) return id.error();
  const std::string& urls = s.text("peer-urls");
  if (urls.empty()) return bad_arguments("member peer urls not provided");
  pb::MemberUpdateRequest request;
  request.set_id(*id);
  for (const std::string& u : read_urls(urls)) request.add_peerurls(u);
  return change(s, kMemberUpdate, request, *id, "updated in");
}

Ending run_promote(Session& s) {
  const auto id = read_id(s);
  if (!id) return id.error();
  pb::MemberPromoteRequest request;
  request.set_id(*id);
  return change(s, kMemberPromote, request, *id, "promoted in");
}

std::vector<std::string> row_of(const pb::Member& m) {
  return {fmt::format("{:x}", m.id()),
          m.name().empty() ? "unstarted" : "started",
          m.name(),
          joined(m.peerurls()),
          joined(m.clienturls()),
          m.islearner() ? "true" : "false"};
}

void show_fields(Fields& f, const pb::MemberListResponse& r) {
  f.header(r.header());
  for (const auto& m : r.members()) {
    f.id("ID", m.id());
    f.quoted("Name", m.name());
    for (const std::string& u : m.peerurls()) f.quoted("PeerURL", u);
    for (const std::string& u : m.clienturls()) f.quoted("ClientURL", u);
    f.put("IsLearner", m.islearner());
    f.empty_line();
  }
}

// --hex -w json: etcd puts this text together by hand, so the name is not escaped and members have fewer fields.
std::string hex_json(const pb::MemberListResponse& r) {
  const auto urls = [](const auto& list) {
    if (list.empty()) return std::string("null");
    cmd::GoJson json;
    json.open_array();
    for (const std::string& u : list) json.value(std::string_view(u));
    return json.close_array().take();
  };
  std::string out = fmt::format(R"({{"header":{{"cluster_id":"{:x}","member_id":"{:x}","raft_term":{}}})",
                                r.header().cluster_id(), r.header().member_id(), r.header().raft_term());
  for (int i = 0; i < r.members_size(); ++i) {
    const pb::Member& m = r.members(i);
    out += fmt::format(R"({}{{"ID":"{:x}","name":"{}","peerURLs":{},"clientURLs":{}}})",
                       i == 0 ? R"(,"members":[)" : ",", m.id(), m.name(), urls(m.peerurls()),
                       urls(m.clienturls()));
  }
  return out + (r.members_size() > 0 ? "]}" : "}");
}

Ending run_list(Session& s) {
  // etcd names get's flag here, whose value is always "l".
  const auto serializable = is_serializable(s.text("consistency"), "l");
  if (!serializable) return serializable.error();
  auto client = s.connect();
  if (!client) return client.error();
  pb::MemberListRequest request;
  request.set_linearizable(!*serializable);
  const auto r = (*client)->call(kMemberList, request, s.deadline());
  if (!r) return Session::failed(r.error());
  Forms forms{.simple =
                  [&](std::string& o) {
                    for (const auto& m : r->members()) {
                      const auto row = row_of(m);
                      o += fmt::format("{}\n", fmt::join(row, ", "));
                    }
                  },
              .fields = [&](Fields& f) { show_fields(f, *r); },
              .table =
                  [&] {
                    cmd::Table t({"ID", "Status", "Name", "Peer Addrs", "Client Addrs", "Is Learner"});
                    for (const auto& m : r->members()) t.add(row_of(m));
                    return t;
                  }};
  if (s.printer().hex) forms.json = [&] { return hex_json(*r); };
  return s.print(*r, forms);
}

}  // namespace

void add_member_commands(Registry& r) {
  CobraCommand& member = r.root().add("member <subcommand>", "Membership related commands");
  CobraCommand& add = r.add(member, "add <memberName> [options]", "Adds a member into the cluster", run_add);
  add.flags.add({.name = "peer-urls", .help = "comma separated peer URLs for the new member."});
  add.flags.add({.name = "learner",
                 .kind = CobraFlag::Kind::kBool,
                 .help = "indicates if the new member is raft learner"});
  r.add(member, "remove <memberID>", "Removes a member from the cluster", run_remove);
  r.add(member, "update <memberID> [options]", "Updates a member in the cluster", run_update)
      .flags.add({.name = "peer-urls", .help = "comma separated peer URLs for the updated member."});
  CobraCommand& list = r.add(member, "list", "Lists all members in the cluster", run_list);
  list.description =
      "When --write-out is set to simple, this command prints out comma-separated member lists for each "
      "endpoint.\n"
      "The items in the lists are ID, Status, Name, Peer Addrs, Client Addrs, Is Learner.\n";
  list.flags.add({.name = "consistency", .help = "Linearizable(l) or Serializable(s)", .text = "l"});
  r.add(member, "promote <memberID>", "Promotes a non-voting member in the cluster", run_promote)
      .description = "Promotes a non-voting learner member to a voting one in the cluster.\n";
}

}  // namespace quoin::ctl

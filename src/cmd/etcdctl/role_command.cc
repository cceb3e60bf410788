// Source: etcdctl/ctlv3/command/role_command.go, client/v3/auth.go; spec cli 8.
#include "base/go_text.h"
#include "cmd/etcdctl/commands.h"
#include "cmd/etcdctl/kv_requests.h"
#include "cmd/etcdctl/methods.h"
#include "cmd/etcdctl/role_views.h"

namespace quoin::ctl {
namespace {

using Permission = authpb::Permission;

// Behind a range that is a prefix stands which.
std::string text_of(const Permission& p) {
  if (p.range_end().empty()) return fmt::format("\t{}\n", p.key());
  std::string out = p.range_end() == kNul ? fmt::format("\t[{}, <open ended>", p.key())
                                          : fmt::format("\t[{}, {})", p.key(), p.range_end());
  if (!p.key().empty() && prefix_end(p.key()) == p.range_end()) out += fmt::format(" (prefix {})", p.key());
  return out + "\n";
}

void show(std::string& o, const std::string& role, const pb::AuthRoleGetResponse& r) {
  o += fmt::format("Role {}\n", role);
  // Before 3.6 a server did not send what the role root may do.
  if (role == "root" && r.perm().empty()) {
    o += "KV Read:\n\t[, <open ended>\nKV Write:\n\t[, <open ended>\n";
    return;
  }
  o += "KV Read:\n";
  for (const auto& p : r.perm()) {
    if (p.permtype() != Permission::WRITE) o += text_of(p);
  }
  o += "KV Write:\n";
  for (const auto& p : r.perm()) {
    if (p.permtype() != Permission::READ) o += text_of(p);
  }
}

void show_fields(Fields& f, const pb::AuthRoleGetResponse& r) {
  f.header(r.header());
  for (const auto& p : r.perm()) {
    f.put("PermType", " " + Permission::Type_Name(p.permtype()));
    f.quoted("Key", p.key());
    f.quoted("RangeEnd", p.range_end());
  }
}

// A command with a single name, whose answer is its header.
template <class Response>
Ending answered(Session& s, const Rpc<Response>& r, const std::string& text) {
  if (!r) return Session::failed(r.error());
  return s.print(*r, {.simple = [&](std::string& o) { o += text; }, .fields = header_only(*r)});
}

Ending run_add(Session& s) {
  if (s.words().size() != 1) return bad_arguments("role add command requires role name as its argument");
  auto client = s.connect();
  if (!client) return client.error();
  pb::AuthRoleAddRequest request;
  request.set_name(s.words()[0]);
  return answered(s, (*client)->call(kRoleAdd, request, Deadline::never()),
                  fmt::format("Role {} created\n", s.words()[0]));
}

Ending run_delete(Session& s) {
  if (s.words().size() != 1) return bad_arguments("role delete command requires role name as its argument");
  auto client = s.connect();
  if (!client) return client.error();
  pb::AuthRoleDeleteRequest request;
  request.set_role(s.words()[0]);
  return answered(s, (*client)->call(kRoleDelete, request, Deadline::never()),
                  fmt::format("Role {} deleted\n", s.words()[0]));
}

Ending run_get(Session& s) {
  if (s.words().size() != 1) return bad_arguments("role get command requires role name as its argument");
  auto client = s.connect();
  if (!client) return client.error();
  pb::AuthRoleGetRequest request;
  request.set_role(s.words()[0]);
  const auto r = (*client)->call(kRoleGet, request, Deadline::never());
  if (!r) return Session::failed(r.error());
  return s.print(*r, role_forms(s.words()[0], *r));
}

Ending run_list(Session& s) {
  if (!s.words().empty()) return bad_arguments("role list command requires no arguments");
  auto client = s.connect();
  if (!client) return client.error();
  const auto r = (*client)->call(kRoleList, pb::AuthRoleListRequest(), Deadline::never());
  if (!r) return Session::failed(r.error());
  return s.print(*r, {.simple =
                          [&](std::string& o) {
                            for (const std::string& role : r->roles()) o += role + "\n";
                          },
                      .fields =
                          [&](Fields& f) {
                            f.header(r->header());
                            f.raw("\"Roles\" :");
                            for (const std::string& role : r->roles()) f.raw(" " + go_quote(role));
                            f.empty_line();
                          }});
}

struct Range {
  std::string key, end;
};

// `words`: key [endkey]. The empty key means the lowest one, and with a flag the whole key space.
Or<Range> read_range(const Session& s, const std::vector<std::string>& words) {
  const bool prefix = s.flag("prefix"), from_key = s.flag("from-key");
  const auto both = [] {
    return tl::unexpected(bad_arguments("--from-key and --prefix flags are mutually exclusive"));
  };
  const std::string& key = words[0];
  if (key.empty()) {
    if (prefix && from_key) return both();
    return Range{std::string(kNul), prefix || from_key ? std::string(kNul) : ""};
  }
  if (words.size() > 1) {
    if (prefix) return tl::unexpected(bad_arguments("unexpected endkey argument with --prefix flag"));
    if (from_key) return tl::unexpected(bad_arguments("unexpected endkey argument with --from-key flag"));
    return Range{key, words[1]};
  }
  if (prefix && from_key) return both();
  return Range{key, prefix ? prefix_end(key) : from_key ? std::string(kNul) : ""};
}

Or<Permission::Type> read_type(const std::string& word) {
  std::string name = word;
  for (char& c : name) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  Permission::Type type{};
  if (!Permission::Type_Parse(name, &type)) {
    return tl::unexpected(bad_arguments("invalid permission type: {}", word));
  }
  return type;
}

Ending run_grant(Session& s) {
  const auto& words = s.words();
  if (words.size() < 3) {
    return bad_arguments(
        "role grant command requires role name, permission type, and key [endkey] as its argument");
  }
  const auto type = read_type(words[1]);
  if (!type) return type.error();
  const auto range = read_range(s, {words.begin() + 2, words.end()});
  if (!range) return range.error();
  auto client = s.connect();
  if (!client) return client.error();
  pb::AuthRoleGrantPermissionRequest request;
  request.set_name(words[0]);
  request.mutable_perm()->set_permtype(*type);
  request.mutable_perm()->set_key(range->key);
  request.mutable_perm()->set_range_end(range->end);
  return answered(s, (*client)->call(kRoleGrantPermission, request, Deadline::never()),
                  fmt::format("Role {} updated\n", words[0]));
}

Ending run_revoke(Session& s) {
  const auto& words = s.words();
  if (words.size() < 2) {
    return bad_arguments(
        "role revoke-permission command requires role name and key [endkey] as its argument");
  }
  const auto range = read_range(s, {words.begin() + 1, words.end()});
  if (!range) return range.error();
  auto client = s.connect();
  if (!client) return client.error();
  pb::AuthRoleRevokePermissionRequest request;
  request.set_role(words[0]);
  request.set_key(range->key);
  request.set_range_end(range->end);
  // The key as it was typed.
  const std::string what = range->end.empty()   ? fmt::format("key {}", words[1])
                           : range->end == kNul ? fmt::format("range [{}, <open ended>", words[1])
                                                : fmt::format("range [{}, {})", words[1], range->end);
  return answered(s, (*client)->call(kRoleRevokePermission, request, Deadline::never()),
                  fmt::format("Permission of {} is revoked from role {}\n", what, words[0]));
}

void add_range_flags(CobraCommand& c, const std::string& verb) {
  c.flags.add({.name = "prefix", .kind = CobraFlag::Kind::kBool, .help = verb + " a prefix permission"});
  c.flags.add(
      {.name = "from-key",
       .kind = CobraFlag::Kind::kBool,
       .help = verb +
               " a permission of keys that are greater than or equal to the given key using byte compare"});
}

}  // namespace

Forms role_forms(const std::string& role, const pb::AuthRoleGetResponse& r) {
  return {.simple = [role, &r](std::string& o) { show(o, role, r); },
          .fields = [&r](Fields& f) { show_fields(f, r); }};
}

void add_role_commands(Registry& r) {
  CobraCommand& role = r.root().add("role <subcommand>", "Role related commands");
  r.add(role, "add <role name>", "Adds a new role", run_add);
  r.add(role, "delete <role name>", "Deletes a role", run_delete);
  r.add(role, "get <role name>", "Gets detailed information of a role", run_get);
  r.add(role, "list", "Lists all roles", run_list);
  add_range_flags(r.add(role, "grant-permission [options] <role name> <permission type> <key> [endkey]",
                        "Grants a key to a role", run_grant),
                  "grant");
  add_range_flags(
      r.add(role, "revoke-permission <role name> <key> [endkey]", "Revokes a key from a role", run_revoke),
      "revoke");
}

}  // namespace quoin::ctl

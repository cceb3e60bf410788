// Source: etcdctl/ctlv3/command/user_command.go; spec cli 8.
#include <unistd.h>

#include <cerrno>

#include "cmd/etcdctl/commands.h"
#include "cmd/etcdctl/methods.h"
#include "cmd/etcdctl/output.h"
#include "cmd/etcdctl/role_views.h"

namespace quoin::ctl {
namespace {

// Asked twice.
Or<std::string> ask_new_password(const std::string& user) {
  const auto bad = [](std::string text) { return tl::unexpected(bad_arguments("{}", text)); };
  const auto first = ask_password(fmt::format("Password of {}: ", user));
  if (!first) return bad("failed to ask password: " + first.error().text);
  if (first->empty()) return bad("empty password");
  const auto second = ask_password(fmt::format("Type password of {} again for confirmation: ", user));
  if (!second) return bad("failed to ask password: " + second.error().text);
  if (*first != *second) return bad("given passwords are different");
  return *first;
}

// Go's Scanf("%s"): blanks are skipped, then a word up to the next blank or the end of the line. Byte by byte: the rest
// is not ours.
std::string scan_word() {
  std::string word;
  for (char c = 0;;) {
    const ssize_t n = read(STDIN_FILENO, &c, 1);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0 || c == '\n' || c == '\r') return word;
    const bool blank = c == ' ' || c == '\t' || c == '\v' || c == '\f';
    if (blank && !word.empty()) return word;
    if (!blank) word += c;
  }
}

Or<std::string> read_new_password(Session& s, const std::string& user) {
  return s.flag("interactive") ? ask_new_password(user) : scan_word();
}

template <class Response>
Ending answered(Session& s, const Rpc<Response>& r, const std::string& text) {
  if (!r) return Session::failed(r.error());
  return s.print(*r, {.simple = [&](std::string& o) { o += text; }, .fields = header_only(*r)});
}

Ending run_add(Session& s) {
  if (s.words().size() != 1) return bad_arguments("user add command requires user name as its argument");
  const std::string& word = s.words()[0];
  const size_t colon = word.find(':');
  std::string user = word, password;
  if (!s.flag("no-password")) {
    if (!s.text("new-user-password").empty()) {
      password = s.text("new-user-password");
    } else if (colon != std::string::npos) {
      user = word.substr(0, colon);
      password = word.substr(colon + 1);
      if (user.empty()) return bad_arguments("empty user name is not allowed");
    } else {
      auto typed = read_new_password(s, user);
      if (!typed) return typed.error();
      password = std::move(*typed);
    }
  }
  auto client = s.connect();
  if (!client) return client.error();
  pb::AuthUserAddRequest request;
  request.set_name(user);
  request.set_password(password);
  request.mutable_options()->set_no_password(s.flag("no-password"));
  return answered(s, (*client)->call(kUserAdd, request, Deadline::never()),
                  fmt::format("User {} created\n", user));
}

Ending run_delete(Session& s) {
  if (s.words().size() != 1) return bad_arguments("user delete command requires user name as its argument");
  auto client = s.connect();
  if (!client) return client.error();
  pb::AuthUserDeleteRequest request;
  request.set_name(s.words()[0]);
  return answered(s, (*client)->call(kUserDelete, request, Deadline::never()),
                  fmt::format("User {} deleted\n", s.words()[0]));
}

// The roles one by one, in the chosen format, below a line that is always plain.
Ending show_detail(Session& s, Client& client, const std::string& user, const pb::AuthUserGetResponse& r) {
  out().line("User: {}", user);
  for (const std::string& role : r.roles()) {
    out().put("\n");
    pb::AuthRoleGetRequest request;
    request.set_role(role);
    const auto got = client.call(kRoleGet, request, Deadline::never());
    if (!got) return Session::failed(got.error());
    if (Ending shown = s.print(*got, role_forms(role, *got)); shown.code != kExitOk) return shown;
  }
  return ok();
}

Ending run_get(Session& s) {
  if (s.words().size() != 1) return bad_arguments("user get command requires user name as its argument");
  const std::string& user = s.words()[0];
  auto client = s.connect();
  if (!client) return client.error();
  pb::AuthUserGetRequest request;
  request.set_name(user);
  const auto r = (*client)->call(kUserGet, request, Deadline::never());
  if (!r) return Session::failed(r.error());
  if (s.flag("detail")) return show_detail(s, **client, user, *r);
  return s.print(*r, {.simple = [&](std::string& o) {
    o += fmt::format("User: {}\nRoles:", user);
    for (const std::string& role : r->roles()) o += " " + role;
    o += '\n';
  }});
}

Ending run_list(Session& s) {
  if (!s.words().empty()) return bad_arguments("user list command requires no arguments");
  auto client = s.connect();
  if (!client) return client.error();
  const auto r = (*client)->call(kUserList, pb::AuthUserListRequest(), Deadline::never());
  if (!r) return Session::failed(r.error());
  return s.print(*r, {.simple = [&](std::string& o) {
    for (const std::string& user : r->users()) o += user + "\n";
  }});
}

Ending run_passwd(Session& s) {
  if (s.words().size() != 1) return bad_arguments("user passwd command requires user name as its argument");
  const auto password = read_new_password(s, s.words()[0]);
  if (!password) return password.error();
  auto client = s.connect();
  if (!client) return client.error();
  pb::AuthUserChangePasswordRequest request;
  request.set_name(s.words()[0]);
  request.set_password(*password);
  return answered(s, (*client)->call(kUserChangePassword, request, Deadline::never()), "Password updated\n");
}

Ending run_grant(Session& s) {
  const auto& words = s.words();
  if (words.size() != 2) {
    return bad_arguments("user grant command requires user name and role name as its argument");
  }
  auto client = s.connect();
  if (!client) return client.error();
  pb::AuthUserGrantRoleRequest request;
  request.set_user(words[0]);
  request.set_role(words[1]);
  return answered(s, (*client)->call(kUserGrantRole, request, Deadline::never()),
                  fmt::format("Role {} is granted to user {}\n", words[1], words[0]));
}

Ending run_revoke(Session& s) {
  const auto& words = s.words();
  if (words.size() != 2) {
    return bad_arguments("user revoke-role requires user name and role name as its argument");
  }
  auto client = s.connect();
  if (!client) return client.error();
  pb::AuthUserRevokeRoleRequest request;
  request.set_name(words[0]);
  request.set_role(words[1]);
  return answered(s, (*client)->call(kUserRevokeRole, request, Deadline::never()),
                  fmt::format("Role {} is revoked from user {}\n", words[1], words[0]));
}

}  // namespace

void add_user_commands(Registry& r) {
  using Kind = CobraFlag::Kind;
  CobraCommand& user = r.root().add("user <subcommand>", "User related commands");
  CobraCommand& add = r.add(user, "add <user name or user:password> [options]", "Adds a new user", run_add);
  add.flags.add({.name = "interactive",
                 .kind = Kind::kBool,
                 .help = "Read password from stdin instead of interactive terminal",
                 .boolean = true});
  add.flags.add({.name = "new-user-password", .help = "Supply password from the command line flag"});
  add.flags.add({.name = "no-password",
                 .kind = Kind::kBool,
                 .help = "Create a user without password (CN based auth only)"});
  r.add(user, "delete <user name>", "Deletes a user", run_delete);
  r.add(user, "get <user name> [options]", "Gets detailed information of a user", run_get)
      .flags.add(
          {.name = "detail", .kind = Kind::kBool, .help = "Show permissions of roles granted to the user"});
  r.add(user, "list", "Lists all users", run_list);
  r.add(user, "passwd <user name> [options]", "Changes password of user", run_passwd)
      .flags.add({.name = "interactive",
                  .kind = Kind::kBool,
                  .help = "If true, read password from stdin instead of interactive terminal",
                  .boolean = true});
  r.add(user, "grant-role <user name> <role name>", "Grants a role to a user", run_grant);
  r.add(user, "revoke-role <user name> <role name>", "Revokes a role from a user", run_revoke);
}

}  // namespace quoin::ctl

#include <unistd.h>

#include <cerrno>

#include "cmd/etcdctl/commands.h"
#include "cmd/etcdctl/kv_requests.h"
#include "cmd/etcdctl/methods.h"
#include "cmd/etcdctl/numbers.h"
#include "cmd/etcdctl/stdin_reader.h"

namespace quoin::ctl {
namespace {

constexpr std::string_view kDescription = R"(
Puts the given key into the store.

When <value> begins with '-', <value> is interpreted as a flag.
Insert '--' for workaround:

$ put <key> -- <value>
$ put -- <key> <value>

If <value> isn't given as a command line argument and '--ignore-value' is not specified,
this command tries to read the value from standard input.

If <lease> isn't given as a command line argument and '--ignore-lease' is not specified,
this command tries to read the value from standard input.

For example,
$ cat file | put <key>
will store the content of the file to <key>.
)";

Ending run_put(Session& s) {
  auto request = read_put(s.flags(), s.words());
  if (!request) return request.error();
  auto client = s.connect();
  if (!client) return client.error();
  const auto response = (*client)->call(kPut, *request, s.deadline());
  if (!response) return Session::failed(response.error());
  return s.print(*response, {.simple = [&](std::string& o) { show_put(o, *response, s.printer().hex); },
                             .fields = [&](Fields& f) { show_put(f, *response); }});
}

}  // namespace

Or<pb::PutRequest> read_put(const cmd::CobraFlags& flags, const Words& words) {
  const auto bad = [](Ending e) { return tl::unexpected(std::move(e)); };
  const auto wrong_count = [&] {
    return bad(bad_arguments("put command needs 1 argument and input from stdin or 2 arguments"));
  };
  if (words.empty()) return wrong_count();
  const bool ignore_value = flags.at("ignore-value").boolean;
  if (ignore_value && words.size() > 1) {
    return bad(bad_arguments("put command needs only 1 argument when 'ignore-value' is set"));
  }
  pb::PutRequest r;
  r.set_key(words[0]);
  if (!ignore_value) {
    if (words.size() > 1) {
      r.set_value(words[1]);
    } else {
      r.set_value(standard_input().rest());
      if (r.value().empty()) return wrong_count();
    }
  }
  const auto lease = parse_int(flags.at("lease").text, 16);
  if (!lease) return bad(bad_arguments("bad lease ID ({}), expecting ID in Hex", lease.error()));
  r.set_lease(*lease);
  r.set_prev_kv(flags.at("prev-kv").boolean);
  r.set_ignore_value(ignore_value);
  r.set_ignore_lease(flags.at("ignore-lease").boolean);
  return r;
}

cmd::CobraCommand& add_put(cmd::CobraCommand& parent) {
  using Kind = CobraFlag::Kind;
  CobraCommand& c = parent.add("put [options] <key> <value> (<value> can also be given from stdin)",
                               "Puts the given key into the store");
  c.runnable = true;
  c.description = kDescription;
  c.flags.add({.name = "lease", .help = "lease ID (in hexadecimal) to attach to the key", .text = "0"});
  c.flags.add({.name = "prev-kv",
               .kind = Kind::kBool,
               .help = "return the previous key-value pair before modification"});
  c.flags.add(
      {.name = "ignore-value", .kind = Kind::kBool, .help = "updates the key using its current value"});
  c.flags.add(
      {.name = "ignore-lease", .kind = Kind::kBool, .help = "updates the key using its current lease"});
  return c;
}

void add_put_command(Registry& r) {
  r.set_run(add_put(r.root()), run_put);
}

}  // namespace quoin::ctl

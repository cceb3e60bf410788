#include "cmd/etcdctl/txn_lines.h"

#include "base/go_text.h"
#include "cmd/etcdctl/argify.h"
#include "cmd/etcdctl/kv_requests.h"
#include "cmd/etcdctl/numbers.h"
#include "cmd/etcdctl/output.h"

namespace quoin::ctl {
namespace {

struct Parts {
  std::string key, op, value;
  bool complete = false;
};

// False: not one blank.
bool skip_blanks(std::string_view& s) {
  if (s.empty() || !is_blank(s[0])) return false;
  while (!s.empty() && is_blank(s[0])) s.remove_prefix(1);
  return true;
}

// What stands behind the bracket; each part only if those before it are there. What follows the value is not looked at.
Parts read_parts(std::string_view s) {
  Parts p;
  auto key = take_quoted(s);
  if (!key) return p;
  p.key = std::move(*key);
  if (!s.starts_with(')')) return p;
  s.remove_prefix(1);
  if (!skip_blanks(s)) return p;
  while (!s.empty() && !is_blank(s[0])) {
    p.op += s[0];
    s.remove_prefix(1);
  }
  if (!skip_blanks(s)) return p;
  auto value = take_quoted(s);
  if (!value) return p;
  p.value = std::move(*value);
  p.complete = true;
  return p;
}

std::optional<pb::Compare::CompareResult> read_op(std::string_view op) {
  if (op == "=") return pb::Compare::EQUAL;
  if (op == "!=") return pb::Compare::NOT_EQUAL;
  if (op == ">") return pb::Compare::GREATER;
  if (op == "<") return pb::Compare::LESS;
  return std::nullopt;
}

}  // namespace

Or<pb::Compare> read_compare(std::string_view line) {
  const auto bad = [](Ending e) { return tl::unexpected(std::move(e)); };
  const size_t bracket = line.find('(');
  if (bracket == std::string_view::npos)
    return bad(fail(kExitInvalidInput, "malformed comparison: {}", line));
  const std::string_view target = line.substr(0, bracket);
  const Parts p = read_parts(line.substr(bracket + 1));
  if (!p.complete) {
    return bad(fail(kExitInvalidInput, "malformed comparison: {}; got {}({}) {} {}", line, target,
                    go_quote(p.key), p.op, go_quote(p.value)));
  }
  pb::Compare c;
  c.set_key(p.key);
  const auto number = [&](int base, auto target_kind, auto set) {
    c.set_target(target_kind);
    const auto v = parse_int(p.value, base);
    if (v) (c.*set)(*v);
    return v.has_value();
  };
  bool understood = true;
  if (target == "ver" || target == "version") {
    understood = number(10, pb::Compare::VERSION, &pb::Compare::set_version);
  } else if (target == "c" || target == "create") {
    understood = number(10, pb::Compare::CREATE, &pb::Compare::set_create_revision);
  } else if (target == "m" || target == "mod") {
    understood = number(10, pb::Compare::MOD, &pb::Compare::set_mod_revision);
  } else if (target == "lease") {
    understood = number(16, pb::Compare::LEASE, &pb::Compare::set_lease);
  } else if (target == "val" || target == "value") {
    c.set_target(pb::Compare::VALUE);
    c.set_value(p.value);
  } else {
    return bad(fail(kExitInvalidInput, "malformed comparison: {} (unknown target {})", line, target));
  }
  if (!understood) return bad(fail(kExitInvalidInput, "invalid txn compare request: {}", line));
  // etcd ends with a panic here.
  const auto op = read_op(p.op);
  if (!op) return bad(fail(kExitInvalidInput, "malformed comparison: {} (unknown operator {})", line, p.op));
  c.set_result(*op);
  return c;
}

Or<pb::RequestOp> read_request(std::string_view line) {
  const auto bad = [](Ending e) { return tl::unexpected(std::move(e)); };
  const auto words = argify(line);
  if (!words) return bad(words.error());
  if (words->size() < 2) return bad(fail(kExitInvalidInput, "invalid txn compare request: {}", line));
  cmd::CobraCommand root("", "");
  root.options = {.help_command = true, .prefix_names = true};
  const cmd::CobraCommand &put = add_put(root), &get = add_get(root), &del = add_del(root);
  const cmd::CobraOutcome o = root.read(*words);
  if (o.command == nullptr) {
    // cobra keeps the fault to itself here, and shows the usage of a command that was found.
    const size_t usage = o.err.find("Usage:");
    if (usage != std::string::npos) put_error(o.err.substr(usage));
    out().put(o.out);
    return bad(fail(kExitInvalidInput, "invalid txn request: {}", line));
  }
  pb::RequestOp op;
  if (o.command == &put) {
    auto r = read_put(put.flags, o.words);
    if (!r) return bad(r.error());
    *op.mutable_request_put() = std::move(*r);
  } else if (o.command == &get) {
    auto r = read_get(get.flags, o.words);
    if (!r) return bad(r.error());
    *op.mutable_request_range() = std::move(*r);
  } else {
    auto r = read_del(del.flags, o.words);
    if (!r) return bad(r.error());
    *op.mutable_request_delete_range() = std::move(*r);
  }
  return op;
}

}  // namespace quoin::ctl

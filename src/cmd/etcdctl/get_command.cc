#include <algorithm>

#include "cmd/etcdctl/commands.h"
#include "cmd/etcdctl/kv_requests.h"
#include "cmd/etcdctl/methods.h"

namespace quoin::ctl {
namespace {

std::string upper(std::string s) {
  for (char& c : s) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  return s;
}

Or<bool> read_sort(const cmd::CobraFlags& flags, pb::RangeRequest& request) {
  const std::string &order = flags.at("order").text, &target = flags.at("sort-by").text;
  if (upper(order) == "ASCEND") {
    request.set_sort_order(pb::RangeRequest::ASCEND);
  } else if (upper(order) == "DESCEND") {
    request.set_sort_order(pb::RangeRequest::DESCEND);
  } else if (!order.empty()) {
    return tl::unexpected(fail(kExitBadFeature, "bad sort order {}", order));
  }
  static const std::pair<const char*, pb::RangeRequest::SortTarget> kTargets[] = {
      {"CREATE", pb::RangeRequest::CREATE},   {"KEY", pb::RangeRequest::KEY},
      {"MODIFY", pb::RangeRequest::MOD},      {"VALUE", pb::RangeRequest::VALUE},
      {"VERSION", pb::RangeRequest::VERSION},
  };
  const auto* const found = std::find_if(std::begin(kTargets), std::end(kTargets),
                                         [&](const auto& t) { return upper(target) == t.first; });
  if (found == std::end(kTargets)) {
    if (target.empty()) return true;
    return tl::unexpected(fail(kExitBadFeature, "bad sort target {}", target));
  }
  request.set_sort_target(found->second);
  return true;
}

// Bounds on revisions are sent only if they are positive.
Or<bool> read_revisions(const cmd::CobraFlags& flags, pb::RangeRequest& request) {
  const int64_t create_min = flags.at("min-create-rev").number,
                create_max = flags.at("max-create-rev").number;
  const int64_t mod_min = flags.at("min-mod-rev").number, mod_max = flags.at("max-mod-rev").number;
  if (create_max > 0 && create_min > create_max) {
    return tl::unexpected(
        fail(kExitBadFeature, "getMinCreateRev(={}) > getMaxCreateRev(={})", create_min, create_max));
  }
  if (mod_max > 0 && mod_min > mod_max) {
    return tl::unexpected(fail(kExitBadFeature, "getMinModRev(={}) > getMaxModRev(={})", mod_min, mod_max));
  }
  if (create_min > 0) request.set_min_create_revision(create_min);
  if (create_max > 0) request.set_max_create_revision(create_max);
  if (mod_min > 0) request.set_min_mod_revision(mod_min);
  if (mod_max > 0) request.set_max_mod_revision(mod_max);
  return true;
}

Ending run_get(Session& s) {
  auto request = read_get(s.flags(), s.words());
  if (!request) return request.error();
  auto client = s.connect();
  if (!client) return client.error();
  const auto response = (*client)->call(kRange, *request, s.deadline());
  if (!response) return Session::failed(response.error());
  const Printer& p = s.printer();
  if (s.flag("count-only") && p.format != Format::kFields) {
    return bad_arguments("--count-only is only for `--write-out=fields`");
  }
  if (s.flag("print-value-only") && p.format != Format::kSimple) {
    return bad_arguments("print-value-only is only for `--write-out=simple`");
  }
  return s.print(
      *response,
      {.simple = [&](std::string& o) { show_get(o, *response, p.hex, s.flag("print-value-only")); },
       .fields = [&](Fields& f) { show_get(f, *response); }});
}

}  // namespace

Or<pb::RangeRequest> read_get(const cmd::CobraFlags& flags, const Words& words) {
  const auto bad = [](Ending e) { return tl::unexpected(std::move(e)); };
  if (words.empty()) {
    return bad(bad_arguments("get command needs one argument as key and an optional argument as range_end"));
  }
  const bool prefix = flags.at("prefix").boolean, from_key = flags.at("from-key").boolean;
  const bool keys_only = flags.at("keys-only").boolean, count_only = flags.at("count-only").boolean;
  if (prefix && from_key) {
    return bad(bad_arguments("`--prefix` and `--from-key` cannot be set at the same time, choose one"));
  }
  if (keys_only && count_only) {
    return bad(bad_arguments("`--keys-only` and `--count-only` cannot be set at the same time, choose one"));
  }
  const std::string& consistency = flags.at("consistency").text;
  const auto serializable = is_serializable(consistency, consistency);
  if (!serializable) return bad(serializable.error());
  pb::RangeRequest r;
  r.set_serializable(*serializable);
  r.set_key(words[0]);
  if (words.size() > 1) {
    if (prefix || from_key) {
      return bad(bad_arguments(
          "too many arguments, only accept one argument when `--prefix` or `--from-key` is set"));
    }
    r.set_range_end(words[1]);
  }
  r.set_limit(flags.at("limit").number);
  if (const int64_t revision = flags.at("rev").number; revision > 0) r.set_revision(revision);
  if (const auto sort = read_sort(flags, r); !sort) return bad(sort.error());
  // The server's own order; without it, it would gather all keys before it sorts.
  if (r.sort_target() == pb::RangeRequest::KEY && r.sort_order() == pb::RangeRequest::ASCEND) {
    r.set_sort_order(pb::RangeRequest::NONE);
  }
  if (prefix || from_key) {
    r.set_range_end(prefix && !words[0].empty() ? prefix_end(words[0]) : std::string(kNul));
    if (words[0].empty()) r.set_key(std::string(kNul));
  }
  r.set_keys_only(keys_only);
  r.set_count_only(count_only);
  if (const auto revisions = read_revisions(flags, r); !revisions) return bad(revisions.error());
  return r;
}

cmd::CobraCommand& add_get(cmd::CobraCommand& parent) {
  using Kind = CobraFlag::Kind;
  CobraCommand& c = parent.add("get [options] <key> [range_end]", "Gets the key or a range of keys");
  c.runnable = true;
  const auto number = [&](const char* name, const char* help) {
    c.flags.add({.name = name, .kind = Kind::kInt64, .help = help});
  };
  const auto truth = [&](const char* name, const char* help) {
    c.flags.add({.name = name, .kind = Kind::kBool, .help = help});
  };
  c.flags.add({.name = "consistency",
               .help = "Linearizable(l) or Serializable(s)",
               .text = "l",
               .values = {"l", "s"}});
  c.flags.add({.name = "order",
               .help = "Order of results; ASCEND or DESCEND (ASCEND by default)",
               .values = {"ASCEND", "DESCEND"}});
  c.flags.add({.name = "sort-by",
               .help = "Sort target; CREATE, KEY, MODIFY, VALUE, or VERSION",
               .values = {"CREATE", "KEY", "MODIFY", "VALUE", "VERSION"}});
  number("limit", "Maximum number of results");
  truth("prefix", "Get keys with matching prefix");
  truth("from-key", "Get keys that are greater than or equal to the given key using byte compare");
  number("rev", "Specify the kv revision");
  truth("keys-only", "Get only the keys");
  truth("count-only", "Get only the count");
  truth("print-value-only", R"(Only write values when using the "simple" output format)");
  number("min-create-rev", "Minimum create revision");
  number("max-create-rev", "Maximum create revision");
  number("min-mod-rev", "Minimum modification revision");
  number("max-mod-rev", "Maximum modification revision");
  return c;
}

void add_get_command(Registry& r) {
  r.set_run(add_get(r.root()), run_get);
}

}  // namespace quoin::ctl

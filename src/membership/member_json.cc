// JSON of members and their kin. Writing is by hand, since the bytes must be Go's; reading is nlohmann's,
// without exceptions.
#include <fmt/format.h>

#include <cctype>
#include <nlohmann/json.hpp>

#include "base/go_text.h"
#include "membership/bounded_json.h"
#include "membership/member.h"

namespace quoin::membership {
namespace {
using Json = nlohmann::ordered_json;

void append_strings(std::string* out, const std::vector<std::string>& list) {
  *out += '[';
  for (size_t i = 0; i < list.size(); ++i) {
    if (i > 0) *out += ',';
    *out += go_json_string(list[i]);
  }
  *out += ']';
}

void append_peers(std::string* out, const Member& m) {
  *out += "\"peerURLs\":";
  if (m.peer_urls.empty()) {
    *out += "null";
  } else {
    append_strings(out, m.peer_urls);
  }
  if (m.is_learner) *out += ",\"isLearner\":true";
}

// `out` ends in '{' or in a value.
void append_attributes(std::string* out, const Member& m) {
  const auto comma = [&] {
    if (out->back() != '{') *out += ',';
  };
  if (!m.name.empty()) {
    comma();
    *out += "\"name\":" + go_json_string(m.name);
  }
  if (!m.client_urls.empty()) {
    comma();
    *out += "\"clientURLs\":";
    append_strings(out, m.client_urls);
  }
}

std::string member_text(const Member& m, bool promote) {
  std::string s = fmt::format("{{\"id\":{},", m.id);
  append_peers(&s, m);
  append_attributes(&s, m);
  if (promote) s += ",\"isPromote\":true";
  return s + "}";
}

Error malformed(std::string_view what) {
  return make_error(Code::kMalformed, "json: {}", what);
}

bool same_key(std::string_view a, std::string_view b) {
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(),
                    [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

// Calls `field(name, value)` for each key of an object; as in Go null is like {}, and a null value like none.
template <class F>
Result<> each_field(const Json& json, F&& field) {
  if (json.is_null()) return {};
  if (!json.is_object()) return malformed("an object is expected");
  for (const auto& [key, value] : json.items()) {
    if (!value.is_null()) TRY(field(std::string_view(key), value));
  }
  return {};
}

Result<> read(const Json& json, std::string* out) {
  if (!json.is_string()) return malformed("a string is expected");
  *out = json.get_ref<const std::string&>();
  return {};
}
Result<> read(const Json& json, bool* out) {
  if (!json.is_boolean()) return malformed("true or false is expected");
  *out = json.get<bool>();
  return {};
}
Result<> read(const Json& json, uint64_t* out) {
  if (!json.is_number_unsigned()) return malformed("a number of 64 bits is expected");
  *out = json.get<uint64_t>();
  return {};
}
Result<> read(const Json& json, MemberId* out) {
  return read(json, &out->v);
}
template <class T>
Result<> read(const Json& json, std::vector<T>* out) {
  if (!json.is_array()) return malformed("a list is expected");
  out->clear();
  for (const auto& element : json) {
    out->emplace_back();
    if (!element.is_null()) TRY(read(element, &out->back()));
  }
  return {};
}

Result<> read_raft_attribute(std::string_view key, const Json& value, Member* m) {
  if (same_key(key, "peerURLs")) return read(value, &m->peer_urls);
  if (same_key(key, "isLearner")) return read(value, &m->is_learner);
  return {};
}
Result<> read_attribute(std::string_view key, const Json& value, Member* m) {
  if (same_key(key, "name")) return read(value, &m->name);
  if (same_key(key, "clientURLs")) return read(value, &m->client_urls);
  return {};
}

Result<Member> read_member(const Json& json, bool* promote) {
  Member m;
  TRY(each_field(json, [&](std::string_view key, const Json& value) -> Result<> {
    if (same_key(key, "id")) return read(value, &m.id);
    if (promote != nullptr && same_key(key, "isPromote")) return read(value, promote);
    TRY(read_raft_attribute(key, value, &m));
    return read_attribute(key, value, &m);
  }));
  return m;
}

Result<Json> parse(std::string_view text) {
  Json json = parse_ordered_json(text);
  if (json.is_discarded()) return malformed("syntax error");
  return json;
}
}  // namespace

std::string member_json(const Member& member) {
  return member_text(member, false);
}
std::string change_context_json(const Member& member, bool promote) {
  return member_text(member, promote);
}

Result<Member> parse_member(std::string_view text) {
  ASSIGN_OR_RETURN(const Json json, parse(text));
  return read_member(json, nullptr);
}

Result<Member> parse_change_context(std::string_view text, bool* promote) {
  *promote = false;
  ASSIGN_OR_RETURN(const Json json, parse(text));
  return read_member(json, promote);
}

std::string members_json(const std::vector<Member>& members) {
  std::string s = "[";
  for (const Member& m : members) {
    if (s.size() > 1) s += ',';
    s += member_json(m);
  }
  return s + "]";
}

Result<std::vector<Member>> parse_members(std::string_view text) {
  ASSIGN_OR_RETURN(const Json json, parse(text));
  std::vector<Member> members;
  if (json.is_null()) return members;
  if (!json.is_array()) return malformed("a list is expected");
  for (const auto& element : json) {
    ASSIGN_OR_RETURN(Member m, read_member(element, nullptr));
    members.push_back(std::move(m));
  }
  return members;
}

std::string raft_attributes_json(const Member& member) {
  std::string s = "{";
  append_peers(&s, member);
  return s + "}";
}

std::string attributes_json(const Member& member) {
  std::string s = "{";
  append_attributes(&s, member);
  return s + "}";
}

Result<> parse_raft_attributes(std::string_view text, Member* member) {
  ASSIGN_OR_RETURN(const Json json, parse(text));
  return each_field(
      json, [&](std::string_view key, const Json& value) { return read_raft_attribute(key, value, member); });
}

Result<> parse_attributes(std::string_view text, Member* member) {
  ASSIGN_OR_RETURN(const Json json, parse(text));
  return each_field(
      json, [&](std::string_view key, const Json& value) { return read_attribute(key, value, member); });
}

std::string downgrade_json(const Downgrade& downgrade) {
  return fmt::format("{{\"target-version\":{},\"enabled\":{}}}", go_json_string(downgrade.target),
                     downgrade.enabled);
}

Result<Versions> parse_versions(std::string_view text) {
  ASSIGN_OR_RETURN(const Json json, parse(text));
  Versions v;
  TRY(each_field(json, [&](std::string_view key, const Json& value) -> Result<> {
    if (same_key(key, "etcdserver")) return read(value, &v.server);
    if (same_key(key, "etcdcluster")) return read(value, &v.cluster);
    return {};
  }));
  return v;
}

Result<Downgrade> parse_downgrade(std::string_view text) {
  ASSIGN_OR_RETURN(const Json json, parse(text));
  Downgrade d;
  TRY(each_field(json, [&](std::string_view key, const Json& value) -> Result<> {
    if (same_key(key, "target-version")) return read(value, &d.target);
    if (same_key(key, "enabled")) return read(value, &d.enabled);
    return {};
  }));
  return d;
}

std::string conf_state_json(const raft::ConfState& state) {
  std::string s = "{";
  const auto list = [&](std::string_view name, const std::vector<MemberId>& ids) {
    if (ids.empty()) return;
    s += fmt::format("\"{}\":[", name);
    for (const MemberId id : ids) s += fmt::format("{},", id);
    s.back() = ']';
    s += ',';
  };
  list("voters", state.voters);
  list("learners", state.learners);
  list("voters_outgoing", state.voters_outgoing);
  list("learners_next", state.learners_next);
  return s + fmt::format("\"auto_leave\":{}}}", state.auto_leave);
}

Result<raft::ConfState> parse_conf_state(std::string_view text) {
  ASSIGN_OR_RETURN(const Json json, parse(text));
  raft::ConfState state;
  TRY(each_field(json, [&](std::string_view key, const Json& value) -> Result<> {
    if (same_key(key, "voters")) return read(value, &state.voters);
    if (same_key(key, "learners")) return read(value, &state.learners);
    if (same_key(key, "voters_outgoing")) return read(value, &state.voters_outgoing);
    if (same_key(key, "learners_next")) return read(value, &state.learners_next);
    if (same_key(key, "auto_leave")) return read(value, &state.auto_leave);
    return {};
  }));
  return state;
}

}  // namespace quoin::membership

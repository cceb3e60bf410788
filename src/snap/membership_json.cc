#include "snap/membership_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/coding.h"
#include "base/go_text.h"

namespace quoin::snap {
namespace {

// ---- writing ----

std::string string_list(const std::vector<std::string>& list) {
  std::string out = "[";
  for (const std::string& s : list) {
    if (out.size() > 1) out += ',';
    out += go_json_string(s);
  }
  return out + "]";
}

std::string raft_attributes(const MemberState& m) {
  return fmt::format("{{\"peerURLs\":{}{}}}", string_list(m.peer_urls),
                     m.is_learner ? ",\"isLearner\":true" : "");
}

std::string attributes(const MemberState::Attributes& a) {
  std::string out = "{";
  if (!a.name.empty()) {
    out += "\"name\":";
    out += go_json_string(a.name);
  }
  if (!a.client_urls.empty()) {
    if (out.size() > 1) out += ',';
    out += "\"clientURLs\":" + string_list(a.client_urls);
  }
  return out + "}";
}

// Nodes of the store; names are hexadecimal ids and words, which need no escaping.
class TreeWriter {
 public:
  void begin_dir(std::string_view name) {
    begin_node(name);
    out_ += ",\"Children\":{";
    first_ = true;
  }
  void end_dir() {
    out_ += "}}";
    path_.resize(path_.rfind('/'));
    first_ = false;
  }
  void file(std::string_view name, std::string_view value) {
    begin_node(name);
    out_ += ",\"Value\":";
    out_ += go_json_string(value);
    out_ += '}';
    path_.resize(path_.rfind('/'));
    first_ = false;
  }
  std::string take() { return std::move(out_); }

 private:
  void begin_node(std::string_view name) {
    if (!first_) out_ += ',';
    path_ += '/';
    path_ += name;
    out_ += fmt::format("\"{}\":{{\"Path\":\"{}\"", name, path_);
  }
  std::string out_, path_;
  bool first_ = true;
};

std::vector<std::string> sorted_hex(std::vector<std::string> names) {
  std::sort(names.begin(), names.end());
  return names;
}

// ---- reading ----

using Json = nlohmann::json;

Error malformed(std::string_view path, std::string_view what) {
  return make_error(Code::kMalformed, "v2 store: {}: {}", path, what);
}

// Null: a file. Go leaves a directory's children out when it has none only if it is a file.
const Json* children_of(const Json& node) {
  const auto it = node.find("Children");
  return it == node.end() || it->is_null() ? nullptr : &*it;
}

Result<const Json*> child_dirs(const Json& node, std::string_view path) {
  if (!node.is_object()) return malformed(path, "not a node");
  const Json* children = children_of(node);
  if (children && !children->is_object()) return malformed(path, "Children is not an object");
  return children;
}

Result<std::string> file_value(const Json& node, std::string_view path) {
  ASSIGN_OR_RETURN(const Json* const children, child_dirs(node, path));
  if (children) return malformed(path, "a directory, where a file is expected");
  const auto it = node.find("Value");
  if (it == node.end()) return std::string();
  if (!it->is_string()) return malformed(path, "Value is not a string");
  return it->get<std::string>();
}

Result<std::vector<std::string>> read_strings(const Json& object, const char* key, std::string_view path) {
  std::vector<std::string> out;
  const auto it = object.find(key);
  if (it == object.end() || it->is_null()) return out;
  if (!it->is_array()) return malformed(path, fmt::format("{} is not a list", key));
  for (const Json& item : *it) {
    if (!item.is_string()) return malformed(path, fmt::format("{} holds something else than strings", key));
    out.push_back(item.get<std::string>());
  }
  return out;
}

Result<Json> value_json(const Json& node, std::string_view path) {
  ASSIGN_OR_RETURN(const std::string text, file_value(node, path));
  Json value = Json::parse(text, nullptr, false);
  if (!value.is_object()) return malformed(path, "Value is not a JSON object");
  return value;
}

Result<MemberState> read_member(const std::string& name, const Json& node) {
  const std::string path = "/0/members/" + name;
  MemberState member;
  if (!parse_hex(name, &member.id.v)) return malformed(path, "not a member id");
  ASSIGN_OR_RETURN(const Json* const children, child_dirs(node, path));
  if (!children) return malformed(path, "a file, where a directory is expected");
  bool complete = false;
  for (const auto& [key, child] : children->items()) {
    const std::string child_path = path + "/" + key;
    if (key == "raftAttributes") {
      ASSIGN_OR_RETURN(const Json value, value_json(child, child_path));
      ASSIGN_OR_RETURN(member.peer_urls, read_strings(value, "peerURLs", child_path));
      const auto learner = value.find("isLearner");
      if (learner != value.end()) {
        if (!learner->is_boolean()) return malformed(child_path, "isLearner is not a bool");
        member.is_learner = learner->get<bool>();
      }
      complete = true;
    } else if (key == "attributes") {
      ASSIGN_OR_RETURN(const Json value, value_json(child, child_path));
      MemberState::Attributes a;
      const auto own_name = value.find("name");
      if (own_name != value.end()) {
        if (!own_name->is_string()) return malformed(child_path, "name is not a string");
        a.name = own_name->get<std::string>();
      }
      ASSIGN_OR_RETURN(a.client_urls, read_strings(value, "clientURLs", child_path));
      member.attributes = std::move(a);
    } else {
      return malformed(child_path, "unknown child of a member");
    }
  }
  if (!complete) return malformed(path, "raftAttributes key doesn't exist");
  return member;
}

Result<> read_cluster(const Json& zero, MembershipState* out) {
  ASSIGN_OR_RETURN(const Json* const children, child_dirs(zero, "/0"));
  if (!children) return {};
  for (const auto& [key, child] : children->items()) {
    if (key == "members") {
      ASSIGN_OR_RETURN(const Json* const members, child_dirs(child, "/0/members"));
      if (!members) continue;
      for (const auto& [id, node] : members->items()) {
        ASSIGN_OR_RETURN(MemberState member, read_member(id, node));
        out->members.push_back(std::move(member));
      }
    } else if (key == "removed_members") {
      ASSIGN_OR_RETURN(const Json* const removed, child_dirs(child, "/0/removed_members"));
      if (!removed) continue;
      for (const auto& [id, node] : removed->items()) {
        MemberId member;
        if (!parse_hex(id, &member.v)) return malformed("/0/removed_members/" + id, "not a member id");
        out->removed.push_back(member);
      }
    } else if (key == "version") {
      ASSIGN_OR_RETURN(out->cluster_version, file_value(child, "/0/version"));
    }
  }
  return {};
}

bool has_children(const Json& node) {
  const Json* children = node.is_object() ? children_of(node) : nullptr;
  return children && children->is_object() && !children->empty();
}

bool is_custom(const std::string& name, const Json& node) {
  if (name == "0" || !has_children(node)) return false;
  if (name != "2") return true;
  const Json& children = *children_of(node);
  return std::any_of(children.begin(), children.end(), has_children);
}

}  // namespace

std::string write_membership_json(const MembershipState& state, uint64_t current_index) {
  TreeWriter w;
  w.begin_dir("0");
  w.begin_dir("members");
  std::vector<std::pair<std::string, const MemberState*>> members;
  for (const MemberState& m : state.members) members.emplace_back(hex(m.id.v), &m);
  std::sort(members.begin(), members.end());
  for (const auto& [name, m] : members) {
    w.begin_dir(name);
    if (m->attributes) w.file("attributes", attributes(*m->attributes));
    w.file("raftAttributes", raft_attributes(*m));
    w.end_dir();
  }
  w.end_dir();
  if (!state.removed.empty()) {
    w.begin_dir("removed_members");
    std::vector<std::string> removed;
    for (MemberId id : state.removed) removed.push_back(hex(id.v));
    for (const std::string& name : sorted_hex(std::move(removed))) w.file(name, "");
    w.end_dir();
  }
  if (!state.cluster_version.empty()) w.file("version", state.cluster_version);
  w.end_dir();
  w.begin_dir("1");
  w.end_dir();
  return fmt::format(
      "{{\"Root\":{{\"Path\":\"/\",\"Children\":{{{}}}}},\"CurrentIndex\":{},\"CurrentVersion\":2}}",
      w.take(), current_index);
}

Result<MembershipText> read_membership_json(std::string_view json) {
  const Json store = Json::parse(json, nullptr, false);
  if (!store.is_object()) return malformed("/", "not a JSON object");
  MembershipText out;
  const auto root = store.find("Root");
  if (root == store.end() || root->is_null()) return out;
  ASSIGN_OR_RETURN(const Json* const children, child_dirs(*root, "/"));
  if (!children) return out;
  for (const auto& [key, child] : children->items()) {
    if (key == "0") TRY(read_cluster(child, &out.state));
    if (is_custom(key, child)) out.custom_content.push_back("/" + key);
  }
  std::sort(out.state.members.begin(), out.state.members.end(),
            [](const MemberState& a, const MemberState& b) { return a.id < b.id; });
  std::sort(out.state.removed.begin(), out.state.removed.end());
  return out;
}

}  // namespace quoin::snap

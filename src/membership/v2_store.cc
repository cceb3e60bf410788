#include "membership/v2_store.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/coding.h"

namespace quoin::membership {
namespace {
using Json = nlohmann::json;

// A tree being written. Indexes count creations, as those of a store built in this order would.
class Writer {
 public:
  void open_dir(std::string_view name) {
    begin(name);
    out_ += "\"Value\":\"\",\"Children\":{";
    first_ = true;
  }
  void close_dir() {
    out_ += "}}";
    path_.erase(path_.rfind('/'));
    first_ = false;
  }
  void file(std::string_view name, std::string_view value) {
    begin(name);
    out_ += fmt::format("\"Value\":{},\"Children\":null}}", go_json_string(value));
    path_.erase(path_.rfind('/'));
    first_ = false;
  }
  uint64_t index() const { return index_; }
  std::string take() { return std::move(out_); }

 private:
  void begin(std::string_view name) {
    if (!first_) out_ += ',';
    if (!name.empty()) {
      out_ += go_json_string(name) + ":";
      path_ += '/';
      path_ += name;
      ++index_;
    } else {
      path_ = "";
    }
    out_ += fmt::format(
        "{{\"Path\":{},\"CreatedIndex\":{},\"ModifiedIndex\":{},"
        "\"ExpireTime\":\"0001-01-01T00:00:00Z\",",
        go_json_string(path_.empty() ? "/" : path_), index_, index_);
    if (name.empty()) path_ = "/";
    if (path_ == "/") path_.clear();
  }
  std::string out_, path_;
  uint64_t index_ = 0;
  bool first_ = true;
};

Error malformed(std::string_view what) {
  return make_error(Code::kMalformed, "v2 store: {}", what);
}

const Json* child(const Json& node, const char* name) {
  auto children = node.find("Children");
  if (children == node.end() || !children->is_object()) return nullptr;
  auto it = children->find(name);
  return it == children->end() || !it->is_object() ? nullptr : &*it;
}
bool has_children(const Json& node) {
  auto children = node.find("Children");
  return children != node.end() && children->is_object() && !children->empty();
}

Result<std::string> value_of(const Json& node) {
  auto value = node.find("Value");
  if (value == node.end() || value->is_null()) return std::string();
  if (!value->is_string()) return malformed("a Value is no string");
  return value->get<std::string>();
}

Result<MemberId> id_of(const std::string& name) {
  uint64_t id = 0;
  if (!parse_hex(name, &id)) return make_error(Code::kCorruption, "v2 store: {} is no member id", name);
  return MemberId(id);
}

Result<Member> read_member(const std::string& name, const Json& node) {
  Member m;
  ASSIGN_OR_RETURN(m.id, id_of(name));
  bool complete = false;
  if (node.is_object() && has_children(node)) {
    for (const auto& [key, file] : node.at("Children").items()) {
      if (!file.is_object()) return malformed("a node is no object");
      ASSIGN_OR_RETURN(const std::string value, value_of(file));
      if (key == "raftAttributes") {
        TRY(parse_raft_attributes(value, &m));
        complete = true;
      } else if (key == "attributes") {
        TRY(parse_attributes(value, &m));
      } else {
        return make_error(Code::kCorruption, "v2 store: unknown child {} of member {}", key, name);
      }
    }
  }
  if (!complete) return make_error(Code::kCorruption, "v2 store: member {} lacks raftAttributes", name);
  return m;
}

// Anything with children beside /0, or in a child of /2.
bool custom_content_in(const Json& root) {
  if (!has_children(root)) return false;
  for (const auto& [name, dir] : root.at("Children").items()) {
    if (name == "0" || !dir.is_object() || !has_children(dir)) continue;
    if (name != "2") return true;
    for (const auto& [inner, below] : dir.at("Children").items()) {
      if (below.is_object() && has_children(below)) return true;
    }
  }
  return false;
}
}  // namespace

std::string v2_store_json(const Membership& membership) {
  Writer w;
  w.open_dir("");
  w.open_dir("0");
  if (!membership.members.empty()) {
    w.open_dir("members");
    for (const auto& [id, m] : membership.members) {
      w.open_dir(hex(id.v));
      if (!m.client_urls.empty()) w.file("attributes", attributes_json(m));
      w.file("raftAttributes", raft_attributes_json(m));
      w.close_dir();
    }
    w.close_dir();
  }
  if (!membership.removed.empty()) {
    w.open_dir("removed_members");
    for (const MemberId id : membership.removed) w.file(hex(id.v), "");
    w.close_dir();
  }
  if (membership.version) w.file("version", membership.version->text());
  w.close_dir();
  w.open_dir("1");
  w.close_dir();
  const std::string root = w.take() + "}}";
  return fmt::format("{{\"Root\":{},\"CurrentIndex\":{},\"CurrentVersion\":2}}", root, w.index());
}

Result<V2Store> parse_v2_store(std::string_view text) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return malformed("no JSON object");
  V2Store store;
  auto root = json.find("Root");
  if (root == json.end() || root->is_null()) return store;
  if (!root->is_object()) return malformed("Root is no object");
  store.custom_content = custom_content_in(*root);
  const Json* cluster = child(*root, "0");
  if (cluster == nullptr) return store;
  Membership& m = store.membership;
  if (const Json* members = child(*cluster, "members"); members != nullptr && has_children(*members)) {
    for (const auto& [name, node] : members->at("Children").items()) {
      ASSIGN_OR_RETURN(Member member, read_member(name, node));
      m.members.emplace(member.id, std::move(member));
    }
  }
  if (const Json* removed = child(*cluster, "removed_members");
      removed != nullptr && has_children(*removed)) {
    for (const auto& [name, node] : removed->at("Children").items()) {
      ASSIGN_OR_RETURN(const MemberId id, id_of(name));
      m.removed.insert(id);
    }
  }
  if (const Json* version = child(*cluster, "version"); version != nullptr) {
    ASSIGN_OR_RETURN(const std::string value, value_of(*version));
    m.version = parse_version(value);
    if (!m.version) return make_error(Code::kCorruption, "v2 store: version is \"{}\"", value);
  }
  return store;
}

}  // namespace quoin::membership

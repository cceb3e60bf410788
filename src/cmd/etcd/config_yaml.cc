#include "cmd/etcd/config_yaml.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <fstream>
#include <map>
#include <sstream>

#include "base/check.h"
#include "cmd/etcd/config_options.h"
#include "cmd/etcd/config_url.h"
#include "cmd/etcd/flags_text.h"

namespace quoin::cmd {
namespace {

enum class JsonKind : uint8_t { kNull, kBool, kNumber, kString, kArray, kObject };

std::string_view kind_name(JsonKind k) {
  switch (k) {
    case JsonKind::kNull:
      return "null";
    case JsonKind::kBool:
      return "bool";
    case JsonKind::kNumber:
      return "number";
    case JsonKind::kString:
      return "string";
    case JsonKind::kArray:
      return "array";
    case JsonKind::kObject:
      return "object";
  }
  return "";
}

// A YAML node as the JSON value etcd would see. Maps are ordered by key, as Go writes them.
struct Json {
  JsonKind kind = JsonKind::kNull;
  bool boolean = false;
  std::string text;  // of a string; of a number, in JSON's form
  std::vector<Json> items;
  std::map<std::string, Json> members;
};

bool one_of(std::string_view s, std::initializer_list<std::string_view> words) {
  return std::find(words.begin(), words.end(), s) != words.end();
}

std::string number_text(double v) {
  char buffer[400];
  const double a = std::fabs(v);
  const bool scientific = v != 0 && (a < 1e-6 || a >= 1e21);
  const auto r = std::to_chars(buffer, buffer + sizeof buffer, v,
                               scientific ? std::chars_format::scientific : std::chars_format::fixed);
  return std::string(buffer, r.ptr);
}

bool looks_like_float(std::string_view s) {
  size_t i = 0, digits = 0;
  if (i < s.size() && (s[i] == '-' || s[i] == '+')) ++i;
  const auto run = [&] {
    for (; i < s.size() && s[i] >= '0' && s[i] <= '9'; ++i) ++digits;
  };
  run();
  if (i < s.size() && s[i] == '.') {
    ++i;
    run();
  }
  if (digits == 0) return false;
  if (i < s.size() && (s[i] == 'e' || s[i] == 'E')) {
    if (++i < s.size() && (s[i] == '-' || s[i] == '+')) ++i;
    digits = 0;
    run();
    if (digits == 0) return false;
  }
  return i == s.size();
}

// YAML 1.1's meaning of a plain scalar.
Json plain_scalar(const std::string& s) {
  Json out;
  if (one_of(s, {"", "~", "null", "Null", "NULL"})) return out;
  if (one_of(s, {"y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"})) {
    out.kind = JsonKind::kBool;
    out.boolean = true;
    return out;
  }
  if (one_of(s, {"n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"})) {
    out.kind = JsonKind::kBool;
    return out;
  }
  out.kind = JsonKind::kNumber;
  std::string digits = s;
  digits.erase(std::remove(digits.begin(), digits.end(), '_'), digits.end());
  if (const auto v = parse_signed(digits)) {
    out.text = std::to_string(*v);
    return out;
  }
  if (const auto v = parse_unsigned(digits)) {
    out.text = std::to_string(*v);
    return out;
  }
  if (looks_like_float(digits)) {
    double v = 0;
    const char* first = digits.data() + (digits[0] == '+' ? 1 : 0);
    if (std::from_chars(first, digits.data() + digits.size(), v).ec == std::errc()) {
      out.text = number_text(v);
      return out;
    }
  }
  out.kind = JsonKind::kString;
  out.text = s;
  return out;
}

// Bound of nesting: no option lies deeper than four.
constexpr int kDepthMax = 32;

Result<Json> to_json(const YAML::Node& node, int depth) {
  if (depth > kDepthMax)
    return make_error(Code::kInvalidArgument, "error converting YAML to JSON: yaml: nested too deep");
  Json out;
  switch (node.Type()) {
    case YAML::NodeType::Undefined:
    case YAML::NodeType::Null:
      return out;
    case YAML::NodeType::Scalar:
      if (node.Tag() == "?" || node.Tag().empty()) return plain_scalar(node.Scalar());
      out.kind = JsonKind::kString;
      out.text = node.Scalar();
      return out;
    case YAML::NodeType::Sequence:
      out.kind = JsonKind::kArray;
      for (const YAML::Node& item : node) {
        ASSIGN_OR_RETURN(Json value, to_json(item, depth + 1));
        out.items.push_back(std::move(value));
      }
      return out;
    case YAML::NodeType::Map:
      out.kind = JsonKind::kObject;
      for (const auto& member : node) {
        if (!member.first.IsScalar())
          return make_error(Code::kInvalidArgument, "error converting YAML to JSON: unsupported key");
        ASSIGN_OR_RETURN(Json value, to_json(member.second, depth + 1));
        out.members[member.first.Scalar()] = std::move(value);
      }
      return out;
  }
  return out;
}

// The only place that sees yaml-cpp's exceptions.
Result<Json> parse_yaml(const std::string& text) {
  try {
    return to_json(YAML::Load(text), 0);
  } catch (const YAML::Exception& e) {
    return make_error(Code::kInvalidArgument, "error converting YAML to JSON: yaml: line {}: {}",
                      e.mark.line + 1, e.msg);
  } catch (const std::exception& e) {
    return make_error(Code::kInvalidArgument, "error converting YAML to JSON: yaml: {}", e.what());
  }
}

// Names of Go types, which stand in etcd's error texts.
std::string_view go_type(const Option& o) {
  switch (o.kind) {
    case FlagKind::kBool:
      return "bool";
    case FlagKind::kUint:
      return one_of(o.name,
                    {"snapshot-count", "snapshot-catchup-entries", "experimental-snapshot-catchup-entries"})
                 ? "uint64"
                 : "uint";
    case FlagKind::kUint32:
      return "uint32";
    case FlagKind::kInt:
      return o.name == "quota-backend-bytes" ? "int64" : "int";
    case FlagKind::kDuration:
      return "time.Duration";
    default:
      return "string";
  }
}

bool is_yaml_list(const Option& o) {
  return o.kind == FlagKind::kStringList || (o.kind == FlagKind::kStringSet && o.name != "host-whitelist");
}

// "configYAML.Config.name": the path as Go's decoder names it.
std::string go_path(const Option& o, std::string_view key) {
  const auto starts = [key](std::string_view p) { return key.substr(0, p.size()) == p; };
  std::string_view owner = "configYAML.Config";
  if (starts("client-transport-security.") || starts("peer-transport-security."))
    owner = "securityConfig.configJSON";
  else if (starts("socket-options."))
    owner = "SocketOpts.Config";
  else if (starts("discovery-config.client.secure."))
    owner = "SecureConfig.Config";
  else if (starts("discovery-config.client.auth."))
    owner = "AuthConfig.Config";
  else if (starts("discovery-config.client."))
    owner = "ConfigSpec.Config";
  else if (starts("discovery-config."))
    owner = "DiscoveryConfig.Config";
  else if ((o.kind == FlagKind::kUrls && o.name != "listen-metrics-urls") || o.kind == FlagKind::kUrlsOrAny ||
           o.kind == FlagKind::kGates || o.name == "host-whitelist")
    owner = "configYAML.configJSON";
  return fmt::format("{}.{}", owner, key);
}

std::string_view section_type(std::string_view key) {
  if (key == "socket-options") return "Config.socket-options of type transport.SocketOpts";
  if (key == "client-transport-security")
    return "configJSON.client-transport-security of type embed.securityConfig";
  if (key == "peer-transport-security")
    return "configJSON.peer-transport-security of type embed.securityConfig";
  if (key == "discovery-config") return "Config.discovery-config of type v3discovery.DiscoveryConfig";
  return {};
}

bool equal_fold(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [&](char x, char y) { return lower(x) == lower(y); });
}

// Go's decoder: exact key or the same in another case; of several the last in key order wins.
const Json* lookup(const Json& object, std::string_view key) {
  const Json* found = nullptr;
  for (const auto& [name, value] : object.members) {
    if (equal_fold(name, key) && value.kind != JsonKind::kNull) found = &value;
  }
  return found;
}

const Json* lookup_path(const Json& root, std::string_view path) {
  const Json* at = &root;
  for (const std::string& part : split(path, '.')) {
    if (at->kind != JsonKind::kObject || (at = lookup(*at, part)) == nullptr) return nullptr;
  }
  return at;
}

// Decodes one value into its flag. Text kinds that need parsing later (URLs, sets, gates) are left in
// `deferred`.
Result<> decode(const Option& o, std::string_view key, const Json& v, Flag& flag,
                std::map<std::string, std::string>& deferred) {
  const auto mismatch = [&](std::string_view what, std::string_view type) {
    return make_error(
        Code::kInvalidArgument,
        "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {} into Go struct field {} of "
        "type {}",
        what, go_path(o, key), type);
  };
  if (is_yaml_list(o)) {
    if (v.kind != JsonKind::kArray) return mismatch(kind_name(v.kind), "[]string");
    std::vector<std::string> list;
    for (const Json& item : v.items) {
      if (item.kind != JsonKind::kString && item.kind != JsonKind::kNull)
        return mismatch(kind_name(item.kind), "string");
      list.push_back(item.text);
    }
    flag.value.list = std::move(list);
    return {};
  }
  const std::string_view type = go_type(o);
  switch (o.kind) {
    case FlagKind::kBool:
      if (v.kind != JsonKind::kBool) return mismatch(kind_name(v.kind), type);
      flag.value.boolean = v.boolean;
      return {};
    case FlagKind::kUint:
    case FlagKind::kUint32: {
      if (v.kind != JsonKind::kNumber) return mismatch(kind_name(v.kind), type);
      uint64_t n = 0;
      const auto [end, ec] = std::from_chars(v.text.data(), v.text.data() + v.text.size(), n);
      if (ec != std::errc() || end != v.text.data() + v.text.size() ||
          (o.kind == FlagKind::kUint32 && n > UINT32_MAX)) {
        return mismatch("number " + v.text, type);
      }
      flag.value.number = n;
      return {};
    }
    case FlagKind::kInt:
    case FlagKind::kDuration: {
      if (v.kind != JsonKind::kNumber) return mismatch(kind_name(v.kind), type);
      int64_t n = 0;
      const auto [end, ec] = std::from_chars(v.text.data(), v.text.data() + v.text.size(), n);
      if (ec != std::errc() || end != v.text.data() + v.text.size())
        return mismatch("number " + v.text, type);
      flag.value.integer = n;
      return {};
    }
    default:
      break;
  }
  if (v.kind != JsonKind::kString) return mismatch(kind_name(v.kind), type);
  // A file takes any word where the flag has a choice; validation looks at them later.
  if (o.kind == FlagKind::kString || o.kind == FlagKind::kChoice) {
    flag.value.text = v.text;
  } else if (o.kind == FlagKind::kChoices) {
    flag.value.list = {v.text};
  } else {
    deferred[std::string(o.name)] = v.text;
  }
  return {};
}

// URLs, CORS origins and host names, after the whole file is decoded. Empty texts keep the default.
void apply_deferred(const std::map<std::string, std::string>& deferred, FlagSet& flags, ConfigFile& file) {
  for (const std::string_view name :
       {"listen-peer-urls", "listen-client-urls", "listen-client-http-urls", "initial-advertise-peer-urls",
        "advertise-client-urls", "listen-metrics-urls"}) {
    const auto it = deferred.find(std::string(name));
    if (it == deferred.end() || it->second.empty()) continue;
    auto urls = parse_urls(it->second);
    if (!urls) {
      file.abort_line =
          fmt::format("unexpected error setting up {}: {}\n",
                      name == "advertise-client-urls" ? "advertise-peer-urls" : name, urls.error().text());
      return;
    }
    flags.find(name)->value.list = texts(*urls);
  }
  if (const auto it = deferred.find("cors"); it != deferred.end() && !it->second.empty()) {
    Flag& cors = *flags.find("cors");
    cors.value.list.clear();
    if (auto set = cors.set(it->second); !set) {
      file.panic = fmt::format("panic: new UniqueURLs should never fail: {}\n", set.error().text());
      return;
    }
  }
  if (const auto it = deferred.find("host-whitelist"); it != deferred.end() && !it->second.empty()) {
    (void)flags.find("host-whitelist")->set(it->second).has_value();
  }
}

}  // namespace

Result<ConfigFile> read_config_text(const std::string& yaml, FlagSet& flags) {
  ConfigFile file;
  ASSIGN_OR_RETURN(const Json root, parse_yaml(yaml));
  if (root.kind == JsonKind::kNull) return file;
  if (root.kind != JsonKind::kObject) {
    return make_error(
        Code::kInvalidArgument,
        "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {} into Go value of type "
        "embed.configYAML",
        kind_name(root.kind));
  }
  // The first mismatch in key order is the one Go reports.
  std::map<std::string, std::string> deferred;
  for (const auto& [name, value] : root.members) {
    file.keys.insert(name);
    if (value.kind == JsonKind::kNull) continue;
    for (const std::string_view section :
         {"socket-options", "client-transport-security", "peer-transport-security", "discovery-config"}) {
      if (equal_fold(name, section) && value.kind != JsonKind::kObject) {
        return make_error(
            Code::kInvalidArgument,
            "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {} into Go struct field "
            "configYAML.{}",
            kind_name(value.kind), section_type(section));
      }
    }
    for (const Option& o : options()) {
      const std::string_view key = o.yaml.empty() ? o.name : o.yaml;
      if (key == "-" || !equal_fold(name, key.substr(0, key.find('.')))) continue;
      const Json* v = lookup_path(root, key);
      if (v == nullptr) continue;
      TRY(decode(o, key, *v, *flags.find(o.name), deferred));
    }
  }
  if (const auto it = deferred.find("feature-gates"); it != deferred.end()) {
    TRY(set_gates(it->second, flags.find("feature-gates")->value.gates));
    // Conflicts with the old flags are looked for in the text as written.
    flags.find("feature-gates")->value.text = it->second;
  }
  if (const auto it = root.members.find("peer-transport-security"); it != root.members.end()) {
    if (it->second.kind != JsonKind::kObject)
      return make_error(Code::kInvalidArgument, "invalid peer-transport-security");
    for (const auto& [key, value] : it->second.members) file.keys.insert("peer-" + key);
  }
  if (file.keys.count("experimental-snapshot-catch-up-entries") != 0) {
    file.keys.insert("experimental-snapshot-catchup-entries");
  }
  apply_deferred(deferred, flags, file);
  return file;
}

Result<ConfigFile> read_config_file(const std::string& path, FlagSet& flags) {
  std::ifstream in(path, std::ios::binary);
  if (!in)
    return make_error(Code::kFileNotFound, "open {}: {}", path, [] {
      std::string text = std::strerror(errno);
      // Go writes these without a capital.
      if (!text.empty() && text[0] >= 'A' && text[0] <= 'Z') text[0] = static_cast<char>(text[0] + 32);
      return text;
    }());
  std::ostringstream text;
  text << in.rdbuf();
  if (in.bad()) return make_error(Code::kIo, "read {}: input/output error", path);
  return read_config_text(text.str(), flags);
}

}  // namespace quoin::cmd

#include "cmd/etcd/config_yaml.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <optional>

#include "base/check.h"
#include "base/utf8.h"
#include "cmd/etcd/config_options.h"
#include "cmd/etcd/config_url.h"
#include "cmd/etcd/flags_text.h"
#include "cmd/etcd/small_file.h"

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

Error yaml_error(std::string_view why) {
  return make_error(Code::kInvalidArgument, "error converting YAML to JSON: yaml: {}", why);
}

// The short form of a tag: "!!str" for "tag:yaml.org,2002:str".
std::string short_tag(const std::string& tag) {
  constexpr std::string_view kPrefix = "tag:yaml.org,2002:";
  return tag.starts_with(kPrefix) ? "!!" + tag.substr(kPrefix.size()) : tag;
}

// What the tags of a scalar's own kind are called.
std::string_view tag_of(const Json& v) {
  switch (v.kind) {
    case JsonKind::kNull:
      return "!!null";
    case JsonKind::kBool:
      return "!!bool";
    case JsonKind::kNumber:
      return v.text.find_first_of(".eE") == std::string::npos ? "!!int" : "!!float";
    default:
      return "!!str";
  }
}

std::optional<std::string> from_base64(std::string_view text) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  uint32_t bits = 0, count = 0;
  while (text.ends_with('=')) text.remove_suffix(1);
  for (const char c : text) {
    if (c == '\n' || c == '\r') continue;
    const size_t digit = kDigits.find(c);
    if (digit == std::string_view::npos) return std::nullopt;
    bits = bits << 6 | static_cast<uint32_t>(digit);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    out += static_cast<char>(bits >> count & 0xff);
  }
  return out;
}

// A scalar with a tag of its own; of other tags than YAML's the text is a string, as for etcd.
Result<Json> tagged_scalar(const std::string& tag, const std::string& text) {
  Json out;
  out.kind = JsonKind::kString;
  out.text = text;
  if (tag == "!!binary") {
    auto bytes = from_base64(text);
    if (!bytes) return yaml_error("!!binary value contains invalid base64 data");
    out.text = std::move(*bytes);
    return out;
  }
  if (tag != "!!null" && tag != "!!bool" && tag != "!!int" && tag != "!!float") return out;
  Json value = plain_scalar(text);
  const std::string_view own = tag_of(value);
  if (own == tag || (tag == "!!float" && own == "!!int")) return value;
  return yaml_error(fmt::format("cannot decode {} `{}` as a {}", own, text, tag));
}

// From a document to values, with what aliases stand for written out.
class Converter {
 public:
  Result<Json> value(const YAML::Node& node, int depth = 0) {
    if (depth > kDepthMax) return yaml_error("nested too deep");
    if (++nodes_ > kNodesMax) return yaml_error("document contains excessive aliasing");
    Json out;
    switch (node.Type()) {
      case YAML::NodeType::Undefined:
      case YAML::NodeType::Null:
        return out;
      case YAML::NodeType::Scalar:
        return scalar(node);
      case YAML::NodeType::Sequence:
        out.kind = JsonKind::kArray;
        for (const YAML::Node& item : node) {
          ASSIGN_OR_RETURN(Json v, value(item, depth + 1));
          out.items.push_back(std::move(v));
        }
        return out;
      case YAML::NodeType::Map:
        return map(node, depth);
    }
    return out;
  }

 private:
  static constexpr int kDepthMax = 32;  // no option lies deeper than four
  // Go's reader stops near here when aliases make up most of a document.
  static constexpr size_t kNodesMax = 400'000;

  static Result<Json> scalar(const YAML::Node& node) {
    const std::string tag = short_tag(node.Tag());
    // yaml-cpp's mark of a plain scalar.
    if (tag == "?" || tag.empty()) return plain_scalar(node.Scalar());
    return tagged_scalar(tag, node.Scalar());
  }

  Result<Json> map(const YAML::Node& node, int depth) {
    Json out;
    out.kind = JsonKind::kObject;
    for (const auto& member : node) {
      const YAML::Node& key = member.first;
      if (!key.IsScalar()) return yaml_error("invalid map key");
      const std::string tag = short_tag(key.Tag());
      if (tag == "!!merge" || (key.Scalar() == "<<" && (tag == "?" || tag.empty()))) {
        TRY(merge(member.second, depth, out));
        continue;
      }
      ASSIGN_OR_RETURN(Json v, value(member.second, depth + 1));
      out.members[key.Scalar()] = std::move(v);
    }
    return out;
  }

  // "<<": the members of a map, or of several of which the first that has a key wins. As in etcd's reader a
  // member written before it is replaced, one written behind it replaces.
  Result<> merge(const YAML::Node& node, int depth, Json& into) {
    if (node.IsSequence()) {
      for (size_t i = node.size(); i-- > 0;) {
        if (!node[i].IsMap()) return yaml_error("map merge requires map or sequence of maps as the value");
        TRY(merge(node[i], depth + 1, into));
      }
      return {};
    }
    if (!node.IsMap()) return yaml_error("map merge requires map or sequence of maps as the value");
    ASSIGN_OR_RETURN(Json from, value(node, depth + 1));
    for (auto& [key, v] : from.members) into.members[key] = std::move(v);
    return {};
  }

  size_t nodes_ = 0;
};

// What Go's reader refuses before it parses, and yaml-cpp reads over.
Result<> check_text(std::string_view text) {
  for (const char c : text) {
    const auto u = static_cast<unsigned char>(c);
    if ((u < 0x20 && u != '\t' && u != '\n' && u != '\r') || u == 0x7f)
      return yaml_error("control characters are not allowed");
  }
  if (!valid_utf8(text)) return yaml_error("invalid UTF-8");
  // Directives stand before the first document.
  while (!text.empty() && !text.starts_with("---")) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    constexpr std::string_view kVersion = "%YAML";
    if (!line.starts_with(kVersion)) {
      if (line.starts_with('%') || line.starts_with('#') || trim_space(line).empty()) continue;
      break;
    }
    if (trim_space(line.substr(kVersion.size())) != "1.1")
      return yaml_error("found incompatible YAML document");
  }
  return {};
}

// The only place that sees yaml-cpp's exceptions. Of several documents the first counts, as for etcd.
Result<Json> parse_yaml(const std::string& text) {
  TRY(check_text(text));
  try {
    return Converter().value(YAML::Load(text));
  } catch (const YAML::Exception& e) {
    const size_t at = static_cast<size_t>(std::max(e.mark.pos, 0));
    if (e.msg.find("anchor is not defined") != std::string::npos && at < text.size()) {
      const size_t from = text[at] == '*' ? at + 1 : at;
      const size_t to = std::min(text.find_first_of(" \t\r\n,]}", from), text.size());
      return yaml_error(fmt::format("unknown anchor '{}' referenced", text.substr(from, to - from)));
    }
    return yaml_error(fmt::format("line {}: {}", e.mark.line + 1, e.msg));
  } catch (const std::exception& e) {
    return yaml_error(e.what());
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
  ASSIGN_OR_RETURN(const std::string text, read_small_file(path));
  return read_config_text(text, flags);
}

}  // namespace quoin::cmd

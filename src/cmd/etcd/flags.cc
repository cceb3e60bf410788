#include "cmd/etcd/flags.h"

#include <algorithm>

#include "base/check.h"
#include "cmd/etcd/config.h"
#include "cmd/etcd/config_url.h"
#include "cmd/etcd/flags_text.h"

namespace quoin::cmd {
namespace {

Error parser_error(std::string_view text) {
  return Error(Code::kInvalidArgument, std::string(text));
}

// Go's flag package hides strconv's words behind two of its own.
Error flag_number_error(const Error& e) {
  return parser_error(e.text() == "value out of range" ? "value out of range" : "parse error");
}

std::vector<std::string> sorted_set(std::vector<std::string> v) {
  std::sort(v.begin(), v.end());
  v.erase(std::unique(v.begin(), v.end()), v.end());
  return v;
}

Result<> set_urls(Flag& flag, std::string_view s) {
  if (s.empty() && flag.kind == FlagKind::kUrls) return {};
  std::vector<std::string>& list = flag.value.list;
  if (flag.kind == FlagKind::kUrlsOrAny && s == "*") {
    list.emplace_back(s);
    list = sorted_set(std::move(list));
    return {};
  }
  ASSIGN_OR_RETURN(const Urls urls, parse_urls(s));
  list = sorted_set(texts(urls));
  return {};
}

Result<> set_choices(Flag& flag, std::string_view s) {
  for (const std::string& word : split(s, ',')) {
    if (std::find(flag.choices.begin(), flag.choices.end(), word) == flag.choices.end()) {
      return make_error(Code::kInvalidArgument, "invalid value {}", go_quote(word));
    }
    flag.value.list.push_back(word);
  }
  std::sort(flag.value.list.begin(), flag.value.list.end());
  return {};
}

}  // namespace

Result<> Flag::set(std::string_view s) {
  switch (kind) {
    case FlagKind::kString:
      value.text = s;
      return {};
    case FlagKind::kIgnored:
      return {};
    case FlagKind::kBool: {
      auto v = parse_bool(s);
      if (!v) return parser_error("parse error");
      value.boolean = *v;
      return {};
    }
    case FlagKind::kUint: {
      auto v = parse_unsigned(s);
      if (!v) return flag_number_error(v.error());
      value.number = *v;
      return {};
    }
    case FlagKind::kUint32: {
      auto v = parse_unsigned(s, 32);
      if (!v)
        return make_error(Code::kInvalidArgument, "strconv.ParseUint: parsing {}: {}", go_quote(s),
                          v.error().text());
      value.number = *v;
      return {};
    }
    case FlagKind::kInt: {
      auto v = parse_signed(s);
      if (!v) return flag_number_error(v.error());
      value.integer = *v;
      return {};
    }
    case FlagKind::kDuration: {
      auto v = parse_duration(s);
      if (!v) return parser_error("parse error");
      value.integer = *v;
      return {};
    }
    case FlagKind::kUrls:
    case FlagKind::kUrlsOrAny:
      return set_urls(*this, s);
    case FlagKind::kStringSet:
      value.list = sorted_set(split(s, ','));
      return {};
    case FlagKind::kStringList:
      value.list = split(s, ',');
      return {};
    case FlagKind::kChoice:
      if (std::find(choices.begin(), choices.end(), s) == choices.end()) return parser_error("invalid value");
      value.text = s;
      return {};
    case FlagKind::kChoices:
      return set_choices(*this, s);
    case FlagKind::kGates:
      return set_gates(s, value.gates);
  }
  return {};
}

Flag& FlagSet::add(std::string_view name, FlagKind kind, std::string_view default_text,
                   std::vector<std::string> choices) {
  auto flag = std::make_unique<Flag>();
  flag->name = name;
  flag->kind = kind;
  flag->choices = std::move(choices);
  const bool list = kind == FlagKind::kStringSet || kind == FlagKind::kStringList ||
                    kind == FlagKind::kUrlsOrAny || kind == FlagKind::kChoices || kind == FlagKind::kGates;
  if (!(list && default_text.empty())) {
    CHECK(flag->set(default_text).has_value(), "default of --{}", name);
  }
  const auto [it, inserted] = flags_.emplace(std::string(name), std::move(flag));
  CHECK(inserted, "flag {} defined twice", name);
  return *it->second;
}

Flag* FlagSet::find(std::string_view name) {
  const auto it = flags_.find(name);
  return it == flags_.end() ? nullptr : it->second.get();
}

const Flag& FlagSet::at(std::string_view name) const {
  const auto it = flags_.find(name);
  CHECK(it != flags_.end(), "no flag {}", name);
  return *it->second;
}

FlagSet::Outcome FlagSet::parse(const std::vector<std::string>& args) {
  const auto fail = [this](std::string text) {
    error_ = std::move(text);
    return Outcome::kError;
  };
  size_t i = 0;
  while (i < args.size()) {
    const std::string_view word = args[i];
    if (word.size() < 2 || word[0] != '-') break;
    const size_t dashes = word[1] == '-' ? 2 : 1;
    ++i;
    if (word == "--") break;
    std::string_view name = word.substr(dashes);
    if (name.empty() || name[0] == '-' || name[0] == '=')
      return fail(fmt::format("bad flag syntax: {}", word));

    const size_t equals = name.find('=');
    bool has_value = equals != std::string_view::npos;
    std::string_view value = has_value ? name.substr(equals + 1) : std::string_view();
    name = name.substr(0, equals);
    Flag* flag = find(name);
    if (flag == nullptr) {
      if (name == "help" || name == "h") return Outcome::kHelp;
      return fail(fmt::format("flag provided but not defined: -{}", name));
    }
    if (flag->takes_no_argument()) {
      if (auto set = flag->set(has_value ? value : "true"); !set) {
        return fail(
            fmt::format("invalid boolean value {} for -{}: {}", go_quote(value), name, set.error().text()));
      }
    } else {
      if (!has_value && i < args.size()) {
        has_value = true;
        value = args[i++];
      }
      if (!has_value) return fail(fmt::format("flag needs an argument: -{}", name));
      if (auto set = flag->set(value); !set) {
        return fail(
            fmt::format("invalid value {} for flag -{}: {}", go_quote(value), name, set.error().text()));
      }
    }
    flag->given = true;
  }
  rest_.assign(args.begin() + static_cast<ptrdiff_t>(i), args.end());
  return Outcome::kOk;
}

std::string env_name(std::string_view flag) {
  std::string out = "ETCD_";
  for (const char c : flag) out += c == '-' ? '_' : c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
  return out;
}

const std::vector<GateSpec>& known_gates() {
  static const std::vector<GateSpec> gates = {
      {"AllAlpha", "ALPHA", false},
      {"AllBeta", "BETA", false},
      {"CompactHashCheck", "ALPHA", false},
      {"InitialCorruptCheck", "ALPHA", false},
      {"LeaseCheckpoint", "ALPHA", false},
      {"LeaseCheckpointPersist", "ALPHA", false},
      {"SetMemberLocalAddr", "ALPHA", false},
      {"StopGRPCServiceOnDefrag", "ALPHA", false},
      {"TxnModeWriteWithSharedBuffer", "BETA", true},
      {"LearnerAutoPromote", "QUOIN", false},
  };
  return gates;
}

Result<> set_gates(std::string_view s, std::map<std::string, bool>& gates) {
  std::map<std::string, bool> named;
  for (const std::string& item : split(s, ',')) {
    if (item.empty()) continue;
    const size_t equals = item.find('=');
    const std::string key(trim_space(std::string_view(item).substr(0, equals)));
    if (equals == std::string::npos)
      return make_error(Code::kInvalidArgument, "missing bool value for {}", key);
    const std::string_view text = trim_space(std::string_view(item).substr(equals + 1));
    const auto v = parse_bool(text);
    if (!v) {
      return make_error(Code::kInvalidArgument,
                        "invalid value of {}={}, err: strconv.ParseBool: parsing {}: {}", key, text,
                        go_quote(text), v.error().text());
    }
    named[key] = *v;
  }
  const auto& known = known_gates();
  for (const auto& [key, on] : named) {
    if (std::none_of(known.begin(), known.end(), [&k = key](const GateSpec& g) { return g.name == k; })) {
      return make_error(Code::kInvalidArgument, "unrecognized feature gate: {}", key);
    }
  }
  for (const auto& [key, on] : named) gates[key] = on;
  for (const auto& [all, stage] : {std::pair{"AllAlpha", "ALPHA"}, std::pair{"AllBeta", "BETA"}}) {
    const auto it = named.find(all);
    if (it == named.end()) continue;
    for (const GateSpec& g : known) {
      const bool special = g.name.substr(0, 3) == "All";
      if (!special && g.stage == stage) gates.emplace(std::string(g.name), it->second);
    }
  }
  return {};
}

bool gate_enabled(const std::map<std::string, bool>& gates, std::string_view name) {
  if (const auto it = gates.find(std::string(name)); it != gates.end()) return it->second;
  for (const GateSpec& g : known_gates()) {
    if (g.name == name) return g.enabled_by_default;
  }
  CHECK(false, "no feature gate {}", name);
}

}  // namespace quoin::cmd

// Go's `flag` package: its grammar, its error texts, and environment variables beside it (spec
// operations 1.1, 1.2).
//
// A flag holds one value of one kind. Values are read by the flag's name after parsing; asking for a name
// that is not defined, or for another kind, is a bug.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace quoin::cmd {

enum class FlagKind : uint8_t {
  kString,
  kBool,
  kUint,    // 64 bits
  kUint32,  // its parse errors name strconv
  kInt,     // 64 bits
  kDuration,
  kUrls,        // comma list, sorted, doubles removed; an empty text changes nothing
  kUrlsOrAny,   // the same, and "*" is a value of its own
  kStringSet,   // comma list, sorted, doubles removed
  kStringList,  // comma list, order kept
  kChoice,      // one of `choices`
  kChoices,     // comma list of `choices`; repeated flags accumulate
  kGates,       // feature gates; repeated flags accumulate
  kIgnored,     // a boolean that takes anything
};

struct FlagValue {
  std::string text;                   // kString, kChoice
  bool boolean = false;               // kBool
  uint64_t number = 0;                // kUint, kUint32
  int64_t integer = 0;                // kInt, kDuration (ns)
  std::vector<std::string> list;      // kUrls*: normal forms; kString*; kChoices
  std::map<std::string, bool> gates;  // kGates: what was set, by name
};

struct Flag {
  std::string name;
  FlagKind kind = FlagKind::kString;
  std::vector<std::string> choices;
  FlagValue value;
  bool given = false;  // on the command line or by a variable

  bool takes_no_argument() const { return kind == FlagKind::kBool || kind == FlagKind::kIgnored; }
  // Errors: the parser's words alone ("parse error", "invalid value").
  Result<> set(std::string_view s);
};

class FlagSet {
 public:
  Flag& add(std::string_view name, FlagKind kind, std::string_view default_text,
            std::vector<std::string> choices = {});

  enum class Outcome : uint8_t { kOk, kHelp, kError };
  // Without the program's name. On kError error() is the line etcd prints.
  Outcome parse(const std::vector<std::string>& args);
  const std::string& error() const { return error_; }
  // What parsing left over: the words from the first non-flag on.
  const std::vector<std::string>& rest() const { return rest_; }

  Flag* find(std::string_view name);
  const Flag& at(std::string_view name) const;
  bool given(std::string_view name) const { return at(name).given; }
  // In name order.
  const std::map<std::string, std::unique_ptr<Flag>, std::less<>>& flags() const { return flags_; }

 private:
  std::map<std::string, std::unique_ptr<Flag>, std::less<>> flags_;
  std::vector<std::string> rest_;
  std::string error_;
};

// ETCD_<NAME>.
std::string env_name(std::string_view flag);

// --feature-gates=A=true,B=false onto `gates`; AllAlpha and AllBeta set what is not named.
Result<> set_gates(std::string_view s, std::map<std::string, bool>& gates);
// A known gate's value: as set, else its default.
bool gate_enabled(const std::map<std::string, bool>& gates, std::string_view name);
struct GateSpec {
  std::string_view name, stage;
  bool enabled_by_default;
};
// The nine of 3.6, sorted by name.
const std::vector<GateSpec>& known_gates();

}  // namespace quoin::cmd

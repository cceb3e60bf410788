// The flags of etcd's sub-commands and tools, which follow the grammar of Go's pflag and not that of its flag package:
// two dashes before a name, one before shorthands, flags and words in any order.
//
//   --name=value  --name value  --bool  --bool=false    a bool takes no word behind it
//   -w=value  -w value  -wvalue  -hv                    shorthands; bools may share a dash
//   --                                                  all that follows are words
//   -                                                   a word
//
// A hidden flag is left out of lists; a deprecated one too, and says so when it is given. Numbers are Go's with base 0:
// 0x10, 010, 1_000.
//
// Threads: none. Errors: kInvalidArgument with pflag's words.
// Source: github.com/spf13/pflag 1.0.10 (Parse, FlagUsages, stringSlice), Go's encoding/csv.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cmd/cobra/csv.h"

namespace quoin::cmd {

struct CobraFlag {
  // kInt and kInt64 differ in nothing but that commands name them so; both have 64 bits.
  enum class Kind : uint8_t { kBool, kString, kStrings, kDuration, kInt, kInt64, kUint32, kUint64, kFloat64 };
  std::string name;
  char shorthand = '\0';  // none
  Kind kind = Kind::kString;
  std::string help;  // a word in `back quotes` names the value in the list of flags
  // The value, of its kind; what is set here at first is the default.
  bool boolean = false;
  std::string text;
  std::vector<std::string> list;  // the first --name replaces the default, the next ones add
  int64_t duration_ns = 0;
  int64_t number = 0;            // kInt, kInt64
  uint64_t unsigned_number = 0;  // kUint32, kUint64
  double real = 0;
  bool hidden = false;
  bool required = false;
  std::string deprecated;           // what to do instead; empty: not deprecated
  std::vector<std::string> values;  // what completion offers
  bool changed = false;             // by the command line
  std::string default_text;         // for the list of flags; CobraFlags::add() writes it
  std::string default_value;        // as value_text() gives it; CobraFlags::add() writes it

  // The value as Go's %v prints it: "5s", "[a,b]", "false".
  std::string value_text() const;
  // Errors: why pflag does not take the value ("invalid argument ... flag: ...").
  Result<> set(const std::string& value);
};

// A set of flags; those of a parent command are shared by its children.
class CobraFlags {
 public:
  // The name is new to the set.
  void add(CobraFlag flag) { add(std::make_shared<CobraFlag>(std::move(flag))); }
  void add(std::shared_ptr<CobraFlag> flag);
  // Those of `other` whose names are not here.
  void merge(const CobraFlags& other);

  const CobraFlag* find(std::string_view name) const;
  const CobraFlag* find(char shorthand) const { return by_shorthand(shorthand); }
  // Of a flag that is there.
  const CobraFlag& at(std::string_view name) const;
  bool empty() const { return by_name_.empty(); }
  // Whether list() has a line.
  bool any_shown() const;
  // Sorted by name.
  std::vector<CobraFlag*> all() const;
  // The names of required flags that were not given.
  std::vector<std::string> missing() const;

  // Sets values. Stops at the first error; flags before it keep what they were given.
  Result<> parse(const std::vector<std::string>& args);
  // The words that are no flags, in their order.
  const std::vector<std::string>& words() const { return words_; }
  // How many words stood before "--"; nothing if there was none.
  std::optional<size_t> words_before_dashes() const { return before_dashes_; }
  // Lines for standard error about deprecated flags that were given.
  const std::string& notices() const { return notices_; }

  // A line for each flag, sorted: names, kind of value, help, default.
  std::string list() const;

 private:
  CobraFlag* by_shorthand(char letter) const;
  Result<> parse_long(const std::string& arg, size_t& next, const std::vector<std::string>& args);
  Result<> parse_short(const std::string& arg, size_t& next, const std::vector<std::string>& args);

  std::map<std::string, std::shared_ptr<CobraFlag>, std::less<>> by_name_;
  Result<> set(CobraFlag& flag, const std::string& value);
  std::vector<std::string> words_;
  std::optional<size_t> before_dashes_;
  std::string notices_;
};

}  // namespace quoin::cmd

// The flags of etcd's sub-commands and tools, which follow the grammar of Go's pflag and not that of its flag package:
// two dashes before a name, one before shorthands, flags and words in any order.
//
//   --name=value  --name value  --bool  --bool=false    a bool takes no word behind it
//   -w=value  -w value  -wvalue  -hv                    shorthands; bools may share a dash
//   --                                                  all that follows are words
//   -                                                   a word
//
// Not here, since no command needs it yet: hidden and deprecated flags, kinds beyond those of CobraFlag::Kind.
//
// Threads: none. Errors: kInvalidArgument with pflag's words.
// Source: github.com/spf13/pflag 1.0.10 (Parse, FlagUsages, stringSlice), Go's encoding/csv.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace quoin::cmd {

struct CobraFlag {
  enum class Kind : uint8_t { kBool, kString, kStrings, kDuration };
  std::string name;
  char shorthand = '\0';  // none
  Kind kind = Kind::kString;
  std::string help;  // a word in `back quotes` names the value in the list of flags
  // The value, of its kind; what is set here at first is the default.
  bool boolean = false;
  std::string text;
  std::vector<std::string> list;  // the first --name replaces the default, the next ones add
  int64_t duration_ns = 0;
  bool changed = false;      // by the command line
  std::string default_text;  // for the list of flags; CobraFlags::add() writes it

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

  // Sets values. Stops at the first error; flags before it keep what they were given.
  Result<> parse(const std::vector<std::string>& args);
  // The words that are no flags, in their order.
  const std::vector<std::string>& words() const { return words_; }

  // A line for each flag, sorted: names, kind of value, help, default.
  std::string list() const;

 private:
  CobraFlag* by_shorthand(char letter) const;
  Result<> parse_long(const std::string& arg, size_t& next, const std::vector<std::string>& args);
  Result<> parse_short(const std::string& arg, size_t& next, const std::vector<std::string>& args);

  std::map<std::string, std::shared_ptr<CobraFlag>, std::less<>> by_name_;
  std::vector<std::string> words_;
};

// The first line of `text` that is not empty, in fields as encoding/csv splits them; none of an empty text.
// Errors: "parse error on line 1, column 2: bare \" in non-quoted-field", "EOF", ...
Result<std::vector<std::string>> read_csv_line(std::string_view text);

}  // namespace quoin::cmd

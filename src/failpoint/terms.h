// What a failpoint does when it is reached: a chain of terms in gofail's grammar.
//
//   terms := term ( "->" term )*          term := mod* act [ value ]
//   mod   := N "*"  (fires N times, then never)  |  P "%"  (with that probability; P has a dot: 25.0%)
//   act   := "off" | "return" | "sleep" | "panic" | "print"
//   value := "()" | "(" Go-quoted string | integer | "true" | "false" ")"
//
// The first term whose mods all allow it fires; those behind it are not looked at. A "->" at the very end is taken, as
// gofail does. Refused beyond gofail: `break` (it starts a debugger), a term without an act, a value without its closing
// bracket: gofail takes these and then fails at them.
//
// Threads: parse() any; a Terms by one thread at a time. Bounds: kTermsBytesMax.
// Source: gofail 0.2.0 runtime/terms.go; spec failpoints.md section 3.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/prng.h"

namespace quoin::failpoint {

inline constexpr size_t kTermsBytesMax = 4096;

enum class Act { kOff, kReturn, kSleep, kPanic, kPrint };

struct NoValue {
  friend bool operator==(NoValue, NoValue) { return true; }
};
using Value = std::variant<NoValue, std::string, int64_t, bool>;
// As Go's %v writes it; no value is "{}".
std::string value_text(const Value& value);

struct Fired {
  Act act = Act::kOff;
  Value value;
};

class Terms {
 public:
  // Nothing if the text is not in the grammar.
  static std::optional<Terms> parse(std::string_view text);

  // The text it was made of.
  const std::string& text() const { return text_; }
  // The place was reached: what is to be done, if a term fires.
  std::optional<Fired> fire(Prng& prng);
  // How often a term has fired.
  uint64_t count() const { return count_; }

 private:
  struct Mod {
    std::optional<uint64_t> left;  // N*
    double probability = 0;        // else; 0 to 1
  };
  struct Term {
    std::vector<Mod> mods;
    Fired what;
  };
  class Reader;

  std::string text_;
  std::vector<Term> chain_;
  uint64_t count_ = 0;
};

// Of sleep's value, in nanoseconds: an integer is milliseconds, a string a Go duration ("250ms", "1h2m3.5s"). Nothing
// from any other.
std::optional<int64_t> sleep_ns(const Value& value);

}  // namespace quoin::failpoint

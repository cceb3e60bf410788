// Finds where a JSON value ends in bytes that arrive in any cut, and whether it is one: the outer half of Go's
// decoder (encoding/json), whose texts clients get for what is no JSON at all. What a value means is for
// json_reader.h.
//
// As there: an object, array or string is whole with its last byte; the byte behind a number ends it, and so
// does the end of the input. Strings are not checked for UTF-8 here. Nesting is limited to kDepthMax.
//
// Threads: none of its own. Cost: linear, one pass; a bit of memory for each level of nesting.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace quoin::httpapi::gateway {

class ValueScanner {
 public:
  static constexpr size_t kDepthMax = 10'000;

  enum class Outcome : unsigned char {
    kMore,   // all bytes were taken, and the value goes on
    kValue,  // it is whole; the bytes behind it were not taken
    kError,  // error()
  };
  // `taken`: how many bytes of `bytes` are done with, of a whole value up to its end.
  Outcome feed(std::string_view bytes, size_t& taken);
  // The input has ended. kMore: it held blanks alone. kError has Go's "unexpected EOF" where a value had begun.
  Outcome end();
  const std::string& error() const { return error_; }
  // Blanks alone came since the value before.
  bool blank() const { return blank_; }
  // The next value.
  void reset();

 private:
  // What may come next.
  enum class State : unsigned char {
    kValue,         // a value
    kValueOrEnd,    // behind "["
    kKey,           // behind a comma in an object
    kKeyOrEnd,      // behind "{"
    kAfterValue,    // within something: a comma, a colon or its end
    kDone,          // nothing: the outermost value is whole
    kString,        // within a string
    kEscape,        // behind its backslash
    kHex,           // `left_` hexadecimal digits
    kNegative,      // behind "-"
    kZero,          // behind a leading 0
    kDigits,        // of a number's whole part
    kPoint,         // behind "."
    kFraction,      // digits
    kExponent,      // behind "e"
    kExponentSign,  // behind its sign
    kExponentDigits,
    kWord,  // within true, false or null: `word_`, `left_` bytes to come
  };
  enum class Level : unsigned char { kKey, kMember, kElement };

  // False: error_.
  bool step(char c);
  bool begin_value(char c);
  bool end_value(char c);
  bool begin_level(char c, Level level, State next);
  void end_level();
  bool fail(char c, std::string_view context);

  State state_ = State::kValue;
  std::vector<Level> levels_;
  std::string_view word_;
  unsigned left_ = 0;
  bool blank_ = true;
  bool ended_in_front_ = false;  // the byte that ended the value is not of it
  std::string error_;
};

}  // namespace quoin::httpapi::gateway

// The parts that heads of requests and of answers share: lines, and the fields collected from them.
//
// Threads: confined to its owner. Source: RFC 9112; Go's net/textproto.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace quoin::http1 {

// Whether two words are the same but for the case of ASCII letters.
bool equals_folded(std::string_view a, std::string_view b);
bool is_blank(char c);  // space or tab
std::string_view trim(std::string_view s);
// A method, or a field's name.
bool is_token(std::string_view s);
// No control characters but the tab.
bool is_field_value(std::string_view s);
// Digits alone, at most INT64_MAX.
std::optional<uint64_t> parse_content_length(std::string_view value);
// Which of its words a Connection field has; what was found before stays.
void read_connection_field(std::string_view value, bool& closes, bool& keeps_alive);

// One line after the other out of bytes that arrive in any cut.
class LineReader {
 public:
  enum class State : uint8_t { kMore, kLine, kTooLong };
  // Takes bytes from the front, up to the end of the line, and removes what it took. kTooLong: the line would become
  // longer than `max`, its end included.
  State take(std::string_view& bytes, size_t max);
  // With its end. Lives until the next take(), and no longer than the bytes given.
  std::string_view line() const { return line_; }
  // Whether a line has begun.
  bool begun() const { return !whole_ && !kept_.empty(); }

 private:
  std::string kept_;
  std::string_view line_;
  bool whole_ = false;  // `kept_` is a line that was told
};

// The text of one head, and the fields in it.
class HeadText {
 public:
  static constexpr size_t kFieldsMax = 4096;
  struct Range {
    uint32_t at = 0, size = 0;
  };
  enum class Added : uint8_t { kTaken, kMalformed, kBlankInName, kTooMany };

  Range keep(std::string_view s);
  std::string_view part(Range r) const { return std::string_view(text_).substr(r.at, r.size); }
  // A field's line without its end, not empty. A line that begins with a blank goes on with the field before. A name
  // with spaces in it is kept only if `blank_names` are taken (Go's client does).
  Added add_field(std::string_view line, bool blank_names);
  // In order; the views live as long as nothing is added.
  void fill(std::vector<std::pair<std::string_view, std::string_view>>& out) const;
  size_t fields() const { return fields_.size(); }
  std::string_view name(size_t i) const { return part(fields_[i].first); }
  std::string_view value(size_t i) const { return part(fields_[i].second); }

 private:
  std::string text_;
  std::vector<std::pair<Range, Range>> fields_;
};

}  // namespace quoin::http1

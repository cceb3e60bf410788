#include "cmd/text/display_width.h"

#include <algorithm>
#include <string>

#include "base/utf8.h"
#include "cmd/text/width_tables.h"

namespace quoin::cmd {

namespace {

bool contains(std::span<const CharRange> table, uint32_t c) {
  const auto at = std::lower_bound(table.begin(), table.end(), c,
                                   [](const CharRange& range, uint32_t code) { return range.last < code; });
  return at != table.end() && at->first <= c;
}

constexpr uint32_t kJoiner = 0x200d;

size_t char_width(uint32_t c) {
  if (c < 0x20 || c == 0x7f) return 0;
  if (c < 0x7f) return 1;
  if (contains(widthless_characters(), c)) return 0;
  return contains(wide_characters(), c) ? 2 : 1;
}

// Korean letters (Hangul_Syllable_Type): an L may be followed by L, V or a syllable, a V by V or T, a T by T.
enum class Hangul { kNone, kL, kV, kT, kLV, kLVT };
Hangul hangul(uint32_t c) {
  if (c >= 0xac00 && c <= 0xd7a3) return (c - 0xac00) % 28 == 0 ? Hangul::kLV : Hangul::kLVT;
  if ((c >= 0x1100 && c <= 0x115f) || (c >= 0xa960 && c <= 0xa97c)) return Hangul::kL;
  if ((c >= 0x1160 && c <= 0x11a7) || (c >= 0xd7b0 && c <= 0xd7c6)) return Hangul::kV;
  if ((c >= 0x11a8 && c <= 0x11ff) || (c >= 0xd7cb && c <= 0xd7fb)) return Hangul::kT;
  return Hangul::kNone;
}
bool hangul_joins(Hangul before, Hangul c) {
  switch (before) {
    case Hangul::kL:
      return c == Hangul::kL || c == Hangul::kV || c == Hangul::kLV || c == Hangul::kLVT;
    case Hangul::kV:
    case Hangul::kLV:
      return c == Hangul::kV || c == Hangul::kT;
    case Hangul::kT:
    case Hangul::kLVT:
      return c == Hangul::kT;
    case Hangul::kNone:
      return false;
  }
  return false;
}

bool is_flag_letter(uint32_t c) {
  return c >= 0x1f1e6 && c <= 0x1f1ff;
}
// Nothing joins a control. The characters of a cluster's table that have no width but join are not among them.
bool is_control(uint32_t c) {
  return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0xad || c == 0x200b || c == 0x200e || c == 0x200f ||
         (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff || c == 0x180e;
}

// Where clusters of characters end (Unicode UAX 29, rules GB3 to GB13 but for prepended marks).
class Clusters {
 public:
  // Whether `c` belongs to the cluster of the characters before it.
  bool joins(uint32_t c) {
    const bool joining = c >= 0x80 && contains(joining_characters(), c);
    const bool pictograph = c >= 0x80 && contains(pictographs(), c);
    bool joined = false;
    if (started_ && !is_control(before_) && !is_control(c)) {
      joined = joining || hangul_joins(hangul(before_), hangul(c)) || (is_flag_letter(c) && flag_open_) ||
               (pictograph && before_ == kJoiner && pictograph_);
    }
    joined = joined || (started_ && before_ == '\r' && c == '\n');
    flag_open_ = is_flag_letter(c) && !(joined && flag_open_);
    pictograph_ = pictograph || (joined && joining && pictograph_);
    before_ = c;
    started_ = true;
    return joined;
  }

 private:
  bool started_ = false;
  uint32_t before_ = 0;
  bool flag_open_ = false;   // the character before is the first letter of a flag
  bool pictograph_ = false;  // so far the cluster is a pictograph and its marks
};

// Bytes of the colour sequence at the front of `text`: ESC [ numbers of up to three digits between semicolons, then m,
// K or |. 0: there is none.
size_t colour_sequence(std::string_view text) {
  if (!text.starts_with("\x1b[")) return 0;
  const auto ends = [](char c) { return c == 'm' || c == 'K' || c == '|'; };
  size_t at = 2;
  if (at < text.size() && ends(text[at])) return at + 1;
  for (;;) {
    size_t digits = 0;
    while (at < text.size() && text[at] >= '0' && text[at] <= '9') ++at, ++digits;
    if (digits == 0 || digits > 3 || at == text.size()) return 0;
    if (ends(text[at])) return at + 1;
    if (text[at++] != ';') return 0;
  }
}

}  // namespace

size_t text_width(std::string_view text) {
  size_t width = 0, cluster = 0;
  Clusters clusters;
  while (!text.empty()) {
    const Utf8Char c = utf8_front(text);
    const uint32_t code = c.length == 0 ? 0xfffd : c.code;
    if (!clusters.joins(code)) {
      width += cluster;
      cluster = 0;
    }
    if (cluster == 0) cluster = char_width(code);
    text.remove_prefix(c.length == 0 ? 1 : c.length);
  }
  return width + cluster;
}

size_t display_width(std::string_view text) {
  std::string plain;
  while (!text.empty()) {
    const size_t skip = colour_sequence(text);
    if (skip == 0) plain += text[0];
    text.remove_prefix(skip == 0 ? 1 : skip);
  }
  return text_width(plain);
}

}  // namespace quoin::cmd

// Unicode's properties of characters that decide the width of a text. All begin above U+007F and are sorted.
#pragma once
#include <cstdint>
#include <span>

namespace quoin::cmd {

struct CharRange {
  uint32_t first = 0, last = 0;
};

std::span<const CharRange> wide_characters();       // two columns
std::span<const CharRange> widthless_characters();  // none
// They belong to the character before them (Grapheme_Cluster_Break Extend, ZWJ, SpacingMark).
std::span<const CharRange> joining_characters();
std::span<const CharRange> pictographs();  // Extended_Pictographic: a zero width joiner joins two of them

}  // namespace quoin::cmd

// How many columns of a terminal a text takes, as the tables of etcd's tools count it.
//
// Threads: any. Source: mattn/go-runewidth 0.0.16 and rivo/uniseg 0.4.7 (grapheme clusters), which tablewriter uses;
// tablewriter 0.0.5 (DisplayWidth).
#pragma once
#include <cstddef>
#include <string_view>

namespace quoin::cmd {

// A cluster of characters counts as its first character that has a width: 2 columns for East Asian wide characters and
// emoji, 0 for controls and marks, 1 for all others. A byte that is no UTF-8 counts 1. Locale and environment do not
// matter here (go-runewidth counts ambiguous characters as wide in an East Asian locale).
size_t text_width(std::string_view text);

// The same without the terminal's colour sequences (ESC [ ... m).
size_t display_width(std::string_view text);

}  // namespace quoin::cmd

#include "cmd/text/table.h"

#include <algorithm>
#include <cstdint>

#include "base/utf8.h"
#include "cmd/text/display_width.h"

namespace quoin::cmd {

namespace {

constexpr size_t kCellWidth = 30;  // what is wider is wrapped

std::vector<std::string> split_words(std::string_view text) {
  std::vector<std::string> words(1);
  for (const char c : text) {
    if (c == ' ' || c == '\n')
      words.emplace_back();
    else
      words.back() += c;
  }
  return words;
}

// Lines of at most `limit` columns (or the widest word) whose ends are as even as they can be: the sum of the squares
// of what is missing to the limit is the least, the last line not counted. Of several such divisions, the one whose
// first line is shortest.
std::vector<std::string> wrap(std::string_view text, size_t limit) {
  const std::vector<std::string> words = split_words(text);
  const size_t n = words.size();
  std::vector<size_t> widths;
  for (const std::string& word : words) widths.push_back(text_width(word));
  limit = std::max(limit, *std::max_element(widths.begin(), widths.end()));

  std::vector<uint64_t> cost(n + 1, 0);
  std::vector<size_t> next(n, n);  // the first word of the line after the one that begins with word i
  for (size_t i = n; i-- > 0;) {
    size_t width = 0;
    uint64_t best = UINT64_MAX;
    for (size_t j = i; j < n; ++j) {
      width += widths[j] + (j == i ? 0 : 1);
      if (width > limit) break;
      if (j + 1 == n) {
        best = 0;
        next[i] = n;
        break;
      }
      const uint64_t missing = limit - width;
      if (missing * missing + cost[j + 1] < best) {
        best = missing * missing + cost[j + 1];
        next[i] = j + 1;
      }
    }
    cost[i] = best;
  }

  std::vector<std::string> lines;
  for (size_t i = 0; i < n; i = next[i]) {
    std::string line = words[i];
    for (size_t j = i + 1; j < next[i]; ++j) line += " " + words[j];
    lines.push_back(std::move(line));
  }
  return lines;
}

size_t height(const std::vector<std::vector<std::string>>& row) {
  size_t most = 1;
  for (const auto& lines : row) most = std::max(most, lines.size());
  return most;
}

// A point stands for a space, unless it stands between digits, spaces or ends of the text.
bool is_point_of_number(std::string_view text, size_t at) {
  const auto is_number = [](char c) { return c == ' ' || (c >= '0' && c <= '9'); };
  return (at == 0 || is_number(text[at - 1])) && (at + 1 == text.size() || is_number(text[at + 1]));
}

std::string title(std::string text) {
  const bool was_empty = text.empty();
  for (size_t i = 0; i < text.size(); ++i) {
    // The new text of the character before decides, the old one of the character behind.
    if (text[i] == '_' || (text[i] == '.' && !is_point_of_number(text, i))) text[i] = ' ';
  }
  const size_t first = text.find_first_not_of(" \t\n\v\f\r");
  text =
      first == std::string::npos ? "" : text.substr(first, text.find_last_not_of(" \t\n\v\f\r") + 1 - first);
  if (text.empty() && !was_empty) return " ";
  for (char& c : text)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  return text;
}

}  // namespace

Table::Table(const std::vector<std::string>& header) : widths_(header.size(), 0) {
  header_ = wrapped(header);
}

void Table::add(const std::vector<std::string>& cells) {
  rows_.push_back(wrapped(cells));
}

Table::Row Table::wrapped(const std::vector<std::string>& cells) {
  Row row;
  for (size_t i = 0; i < cells.size(); ++i) {
    size_t width = 0;
    for (size_t from = 0; from <= cells[i].size();) {
      const size_t end = std::min(cells[i].find('\n', from), cells[i].size());
      width = std::max(width, display_width(std::string_view(cells[i]).substr(from, end - from)));
      from = end + 1;
    }
    // A short text keeps its own width as the limit and so its form, unless line breaks in it were turned into spaces.
    width = std::min(width, kCellWidth);
    std::vector<std::string> lines = wrap(cells[i], width);
    for (const std::string& line : lines) width = std::max(width, display_width(line));
    widths_[i] = std::max(widths_[i], width);
    row.push_back(std::move(lines));
  }
  return row;
}

std::string Table::text() const {
  std::string rule = "+";
  for (const size_t width : widths_) rule += std::string(width + 2, '-') + "+";
  rule += '\n';

  std::string out = rule;
  const auto padded = [](const std::string& text, size_t width, bool centred) {
    const size_t used = display_width(text);
    const size_t gap = width > used ? width - used : 0;
    const size_t left = centred ? gap / 2 : gap;
    return std::string(left, ' ') + text + std::string(gap - left, ' ');
  };
  const auto line_of = [](const std::vector<std::string>& lines, size_t y) {
    return y < lines.size() ? lines[y] : std::string();
  };
  for (size_t y = 0; y < height(header_); ++y) {
    out += '|';
    for (size_t x = 0; x < header_.size(); ++x)
      out += " " + padded(title(line_of(header_[x], y)), widths_[x], true) + " |";
    out += '\n';
  }
  out += rule;
  for (const Row& row : rows_) {
    for (size_t y = 0; y < height(row); ++y) {
      out += '|';
      for (size_t x = 0; x < row.size(); ++x) {
        // tablewriter fills the missing lines of a cell with two spaces, however narrow its column is.
        const std::string cell = y < row[x].size() ? row[x][y] : "  ";
        out += " " + padded(cell, widths_[x], false) + " |";
      }
      out += '\n';
    }
  }
  return out + rule;
}

}  // namespace quoin::cmd

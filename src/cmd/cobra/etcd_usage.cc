#include "cmd/cobra/etcd_usage.h"

#include <algorithm>

#include "base/go_text.h"
#include "cmd/etcd/flags_text.h"

namespace quoin::cmd {
namespace {

std::string indent(std::string_view text) {
  std::string out = "  ";
  for (const char c : text) {
    out += c;
    if (c == '\n') out += "  ";
  }
  return out;
}

std::string_view trim(std::string_view s) {
  const size_t first = s.find_first_not_of("\n\t ");
  if (first == std::string_view::npos) return "";
  return s.substr(first, s.find_last_not_of("\n\t ") - first + 1);
}

std::string flag_lines(const CobraFlags& flags) {
  std::string out;
  for (const CobraFlag* f : flags.all()) {
    if (!f->deprecated.empty()) continue;
    const bool optional = f->kind == CobraFlag::Kind::kBool;
    const std::string value =
        f->kind == CobraFlag::Kind::kString ? go_quote(f->default_value) : f->default_value;
    out +=
        f->shorthand ? fmt::format("  -{}, --{}", f->shorthand, f->name) : fmt::format("      --{}", f->name);
    out += fmt::format("{}={}{}\t{}\n", optional ? "[" : "", value, optional ? "]" : "", f->help);
  }
  return out;
}

// The names below `top` on the way to `command`. Like etcd's, it goes by names, not by identity.
std::string name_below(const CobraCommand& command, const CobraCommand& top) {
  std::string out = command.name();
  for (const CobraCommand* c = command.parent(); c != nullptr && c->name() != top.name(); c = c->parent()) {
    out = c->name() + " " + out;
  }
  return out;
}

void list_commands(const CobraCommand& below, const CobraCommand& top, std::string& out) {
  for (const auto& c : below.children()) {
    if (c->runnable && !c->hidden) out += fmt::format("  {}\t{}\n", name_below(*c, top), c->brief());
    list_commands(*c, top, out);
  }
}

size_t width_of(std::string_view cell) {
  return static_cast<size_t>(
      std::count_if(cell.begin(), cell.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

// Lines [first, last) share the columns left of `column`.
void set_column(std::vector<std::vector<std::string>>& lines, size_t first, size_t last, size_t column) {
  constexpr size_t kStop = 8;
  for (size_t i = first; i < last;) {
    if (lines[i].size() <= column + 1) {
      ++i;
      continue;
    }
    size_t end = i, width = 0;
    for (; end < last && lines[end].size() > column + 1; ++end) {
      width = std::max(width, width_of(lines[end][column]) + 1);
    }
    width = (width + kStop - 1) / kStop * kStop;
    set_column(lines, i, end, column + 1);
    for (; i < end; ++i) {
      std::string& cell = lines[i][column];
      cell.append((width - width_of(cell) + kStop - 1) / kStop, '\t');
    }
  }
}

}  // namespace

std::string tabbed_columns(std::string_view text) {
  std::vector<std::vector<std::string>> lines;
  for (const std::string& line : split(text, '\n')) lines.push_back(split(line, '\t'));
  set_column(lines, 0, lines.size(), 0);
  std::string out;
  for (size_t i = 0; i < lines.size(); ++i) out += (i ? "\n" : "") + join(lines[i], "");
  return out;
}

std::string etcd_usage(const CobraCommand& c, std::string_view version, std::string_view api_version) {
  const bool is_root = c.parent() == nullptr;
  std::string out =
      fmt::format("NAME:\n  {} - {}\n\nUSAGE:\n{}\n", is_root ? c.name() : name_below(c, c.root()), c.brief(),
                  indent(c.use_line()));
  if (is_root) out += fmt::format("\nVERSION:\n  {}\n", version);
  const bool has_children = !c.children().empty();
  if (has_children) out += fmt::format("\nAPI VERSION:\n  {}\n", api_version);
  if (!c.example.empty()) out += "\nExamples:\n" + c.example + "\n";
  if (has_children) {
    out += "\nCOMMANDS:\n";
    list_commands(c, c, out);
  }
  if (!c.description.empty()) {
    out += "\nDESCRIPTION:\n";
    for (const std::string& line : split(trim(c.description), '\n')) out += "  " + line + "\n";
  }
  if (const CobraFlags own = c.own_flags(); !own.empty()) out += "\nOPTIONS:\n" + flag_lines(own);
  if (const CobraFlags up = c.inherited_flags(); !up.empty()) out += "\nGLOBAL OPTIONS:\n" + flag_lines(up);
  return tabbed_columns(out + "\n");
}

}  // namespace quoin::cmd

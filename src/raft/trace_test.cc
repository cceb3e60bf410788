#include "raft/trace_test.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace quoin::raft::trace {
namespace {

namespace fs = std::filesystem;

std::string_view trimmed(std::string_view s) {
  const size_t from = s.find_first_not_of(" \t\r\n");
  if (from == s.npos) return {};
  return s.substr(from, s.find_last_not_of(" \t\r\n") - from + 1);
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

// Splits at commas that are not within parentheses; blanks after a comma are dropped.
std::vector<std::string> split_values(std::string_view s) {
  std::vector<std::string> out(1);
  int depth = 0;
  for (size_t i = 0; i < s.size(); ++i) {
    if (s[i] == '(') ++depth;
    if (s[i] == ')') --depth;
    if (s[i] == ',' && depth == 0) {
      out.emplace_back();
      while (i + 1 < s.size() && s[i + 1] == ' ') ++i;
    } else {
      out.back().push_back(s[i]);
    }
  }
  return out;
}

void parse_command(std::string_view s, Directive& d) {
  std::vector<std::string> words;
  int depth = 0;
  bool in_word = false;
  for (char c : s) {
    if (c == '(') ++depth;
    if (c == ')') --depth;
    if (c == ' ' && depth == 0) {
      in_word = false;
      continue;
    }
    if (!in_word) words.emplace_back();
    in_word = true;
    words.back().push_back(c);
  }
  d.command = words.at(0);
  for (size_t i = 1; i < words.size(); ++i) {
    Argument& a = d.args.emplace_back();
    const std::string& w = words[i];
    const size_t eq = w.find('=');
    a.key = w.substr(0, eq);
    if (eq == w.npos) continue;
    const std::string v = w.substr(eq + 1);
    a.values = v.size() >= 2 && v.front() == '(' && v.back() == ')' ? split_values(v.substr(1, v.size() - 2))
                                                                    : std::vector<std::string>{v};
  }
}

// What stands between the directives (comments, blank lines) and the directives, so that a file can be
// rewritten.
struct Piece {
  std::string text;  // as it stands, up to and with "----"; for the end of the file what is left
  bool has_directive = false;
  Directive directive;
};

std::vector<Piece> parse_file(const std::string& content) {
  const std::vector<std::string> lines = lines_of(content);
  std::vector<Piece> pieces(1);
  for (size_t i = 0; i < lines.size();) {
    Piece& p = pieces.back();
    const std::string_view t = trimmed(lines[i]);
    if (t.empty() || t[0] == '#') {
      p.text += lines[i++] + "\n";
      continue;
    }
    p.has_directive = true;
    p.directive.line = static_cast<int>(i) + 1;
    std::string command;
    for (;;) {
      std::string line = lines[i++];
      p.text += line + "\n";
      const bool more = !line.empty() && line.back() == '\\' && i < lines.size();
      if (more) line.pop_back();
      command += (command.empty() ? "" : " ") + std::string(trimmed(line));
      if (!more) break;
    }
    parse_command(command, p.directive);
    std::string input;
    for (; i < lines.size() && lines[i] != "----"; ++i) {
      p.text += lines[i] + "\n";
      input += (input.empty() ? "" : "\n") + lines[i];
    }
    p.directive.input = trimmed(input);
    if (i < lines.size()) p.text += lines[i++] + "\n";
    for (; i < lines.size() && !trimmed(lines[i]).empty(); ++i) p.directive.expected += lines[i] + "\n";
    pieces.emplace_back();
  }
  return pieces;
}

std::string line_ended(std::string s) {
  if (!s.empty() && s.back() != '\n') s += "\n";
  return s;
}

int run_file(const fs::path& path, const Handler& handle, bool rewrite) {
  std::stringstream content;
  content << std::ifstream(path).rdbuf();
  int compared = 0;
  std::string rewritten;
  for (const Piece& p : parse_file(content.str())) {
    rewritten += p.text;
    if (!p.has_directive) continue;
    const std::string actual = line_ended(handle(p.directive));
    rewritten += actual;
    ++compared;
    if (rewrite || actual == p.directive.expected) continue;
    ADD_FAILURE() << path.string() << ":" << p.directive.line << ": " << p.directive.command
                  << "\n---- expected\n"
                  << p.directive.expected << "---- actual\n"
                  << actual;
    return compared;
  }
  if (rewrite) std::ofstream(path) << rewritten;
  return compared;
}

}  // namespace

const Argument* Directive::find(std::string_view key) const {
  for (const Argument& a : args) {
    if (a.key == key) return &a;
  }
  return nullptr;
}

std::string Directive::value(std::string_view key, std::string_view otherwise) const {
  const Argument* a = find(key);
  return a && a->values.size() == 1 ? a->values[0] : std::string(otherwise);
}

bool Directive::flag(std::string_view key, bool otherwise) const {
  const std::string v = value(key);
  if (v.empty()) return otherwise;
  for (std::string_view yes : {"1", "t", "T", "TRUE", "true", "True"}) {
    if (v == yes) return true;
  }
  return false;
}

uint64_t Directive::number(std::string_view key, uint64_t otherwise) const {
  const std::string v = value(key);
  return v.empty() ? otherwise : std::strtoull(v.c_str(), nullptr, 10);
}

uint64_t Directive::id(size_t position) const {
  return std::strtoull(word(position).c_str(), nullptr, 10);
}

int run_folder(const std::string& folder, const std::function<Handler()>& new_handler, bool rewrite) {
  std::error_code ec;
  std::vector<fs::path> files;
  for (const auto& e : fs::directory_iterator(folder, ec)) {
    if (e.path().extension() == ".txt") files.push_back(e.path());
  }
  std::sort(files.begin(), files.end());
  int compared = 0;
  for (const fs::path& path : files) compared += run_file(path, new_handler(), rewrite);
  return compared;
}

std::string reference_folder(std::string_view name) {
  return fmt::format("{}/../shared/raft-traces/{}", QUOIN_SOURCE_DIR, name);
}

std::string parse_changes(std::string_view text, std::vector<ConfChangeSingle>& out) {
  if (text.empty()) return "";
  std::istringstream in{std::string(text)};
  for (std::string token; std::getline(in, token, ' ');) {
    if (token.size() < 2) return "unknown token " + token;
    ConfChangeSingle c;
    switch (token[0]) {
      case 'v':
        c.type = ConfChangeType::kAddNode;
        break;
      case 'l':
        c.type = ConfChangeType::kAddLearnerNode;
        break;
      case 'r':
        c.type = ConfChangeType::kRemoveNode;
        break;
      case 'u':
        c.type = ConfChangeType::kUpdateNode;
        break;
      default:
        return "unknown input: " + token;
    }
    c.node_id = MemberId{std::strtoull(token.c_str() + 1, nullptr, 10)};
    out.push_back(c);
  }
  return "";
}

}  // namespace quoin::raft::trace

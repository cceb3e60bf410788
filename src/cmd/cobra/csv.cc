#include "cmd/cobra/csv.h"

#include <optional>

#include "cmd/etcd/flags_text.h"

namespace quoin::cmd {
namespace {

template <class... A>
Error invalid(fmt::format_string<A...> f, A&&... args) {
  return make_error(Code::kInvalidArgument, f, std::forward<A>(args)...);
}

// Lines of a text as csv's reader takes them: "\r\n" counts as "\n", a "\r" at the end of the text as nothing.
class CsvLines {
 public:
  explicit CsvLines(std::string_view text) : rest_(text) {}
  // With its line feed, if it has one; nothing at the end.
  std::optional<std::string> next() {
    ++number_;
    if (rest_.empty()) return std::nullopt;
    const size_t end = rest_.find('\n');
    std::string line(rest_.substr(0, end == std::string_view::npos ? end : end + 1));
    rest_.remove_prefix(line.size());
    if (line.ends_with("\r\n")) {
      line.erase(line.size() - 2, 1);
    } else if (line.ends_with('\r')) {
      line.pop_back();
    }
    return line;
  }
  size_t number() const { return number_; }

 private:
  std::string_view rest_;
  size_t number_ = 0;
};

class CsvRecord {
 public:
  explicit CsvRecord(std::string_view text) : lines_(text) {}

  Result<std::vector<std::string>> read() {
    do {
      auto line = lines_.next();
      if (!line) return invalid("EOF");
      line_ = std::move(*line);
    } while (line_.empty() || line_ == "\n");
    first_ = lines_.number();
    line_number_ = first_;
    for (;;) {
      ASSIGN_OR_RETURN(const bool more, starts_with_quote() ? quoted() : plain());
      if (!more) return std::move(fields_);
    }
  }

 private:
  static constexpr std::string_view kBare = "bare \" in non-quoted-field";
  static constexpr std::string_view kQuote = "extraneous or missing \" in quoted-field";

  std::string_view rest() const { return std::string_view(line_).substr(at_); }
  bool starts_with_quote() const { return rest().starts_with('"'); }
  bool at_line_end() const { return rest().empty() || rest() == "\n"; }

  Error error(size_t line, size_t column, std::string_view why) const {
    const std::string where = first_ == line ? "" : fmt::format("record on line {}; ", first_);
    return invalid("{}parse error on line {}, column {}: {}", where, line, column, why);
  }

  // True if another field follows.
  Result<bool> plain() {
    const size_t comma = rest().find(',');
    std::string_view field = rest().substr(0, comma);
    if (comma == std::string_view::npos && field.ends_with('\n')) field.remove_suffix(1);
    if (const size_t quote = field.find('"'); quote != std::string_view::npos) {
      return error(lines_.number(), at_ + quote + 1, kBare);
    }
    fields_.emplace_back(field);
    at_ += field.size() + 1;
    return comma != std::string_view::npos;
  }

  Result<bool> quoted() {
    std::string field;
    ++at_;
    for (;;) {
      const size_t quote = rest().find('"');
      if (quote == std::string_view::npos) {
        field += rest();
        at_ += rest().size();
        auto line = lines_.next();
        // The text ends within the quotes.
        if (!line || line->empty()) return error(line_number_, at_ + 1, kQuote);
        line_ = std::move(*line);
        at_ = 0;
        ++line_number_;
        continue;
      }
      field += rest().substr(0, quote);
      at_ += quote + 1;
      if (starts_with_quote()) {
        field += '"';
        ++at_;
      } else if (rest().starts_with(',')) {
        ++at_;
        fields_.push_back(std::move(field));
        return true;
      } else if (at_line_end()) {
        fields_.push_back(std::move(field));
        return false;
      } else {
        return error(lines_.number(), at_, kQuote);
      }
    }
  }

  CsvLines lines_;
  std::string line_;
  size_t at_ = 0, first_ = 0, line_number_ = 0;
  std::vector<std::string> fields_;
};

// encoding/csv's writer for one field: quotes where the reader would need them.
std::string csv_field(const std::string& field) {
  if (field.empty()) return field;
  const bool plain = field.find_first_of(",\"\r\n") == std::string::npos && field[0] != ' ' &&
                     field[0] != '\t' && field != R"(\.)";
  if (plain) return field;
  std::string out = "\"";
  for (const char c : field) {
    if (c == '"') out += '"';
    out += c;
  }
  return out + "\"";
}

}  // namespace

Result<std::vector<std::string>> read_csv_line(std::string_view text) {
  if (text.empty()) return std::vector<std::string>{};
  return CsvRecord(text).read();
}

std::string csv_line(const std::vector<std::string>& fields) {
  // A line of one empty field would be an empty line.
  if (fields.size() == 1 && fields[0].empty()) return R"("")";
  std::vector<std::string> quoted;
  for (const std::string& f : fields) quoted.push_back(csv_field(f));
  return join(quoted, ",");
}

}  // namespace quoin::cmd

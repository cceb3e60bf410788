#include "posix/log_render.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <cstring>
#include <ctime>

#include "base/check.h"
#include "base/utf8.h"
#include "posix/log_duration.h"

namespace quoin::posix {
namespace {

// Record: caller file, line, logger name, message, then fields: key, tag (index of the variant), value.
// Texts are a 4-byte length and their bytes; numbers 8 bytes of this machine's order (records never leave
// it).
void put_text(std::string& out, std::string_view s) {
  const auto n = static_cast<uint32_t>(s.size());
  out.append(reinterpret_cast<const char*>(&n), sizeof n);
  out.append(s.substr(0, n));
}
void put_u64(std::string& out, uint64_t v) {
  out.append(reinterpret_cast<const char*>(&v), sizeof v);
}

class Reader {
 public:
  explicit Reader(std::string_view s) : s_(s) {}
  bool done() const { return s_.empty(); }
  std::string_view text() {
    uint32_t n = 0;
    take(&n, sizeof n);
    CHECK_LE(n, s_.size());
    const std::string_view t = s_.substr(0, n);
    s_.remove_prefix(n);
    return t;
  }
  uint64_t u64() {
    uint64_t v = 0;
    take(&v, sizeof v);
    return v;
  }
  uint8_t tag() {
    uint8_t v = 0;
    take(&v, sizeof v);
    return v;
  }

 private:
  void take(void* to, size_t n) {
    CHECK_LE(n, s_.size());
    std::memcpy(to, s_.data(), n);
    s_.remove_prefix(n);
  }
  std::string_view s_;
};

// Folder and file, as zap shortens a path.
std::string_view short_path(std::string_view file) {
  const size_t last = file.rfind('/');
  if (last == std::string_view::npos || last == 0) return file;
  const size_t before = file.rfind('/', last - 1);
  return before == std::string_view::npos ? file : file.substr(before + 1);
}

void append_time(std::string& out, int64_t wall_ns) {
  std::time_t seconds = wall_ns / 1'000'000'000;
  int64_t rest = wall_ns % 1'000'000'000;
  if (rest < 0) {
    rest += 1'000'000'000;
    --seconds;
  }
  std::tm tm{};
  localtime_r(&seconds, &tm);
  fmt::format_to(std::back_inserter(out), "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}", tm.tm_year + 1900,
                 tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, rest / 1000);
  if (tm.tm_gmtoff == 0) {
    out += 'Z';
  } else {
    const long minutes = std::labs(tm.tm_gmtoff) / 60;
    fmt::format_to(std::back_inserter(out), "{}{:02}{:02}", tm.tm_gmtoff < 0 ? '-' : '+', minutes / 60,
                   minutes % 60);
  }
}

void append_quoted(std::string& out, std::string_view s) {
  out += '"';
  append_json_escaped(out, s);
  out += '"';
}

// One decimal below ten, none above, none for plain bytes.
void append_size(std::string& out, uint64_t bytes) {
  static constexpr std::string_view kUnits[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
  if (bytes < 10) {
    fmt::format_to(std::back_inserter(out), "{} B", bytes);
    return;
  }
  size_t unit = 0;
  double scale = 1;
  for (uint64_t rest = bytes; rest >= 1000; rest /= 1000) {
    ++unit;
    scale *= 1000;
  }
  const double shown = std::floor(static_cast<double>(bytes) / scale * 10 + 0.5) / 10;
  fmt::format_to(std::back_inserter(out), fmt::runtime(shown < 10 ? "{:.1f} {}" : "{:.0f} {}"), shown,
                 kUnits[unit]);
}

void append_double(std::string& out, double v) {
  if (std::isnan(v)) {
    out += "\"NaN\"";
  } else if (std::isinf(v)) {
    out += v > 0 ? "\"+Inf\"" : "\"-Inf\"";
  } else {
    char buffer[400];
    out.append(buffer, std::to_chars(buffer, buffer + sizeof buffer, v, std::chars_format::fixed).ptr);
  }
}

void put_value(std::string& out, const log::Field::Value& value) {
  out += static_cast<char>(value.index());
  std::visit(
      [&out](const auto& v) {
        using T = std::decay_t<decltype(v)>;
        if constexpr (std::is_same_v<T, std::string_view>) {
          put_text(out, v);
        } else if constexpr (std::is_same_v<T, log::JsonText>) {
          put_text(out, v.text);
        } else if constexpr (std::is_same_v<T, log::Duration>) {
          put_u64(out, static_cast<uint64_t>(v.ns));
        } else if constexpr (std::is_same_v<T, log::Hex>) {
          put_u64(out, v.v);
        } else if constexpr (std::is_same_v<T, log::Size>) {
          put_u64(out, v.bytes);
        } else if constexpr (std::is_same_v<T, log::Field::Strings>) {
          put_u64(out, v->size());
          for (const std::string& s : *v) put_text(out, s);
        } else if constexpr (std::is_same_v<T, double>) {
          uint64_t bits = 0;
          std::memcpy(&bits, &v, sizeof bits);
          put_u64(out, bits);
        } else {
          put_u64(out, static_cast<uint64_t>(v));
        }
      },
      value);
}

// Order of log::Field::Value.
enum Tag : uint8_t { kText, kInt, kUint, kBool, kDouble, kDuration, kHex, kJson, kStrings, kSize };

void append_value(std::string& out, Reader& in, std::string_view item_separator) {
  switch (in.tag()) {
    case kText:
      return append_quoted(out, in.text());
    case kInt:
      out += fmt::format_int(static_cast<int64_t>(in.u64())).c_str();
      return;
    case kUint:
      out += fmt::format_int(in.u64()).c_str();
      return;
    case kBool:
      out += in.u64() != 0 ? "true" : "false";
      return;
    case kDouble: {
      const uint64_t bits = in.u64();
      double v = 0;
      std::memcpy(&v, &bits, sizeof v);
      return append_double(out, v);
    }
    case kDuration:
      out += '"';
      append_duration(out, static_cast<int64_t>(in.u64()));
      out += '"';
      return;
    case kHex:
      fmt::format_to(std::back_inserter(out), "\"{:x}\"", in.u64());
      return;
    case kJson:
      out += in.text();
      return;
    case kStrings: {
      out += '[';
      const uint64_t n = in.u64();
      for (uint64_t i = 0; i < n; ++i) {
        if (i > 0) out += item_separator;
        append_quoted(out, in.text());
      }
      out += ']';
      return;
    }
    case kSize:
      out += '"';
      append_size(out, in.u64());
      out += '"';
      return;
    default:
      CHECK(false, "unknown field tag");
  }
}

struct Head {
  std::string_view file;
  uint64_t line;
  std::string_view logger;
  std::string_view message;
};
Head read_head(Reader& in) {
  Head h;
  h.file = in.text();
  h.line = in.u64();
  h.logger = in.text();
  h.message = in.text();
  return h;
}

// From error up zap adds where it was; one frame is what a log line can say here.
bool with_stack(log::Level level) {
  return level >= log::Level::kError;
}

}  // namespace

std::string_view level_name(log::Level level) {
  switch (static_cast<int>(level)) {
    case -1:
      return "debug";
    case 0:
      return "info";
    case 1:
      return "warn";
    case 2:
      return "error";
    case 3:
      return "dpanic";
    case 4:
      return "panic";
    default:
      return "fatal";
  }
}

void append_json_escaped(std::string& out, std::string_view s) {
  for (size_t i = 0; i < s.size();) {
    const auto c = static_cast<unsigned char>(s[i]);
    if (c < 0x80) {
      ++i;
      switch (c) {
        case '"':
          out += "\\\"";
          break;
        case '\\':
          out += "\\\\";
          break;
        case '\n':
          out += "\\n";
          break;
        case '\r':
          out += "\\r";
          break;
        case '\t':
          out += "\\t";
          break;
        default:
          if (c < 0x20)
            fmt::format_to(std::back_inserter(out), "\\u{:04x}", c);
          else
            out += static_cast<char>(c);
      }
      continue;
    }
    const size_t n = utf8_front(s.substr(i)).length;
    if (n == 0) {
      out += "\\ufffd";
      ++i;
    } else {
      out.append(s, i, n);
      i += n;
    }
  }
}

void encode_event(std::string& out, const log::Event& event, std::string_view logger_name) {
  put_text(out, short_path(event.file));
  put_u64(out, static_cast<uint64_t>(event.line));
  put_text(out, logger_name);
  put_text(out, event.message);
  for (const log::Field& f : event.fields) {
    put_text(out, f.key);
    put_value(out, f.value);
  }
}

std::string record_caller(std::string_view record) {
  Reader in(record);
  const Head head = read_head(in);
  return fmt::format("{}:{}", head.file, head.line);
}

void render_json(std::string& out, std::string_view record, log::Level level, int64_t wall_ns, bool stack) {
  Reader in(record);
  const Head head = read_head(in);
  out += "{\"level\":\"";
  out += level_name(level);
  out += "\",\"ts\":\"";
  append_time(out, wall_ns);
  if (!head.logger.empty()) {
    out += "\",\"logger\":\"";
    append_json_escaped(out, head.logger);
  }
  out += "\",\"caller\":\"";
  append_json_escaped(out, head.file);
  fmt::format_to(std::back_inserter(out), ":{}\",\"msg\":\"", head.line);
  append_json_escaped(out, head.message);
  out += '"';
  while (!in.done()) {
    out += ",\"";
    append_json_escaped(out, in.text());
    out += "\":";
    append_value(out, in, ",");
  }
  if (stack && with_stack(level)) {
    out += ",\"stacktrace\":\"quoin\\n\\t";
    append_json_escaped(out, head.file);
    fmt::format_to(std::back_inserter(out), ":{}\"", head.line);
  }
  out += "}\n";
}

void render_console(std::string& out, std::string_view record, log::Level level, int64_t wall_ns,
                    bool stack) {
  Reader in(record);
  const Head head = read_head(in);
  append_time(out, wall_ns);
  out += '\t';
  out += level_name(level);
  if (!head.logger.empty()) {
    out += '\t';
    out += head.logger;
  }
  fmt::format_to(std::back_inserter(out), "\t{}:{}\t", head.file, head.line);
  out += head.message;
  for (bool first = true; !in.done(); first = false) {
    out += first ? "\t{\"" : ", \"";
    append_json_escaped(out, in.text());
    out += "\": ";
    append_value(out, in, ", ");
    if (in.done()) out += '}';
  }
  if (stack && with_stack(level))
    fmt::format_to(std::back_inserter(out), "\nquoin\n\t{}:{}", head.file, head.line);
  out += '\n';
}

}  // namespace quoin::posix

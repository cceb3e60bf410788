#include "cmd/etcdctl/client_log.h"

#include <fmt/format.h>
#include <sys/time.h>
#include <unistd.h>

#include <ctime>

#include "base/go_text.h"

namespace quoin::ctl {
namespace {

std::string now_text() {
  timeval now{};
  gettimeofday(&now, nullptr);
  tm utc{};
  gmtime_r(&now.tv_sec, &utc);
  char text[32];
  const size_t n = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
  return fmt::format("{}.{:06}Z", std::string_view(text, n), now.tv_usec);
}

// zap's strings: encoding/json's, but <, > and & stand as they are.
std::string zap_text(std::string_view text) {
  std::string out;
  const std::string escaped = go_json_string(text);
  for (size_t i = 0; i < escaped.size(); ++i) {
    if (escaped[i] != '\\') {
      out += escaped[i];
      continue;
    }
    const std::string_view six = std::string_view(escaped).substr(i, 6);
    const char plain = six == "\\u003c" ? '<' : six == "\\u003e" ? '>' : six == "\\u0026" ? '&' : '\0';
    if (plain != '\0') {
      out += plain;
      i += 5;
    } else {
      out += escaped.substr(i, 2);  // so that an escaped backslash never begins another escape
      ++i;
    }
  }
  return out;
}

}  // namespace

LogField::LogField(std::string_view k, std::string_view text) : key(k), json(zap_text(text)) {}
LogField::LogField(std::string_view k, int64_t number) : key(k), json(fmt::format("{}", number)) {}
LogField::LogField(std::string_view k, uint64_t number) : key(k), json(fmt::format("{}", number)) {}

void log_line(std::string_view level, std::string_view logger, std::string_view message,
              std::initializer_list<LogField> fields, std::source_location where) {
  const std::string_view path = where.file_name();
  const size_t slash = path.rfind('/', path.rfind('/') - 1);
  std::string line = fmt::format(R"({{"level":"{}","ts":"{}",)", level, now_text());
  if (!logger.empty()) line += fmt::format(R"("logger":"{}",)", logger);
  line += fmt::format(R"("caller":"{}:{}","msg":{})",
                      path.substr(slash == std::string_view::npos ? 0 : slash + 1), where.line(),
                      zap_text(message));
  for (const LogField& f : fields) line += fmt::format(R"(,"{}":{})", f.key, f.json);
  if (level == "error" || level == "fatal") line += R"(,"stacktrace":"")";
  line += "}\n";
  [[maybe_unused]] const auto written = write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace quoin::ctl

#include "sim/log_sink.h"

#include <fmt/format.h>

#include <algorithm>
#include <type_traits>
#include <variant>

#include "base/coding.h"

namespace quoin::sim {
namespace {

std::string_view level_name(log::Level level) {
  switch (level) {
    case log::Level::kDebug:
      return "debug";
    case log::Level::kInfo:
      return "info";
    case log::Level::kWarn:
      return "warn";
    case log::Level::kError:
      return "error";
    case log::Level::kPanic:
      return "panic";
    case log::Level::kFatal:
      return "fatal";
  }
  return "?";
}

std::string value_text(const log::Field::Value& value) {
  return std::visit(
      [](const auto& v) -> std::string {
        using T = std::decay_t<decltype(v)>;
        if constexpr (std::is_same_v<T, log::Duration>) {
          return fmt::format("{}ns", v.ns);
        } else if constexpr (std::is_same_v<T, log::Size>) {
          return fmt::format("{}B", v.bytes);
        } else if constexpr (std::is_same_v<T, log::Hex>) {
          return hex(v.v);
        } else if constexpr (std::is_same_v<T, log::JsonText>) {
          return std::string(v.text);
        } else if constexpr (std::is_same_v<T, log::Field::Strings>) {
          return fmt::format("[{}]", fmt::join(*v, " "));
        } else {
          return fmt::format("{}", v);
        }
      },
      value);
}

}  // namespace

void LogSink::log(const log::Event& event) {
  std::string line = fmt::format("{} {}", level_name(event.level), event.message);
  for (const log::Field& field : event.fields) {
    line += fmt::format(" {}={}", field.key, value_text(field.value));
  }
  lines_.push_back(std::move(line));
}

size_t LogSink::count(std::string_view text) const {
  return static_cast<size_t>(std::count_if(lines_.begin(), lines_.end(), [&](const std::string& line) {
    return line.find(text) != std::string::npos;
  }));
}

}  // namespace quoin::sim

// The lines that etcd's client library logs: zap's JSON on standard error, one write a line.
//
// Threads: any.
#pragma once
#include <initializer_list>
#include <source_location>
#include <string>
#include <string_view>

namespace quoin::ctl {

struct LogField {
  std::string_view key;
  std::string json;  // the value as JSON

  LogField(std::string_view k, std::string_view text);
  LogField(std::string_view k, const std::string& text) : LogField(k, std::string_view(text)) {}
  LogField(std::string_view k, const char* text) : LogField(k, std::string_view(text)) {}
  LogField(std::string_view k, int64_t number);
  LogField(std::string_view k, uint64_t number);
  LogField(std::string_view k, int number) : LogField(k, static_cast<int64_t>(number)) {}
};

// `level`: info, warn, error, fatal; `logger` may be empty. error and fatal carry a stack trace in etcd; here an empty one.
void log_line(std::string_view level, std::string_view logger, std::string_view message,
              std::initializer_list<LogField> fields,
              std::source_location where = std::source_location::current());

}  // namespace quoin::ctl

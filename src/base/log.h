// Log events: a level, etcd's message text, and ordered fields. Rendered elsewhere (posix/log_sink as zap's
// JSON lines or console lines; tests into a vector). Pure cores (raft, http2, ...) do not log: they report
// to an observer or return.
//
// Threads: Logger::log may be called on any thread and never blocks the caller on a disk or terminal.
// Lifetime: an Event and all views in it live only during the call of log(); a sink copies what it keeps.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace quoin::log {

enum class Level : int8_t { kDebug = -1, kInfo = 0, kWarn = 1, kError = 2, kPanic = 4, kFatal = 5 };

struct Duration {  // rendered as Go's time.Duration text ("1.5s"), or seconds where the sink is told so
  int64_t ns;
};
struct JsonText {  // already JSON, put in as it is
  std::string_view text;
};
struct Size {  // bytes as people read them, in decimal units: "20 kB", "2.1 GB"
  uint64_t bytes;
};
struct Hex {  // an id in lower-case hex without leading zeros, as a string
  uint64_t v;
};

struct Field {
  using Strings = const std::vector<std::string>*;
  using Value =
      std::variant<std::string_view, int64_t, uint64_t, bool, double, Duration, Hex, JsonText, Strings, Size>;
  std::string_view key;
  Value value;

  Field(std::string_view k, std::string_view v) : key(k), value(v) {}
  Field(std::string_view k, const std::string& v) : key(k), value(std::string_view(v)) {}
  Field(std::string_view k, const char* v) : key(k), value(std::string_view(v)) {}
  Field(std::string_view k, bool v) : key(k), value(v) {}
  Field(std::string_view k, int v) : key(k), value(static_cast<int64_t>(v)) {}
  Field(std::string_view k, long v) : key(k), value(static_cast<int64_t>(v)) {}
  Field(std::string_view k, long long v) : key(k), value(static_cast<int64_t>(v)) {}
  Field(std::string_view k, unsigned v) : key(k), value(static_cast<uint64_t>(v)) {}
  Field(std::string_view k, unsigned long v) : key(k), value(static_cast<uint64_t>(v)) {}
  Field(std::string_view k, unsigned long long v) : key(k), value(static_cast<uint64_t>(v)) {}
  Field(std::string_view k, double v) : key(k), value(v) {}
  Field(std::string_view k, Duration v) : key(k), value(v) {}
  Field(std::string_view k, Hex v) : key(k), value(v) {}
  Field(std::string_view k, Size v) : key(k), value(v) {}
  Field(std::string_view k, JsonText v) : key(k), value(v) {}
  Field(std::string_view k, const std::vector<std::string>& v) : key(k), value(&v) {}
};

struct Event {
  Level level;
  std::string_view message;
  std::initializer_list<Field> fields;
  // "folder/file.cc:line" of the caller.
  std::string_view file;
  int line;
};

class Logger {
 public:
  virtual ~Logger() = default;
  virtual bool enabled(Level level) const = 0;
  virtual void log(const Event& event) = 0;
  // A logger whose lines carry this name ("raft", "bbolt"), where the sink knows names; it lives as long as
  // this one.
  virtual Logger& named(std::string_view) { return *this; }
};

// Drops everything; for tests and tools.
Logger& null_logger();

}  // namespace quoin::log

// LOG(logger, kInfo, "closing etcd server", {"name", name}, {"data-dir", dir});
#define LOG(logger, level_, message_, ...)                                                                \
  do {                                                                                                    \
    if ((logger).enabled(::quoin::log::Level::level_))                                                    \
      (logger).log(                                                                                       \
          ::quoin::log::Event{::quoin::log::Level::level_, message_, {__VA_ARGS__}, __FILE__, __LINE__}); \
  } while (0)

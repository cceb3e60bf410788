// Collects log events as text, a line each: `info opened backend db path=/x took=5000000ns`.
//
// Threads: the simulation's one thread.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"

namespace quoin::sim {

class LogSink final : public log::Logger {
 public:
  bool enabled(log::Level level) const override { return level >= level_; }
  void log(const log::Event& event) override;

  void set_level(log::Level level) { level_ = level; }
  const std::vector<std::string>& lines() const { return lines_; }
  // Number of lines that contain `text`.
  size_t count(std::string_view text) const;
  bool contains(std::string_view text) const { return count(text) != 0; }
  void clear() { lines_.clear(); }

 private:
  log::Level level_ = log::Level::kDebug;
  std::vector<std::string> lines_;
};

}  // namespace quoin::sim

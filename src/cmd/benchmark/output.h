// Standard output: texts as they come, or one JSON object at the end.
//
//   {"command":"put","interrupted":false,"reports":[{...},...]}
//
// What cannot be written ends the program: a reader that has gone kills it by SIGPIPE as it kills a Go program, a full
// disk gives exit code 1; one line on standard error says so.
//
// Threads: one at a time.
#pragma once
#include <string>
#include <string_view>

#include "cmd/benchmark/report.h"

namespace quoin::cmd::bench {

class Output {
 public:
  // `command` names the run in JSON.
  Output(std::string command, bool json) : command_(std::move(command)), json_(json) {}
  // Left out of JSON.
  void text(std::string_view text);
  // `before` and `after` stand around its text; JSON has its name.
  void report(std::string_view name, std::string_view before, const Report& report,
              std::string_view after = "");
  // Members of the JSON object, as `"hashkv":{...}`; left out of the text.
  void json_member(std::string_view name, std::string_view json);
  void finish(bool interrupted);

 private:
  const std::string command_;
  const bool json_;
  GoJson reports_;
  bool any_report_ = false;
  std::string members_;
};

// Writes all of it to standard output, or ends the program as said above.
void write_out(std::string_view text);

}  // namespace quoin::cmd::bench

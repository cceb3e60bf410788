// What a check found: facts about each part that could be read, faults, and notes that need no action.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "cmd/etcdutl/printer.h"

namespace quoin::utl {

struct Finding {
  bool fault = false;  // else a note: unusual, but nothing is wrong
  std::string where;   // a file, with the place in it where there is one
  std::string what;
  std::string remedy;  // what can be done; empty: nothing need be
};

class Report {
 public:
  void fact(std::string where, std::string what) {
    facts_.push_back({false, std::move(where), std::move(what), ""});
  }
  void note(std::string where, std::string what, std::string remedy = "") {
    findings_.push_back({false, std::move(where), std::move(what), std::move(remedy)});
  }
  void fault(std::string where, std::string what, std::string_view remedy) {
    findings_.push_back({true, std::move(where), std::move(what), std::string(remedy)});
  }

  bool sound() const;
  const std::vector<Finding>& facts() const { return facts_; }
  const std::vector<Finding>& findings() const { return findings_; }

 private:
  std::vector<Finding> facts_, findings_;
};

// kSimple: lines for people, the result last. kJson: {"sound":false,"facts":[...],"findings":[...]}.
std::string print_report(const Report& report, Format format);

}  // namespace quoin::utl

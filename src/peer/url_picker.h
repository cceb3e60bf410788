// Which of a member's URLs is tried next: the one that worked, until it fails.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"

namespace quoin::peer {

class UrlPicker {
 public:
  explicit UrlPicker(std::vector<std::string> urls) { update(std::move(urls)); }

  void update(std::vector<std::string> urls) {
    CHECK(!urls.empty());
    urls_ = std::move(urls);
    picked_ = 0;
  }
  const std::string& pick() const { return urls_[picked_]; }
  // Two that failed with the same URL move on once.
  void unreachable(const std::string& url) {
    if (url == urls_[picked_]) picked_ = (picked_ + 1) % urls_.size();
  }

 private:
  std::vector<std::string> urls_;
  size_t picked_ = 0;
};

}  // namespace quoin::peer

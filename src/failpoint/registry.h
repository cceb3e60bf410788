// All failpoints of a process by name, and what is set at each.
//
// Threads: any, except use(), which comes before other threads begin. A place where nothing is set costs one relaxed
// load. Its terms are chosen from under a lock; what fires is done outside of it, so that several threads may sleep at
// one place.
// Ownership: points register themselves and live as long as the registry; effects outlive it.
// Source: gofail 0.2.0 runtime; spec failpoints.md.
#pragma once
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/prng.h"
#include "failpoint/terms.h"

namespace quoin::failpoint {

// What a failpoint does to its process.
class Effects {
 public:
  virtual ~Effects() = default;
  virtual void sleep(int64_t ns) = 0;
  // A line of output; without its newline.
  virtual void print(std::string_view line) = 0;
  // As a crash: nothing is cleaned up. `line` is what is said last.
  virtual void die(std::string_view line) = 0;
};

enum class Status { kOk, kDoesNotExist, kDisabled, kBadTerms };

class Registry;

class Point {
 public:
  Point(Registry& registry, const char* name);
  ~Point();
  Point(const Point&) = delete;
  Point& operator=(const Point&) = delete;

  void reach() {
    if (armed_.load(std::memory_order_relaxed)) [[unlikely]]
      fire();
  }
  // The same for a place at which return("...") means something.
  std::optional<std::string> text() {
    if (!armed_.load(std::memory_order_relaxed)) [[likely]]
      return std::nullopt;
    return fire_text();
  }

 private:
  friend class Registry;
  void fire();
  std::optional<std::string> fire_text();

  Registry& registry_;
  const std::string_view name_;
  std::atomic<bool> armed_{false};
  std::optional<Terms> terms_;  // guarded by the registry
};

// "a=terms;b=terms": names and terms in order, empty items left out. Else the first item that does not hold exactly
// one "=", as `bad failpoint "..."`.
struct Assignments {
  std::vector<std::pair<std::string, std::string>> items;
  std::string error;  // empty: none
};
Assignments parse_assignments(std::string_view text);

class Registry {
 public:
  Registry() = default;
  // That of the places in the code.
  static Registry& process();

  // Without effects nothing fires.
  void use(Effects& effects, uint64_t seed);

  // Bad terms are told by Effects::print(), too.
  Status set(std::string_view name, std::string_view terms);
  Status clear(std::string_view name);
  struct Setting {
    Status status = Status::kOk;  // not kBadTerms
    std::string terms;
    uint64_t count = 0;  // times a term fired since it was set
  };
  Setting setting(std::string_view name) const;
  // Name and terms of all, by name; no terms: off.
  std::vector<std::pair<std::string, std::string>> list() const;

  // While it is held no panic ends the process: whoever set one gets the answer first.
  [[nodiscard]] std::unique_lock<std::mutex> hold_panics() { return std::unique_lock(panic_); }

 private:
  friend class Point;
  void add(Point& point);
  void remove(Point& point);
  // Does what fires at the place; its value if that is for the place to understand.
  std::optional<Value> fire(Point& point);
  void ignore_value(const Point& point, const Value& value, std::string_view expected);

  mutable std::mutex mutex_;
  std::mutex panic_;
  std::map<std::string_view, Point*> points_;
  Effects* effects_ = nullptr;
  Prng prng_{0};
};

}  // namespace quoin::failpoint

#include "failpoint/registry.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "base/go_text.h"

namespace quoin::failpoint {

Point::Point(Registry& registry, const char* name) : registry_(registry), name_(name) {
  registry_.add(*this);
}

Point::~Point() {
  registry_.remove(*this);
}

void Point::fire() {
  const std::optional<Value> value = registry_.fire(*this);
  if (value && !std::holds_alternative<NoValue>(*value)) registry_.ignore_value(*this, *value, "struct{}");
}

std::optional<std::string> Point::fire_text() {
  const std::optional<Value> value = registry_.fire(*this);
  if (!value) return std::nullopt;
  if (const auto* text = std::get_if<std::string>(&*value)) return *text;
  registry_.ignore_value(*this, *value, "string");
  return std::nullopt;
}

// Never destroyed: places may be reached until the process is gone.
Registry& Registry::process() {
  static Registry& registry = *new Registry();
  return registry;
}

void Registry::use(Effects& effects, uint64_t seed) {
  effects_ = &effects;
  prng_ = Prng(seed);
}

void Registry::add(Point& point) {
  std::lock_guard lock(mutex_);
  CHECK(points_.emplace(point.name_, &point).second, "failpoint {} is there already", point.name_);
}

void Registry::remove(Point& point) {
  std::lock_guard lock(mutex_);
  points_.erase(point.name_);
}

Status Registry::set(std::string_view name, std::string_view text) {
  {
    std::lock_guard lock(mutex_);
    const auto found = points_.find(name);
    if (found == points_.end()) return Status::kDoesNotExist;
    if (auto terms = Terms::parse(text)) {
      found->second->terms_ = std::move(terms);
      found->second->armed_.store(true, std::memory_order_relaxed);
      return Status::kOk;
    }
  }
  if (effects_ != nullptr) {
    effects_->print(fmt::format("failed to enable \"{}={}\" (failpoint: could not parse terms)", name, text));
  }
  return Status::kBadTerms;
}

Status Registry::clear(std::string_view name) {
  std::lock_guard lock(mutex_);
  const auto found = points_.find(name);
  if (found == points_.end()) return Status::kDoesNotExist;
  Point& point = *found->second;
  if (!point.terms_) return Status::kDisabled;
  point.armed_.store(false, std::memory_order_relaxed);
  point.terms_.reset();
  return Status::kOk;
}

Registry::Setting Registry::setting(std::string_view name) const {
  std::lock_guard lock(mutex_);
  const auto found = points_.find(name);
  if (found == points_.end()) return {Status::kDoesNotExist, {}, 0};
  const std::optional<Terms>& terms = found->second->terms_;
  if (!terms) return {Status::kDisabled, {}, 0};
  return {Status::kOk, terms->text(), terms->count()};
}

std::vector<std::pair<std::string, std::string>> Registry::list() const {
  std::lock_guard lock(mutex_);
  std::vector<std::pair<std::string, std::string>> out;
  for (const auto& [name, point] : points_) {
    out.emplace_back(name, point->terms_ ? point->terms_->text() : std::string());
  }
  return out;
}

std::optional<Value> Registry::fire(Point& point) {
  std::optional<Fired> fired;
  {
    std::lock_guard lock(mutex_);
    if (point.terms_ && effects_ != nullptr) fired = point.terms_->fire(prng_);
  }
  if (!fired) return std::nullopt;
  switch (fired->act) {
    case Act::kOff:
      break;
    case Act::kReturn:
      return std::move(fired->value);
    case Act::kSleep:
      if (const auto ns = sleep_ns(fired->value)) {
        if (*ns > 0) effects_->sleep(*ns);
      } else if (std::holds_alternative<std::string>(fired->value)) {
        effects_->print(
            fmt::format("failpoint: could not parse sleep({}) on {}", value_text(fired->value), point.name_));
      } else {
        effects_->print(
            fmt::format("failpoint: ignoring sleep({}) on {}", value_text(fired->value), point.name_));
      }
      break;
    case Act::kPanic: {
      // gofail means to say the name where there is no value; it says "{}" unless another term follows.
      const bool named = std::holds_alternative<NoValue>(fired->value);
      const auto answered = hold_panics();
      effects_->die(
          fmt::format("failpoint panic: {}", named ? std::string(point.name_) : value_text(fired->value)));
      break;
    }
    case Act::kPrint:
      effects_->print(fmt::format("failpoint print: {}", point.name_));
      break;
  }
  return std::nullopt;
}

void Registry::ignore_value(const Point& point, const Value& value, std::string_view expected) {
  constexpr std::string_view kTypes[] = {"struct {}", "string", "int", "bool"};
  effects_->print(fmt::format("failpoint: \"{}\" got value {} of type \"{}\" but expected type \"{}\"",
                              point.name_, value_text(value), kTypes[value.index()], expected));
}

Assignments parse_assignments(std::string_view text) {
  Assignments out;
  while (!text.empty()) {
    const std::string_view item = text.substr(0, text.find(';'));
    text.remove_prefix(std::min(item.size() + 1, text.size()));
    if (item.empty()) continue;
    const size_t equals = item.find('=');
    if (std::ranges::count(item, '=') != 1) {
      return {{}, fmt::format("bad failpoint {}", go_quote(item))};
    }
    out.items.emplace_back(item.substr(0, equals), item.substr(equals + 1));
  }
  return out;
}

}  // namespace quoin::failpoint

#include "failpoint/control.h"

#include <fmt/format.h>

#include <algorithm>

namespace quoin::failpoint {

namespace {

constexpr unsigned kNoContent = 204, kBadRequest = 400, kNotFound = 404, kNotAllowed = 405, kFault = 500;

std::string_view status_text(Status status) {
  switch (status) {
    case Status::kDoesNotExist:
      return "failpoint: failpoint does not exist";
    case Status::kDisabled:
      return "failpoint: failpoint is disabled";
    case Status::kBadTerms:
      return "failpoint: could not parse terms";
    case Status::kOk:
      break;
  }
  return {};
}

Answer error(unsigned status, std::string_view what, std::string_view why) {
  return {status, fmt::format("{}{}\n", what, why), /*error=*/true, {}};
}

bool equal_without_case(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  return std::ranges::equal(a, b, {}, lower, lower);
}

Answer set(Registry& registry, std::string_view name, std::string_view body) {
  Assignments wanted;
  if (equal_without_case(name, "failpoints")) {
    wanted = parse_assignments(body);
    if (!wanted.error.empty()) return error(kBadRequest, "fail to parse failpoint: ", wanted.error);
  } else {
    wanted.items.emplace_back(name, body);
  }
  for (const auto& [point, terms] : wanted.items) {
    const Status status = registry.set(point, terms);
    if (status != Status::kOk) return error(kBadRequest, "fail to set failpoint: ", status_text(status));
  }
  return {kNoContent, {}, false, {}};
}

Answer get(Registry& registry, std::string_view name) {
  if (name.empty()) {
    std::string lines;
    for (const auto& [point, terms] : registry.list()) lines += fmt::format("{}={}\n", point, terms);
    return {200, lines.empty() ? "\n" : lines, false, {}};
  }
  constexpr std::string_view kFailed = "failed to GET: ", kCount = "/count";
  if (name.ends_with(kCount)) {
    const Registry::Setting s = registry.setting(name.substr(0, name.size() - kCount.size()));
    if (s.status == Status::kOk) return {200, fmt::format("{}", s.count), false, {}};
    return error(s.status == Status::kDoesNotExist ? kNotFound : kFault, kFailed, status_text(s.status));
  }
  const Registry::Setting s = registry.setting(name);
  if (s.status == Status::kOk) return {200, s.terms + "\n", false, {}};
  Answer missing = error(kNotFound, kFailed, status_text(s.status));
  missing.body += '\n';  // gofail writes the terms behind the error, too
  return missing;
}

}  // namespace

Answer answer(Registry& registry, std::string_view method, std::string_view target, std::string_view body) {
  if (!target.starts_with('/')) return error(kBadRequest, "malformed request URI", "");
  const std::string_view name = target.substr(1);
  if (method == "PUT") return set(registry, name, body);
  if (method == "GET") return get(registry, name);
  if (method == "DELETE") {
    const Status status = registry.clear(name);
    if (status == Status::kOk) return {kNoContent, {}, false, {}};
    return error(kBadRequest, "failed to delete failpoint ", status_text(status));
  }
  Answer refused = error(kNotAllowed, "Method not allowed", "");
  refused.allowed = "PUT";
  return refused;
}

}  // namespace quoin::failpoint

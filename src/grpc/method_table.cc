#include "grpc/method_table.h"

#include <functional>

#include "base/check.h"
#include "base/go_text.h"
#include "grpc/protocol.h"

namespace quoin::grpc {
namespace {

struct Path {
  std::string_view service, name;
};

// FNV-1a: the order of slots is the same in every process.
uint64_t hash_of(std::string_view service, std::string_view name) {
  uint64_t h = 0xcbf29ce484222325ull;
  const auto mix = [&h](std::string_view s) {
    for (const char c : s) h = (h ^ static_cast<uint8_t>(c)) * 0x100000001b3ull;
  };
  mix(service);
  mix("/");
  mix(name);
  return h ^ (h >> 32);
}

}  // namespace

std::string_view method_kind_name(MethodKind kind) {
  switch (kind) {
    case MethodKind::kUnary:
      return "unary";
    case MethodKind::kServerStream:
      return "server_stream";
    case MethodKind::kBidiStream:
      return "bidi_stream";
  }
  return {};
}

const Method& MethodTable::add(Method m) {
  m.index = static_cast<uint32_t>(methods_.size());
  services_.emplace(m.service, 0).first->second++;
  methods_.push_back(std::move(m));
  size_t size = 16;
  while (size < methods_.size() * 4) size *= 2;
  slots_.assign(size, nullptr);
  for (const Method& each : methods_) {
    size_t i = hash_of(each.service, each.name) & (size - 1);
    for (; slots_[i]; i = (i + 1) & (size - 1)) {
      CHECK(slots_[i]->service != each.service || slots_[i]->name != each.name, "{}/{} is served twice",
            each.service, each.name);
    }
    slots_[i] = &each;
  }
  return methods_.back();
}

void MethodTable::add_unary(std::string_view service, std::string_view name, UnaryHandler& handler) {
  add({std::string(service), std::string(name), MethodKind::kUnary, 0, &handler, nullptr});
}

void MethodTable::add_stream(std::string_view service, std::string_view name, MethodKind kind,
                             StreamHandler& handler) {
  CHECK(kind != MethodKind::kUnary);
  add({std::string(service), std::string(name), kind, 0, nullptr, &handler});
}

std::variant<const Method*, std::string> MethodTable::find(std::string_view path) const {
  if (!path.starts_with('/')) return "malformed method name: " + go_quote(path);
  const std::string_view rest = path.substr(1);
  const size_t slash = rest.rfind('/');
  if (slash == std::string_view::npos) return "malformed method name: " + go_quote(path);
  const Path p = {rest.substr(0, slash), rest.substr(slash + 1)};
  if (!slots_.empty()) {
    const size_t mask = slots_.size() - 1;
    for (size_t i = hash_of(p.service, p.name) & mask; slots_[i]; i = (i + 1) & mask) {
      if (slots_[i]->name == p.name && slots_[i]->service == p.service) return slots_[i];
    }
  }
  if (services_.find(p.service) == services_.end()) return fmt::format("unknown service {}", p.service);
  return fmt::format("unknown method {} for service {}", p.name, p.service);
}

}  // namespace quoin::grpc

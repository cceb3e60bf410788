#include "http2/give_back.h"
#include "http2/session.h"

namespace quoin::http2 {

std::optional<std::string_view> HeaderBlock::find(std::string_view name) const {
  for (size_t i = 0; i < fields_.size(); ++i) {
    if (fields_[i].name != name.size()) continue;
    const Field f = (*this)[i];
    if (f.name == name) return f.value;
  }
  return std::nullopt;
}

void HeaderBlock::add(std::string_view name, std::string_view value) {
  fields_.push_back({static_cast<uint32_t>(bytes_.size()), static_cast<uint32_t>(name.size()),
                     static_cast<uint32_t>(value.size())});
  bytes_.append(name);
  bytes_.append(value);
}

void HeaderBlock::clear() {
  bytes_.clear();
  fields_.clear();
  if (held_bytes() <= kKeepBytes) return;
  give_back(bytes_);
  fields_ = std::vector<Ref>();
}

}  // namespace quoin::http2

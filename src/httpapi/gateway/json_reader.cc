#include "httpapi/gateway/json_reader.h"

#include <algorithm>

#include "base/check.h"
#include "base/go_text.h"
#include "base/utf8.h"
#include "httpapi/gateway/json_number.h"
#include "httpapi/gateway/json_word.h"
#include "wire/coding.h"

namespace quoin::httpapi::gateway {
namespace {
// What a token costs beside its bytes.
constexpr size_t kTokenWork = 32;

enum WireType : uint32_t { kVarint = 0, kBytesType = 2 };

int hex(char c) {
  return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}
// Four digits, or nothing.
std::optional<uint32_t> hex4(std::string_view s) {
  uint32_t v = 0;
  for (size_t i = 0; i < 4; ++i) {
    const char c = s[i];
    if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'))) return std::nullopt;
    v = v << 4 | static_cast<uint32_t>(hex(c));
  }
  return v;
}

void append_utf8(uint32_t c, std::string& out) {
  const auto put = [&out](uint32_t byte) { out += static_cast<char>(byte); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xc0 | c >> 6);
    put(0x80 | (c & 63));
  } else if (c < 0x10000) {
    put(0xe0 | c >> 12);
    put(0x80 | (c >> 6 & 63));
    put(0x80 | (c & 63));
  } else {
    put(0xf0 | c >> 18);
    put(0x80 | (c >> 12 & 63));
    put(0x80 | (c >> 6 & 63));
    put(0x80 | (c & 63));
  }
}

}  // namespace

Result<bool> JsonReader::step(size_t work) {
  work_ = work;
  while (work_ > 0 && state_ != State::kDone) TRY(go_on());
  return state_ == State::kDone;
}

Result<> JsonReader::go_on() {
  switch (state_) {
    case State::kNext:
      return next();
    case State::kSkip:
      return skip();
    case State::kNamed:
      return skip_space() ? name_read() : Result<>();
    case State::kBytes:
      return bytes_on();
    case State::kAssemble:
      assemble();
      return {};
    case State::kDone:
      return {};
    case State::kName:
    case State::kString:
    case State::kWrong:
    case State::kSkipText:
      break;
  }
  bool whole = false;
  TRY(string_on(whole));
  if (!whole) return {};
  if (state_ == State::kName) {
    raw_name_ = raw_string();
    state_ = State::kNamed;
    return {};
  }
  if (state_ == State::kString) return scalar_string();
  if (state_ == State::kWrong) return unexpected(raw_string());
  state_ = skip_depth_ == 0 ? State::kNext : State::kSkip;
  return {};
}

// ---------------------------------------------------------------- errors

Error JsonReader::failure(size_t at, std::string_view text, bool syntax) const {
  const std::string_view before = json_.substr(0, at);
  const auto lines = std::count(before.begin(), before.end(), '\n');
  const size_t line_start = before.rfind('\n') + 1;  // npos + 1 is 0
  // What was read up to here is UTF-8: each character has one byte that begins it.
  const auto column = std::count_if(before.begin() + static_cast<ptrdiff_t>(line_start), before.end(),
                                    [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; });
  return Error(Code::kInvalidArgument, fmt::format("proto: {}(line {}:{}): {}", syntax ? "syntax error " : "",
                                                   lines + 1, column + 1, text));
}

Error JsonReader::unexpected(std::string_view raw) const {
  return failure(token_, fmt::format("unexpected token {}", raw), true);
}

Error JsonReader::invalid(std::string_view raw) const {
  return failure(
      token_,
      fmt::format("invalid value for {} field {}: {}", kind_name(field_->kind), field_->json_name, raw),
      false);
}

// ---------------------------------------------------------------- tokens

// Blanks, and what only separates: the grammar holds.
// False: the next step goes on with it.
bool JsonReader::skip_space() {
  const size_t from = pos_;
  const size_t end = std::min(json_.size(), pos_ + work_);
  while (pos_ < end && std::string_view(" \t\r\n,:").find(json_[pos_]) != std::string_view::npos) ++pos_;
  const bool whole = pos_ < end || end == json_.size();
  spend(kTokenWork + (pos_ - from));
  return whole;
}

// Of a number or word.
size_t JsonReader::word_end(size_t from) const {
  while (from < json_.size() && is_word_char(json_[from])) ++from;
  return from;
}

// Reads on in a string, up to its end or what may be done now. Begins it where none is under way.
Result<> JsonReader::string_on(bool& whole) {
  if (!in_string_) {
    in_string_ = true;
    escaped_ = false;
    text_buffer_.clear();
    token_ = pos_++;
    run_ = pos_;
  }
  while (work_ > 0) {
    const size_t end = std::min(json_.size(), pos_ + work_);
    const size_t from = pos_;
    while (pos_ < end && json_[pos_] != '"' && json_[pos_] != '\\' &&
           static_cast<signed char>(json_[pos_]) >= 0)
      ++pos_;
    spend(pos_ - from + 1);
    if (pos_ == end) continue;
    const char c = json_[pos_];
    if (static_cast<signed char>(c) < 0) {
      const Utf8Char u = utf8_front(json_.substr(pos_));
      if (u.length == 0) return failure(token_, "invalid UTF-8 in string", true);
      pos_ += u.length;
      continue;
    }
    if (c == '"') {
      if (escaped_) text_buffer_.append(json_.substr(run_, pos_ - run_));
      text_ = escaped_ ? std::string_view(text_buffer_) : json_.substr(run_, pos_ - run_);
      ++pos_;
      in_string_ = false;
      whole = true;
      return {};
    }
    escaped_ = true;
    text_buffer_.append(json_.substr(run_, pos_ - run_));
    spend(kTokenWork / 4);
    const char e = json_[pos_ + 1];
    if (e != 'u') {
      constexpr std::string_view kNames = "bfnrt", kBytes = "\b\f\n\r\t";
      const size_t at = kNames.find(e);
      text_buffer_ += at == std::string_view::npos ? e : kBytes[at];
      pos_ += 2;
    } else {
      uint32_t unit = *hex4(json_.substr(pos_ + 2, 4));
      pos_ += 6;
      if (unit >= 0xd800 && unit < 0xe000) {
        // The other half must follow. Go looks at six bytes whatever they are.
        const std::string_view rest = json_.substr(pos_, 6);
        if (rest.size() < 6) return Error(Code::kInvalidArgument, "proto: unexpected EOF");
        const auto low = hex4(rest.substr(2));
        if (rest[0] != '\\' || rest[1] != 'u' || !low || unit >= 0xdc00 || *low < 0xdc00 || *low >= 0xe000) {
          return failure(token_, fmt::format("invalid escape code {} in string", go_quote(rest)), true);
        }
        unit = 0x10000 + ((unit - 0xd800) << 10) + (*low - 0xdc00);
        pos_ += 6;
      }
      append_utf8(unit, text_buffer_);
    }
    run_ = pos_;
  }
  return {};
}

// ---------------------------------------------------------------- structure

Result<> JsonReader::next() {
  if (!skip_space()) return {};
  if (levels_.empty()) {
    token_ = pos_;
    if (json_[pos_] == '{') {
      open_message(type_, nullptr);
      ++pos_;
      return {};
    }
    if (json_[pos_] == '"') {
      state_ = State::kWrong;
      return {};
    }
    return unexpected(json_.substr(pos_, std::max<size_t>(word_end(pos_) - pos_, 1)));
  }
  const Level& level = levels_.back();
  const char c = json_[pos_];
  if (level.list != nullptr) {
    if (c != ']') return value(*level.list);
    ++pos_;
    levels_.pop_back();
    return {};
  }
  if (c == '"') {
    state_ = State::kName;
    return {};
  }
  DCHECK(c == '}');
  ++pos_;
  close_message();
  return {};
}

void JsonReader::open_message(const MessageType& type, const FieldType* field) {
  Level level{.type = &type, .list = nullptr};
  if (field != nullptr) {
    put_tag(*field);
    level.length = lengths_.size();
    lengths_.push_back({static_cast<uint32_t>(out_.size()), 0});
  }
  level.start = static_cast<uint32_t>(out_.size());
  levels_.push_back(level);
}

void JsonReader::close_message() {
  const Level closed = levels_.back();
  levels_.pop_back();
  if (levels_.empty()) {
    state_ = State::kAssemble;
    message_.reserve(out_.size() + closed.in_between);
    return;
  }
  const auto length = static_cast<uint32_t>(out_.size()) - closed.start + closed.in_between;
  lengths_[closed.length].value = length;
  // The lengths stand in the nearest message around; a list has none of its own.
  for (size_t i = levels_.size(); i-- > 0;) {
    if (levels_[i].list != nullptr) continue;
    levels_[i].in_between += closed.in_between + static_cast<uint32_t>(wire::varint_size(length));
    break;
  }
}

Result<> JsonReader::name_read() {
  Level& level = levels_.back();
  const FieldType* field = level.type->by_name(text_);
  if (field == nullptr) {
    skip_depth_ = 0;
    state_ = State::kSkip;
    return {};
  }
  const uint64_t bit = uint64_t{1} << field->index;
  if (level.seen & bit) return failure(token_, fmt::format("duplicate field {}", raw_name_), false);
  level.seen |= bit;
  state_ = State::kNext;
  if (json_[pos_] == 'n') {
    pos_ += 4;
    return {};
  }
  if (field->repeated) {
    if (json_[pos_] == '[') {
      ++pos_;
      levels_.push_back({.type = nullptr, .list = field});
      return {};
    }
    token_ = pos_;
    if (json_[pos_] == '"') {
      state_ = State::kWrong;
      return {};
    }
    return unexpected(json_.substr(pos_, std::max<size_t>(word_end(pos_) - pos_, 1)));
  }
  if (field->oneof >= 0) {
    const uint64_t oneof = uint64_t{1} << field->oneof;
    if (level.oneofs & oneof) {
      return failure(token_,
                     fmt::format("error parsing {}, oneof {} is already set", raw_name_, field->oneof_name),
                     false);
    }
    level.oneofs |= oneof;
  }
  return value(*field);
}

// The value of `field`, or of an element of it, which begins here.
Result<> JsonReader::value(const FieldType& field) {
  field_ = &field;
  token_ = pos_;
  const char c = json_[pos_];
  state_ = State::kNext;
  if (field.kind == Kind::kMessage) {
    if (c == '{') {
      ++pos_;
      open_message(*field.message, &field);
      return {};
    }
    if (c == '"') {
      state_ = State::kWrong;
      return {};
    }
    return unexpected(json_.substr(pos_, std::max<size_t>(word_end(pos_) - pos_, 1)));
  }
  if (c == '"') {
    state_ = State::kString;
    return {};
  }
  const size_t end = std::max(word_end(pos_), pos_ + 1);
  const std::string_view raw = json_.substr(pos_, end - pos_);
  pos_ = end;
  spend(raw.size());
  return scalar_word(raw);
}

Result<> JsonReader::skip() {
  if (!skip_space()) return {};
  const char c = json_[pos_];
  if (c == '"') {
    state_ = State::kSkipText;
    return {};
  }
  if (c == '{' || c == '[') {
    ++skip_depth_;
    ++pos_;
    return {};
  }
  if (c == '}' || c == ']') {
    --skip_depth_;
    ++pos_;
  } else {
    const size_t from = pos_;
    pos_ = word_end(pos_);
    spend(pos_ - from);
  }
  if (skip_depth_ == 0) state_ = State::kNext;
  return {};
}

// ---------------------------------------------------------------- values

Result<> JsonReader::scalar_word(std::string_view raw) {
  const bool is_number = raw[0] == '-' || (raw[0] >= '0' && raw[0] <= '9');
  switch (field_->kind) {
    case Kind::kBool:
      if (raw != "true" && raw != "false") break;
      put_integer(raw == "true" ? 1 : 0);
      return {};
    case Kind::kInt32:
    case Kind::kEnum:
    case Kind::kInt64:
      if (!is_number) break;
      if (const auto v = json_int(raw, field_->kind == Kind::kInt64 ? 64 : 32)) {
        put_integer(static_cast<uint64_t>(*v));
        return {};
      }
      break;
    case Kind::kUint32:
    case Kind::kUint64:
      if (!is_number) break;
      if (const auto v = json_uint(raw, field_->kind == Kind::kUint64 ? 64 : 32)) {
        put_integer(*v);
        return {};
      }
      break;
    case Kind::kString:
    case Kind::kBytes:
    case Kind::kMessage:
      break;
  }
  return invalid(raw);
}

Result<> JsonReader::scalar_string() {
  state_ = State::kNext;
  switch (field_->kind) {
    case Kind::kInt32:
    case Kind::kInt64:
      if (has_outer_space(text_)) break;
      if (const auto v = json_int(text_, field_->kind == Kind::kInt64 ? 64 : 32)) {
        put_integer(static_cast<uint64_t>(*v));
        return {};
      }
      break;
    case Kind::kUint32:
    case Kind::kUint64:
      if (has_outer_space(text_)) break;
      if (const auto v = json_uint(text_, field_->kind == Kind::kUint64 ? 64 : 32)) {
        put_integer(*v);
        return {};
      }
      break;
    case Kind::kEnum: {
      const auto known = field_->enumeration->numbers.find(text_);
      if (known != field_->enumeration->numbers.end()) {
        put_integer(static_cast<uint64_t>(static_cast<int64_t>(known->second)));
      }
      return {};
    }
    case Kind::kString:
      if (text_.empty() && !field_->repeated && field_->oneof < 0) return {};
      put_tag(*field_);
      put_varint(text_.size());
      out_.append(text_);
      return {};
    case Kind::kBytes:
      begin_bytes();
      return {};
    case Kind::kBool:
    case Kind::kMessage:
      break;
  }
  return invalid(raw_string());
}

void JsonReader::begin_bytes() {
  const bool url = text_.find('-') != std::string_view::npos || text_.find('_') != std::string_view::npos;
  base64_ = Base64Decoder(url, text_.size() % 4 == 0);
  decoded_ = 0;
  before_bytes_ = out_.size();
  put_tag(*field_);
  lengths_.push_back({static_cast<uint32_t>(out_.size()), 0});
  state_ = State::kBytes;
}

Result<> JsonReader::bytes_on() {
  const std::string_view piece = text_.substr(decoded_, std::max<size_t>(work_, 4));
  spend(piece.size() + kTokenWork);
  decoded_ += piece.size();
  if (!base64_.feed(piece, out_)) return invalid(raw_string());
  if (decoded_ < text_.size()) return {};
  if (!base64_.end(out_)) return invalid(raw_string());
  state_ = State::kNext;
  Length& length = lengths_.back();
  length.value = static_cast<uint32_t>(out_.size()) - length.at;
  if (length.value == 0 && !field_->repeated && field_->oneof < 0) {
    lengths_.pop_back();
    out_.resize(before_bytes_);
    return {};
  }
  const auto size = static_cast<uint32_t>(wire::varint_size(length.value));
  for (size_t i = levels_.size(); i-- > 0;) {
    if (levels_[i].list != nullptr) continue;
    levels_[i].in_between += size;
    break;
  }
  return {};
}

// ---------------------------------------------------------------- output

void JsonReader::put_varint(uint64_t v) {
  char buffer[10];
  out_.append(buffer, static_cast<size_t>(wire::put_varint(buffer, v) - buffer));
}

void JsonReader::put_tag(const FieldType& field) {
  const bool length =
      field.kind == Kind::kString || field.kind == Kind::kBytes || field.kind == Kind::kMessage;
  put_varint(uint64_t{field.number} << 3 | (length ? kBytesType : kVarint));
}

void JsonReader::put_integer(uint64_t v) {
  if (v == 0 && !field_->repeated && field_->oneof < 0) return;
  put_tag(*field_);
  put_varint(v);
}

void JsonReader::assemble() {
  const size_t until = assembled_ < lengths_.size() ? lengths_[assembled_].at : out_.size();
  const size_t n = std::min(until - copied_, work_);
  message_.append(out_, copied_, n);
  copied_ += n;
  spend(n + kTokenWork);
  if (copied_ < until) return;
  if (assembled_ == lengths_.size()) {
    state_ = State::kDone;
    out_ = {};
    lengths_ = {};
    return;
  }
  char buffer[10];
  message_.append(buffer,
                  static_cast<size_t>(wire::put_varint(buffer, lengths_[assembled_++].value) - buffer));
}

}  // namespace quoin::httpapi::gateway

#include "httpapi/gateway/value_scanner.h"

#include "base/check.h"
#include "base/go_text.h"

namespace quoin::httpapi::gateway {
namespace {

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_hex(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

// Go's quoteChar: the byte is taken for a character of Latin-1.
std::string quoted(char c) {
  if (c == '\'') return R"('\'')";
  if (c == '"') return R"('"')";
  const auto byte = static_cast<unsigned char>(c);
  std::string utf8;
  if (byte < 0x80) {
    utf8 = c;
  } else {
    utf8 = {static_cast<char>(0xc0 | byte >> 6), static_cast<char>(0x80 | (byte & 0x3f))};
  }
  const std::string q = go_quote(utf8);
  return "'" + q.substr(1, q.size() - 2) + "'";
}

}  // namespace

ValueScanner::Outcome ValueScanner::feed(std::string_view bytes, size_t& taken) {
  taken = 0;
  if (!error_.empty()) return Outcome::kError;
  size_t i = 0;
  for (; i < bytes.size() && state_ != State::kDone; ++i) {
    const char c = bytes[i];
    if (state_ == State::kString) {
      // Most bytes are within strings.
      while (i < bytes.size() && bytes[i] != '"' && bytes[i] != '\\' &&
             static_cast<unsigned char>(bytes[i]) >= 0x20)
        ++i;
      if (i == bytes.size()) break;
      if (!step(bytes[i])) return Outcome::kError;
      // A string that is the whole value is not known to be it before the next byte came, as in Go.
      continue;
    }
    if (!step(c)) return Outcome::kError;
    blank_ = blank_ && is_space(c);
    if (ended_in_front_) break;
  }
  taken = i;
  return state_ == State::kDone ? Outcome::kValue : Outcome::kMore;
}

ValueScanner::Outcome ValueScanner::end() {
  if (!error_.empty()) return Outcome::kError;
  if (blank_) return Outcome::kMore;
  // A blank ends a number. What it fails otherwise is an end too early.
  if (step(' ') && state_ == State::kDone) return Outcome::kValue;
  error_ = "unexpected EOF";
  return Outcome::kError;
}

void ValueScanner::reset() {
  state_ = State::kValue;
  levels_.clear();
  blank_ = true;
  ended_in_front_ = false;
  error_.clear();
}

bool ValueScanner::fail(char c, std::string_view context) {
  error_ = fmt::format("invalid character {} {}", quoted(c), context);
  return false;
}

bool ValueScanner::begin_level(char c, Level level, State next) {
  levels_.push_back(level);
  state_ = next;
  return levels_.size() <= kDepthMax || fail(c, "exceeded max depth");
}

void ValueScanner::end_level() {
  levels_.pop_back();
  state_ = levels_.empty() ? State::kDone : State::kAfterValue;
}

bool ValueScanner::begin_value(char c) {
  switch (c) {
    case '{':
      return begin_level(c, Level::kKey, State::kKeyOrEnd);
    case '[':
      return begin_level(c, Level::kElement, State::kValueOrEnd);
    case '"':
      state_ = State::kString;
      return true;
    case '-':
      state_ = State::kNegative;
      return true;
    case '0':
      state_ = State::kZero;
      return true;
    case 't':
    case 'f':
    case 'n':
      word_ = c == 't' ? "true" : c == 'f' ? "false" : "null";
      left_ = static_cast<unsigned>(word_.size()) - 1;
      state_ = State::kWord;
      return true;
    default:
      if (!is_digit(c)) return fail(c, "looking for beginning of value");
      state_ = State::kDigits;
      return true;
  }
}

// The value in front of `c` is whole.
bool ValueScanner::end_value(char c) {
  if (levels_.empty()) {
    // A number, word or string that nothing contains.
    ended_in_front_ = true;
    state_ = State::kDone;
    return true;
  }
  state_ = State::kAfterValue;
  if (is_space(c)) return true;
  switch (levels_.back()) {
    case Level::kKey:
      if (c != ':') return fail(c, "after object key");
      levels_.back() = Level::kMember;
      state_ = State::kValue;
      return true;
    case Level::kMember:
      if (c == ',') {
        levels_.back() = Level::kKey;
        state_ = State::kKey;
        return true;
      }
      if (c != '}') return fail(c, "after object key:value pair");
      end_level();
      return true;
    case Level::kElement:
      if (c == ',') {
        state_ = State::kValue;
        return true;
      }
      if (c != ']') return fail(c, "after array element");
      end_level();
      return true;
  }
  return false;
}

bool ValueScanner::step(char c) {
  const auto become = [this](State s) {
    state_ = s;
    return true;
  };
  switch (state_) {
    case State::kValue:
      return is_space(c) || begin_value(c);
    case State::kValueOrEnd:
      if (is_space(c)) return true;
      return c == ']' ? end_value(c) : begin_value(c);
    case State::kKeyOrEnd:
      if (c == '}') {
        levels_.back() = Level::kMember;
        return end_value(c);
      }
      [[fallthrough]];
    case State::kKey:
      if (is_space(c)) return true;
      return c == '"' ? become(State::kString) : fail(c, "looking for beginning of object key string");
    case State::kAfterValue:
      return end_value(c);
    case State::kDone:
      return true;
    case State::kString:
      if (c == '"') return become(State::kAfterValue);
      if (c == '\\') return become(State::kEscape);
      return static_cast<unsigned char>(c) >= 0x20 || fail(c, "in string literal");
    case State::kEscape:
      if (c == 'u') {
        left_ = 4;
        return become(State::kHex);
      }
      return std::string_view("bfnrt\\/\"").find(c) != std::string_view::npos
                 ? become(State::kString)
                 : fail(c, "in string escape code");
    case State::kHex:
      if (!is_hex(c)) return fail(c, "in \\u hexadecimal character escape");
      return --left_ == 0 ? become(State::kString) : true;
    case State::kNegative:
      if (c == '0') return become(State::kZero);
      return is_digit(c) ? become(State::kDigits) : fail(c, "in numeric literal");
    case State::kDigits:
      if (is_digit(c)) return true;
      [[fallthrough]];
    case State::kZero:
      if (c == '.') return become(State::kPoint);
      return c == 'e' || c == 'E' ? become(State::kExponent) : end_value(c);
    case State::kPoint:
      return is_digit(c) ? become(State::kFraction) : fail(c, "after decimal point in numeric literal");
    case State::kFraction:
      if (is_digit(c)) return true;
      return c == 'e' || c == 'E' ? become(State::kExponent) : end_value(c);
    case State::kExponent:
      if (c == '+' || c == '-') return become(State::kExponentSign);
      [[fallthrough]];
    case State::kExponentSign:
      return is_digit(c) ? become(State::kExponentDigits) : fail(c, "in exponent of numeric literal");
    case State::kExponentDigits:
      return is_digit(c) || end_value(c);
    case State::kWord: {
      const char expected = word_[word_.size() - left_];
      if (c != expected) return fail(c, fmt::format("in literal {} (expecting '{}')", word_, expected));
      return --left_ == 0 ? become(State::kAfterValue) : true;
    }
  }
  return false;
}

}  // namespace quoin::httpapi::gateway

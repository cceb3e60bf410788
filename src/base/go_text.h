// Strings as Go's standard library writes them; clients, files and tests compare the result byte by byte.
#pragma once
#include <string>
#include <string_view>

namespace quoin {

// fmt's %q: double quotes, escapes for what is not printable, \x.. for what is not UTF-8. Go's table of
// printable characters is followed for what a name, a key or a command line plausibly holds: controls,
// separators, the soft hyphen, the byte order mark and the first private use area are escaped.
std::string go_quote(std::string_view s);

// encoding/json: also <, >, & and the line separators U+2028 and U+2029 are escaped; what is not UTF-8
// becomes \ufffd, one for each byte.
std::string go_json_string(std::string_view s);

// An error number as Go's syscall package words it: strerror's text, which begins in lower case.
std::string go_errno_text(int errno_value);

}  // namespace quoin

// Text inside a page of HTML, as Go's net/http writes it in its redirects.
#pragma once
#include <string>
#include <string_view>

namespace quoin::http1 {

// With & < > " ' as entities.
std::string html_escaped(std::string_view text);

}  // namespace quoin::http1

// Answers in the form of Go's net/http.
#pragma once
#include <string>
#include <string_view>

#include "http1/door.h"
#include "peer/compatibility.h"

namespace quoin::peer {

// http.Error: the text with a newline, as text/plain, not to be guessed at.
http1::Response error_answer(unsigned status, std::string_view text, Fields fields = {});
// http.Redirect with 307: a page only for those who asked for one.
http1::Response redirect_answer(std::string_view method, const std::string& location);
// 405 with Allow.
http1::Response method_not_allowed(std::string_view allowed);

}  // namespace quoin::peer

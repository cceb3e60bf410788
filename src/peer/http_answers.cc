#include "peer/http_answers.h"

#include <fmt/format.h>

#include "http1/html.h"

namespace quoin::peer {

http1::Response error_answer(unsigned status, std::string_view text, Fields fields) {
  fields.emplace_back("Content-Type", "text/plain; charset=utf-8");
  fields.emplace_back("X-Content-Type-Options", "nosniff");
  return {status, std::move(fields), std::string(text) + "\n"};
}

http1::Response redirect_answer(std::string_view method, const std::string& location) {
  http1::Response answer{307, {{"Location", location}}, ""};
  if (method == "GET" || method == "HEAD") {
    answer.fields.emplace_back("Content-Type", "text/html; charset=utf-8");
    answer.body = fmt::format("<a href=\"{}\">Temporary Redirect</a>.\n\n", http1::html_escaped(location));
  }
  return answer;
}

http1::Response method_not_allowed(std::string_view allowed) {
  return error_answer(405, "Method Not Allowed", {{"Allow", std::string(allowed)}});
}

}  // namespace quoin::peer

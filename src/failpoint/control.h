// The answers of gofail's HTTP interface, without sockets:
//
//   GET /              all failpoints, `name=terms` lines        PUT /NAME          sets its terms: the body
//   GET /NAME          its terms                                 PUT /failpoints    several: `a=terms;b=terms`
//   GET /NAME/count    how often a term fired                    DELETE /NAME       off
//
// Threads: any. Whoever serves it holds Registry::hold_panics() from the request until the answer is sent.
// Source: spec failpoints.md section 2; gofail 0.2.0 runtime/http.go.
#pragma once
#include <string>
#include <string_view>

#include "failpoint/registry.h"

namespace quoin::failpoint {

struct Answer {
  unsigned status = 200;
  std::string body;
  bool error = false;        // written as Go's http.Error does: plain text, not to be guessed at
  std::string_view allowed;  // of 405
};

// `target` is the request's, as sent.
Answer answer(Registry& registry, std::string_view method, std::string_view target, std::string_view body);

}  // namespace quoin::failpoint

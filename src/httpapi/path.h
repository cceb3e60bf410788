// How the path of a request leads to an endpoint: as Go's ServeMux (1.22 and later) does it.
//
// A path with "//", "/./" or "/../" is answered by a redirect to its clean form; an endpoint is found by its
// name with percent-encoding undone, part by part, so that "/he%61lth" is /health.
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "httpapi/http.h"

namespace quoin::httpapi {

// Where a request for this path (as sent; its escapes hold) should go instead; none if it is clean.
std::optional<std::string> clean_location(std::string_view path, std::string_view query);
// 307, with the page Go sends.
Response redirect(const Request& request, const std::string& location);
// Percent-encoding undone. "%2F" stays, for it is no border between parts.
std::string decoded_path(std::string_view path);
// The same with "%2F" undone.
std::string fully_decoded_path(std::string_view path);

}  // namespace quoin::httpapi

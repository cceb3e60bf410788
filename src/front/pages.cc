#include "front/pages.h"

#include <time.h>

#include <utility>

namespace quoin::front {

std::string imf_fixdate(io::WallNs now) {
  static constexpr const char* kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                            "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const time_t seconds = now / io::kSecond;
  tm t;
  gmtime_r(&seconds, &t);
  return fmt::format("{}, {:02} {} {} {:02}:{:02}:{:02} GMT", kDays[t.tm_wday], t.tm_mday, kMonths[t.tm_mon],
                     t.tm_year + 1900, t.tm_hour, t.tm_min, t.tm_sec);
}

void serve_page(httpapi::Endpoints& endpoints, httpapi::Surface surface, bool tls,
                const http1::Request& request, io::Loop& loop,
                absl::AnyInvocable<void(http1::Response)> reply) {
  httpapi::Request r;
  r.method = request.method;
  r.path = request.path;
  r.query = request.query;
  r.headers = request.fields;
  r.body = request.body;
  r.host = request.authority.empty() ? r.header("Host") : request.authority;
  endpoints.serve(surface, tls, r, [&loop, reply = std::move(reply)](httpapi::Response response) mutable {
    http1::Response out{static_cast<unsigned>(response.status), std::move(response.headers),
                        std::move(response.body)};
    if (loop.running_here()) return reply(std::move(out));
    loop.post([reply = std::move(reply), out = std::move(out)]() mutable { reply(std::move(out)); });
  });
}

void Http2Pages::on_request(const http1::Request& request, Reply reply) {
  serve_page(endpoints_, surface_, /*tls=*/true, request, loop_,
             [this, reply = std::move(reply)](http1::Response response) mutable {
               response.fields.emplace_back("date", imf_fixdate(clock_.wall()));
               reply(std::move(response));
             });
}

}  // namespace quoin::front

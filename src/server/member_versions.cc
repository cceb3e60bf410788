#include "server/member_versions.h"

#include <map>
#include <string>

#include "server/stages.h"

namespace quoin::server {

namespace {

struct Asking {
  Stages& s;
  std::vector<std::string> urls;
  size_t next = 0;
  PeerRequest request;
  std::function<bool(const std::string&, const Result<PeerAnswer>&)> accept;
  std::function<void()> done;

  static void step(const std::shared_ptr<Asking>& self) {
    if (self->next == self->urls.size()) return self->done();
    const std::string& url = self->urls[self->next++];
    self->s.peers.fetch(url, self->request, self->s.env.apply, [self, url](Result<PeerAnswer> answer) {
      if (self->accept(url, answer)) return self->done();
      step(self);
    });
  }
};

}  // namespace

void ask_member(Stages& stages, const membership::Member& member, PeerRequest request,
                std::function<bool(const std::string& url, const Result<PeerAnswer>&)> accept,
                std::function<void()> done) {
  Asking::step(std::make_shared<Asking>(
      Asking{stages, member.peer_urls, 0, std::move(request), std::move(accept), std::move(done)}));
}

void ask_member_versions(Stages& s, std::function<void(const MemberVersions&)> done) {
  struct All {
    MemberVersions versions;
    std::map<MemberId, std::string> errors;  // of the last address that was asked
    size_t missing = 0;
    std::function<void(const MemberVersions&)> done;
  };
  auto all = std::make_shared<All>();
  all->done = std::move(done);
  std::vector<membership::Member> others;
  for (membership::Member& m : s.apply.members()->list()) {
    all->versions[m.id] = std::nullopt;
    if (m.id == s.self) {
      all->versions[m.id] = membership::own_version();
    } else {
      others.push_back(std::move(m));
    }
  }
  if (others.empty()) return all->done(all->versions);
  all->missing = others.size();
  for (const membership::Member& m : others) {
    PeerRequest request;
    request.path = "/version";
    request.timeout_ns = s.config.request_timeout_ns();
    ask_member(
        s, m, std::move(request),
        [&s, all, id = m.id](const std::string& url, const Result<PeerAnswer>& answer) {
          const std::string asked = url + "/version";  // a field holds no copy
          const log::Field address{"address", asked};
          const log::Field member{"remote-member-id", log::Hex{id.v}};
          if (!answer) {
            all->errors[id] = answer.error().text();
            LOG(s.env.log, kWarn, "failed to reach the peer URL", address, member,
                {"error", answer.error().text()});
            return false;
          }
          const auto said = membership::parse_versions(answer->body);
          if (!said) {
            all->errors[id] = said.error().text();
            LOG(s.env.log, kWarn, "failed to unmarshal response", address, member,
                {"error", said.error().text()});
            return false;
          }
          all->versions[id] = membership::parse_version(said->server);
          if (!all->versions[id]) {
            all->errors[id] = fmt::format("{} is not in dotted-tri format", said->server);
            LOG(s.env.log, kWarn, "failed to parse server version of remote member", member,
                {"remote-member-version", said->server}, {"error", all->errors[id]});
          }
          return true;
        },
        [&s, all, id = m.id] {
          if (!all->versions[id]) {
            LOG(s.env.log, kWarn, "failed to get version", {"remote-member-id", log::Hex{id.v}},
                {"error", all->errors[id]});
          }
          if (--all->missing == 0) all->done(all->versions);
        });
  }
}

}  // namespace quoin::server

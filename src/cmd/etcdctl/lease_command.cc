#include <memory>
#include <thread>

#include "cmd/etcdctl/commands.h"
#include "cmd/etcdctl/lease_keeper.h"
#include "cmd/etcdctl/lease_views.h"
#include "cmd/etcdctl/message_json.h"
#include "cmd/etcdctl/methods.h"
#include "cmd/etcdctl/numbers.h"
#include "cmd/etcdctl/output.h"

namespace quoin::ctl {
namespace {

Or<int64_t> lease_of(const std::string& word) {
  const auto id = parse_int(word, 16);
  if (!id) return tl::unexpected(bad_arguments("bad lease ID arg ({}), expecting ID in Hex", id.error()));
  return *id;
}

Ending run_grant(Session& s) {
  if (s.words().size() != 1) return bad_arguments("lease grant command needs TTL argument");
  const auto ttl = parse_int(s.words()[0], 10);
  if (!ttl) return bad_arguments("bad TTL ({})", ttl.error());
  auto client = s.connect();
  if (!client) return client.error();
  pb::LeaseGrantRequest request;
  request.set_ttl(*ttl);
  const auto r = (*client)->call(kLeaseGrant, request, s.deadline());
  if (!r) return fail(kExitError, "failed to grant lease ({})", r.error().text());
  return s.print(*r,
                 {.simple =
                      [&](std::string& o) {
                        o += fmt::format("lease {:016x} granted with TTL({}s)\n",
                                         static_cast<uint64_t>(r->id()), r->ttl());
                      },
                  .fields =
                      [&](Fields& f) {
                        f.header(r->header());
                        f.lease("ID", r->id());
                        f.put("TTL", r->ttl());
                      },
                  .json =
                      [&] {
                        cmd::GoJson j;
                        put_fields(j.open_object(), r->header());
                        j.put("ID", r->id()).put("TTL", r->ttl()).put("Error", std::string_view(r->error()));
                        return j.close_object().take();
                      },
                  .protobuf = header_bytes(*r)});
}

Ending run_revoke(Session& s) {
  if (s.words().size() != 1) return bad_arguments("lease revoke command needs 1 argument");
  const auto id = lease_of(s.words()[0]);
  if (!id) return id.error();
  auto client = s.connect();
  if (!client) return client.error();
  pb::LeaseRevokeRequest request;
  request.set_id(*id);
  const auto r = (*client)->call(kLeaseRevoke, request, s.deadline());
  if (!r) return fail(kExitError, "failed to revoke lease ({})", r.error().text());
  return s.print(
      *r,
      {.simple =
           [&](std::string& o) { o += fmt::format("lease {:016x} revoked\n", static_cast<uint64_t>(*id)); },
       .fields = header_only(*r),
       .protobuf = [&]() -> Or<std::string> {
         // Go prints the struct too; its header is one of gogo's texts.
         const auto& h = r->header();
         return tl::unexpected(
             fail(kExitBadFeature,
                  "marshal unsupported for type clientv3.LeaseRevokeResponse ({{cluster_id:{} member_id:{} "
                  "revision:{} raft_term:{}  {{}} [] 0}})",
                  h.cluster_id(), h.member_id(), h.revision(), h.raft_term()));
       }});
}

Ending run_time_to_live(Session& s) {
  if (s.words().size() != 1) return bad_arguments("lease timetolive command needs lease ID as argument");
  auto client = s.connect();
  if (!client) return client.error();
  const auto id = lease_of(s.words()[0]);
  if (!id) return id.error();
  pb::LeaseTimeToLiveRequest request;
  request.set_id(*id);
  request.set_keys(s.flag("keys"));
  const auto r = (*client)->call(kLeaseTimeToLive, request, Deadline::never());
  if (!r) return Session::failed(r.error(), kExitBadConnection);
  return s.print(*r, {.simple = [&](std::string& o) { show_time_to_live(o, *r, s.flag("keys")); },
                      .fields =
                          [&](Fields& f) {
                            f.header(r->header());
                            f.lease("ID", r->id());
                            f.put("TTL", r->ttl());
                            f.put("GrantedTTL", r->grantedttl());
                            for (const std::string& key : r->keys()) f.quoted("Key", key);
                          },
                      .json = [&] { return time_to_live_json(*r); },
                      .protobuf = header_bytes(*r)});
}

Ending run_list(Session& s) {
  auto client = s.connect();
  if (!client) return client.error();
  const auto r = (*client)->call(kLeaseLeases, pb::LeaseLeasesRequest(), Deadline::never());
  if (!r) return Session::failed(r.error(), kExitBadConnection);
  return s.print(*r, {.simple =
                          [&](std::string& o) {
                            o += fmt::format("found {} leases\n", r->leases_size());
                            for (const auto& l : r->leases()) {
                              o += fmt::format("{:016x}\n", static_cast<uint64_t>(l.id()));
                            }
                          },
                      .fields =
                          [&](Fields& f) {
                            f.header(r->header());
                            for (const auto& l : r->leases()) f.lease("ID", l.id());
                          },
                      .json =
                          [&] {
                            cmd::GoJson j;
                            put_fields(j.open_object(), r->header());
                            j.key("leases").open_array();
                            for (const auto& l : r->leases())
                              j.open_object().put("id", l.id()).close_object();
                            return j.close_array().close_object().take();
                          },
                      .protobuf = header_bytes(*r)});
}

Ending show_keep_alive(Session& s, const pb::LeaseKeepAliveResponse& r) {
  return s.print(r, {.simple =
                         [&](std::string& o) {
                           o += fmt::format("lease {:016x} keepalived with TTL({})\n",
                                            static_cast<uint64_t>(r.id()), r.ttl());
                         },
                     .fields =
                         [&](Fields& f) {
                           f.header(r.header());
                           f.lease("ID", r.id());
                           f.put("TTL", r.ttl());
                         },
                     .json =
                         [&] {
                           cmd::GoJson j;
                           put_fields(j.open_object(), r.header());
                           return j.put("ID", r.id()).put("TTL", r.ttl()).close_object().take();
                         },
                     .protobuf = header_bytes(r)});
}

Ending run_keep_alive(Session& s) {
  if (s.words().size() != 1) return bad_arguments("lease keep-alive command needs lease ID as argument");
  const auto id = lease_of(s.words()[0]);
  if (!id) return id.error();
  auto client = s.connect();
  if (!client) return client.error();
  if (s.flag("once")) {
    const auto r = keep_alive_once(**client, *id, Deadline::never());
    if (!r) return Session::failed(r.error(), kExitBadConnection);
    return show_keep_alive(s, *r);
  }
  Ending shown;
  LeaseKeeper keeper(**client, *id);
  while (const auto r = keeper.next()) {
    shown = show_keep_alive(s, *r);
    if (shown.code != kExitOk) return shown;
    out().flush();
  }
  if (s.printer().format == Format::kSimple) {
    out().line("lease {:016x} expired or revoked.", static_cast<uint64_t>(*id));
  }
  return ok();
}

}  // namespace

void add_lease_commands(Registry& r) {
  using Kind = CobraFlag::Kind;
  CobraCommand& lease = r.root().add("lease <subcommand>", "Lease related commands");
  r.add(lease, "grant <ttl>", "Creates leases", run_grant);
  r.add(lease, "revoke <leaseID>", "Revokes leases", run_revoke);
  r.add(lease, "timetolive <leaseID> [options]", "Get lease information", run_time_to_live)
      .flags.add({.name = "keys", .kind = Kind::kBool, .help = "Get keys attached to this lease"});
  r.add(lease, "list", "List all active leases", run_list);
  r.add(lease, "keep-alive [options] <leaseID>", "Keeps leases alive (renew)", run_keep_alive)
      .flags.add({.name = "once",
                  .kind = Kind::kBool,
                  .help = "Resets the keep-alive time to its original value and cobrautl.Exits immediately"});
}

}  // namespace quoin::ctl

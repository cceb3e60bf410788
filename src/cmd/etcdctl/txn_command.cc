#include "cmd/etcd/flags_text.h"
#include "cmd/etcdctl/commands.h"
#include "cmd/etcdctl/kv_requests.h"
#include "cmd/etcdctl/methods.h"
#include "cmd/etcdctl/output.h"
#include "cmd/etcdctl/stdin_reader.h"
#include "cmd/etcdctl/txn_lines.h"

namespace quoin::ctl {
namespace {

constexpr std::string_view kDescription =
    R"(Txn reads multiple etcd requests from standard input and applies them as a single atomic transaction.

A transaction consists of three components:
1) a list of conditions,
2) a list of requests to apply if all the conditions are true,
3) a list of requests to apply if any condition is false.

Example interactive stdin usage:

---
etcdctl txn -i
# compares:
mod("key1") > "0"

# success requests (get, put, delete):
put key1 "overwrote-key1"

# failure requests (get, put, delete):
put key1 "created-key1"
put key2 "some extra key"
---

Refer to https://github.com/etcd-io/etcd/blob/main/etcdctl/README.md#txn-options.)";

// Lines up to an empty one, each given to `take`.
template <class Take>
Ending read_block(const Session& s, std::string_view prompt, const Take& take) {
  if (s.flag("interactive")) {
    out().line("{}", prompt);
    out().flush();
  }
  for (;;) {
    const auto line = standard_input().line();
    if (!line) return fail(kExitInvalidInput, "EOF");
    const std::string_view text = cmd::trim_space(*line);
    if (text.empty()) return ok();
    const Ending e = take(text);
    if (e.code != kExitOk) return e;
  }
}

Ending read_requests(const Session& s, std::string_view prompt,
                     google::protobuf::RepeatedPtrField<pb::RequestOp>* into) {
  return read_block(s, prompt, [&](std::string_view line) {
    auto op = read_request(line);
    if (!op) return op.error();
    *into->Add() = std::move(*op);
    return ok();
  });
}

void show_txn(std::string& o, const pb::TxnResponse& r, bool hex) {
  o += r.succeeded() ? "SUCCESS\n" : "FAILURE\n";
  for (const pb::ResponseOp& op : r.responses()) {
    o += '\n';
    if (op.has_response_delete_range()) {
      show_del(o, op.response_delete_range(), hex);
    } else if (op.has_response_put()) {
      show_put(o, op.response_put(), hex);
    } else if (op.has_response_range()) {
      show_get(o, op.response_range(), hex);
    }
  }
}

void show_txn(Fields& f, const pb::TxnResponse& r) {
  f.header(r.header());
  f.put("Succeeded", r.succeeded());
  for (const pb::ResponseOp& op : r.responses()) {
    if (op.has_response_delete_range()) {
      show_del(f, op.response_delete_range());
    } else if (op.has_response_put()) {
      show_put(f, op.response_put());
    } else if (op.has_response_range()) {
      show_get(f, op.response_range());
    }
  }
}

Ending run_txn(Session& s) {
  if (!s.words().empty()) return bad_arguments("txn command does not accept argument");
  auto client = s.connect();
  if (!client) return client.error();
  pb::TxnRequest request;
  Ending e = read_block(s, "compares:", [&](std::string_view line) {
    auto c = read_compare(line);
    if (!c) return c.error();
    *request.add_compare() = std::move(*c);
    return ok();
  });
  if (e.code != kExitOk) return e;
  e = read_requests(s, "success requests (get, put, del):", request.mutable_success());
  if (e.code != kExitOk) return e;
  e = read_requests(s, "failure requests (get, put, del):", request.mutable_failure());
  if (e.code != kExitOk) return e;
  const auto response = (*client)->call(kTxn, request, Deadline::never());
  if (!response) return Session::failed(response.error());
  return s.print(*response, {.simple = [&](std::string& o) { show_txn(o, *response, s.printer().hex); },
                             .fields = [&](Fields& f) { show_txn(f, *response); }});
}

}  // namespace

void add_txn_command(Registry& r) {
  CobraCommand& c = r.add("txn [options]", "Txn processes all the requests in one transaction", run_txn);
  c.description = kDescription;
  c.flags.add({.name = "interactive",
               .shorthand = 'i',
               .kind = CobraFlag::Kind::kBool,
               .help = "Input transaction in interactive mode"});
}

}  // namespace quoin::ctl

// How an answer is shown: simple, fields, json, protobuf or table (--write-out).
//
// json and protobuf follow from the message; what a command says about an answer in the other formats it gives as Forms:
//
//   return session.print(response, {.simple = [&](std::string& o) { o += fmt::format("User {} created\n", name); },
//                                   .fields = header_only(response)});
//
// A form that is left out ends the command: "table not supported as output format", exit 4. The call was made by then,
// as in etcd.
// Threads: none. Source: etcdctl/ctlv3/command/printer*.go.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "cmd/etcdctl/ending.h"
#include "cmd/text/table.h"
#include "pb/rpc.pb.h"

namespace quoin::ctl {

namespace pb = ::etcdserverpb;

enum class Format { kSimple, kFields, kJson, kProtobuf, kTable };
// Nothing: no such format.
std::optional<Format> read_format(std::string_view name);

// Lines of `-w fields`: "Name" : value.
class Fields {
 public:
  Fields(std::string& out, bool hex) : out_(out), hex_(hex) {}
  void header(const pb::ResponseHeader& h);
  void kv(std::string_view prefix, const mvccpb::KeyValue& kv);
  template <class T>
  void put(std::string_view name, const T& value) {
    out_ += fmt::format("\"{}\" : {}\n", name, value);
  }
  void quoted(std::string_view name, std::string_view value);
  // Ids of members and clusters, and of leases: in hex if --hex is given.
  void id(std::string_view name, uint64_t id);
  void lease(std::string_view name, int64_t id);
  void empty_line() { out_ += '\n'; }
  void raw(std::string_view text) { out_ += text; }

 private:
  std::string& out_;
  const bool hex_;
};

struct Forms {
  std::function<void(std::string&)> simple;
  std::function<void(Fields&)> fields;
  std::function<cmd::Table()> table;
  std::function<std::string()> json;          // without its line feed; left out: json_of(message)
  std::function<Or<std::string>()> protobuf;  // left out: the message's bytes
};

template <class Response>
std::function<void(Fields&)> header_only(const Response& response) {
  return [&response](Fields& f) { f.header(response.header()); };
}

struct Printer {
  Format format = Format::kSimple;
  bool hex = false;
  // `message` null: there is no protobuf form unless `forms` has one.
  Ending print(const google::protobuf::Message* message, const Forms& forms) const;
};

// Key and value, a line each, as the simple format shows them; in hex: \x61 for each byte.
void append_kv(std::string& out, const mvccpb::KeyValue& kv, bool hex, bool value_only = false);

}  // namespace quoin::ctl

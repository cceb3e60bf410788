#include "cmd/etcdctl/printer.h"

#include <google/protobuf/message.h>

#include "base/go_text.h"
#include "cmd/etcdctl/message_json.h"
#include "cmd/etcdctl/output.h"

namespace quoin::ctl {
namespace {

Ending unsupported(std::string_view format) {
  return fail(kExitBadFeature, "{} not supported as output format", format);
}

}  // namespace

std::optional<Format> read_format(std::string_view name) {
  if (name == "simple") return Format::kSimple;
  if (name == "fields") return Format::kFields;
  if (name == "json") return Format::kJson;
  if (name == "protobuf") return Format::kProtobuf;
  if (name == "table") return Format::kTable;
  return std::nullopt;
}

void Fields::header(const pb::ResponseHeader& h) {
  id("ClusterID", h.cluster_id());
  id("MemberID", h.member_id());
  // Answers about other things than keys have none.
  if (h.revision() > 0) put("Revision", h.revision());
  put("RaftTerm", h.raft_term());
}

void Fields::quoted(std::string_view name, std::string_view value) {
  put(name, go_quote(value));
}

void Fields::id(std::string_view name, uint64_t id) {
  put(name, hex_ ? fmt::format("{:x}", id) : fmt::format("{}", id));
}

void Fields::lease(std::string_view name, int64_t id) {
  put(name, hex_ ? fmt::format("{:016x}", id) : fmt::format("{}", id));
}

void Fields::kv(std::string_view prefix, const mvccpb::KeyValue& kv) {
  const auto name = [&](std::string_view n) { return fmt::format("{}{}", prefix, n); };
  quoted(name("Key"), kv.key());
  put(name("CreateRevision"), kv.create_revision());
  put(name("ModRevision"), kv.mod_revision());
  put(name("Version"), kv.version());
  quoted(name("Value"), kv.value());
  lease(name("Lease"), kv.lease());
}

Ending Printer::print(const google::protobuf::Message* message, const Forms& forms) const {
  std::string text;
  switch (format) {
    case Format::kSimple:
      if (!forms.simple) return unsupported("simple");
      forms.simple(text);
      break;
    case Format::kFields: {
      if (!forms.fields) return unsupported("fields");
      Fields f(text, hex);
      forms.fields(f);
      break;
    }
    case Format::kTable:
      if (!forms.table) return unsupported("table");
      text = forms.table().text();
      break;
    case Format::kJson:
      if (!forms.json && message == nullptr) return unsupported("json");
      text = (forms.json ? forms.json() : json_of(*message)) + "\n";
      break;
    case Format::kProtobuf:
      if (forms.protobuf) {
        auto bytes = forms.protobuf();
        if (!bytes) return std::move(bytes.error());
        text = std::move(*bytes);
      } else if (message != nullptr) {
        text = message->SerializeAsString();
      } else {
        return unsupported("protobuf");
      }
      break;
  }
  out().put(text);
  return ok();
}

void append_kv(std::string& out, const mvccpb::KeyValue& kv, bool hex, bool value_only) {
  const auto line = [&](const std::string& bytes) {
    if (!hex) {
      out += bytes;
    } else {
      for (const char c : bytes) out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    }
    out += '\n';
  };
  if (!value_only) line(kv.key());
  line(kv.value());
}

}  // namespace quoin::ctl

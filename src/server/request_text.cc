#include "server/request_text.h"

#include <fmt/format.h>

#include <iterator>

#include "auth/tokens.h"

namespace quoin::server {

namespace pb = wire::etcdserverpb;

namespace {

// A message's fields in the order of their declaration.
class Text {
 public:
  Text& bytes(std::string_view name, std::string_view v) {
    if (!v.empty()) quoted(name, v);
    return *this;
  }
  // An element of a repeated field: also if empty.
  Text& quoted(std::string_view name, std::string_view v) {
    out_.append(name).append(":\"");
    for (const char c : v) put_escaped(c);
    out_.append("\" ");
    return *this;
  }
  template <class Int>
  Text& number(std::string_view name, Int v) {
    return v == 0 ? *this : always(name, v);
  }
  template <class Int>
  Text& always(std::string_view name, Int v) {
    fmt::format_to(std::back_inserter(out_), "{}:{} ", name, v);
    return *this;
  }
  Text& flag(std::string_view name, bool v) {
    if (v) out_.append(name).append(":true ");
    return *this;
  }
  // A number without a name is shown as it is.
  template <class Enum>
  Text& choice(std::string_view name, Enum v, std::initializer_list<std::string_view> names) {
    const auto n = static_cast<int32_t>(v);
    if (n == 0) return *this;
    if (n < 0 || static_cast<size_t>(n) >= names.size()) return always(name, n);
    out_.append(name).append(":").append(names.begin()[n]).append(" ");
    return *this;
  }
  Text& nested(std::string_view name, std::string_view text) {
    out_.append(name).append(":<").append(text).append("> ");
    return *this;
  }
  std::string take() { return std::move(out_); }

 private:
  void put_escaped(char c) {
    switch (c) {
      case '\n':
        out_ += "\\n";
        return;
      case '\r':
        out_ += "\\r";
        return;
      case '\t':
        out_ += "\\t";
        return;
      case '"':
      case '\\':
        out_ += '\\';
        out_ += c;
        return;
      default:
        break;
    }
    if (c >= 0x20 && c < 0x7f) {
      out_ += c;
    } else {
      fmt::format_to(std::back_inserter(out_), "\\{:03o}", static_cast<uint8_t>(c));
    }
  }
  std::string out_;
};

void result_and_target(Text& t, const pb::Compare& c) {
  t.choice("result", c.result, {"EQUAL", "GREATER", "LESS", "NOT_EQUAL"})
      .choice("target", c.target, {"VERSION", "CREATE", "MOD", "VALUE", "LEASE"})
      .bytes("key", c.key);
}

std::string compare_text(const pb::Compare& c) {
  Text t;
  result_and_target(t, c);
  if (c.version()) t.always("version", *c.version());
  if (c.create_revision()) t.always("create_revision", *c.create_revision());
  if (c.mod_revision()) t.always("mod_revision", *c.mod_revision());
  // A size, and no member of a oneof: left out if 0.
  if (c.value()) t.number("value_size", c.value()->size());
  if (c.lease()) t.always("lease", *c.lease());
  return t.bytes("range_end", c.range_end).take();
}

std::string op_text(const pb::RequestOp& op) {
  if (const auto* put = op.request_put()) return fmt::format("request_put:<{}>", request_text(*put));
  if (const auto* txn = op.request_txn()) return fmt::format("request_txn:<{}>", request_text(*txn));
  Text t;
  if (const auto* range = op.request_range()) t.nested("request_range", request_text(*range));
  if (const auto* erase = op.request_delete_range()) t.nested("request_delete_range", request_text(*erase));
  return t.take();
}

template <class List, class One>
std::string joined(const List& list, One one) {
  std::string out;
  for (const auto& item : list) {
    if (&item != &*list.begin()) out += ' ';
    out += one(item);
  }
  return out;
}

std::string header_text(const pb::RequestHeader& h) {
  return Text()
      .number("ID", h.id)
      .bytes("username", h.username)
      .number("auth_revision", h.auth_revision)
      .take();
}

std::string checkpoints_text(const pb::LeaseCheckpointRequest& r) {
  Text t;
  for (const pb::LeaseCheckpoint& c : r.checkpoints) {
    t.nested("checkpoints", Text().number("ID", c.id).number("remaining_TTL", c.remaining_ttl).take());
  }
  return t.take();
}

std::string attributes_text(const wire::membershippb::ClusterMemberAttrSetRequest& r) {
  Text t;
  t.number("member_ID", r.member_id);
  if (r.member_attributes) {
    Text a;
    a.bytes("name", r.member_attributes->name);
    for (const std::string_view url : r.member_attributes->client_urls) a.quoted("client_urls", url);
    t.nested("member_attributes", a.take());
  }
  return t.take();
}

// What etcd does not abbreviate: the message as it is.
std::string whole_text(const pb::InternalRaftRequest& r) {
  Text t;
  if (r.header) t.nested("header", header_text(*r.header));
  t.number("ID", r.id);
  if (r.range) t.nested("range", request_text(*r.range));
  if (r.delete_range) t.nested("delete_range", request_text(*r.delete_range));
  if (r.compaction) {
    t.nested(
        "compaction",
        Text().number("revision", r.compaction->revision).flag("physical", r.compaction->physical).take());
  }
  if (r.alarm) {
    t.nested("alarm", Text()
                          .choice("action", r.alarm->action, {"GET", "ACTIVATE", "DEACTIVATE"})
                          .number("memberID", r.alarm->member_id)
                          .choice("alarm", r.alarm->alarm, {"NONE", "NOSPACE", "CORRUPT"})
                          .take());
  }
  if (r.auth_enable) t.nested("auth_enable", "");
  if (r.auth_disable) t.nested("auth_disable", "");
  if (r.auth_status) t.nested("auth_status", "");
  if (r.auth_user_delete) t.nested("auth_user_delete", Text().bytes("name", r.auth_user_delete->name).take());
  if (r.auth_user_get) t.nested("auth_user_get", Text().bytes("name", r.auth_user_get->name).take());
  if (r.auth_user_grant_role) {
    t.nested("auth_user_grant_role", Text()
                                         .bytes("user", r.auth_user_grant_role->user)
                                         .bytes("role", r.auth_user_grant_role->role)
                                         .take());
  }
  if (r.auth_user_revoke_role) {
    t.nested("auth_user_revoke_role", Text()
                                          .bytes("name", r.auth_user_revoke_role->name)
                                          .bytes("role", r.auth_user_revoke_role->role)
                                          .take());
  }
  if (r.auth_user_list) t.nested("auth_user_list", "");
  if (r.auth_role_list) t.nested("auth_role_list", "");
  if (r.auth_role_add) t.nested("auth_role_add", Text().bytes("name", r.auth_role_add->name).take());
  if (r.auth_role_delete) t.nested("auth_role_delete", Text().bytes("role", r.auth_role_delete->role).take());
  if (r.auth_role_get) t.nested("auth_role_get", Text().bytes("role", r.auth_role_get->role).take());
  if (r.auth_role_grant_permission) {
    Text grant;
    grant.bytes("name", r.auth_role_grant_permission->name);
    if (const auto& perm = r.auth_role_grant_permission->perm) {
      grant.nested("perm", Text()
                               .choice("permType", perm->perm_type, {"READ", "WRITE", "READWRITE"})
                               .bytes("key", perm->key)
                               .bytes("range_end", perm->range_end)
                               .take());
    }
    t.nested("auth_role_grant_permission", grant.take());
  }
  if (r.auth_role_revoke_permission) {
    t.nested("auth_role_revoke_permission", Text()
                                                .bytes("role", r.auth_role_revoke_permission->role)
                                                .bytes("key", r.auth_role_revoke_permission->key)
                                                .bytes("range_end", r.auth_role_revoke_permission->range_end)
                                                .take());
  }
  if (r.lease_checkpoint) t.nested("lease_checkpoint", checkpoints_text(*r.lease_checkpoint));
  if (r.cluster_version_set) {
    t.nested("cluster_version_set", Text().bytes("ver", r.cluster_version_set->ver).take());
  }
  if (r.cluster_member_attr_set) {
    t.nested("cluster_member_attr_set", attributes_text(*r.cluster_member_attr_set));
  }
  if (r.downgrade_info_set) {
    t.nested(
        "downgrade_info_set",
        Text().flag("enabled", r.downgrade_info_set->enabled).bytes("ver", r.downgrade_info_set->ver).take());
  }
  if (r.downgrade_version_test) {
    t.nested("downgrade_version_test", Text().bytes("ver", r.downgrade_version_test->ver).take());
  }
  return t.take();
}

}  // namespace

std::string request_text(const pb::RangeRequest& r) {
  return Text()
      .bytes("key", r.key)
      .bytes("range_end", r.range_end)
      .number("limit", r.limit)
      .number("revision", r.revision)
      .choice("sort_order", r.sort_order, {"NONE", "ASCEND", "DESCEND"})
      .choice("sort_target", r.sort_target, {"KEY", "VERSION", "CREATE", "MOD", "VALUE"})
      .flag("serializable", r.serializable)
      .flag("keys_only", r.keys_only)
      .flag("count_only", r.count_only)
      .number("min_mod_revision", r.min_mod_revision)
      .number("max_mod_revision", r.max_mod_revision)
      .number("min_create_revision", r.min_create_revision)
      .number("max_create_revision", r.max_create_revision)
      .take();
}

std::string request_text(const pb::PutRequest& r) {
  return Text()
      .bytes("key", r.key)
      .number("value_size", r.value.size())
      .number("lease", r.lease)
      .flag("prev_kv", r.prev_kv)
      .flag("ignore_value", r.ignore_value)
      .flag("ignore_lease", r.ignore_lease)
      .take();
}

std::string request_text(const pb::DeleteRangeRequest& r) {
  return Text().bytes("key", r.key).bytes("range_end", r.range_end).flag("prev_kv", r.prev_kv).take();
}

std::string request_text(const pb::TxnRequest& r) {
  return fmt::format("compare:<{}> success:<{}> failure:<{}>", joined(r.compare, compare_text),
                     joined(r.success, op_text), joined(r.failure, op_text));
}

std::string request_text(const pb::InternalRaftRequest& r) {
  const auto headed = [&](std::string_view name, std::string_view text) {
    return fmt::format("header:<{}> {}:<{}>", r.header ? header_text(*r.header) : "<nil>", name, text);
  };
  if (r.lease_grant) {
    return headed("lease_grant",
                  fmt::format("ttl:{}-second id:{:016x}", r.lease_grant->ttl, r.lease_grant->id));
  }
  if (r.lease_revoke) {
    return headed("lease_revoke", fmt::format("id:{:016x}", r.lease_revoke->id));
  }
  // Without the password and its hash. etcd shows the letters of the token here, which with the entry's index are a
  // token that is valid.
  if (r.authenticate) {
    return headed("authenticate", fmt::format("name:{} token-fingerprint:{}", r.authenticate->name,
                                              auth::token_fingerprint(r.authenticate->simple_token)));
  }
  if (r.auth_user_add) return headed("auth_user_add", fmt::format("name:{}", r.auth_user_add->name));
  if (r.auth_user_change_password) {
    return headed("auth_user_change_password", fmt::format("name:{}", r.auth_user_change_password->name));
  }
  if (r.put) return headed("put", request_text(*r.put));
  if (r.txn) return headed("txn", request_text(*r.txn));
  return whole_text(r);
}

}  // namespace quoin::server

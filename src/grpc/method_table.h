// Which services and methods a server has: "/package.Service/Method" to the handler that serves it.
//
// Threads: filled at start-up, then only read, on any loop. Handlers named here are called on the loop of the
// connection; one that is shared by several loops keeps no state of its own or guards it.
// Lifetime: handlers outlive the table, the table outlives all connections.
#pragma once
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/error_table.h"

namespace quoin::grpc {

class UnaryHandler;
class StreamHandler;

// How many messages each side sends. The names are those of the metrics label grpc_type.
enum class MethodKind : uint8_t { kUnary, kServerStream, kBidiStream };
std::string_view method_kind_name(MethodKind kind);  // "unary", "server_stream", "bidi_stream"

struct Method {
  std::string service;  // "etcdserverpb.KV"
  std::string name;     // "Range"
  MethodKind kind;
  uint32_t index;         // dense, in order of registration: for tables of metric cells
  UnaryHandler* unary;    // of a kUnary method
  StreamHandler* stream;  // of the others
};

class MethodTable {
 public:
  void add_unary(std::string_view service, std::string_view name, UnaryHandler& handler);
  // kind: kServerStream or kBidiStream.
  void add_stream(std::string_view service, std::string_view name, MethodKind kind, StreamHandler& handler);

  // The method of a request's :path, or the code 12 text that a client gets instead: `malformed method name`,
  // `unknown service`, `unknown method ... for service` (spec api-semantics 1.1).
  std::variant<const Method*, std::string> find(std::string_view path) const;
  const std::deque<Method>& methods() const { return methods_; }

 private:
  const Method& add(Method m);

  std::deque<Method> methods_;
  // Open addressing over the hash of the path: one probe on the way of every request.
  std::vector<const Method*> slots_;
  std::map<std::string, int, std::less<>> services_;
};

}  // namespace quoin::grpc

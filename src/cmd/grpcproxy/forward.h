// Calls that go on to a member as they came, and their answers back.
//
// Threads: the proxy's loop. Lifetime: the context outlives it; it outlives all calls.
// Bounds: those of the connections (requests, answers), and of the client: a request that does not fit there
// fails with kResourceExhausted. Of an answer's stream at most one window arrives that its reader does not
// take.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "cmd/grpcproxy/context.h"
#include "grpc/method_table.h"

namespace quoin::cmd::grpcproxy {

class UnaryForward : public grpc::UnaryHandler {
 public:
  // Which way etcd's proxy calls the member. kStub: by the bare stub, which does not wait for a connection
  // and passes errors on as they are. kClient: by its client. kWaiting: by the stub, waiting.
  enum class Way : uint8_t { kStub, kClient, kWaiting };

  UnaryForward(Context& context, std::string_view service, std::string_view name, Way way);
  ~UnaryForward() override;
  void call(grpc::Call& call, std::string_view request) override { pass(call, request, request); }
  GrpcStatus cancelled(grpc::Call& call, std::string_view request, grpc::CancelReason reason) override;

 protected:
  // Asks a member `asked`.
  void pass(grpc::Call& call, std::string_view request, std::string_view asked);
  // A member's answer, on its way back.
  virtual void answered(grpc::Call& call, std::string_view /*request*/, std::string_view answer) {
    reply(call, answer);
  }
  static void reply(grpc::Call& call, std::string_view bytes);
  Context& context_;

 private:
  class Passage;
  const std::string path_;
  const Way way_;
  std::vector<std::unique_ptr<Passage>> all_;
  std::vector<Passage*> idle_;
};

// A server stream: one request, many answers.
class StreamForward final : public grpc::StreamHandler {
 public:
  // `polite`: an end without an error is passed on as such. etcd's proxy does not do that for observers, who
  // are told EOF as an error.
  StreamForward(Context& context, std::string_view service, std::string_view name, bool polite)
      : context_(context), path_(fmt::format("/{}/{}", service, name)), polite_(polite) {}
  std::unique_ptr<grpc::StreamListener> open(grpc::Call& call) override;

 private:
  class Stream;
  Context& context_;
  const std::string path_;
  const bool polite_;
};

// What has no more to it: Maintenance, Auth, Lock, Election, most of Cluster.
class Forwards {
 public:
  Forwards(Context& context, grpc::MethodTable& methods);

 private:
  std::vector<std::unique_ptr<UnaryForward>> unary_;
  std::vector<std::unique_ptr<StreamForward>> streams_;
};

}  // namespace quoin::cmd::grpcproxy

// etcdserverpb.Auth on one loop. All of its calls go through the log, those that only ask too.
//
// What differs from one member to the next is done here, before the entry: passwords are hashed and compared (on
// threads of their own), and the letters of a simple token are drawn.
//
// Threads: confined to its loop. Source: spec api-semantics 6.
#pragma once
#include <atomic>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "auth/password_checker.h"
#include "auth/store.h"
#include "grpc/method_table.h"
#include "v3rpc/gate.h"

namespace quoin::v3rpc {

class AuthService {
 public:
  AuthService(Loop& loop, Gate& gate, grpc::MethodTable& methods);
  ~AuthService();

 private:
  struct Handlers;
  // A call that becomes an entry as it is.
  template <class Request>
  void pass_on(grpc::Call& call, uint32_t field, std::string_view bytes);
  void user_add(grpc::Call& call, std::string_view bytes);
  void user_change_password(grpc::Call& call, std::string_view bytes);
  // Proposes the request with the hash of its password instead of the password.
  template <class Request>
  void propose_hashed(grpc::Call& call, uint32_t field, std::string_view bytes);
  void authenticate(grpc::Call& call, std::string_view bytes);
  // Compares the password with the hash as it is now, then proposes. Once more from here if auth changes meanwhile.
  void check_password(grpc::Call& call, std::string_view bytes);
  void propose_login(grpc::Call& call, std::string_view bytes, uint64_t revision);
  void logged_in(grpc::Call& call, std::string_view bytes, uint64_t revision, const server::Answer& answer);
  void refuse_login(grpc::Call& call, std::string_view user, const Error& error);

  // The call's job with the hashing threads, which is not begun once the call has ended.
  auth::PasswordChecker::GivenUp job_of(const grpc::Call& call);
  void cancelled(const grpc::Call& call);

  Loop& loop_;
  std::unordered_map<uint64_t, std::shared_ptr<std::atomic<bool>>> jobs_;  // by call
  std::unique_ptr<Handlers> handlers_;
};

}  // namespace quoin::v3rpc

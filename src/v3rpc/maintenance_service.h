// etcdserverpb.Maintenance on one loop: Status, Alarm, Defragment, Hash, HashKV, MoveLeader, Snapshot, Downgrade.
//
// Threads: confined to its loop. Source: spec api-semantics 5, storage-formats 6.1.
#pragma once
#include <memory>

#include "grpc/method_table.h"
#include "v3rpc/gate.h"

namespace quoin::v3rpc {

class MaintenanceService {
 public:
  MaintenanceService(Loop& loop, Gate& gate, grpc::MethodTable& methods);
  ~MaintenanceService();

 private:
  void status(grpc::Call& call, std::string_view bytes);
  void alarm(grpc::Call& call, std::string_view bytes);
  void defragment(grpc::Call& call, std::string_view bytes);
  void hash(grpc::Call& call, std::string_view bytes);
  void hash_kv(grpc::Call& call, std::string_view bytes);
  void move_leader(grpc::Call& call, std::string_view bytes);
  void downgrade(grpc::Call& call, std::string_view bytes);
  void downgrade_confirmed(grpc::Call& call, std::string_view bytes);

  Loop& loop_;
  struct Handlers;
  std::unique_ptr<Handlers> handlers_;
};

}  // namespace quoin::v3rpc

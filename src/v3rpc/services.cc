#include "v3rpc/services.h"

#include "v3rpc/auth_service.h"
#include "v3rpc/cluster_service.h"
#include "v3rpc/contests.h"
#include "v3rpc/election_service.h"
#include "v3rpc/health_service.h"
#include "v3rpc/inner_kv.h"
#include "v3rpc/kv_service.h"
#include "v3rpc/leader_monitor.h"
#include "v3rpc/lease_service.h"
#include "v3rpc/lock_service.h"
#include "v3rpc/maintenance_service.h"
#include "v3rpc/watch_service.h"

namespace quoin::v3rpc {

struct Services::Impl {
  Impl(Loop l, uint64_t seed)
      : turns(l.port.loop()),
        loop(l),
        leader_monitor(loop),
        callers(loop),
        gate(loop),
        kv(loop, gate, methods),
        watch(loop, gate, methods, seed),
        lease(loop, gate, methods),
        cluster(loop, gate, methods),
        maintenance(loop, gate, methods),
        inner_kv(loop),
        contests(inner_kv),
        lock(inner_kv, contests, gate, methods),
        election(inner_kv, contests, gate, methods),
        auth(loop, gate, methods),
        health(loop, gate, methods) {
    loop.turns = &turns;
    loop.leader_monitor = &leader_monitor;
    loop.callers = &callers;
  }
  grpc::Turns turns;
  Loop loop;
  LeaderMonitor leader_monitor;
  Callers callers;
  Gate gate;
  grpc::MethodTable methods;
  KvService kv;
  WatchService watch;
  LeaseService lease;
  ClusterService cluster;
  MaintenanceService maintenance;
  InnerKv inner_kv;
  Contests contests;
  LockService lock;
  ElectionService election;
  AuthService auth;
  HealthService health;
};

Services::Services(Loop loop, uint64_t seed) : impl_(new Impl(loop, seed)) {}
Services::~Services() = default;
const grpc::MethodTable& Services::methods() const {
  return impl_->methods;
}
grpc::Turns& Services::turns() {
  return impl_->turns;
}
size_t Services::callers_waiting() const {
  return impl_->callers.waiting();
}
size_t Services::steps_waiting() const {
  return impl_->turns.waiting();
}

}  // namespace quoin::v3rpc

// A member on a simulated machine, its services on one loop, and a client of one connection that shares the
// loop.
#pragma once
#include <gtest/gtest.h>

#include "grpc/harness_test.h"
#include "sim/disk.h"
#include "sim/file_system.h"
#include "sim/log_sink.h"
#include "sim/world.h"
#include "v3rpc/services.h"
#include "wire/message.h"

namespace quoin::v3rpc {

namespace pb = wire::etcdserverpb;

inline server::Config test_config() {
  server::Config c;
  c.name = "m";
  c.data_dir = "/data";
  c.initial_advertise_peer_urls = {"http://localhost:2380"};
  c.advertise_client_urls = {"http://localhost:2379"};
  c.initial_cluster = {{"m", {"http://localhost:2380"}}};
  return c;
}

class ServicesTest : public ::testing::Test, public grpc::ServerConnection::Notify {
 protected:
  static constexpr int64_t kMaxNs = 60 * io::kSecond;
  static constexpr int kKeys = 20'000;

  explicit ServicesTest(const server::Config& config = test_config(), uint64_t seed = 1,
                        const Limits& limits = {})
      : world_(seed),
        process_(world_.start_process("member")),
        loop_(process_.executor("loop")),
        append_fs_(disk_, process_.executor("append")),
        file_fs_(disk_, process_.executor("file")) {
    log_.set_level(log::Level::kInfo);
    auto member =
        server::Member::start(config, {process_.executor("raft"), process_.executor("apply"),
                                       process_.executor("append"), process_.executor("file"), append_fs_,
                                       file_fs_, process_.timers(), process_.clock(), log_, registry_, 1});
    EXPECT_TRUE(member) << member.error().text();
    member_ = std::move(*member);
    bool ready = false;
    member_->run(
        loop_, [&] { ready = true; }, [](Error e) { ADD_FAILURE() << e.text(); });
    EXPECT_TRUE(world_.run_until([&] { return ready; }, kMaxNs));
    port_ = std::make_unique<server::ClientPort>(*member_, loop_);
    services_ = std::make_unique<Services>(
        Loop{*member_, *port_, process_.timers(), process_.clock(), log_, rpc_metrics_, limits, &memory_}, 1);
    context_ = std::make_unique<grpc::ServerContext>(
        grpc::ServerContext{services_->methods(), calls_, probe_, memory_, {}});
    connection_ = std::make_unique<grpc::ServerConnection>(*context_, grpc::PeerInfo{"127.0.0.1:1", {}},
                                                           *this, process_.clock().monotonic());
    client_ = std::make_unique<grpc::test::RawClient>();
  }
  ~ServicesTest() override {
    connection_.reset();
    process_.kill();
    services_.reset();
    port_.reset();
    member_.reset();
  }
  void output_ready() override {}

  // Carries bytes both ways until nothing moves; on the loop.
  virtual void carry() { carry(*connection_, *client_); }
  void carry(grpc::ServerConnection& connection, grpc::test::RawClient& client) {
    for (bool moved = true; moved;) {
      http2::ByteQueue out;
      ASSERT_TRUE(client.session.produce(out, 64 << 20));
      moved = !out.empty();
      ASSERT_TRUE(connection.feed(out.take_all(), process_.clock().monotonic()));
      if (connection.coding()) connection.code(process_.clock().monotonic());
      ASSERT_TRUE(connection.produce(out, 64 << 20));
      moved |= !out.empty() || connection.coding();
      ASSERT_TRUE(client.session.feed(out.take_all(), process_.clock().monotonic()));
    }
  }
  void run_until(const std::function<bool()>& done) {
    for (int i = 0; i < 1'000'000 && !done(); ++i) {
      world_.step();
      bool carried = false;
      loop_.post([&] {
        carry();
        carried = true;
      });
      ASSERT_TRUE(world_.run_until([&] { return carried; }, kMaxNs));
    }
    ASSERT_TRUE(done());
  }
  template <class Request>
  http2::StreamId call(std::string_view method, const Request& request) {
    return client_->request(grpc::test::RawClient::post(method),
                            grpc::test::framed(wire::encode_string(request)), true);
  }
  grpc::test::RawClient::Stream& stream(http2::StreamId id) { return *client_->streams[id]; }
  // The client takes answers that wait for its windows from now on.
  void read_on(http2::StreamId id) {
    client_->read = true;
    const size_t bytes = stream(id).body.size();
    client_->session.consume_connection(bytes);
    client_->session.consume_stream(id, bytes);
  }
  // Complete messages of a stream so far.
  static std::vector<std::string_view> messages(std::string_view body) {
    std::vector<std::string_view> out;
    while (body.size() >= grpc::kPrefixBytes) {
      uint32_t size = 0;
      for (size_t i = 1; i < grpc::kPrefixBytes; ++i) size = size << 8 | static_cast<uint8_t>(body[i]);
      if (body.size() < grpc::kPrefixBytes + size) break;
      out.push_back(body.substr(grpc::kPrefixBytes, size));
      body.remove_prefix(grpc::kPrefixBytes + size);
    }
    return out;
  }
  // The sum of a family's cells of one label value; of all cells if `label` is empty. -1 without the family.
  double metric(std::string_view name, std::string_view label = {}) {
    double sum = -1;
    registry_.visit([&](const metrics::Family& f) {
      if (f.name != name) return;
      sum = 0;
      for (const metrics::Cell& c : f.cells) {
        bool wanted = label.empty();
        for (const auto& [key, value] : c.labels) wanted |= value == label;
        if (!wanted) continue;
        if (const auto* g = std::get_if<const metrics::Gauge*>(&c.source)) sum += (*g)->value();
        if (const auto* n = std::get_if<const metrics::Counter*>(&c.source))
          sum += static_cast<double>((*n)->value());
        if (const auto* read = std::get_if<std::function<double()>>(&c.source)) sum += (*read)();
      }
    });
    return sum;
  }
  // Lets everything that can happen without the client's help happen.
  void settle(int64_t ns = io::kSecond) {
    const io::MonotonicNs until = process_.clock().monotonic() + ns;
    run_until([&] { return process_.clock().monotonic() >= until; });
  }
  static std::string_view message(const grpc::test::RawClient::Stream& s) {
    return std::string_view(s.body).substr(grpc::kPrefixBytes);
  }

  void fill() {
    std::vector<http2::StreamId> puts;
    for (int n = 0; n < kKeys;) {
      pb::TxnRequest txn;
      std::deque<std::string> texts;
      for (int i = 0; i < 100; ++i, ++n) {
        auto& put = txn.success.emplace_back().set_request_put();
        put.key = texts.emplace_back(fmt::format("k{:06}", n));
        put.value = "some value of a usual length";
      }
      puts.push_back(call("/etcdserverpb.KV/Txn", txn));
    }
    run_until([&] {
      return std::all_of(puts.begin(), puts.end(), [&](http2::StreamId id) { return stream(id).ended; });
    });
    for (http2::StreamId id : puts) ASSERT_EQ(stream(id).status(), "0 ");
  }
  static pb::RangeRequest everything() {
    pb::RangeRequest r;
    r.key = std::string_view("\0", 1);
    r.range_end = std::string_view("\0", 1);
    r.serializable = true;
    return r;
  }
  static pb::RangeRequest one() {
    pb::RangeRequest r;
    r.key = "k000007";
    r.serializable = true;
    return r;
  }

  sim::World world_;
  sim::SimDisk disk_{world_};
  sim::Process& process_;
  sim::SimExecutor& loop_;
  sim::SimFileSystem append_fs_, file_fs_;
  sim::LogSink log_;
  metrics::Registry registry_;
  RpcMetrics rpc_metrics_{registry_};
  grpc::CallTable calls_;
  grpc::test::CountingProbe probe_;
  grpc::MemoryBudget memory_{1 << 30};
  std::unique_ptr<server::Member> member_;
  std::unique_ptr<server::ClientPort> port_;
  std::unique_ptr<Services> services_;
  std::unique_ptr<grpc::ServerContext> context_;
  std::unique_ptr<grpc::ServerConnection> connection_;
  std::unique_ptr<grpc::test::RawClient> client_;
};

}  // namespace quoin::v3rpc

#include "v3rpc/watch_service.h"

#include "v3rpc/services_test.h"

namespace quoin::v3rpc {
namespace {

class WatchServiceTest : public ServicesTest {
 protected:
  static constexpr int kPuts = 300;  // more than apply reads for a watcher itself

  void put_all() {
    std::vector<http2::StreamId> puts;
    for (int i = 0; i < kPuts; ++i) {
      pb::PutRequest put;
      put.key = "a";
      put.value = "v";
      puts.push_back(call("/etcdserverpb.KV/Put", put));
    }
    run_until([&] {
      return std::all_of(puts.begin(), puts.end(), [&](http2::StreamId id) { return stream(id).ended; });
    });
  }
  static std::string create(int64_t id, int64_t start_revision) {
    pb::WatchRequest r;
    auto& c = r.set_create_request();
    c.key = "a";
    c.watch_id = id;
    c.start_revision = start_revision;
    return grpc::test::framed(wire::encode_string(r));
  }
  static std::string cancel(int64_t id) {
    pb::WatchRequest r;
    r.set_cancel_request().watch_id = id;
    return grpc::test::framed(wire::encode_string(r));
  }
  // Events that came, in order, by revision.
  static std::vector<int64_t> revisions(std::string_view body) {
    std::vector<int64_t> out;
    while (body.size() >= grpc::kPrefixBytes) {
      uint32_t size = 0;
      for (size_t i = 1; i < grpc::kPrefixBytes; ++i) size = size << 8 | static_cast<uint8_t>(body[i]);
      if (body.size() < grpc::kPrefixBytes + size) break;
      const auto r = wire::decode<pb::WatchResponse>(body.substr(grpc::kPrefixBytes, size));
      EXPECT_TRUE(r.has_value());
      for (const auto& event : r->events) {
        EXPECT_TRUE(event.kv.has_value());
        const auto kv = wire::decode<wire::mvccpb::KeyValue>(event.kv->bytes);
        EXPECT_TRUE(kv.has_value());
        out.push_back(kv->mod_revision);
      }
      body.remove_prefix(grpc::kPrefixBytes + size);
    }
    return out;
  }
};

// Cancel and create under one id, with a long past to catch up with: the cancel is of the watcher before.
TEST_F(WatchServiceTest, ACancelDoesNotSilenceTheNextWatcherOfItsId) {
  put_all();
  std::vector<int64_t> want;
  for (int64_t r = 2; r < 2 + kPuts; ++r) want.push_back(r);
  for (int n = 0; n < 40; ++n) {
    SCOPED_TRACE(n);
    const auto id = client_->request(grpc::test::RawClient::post("/etcdserverpb.Watch/Watch"),
                                     create(7, 0) + cancel(7) + create(7, 2), false);
    const io::MonotonicNs limit = process_.clock().monotonic() + io::kSecond;
    run_until([&] {
      return revisions(stream(id).body).size() >= want.size() || process_.clock().monotonic() > limit;
    });
    ASSERT_EQ(revisions(stream(id).body), want);
  }
}

}  // namespace
}  // namespace quoin::v3rpc

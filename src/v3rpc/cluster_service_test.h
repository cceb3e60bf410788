// A member whose cluster is changed by its clients, and which can lose its leader.
#pragma once
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "v3rpc/services_test.h"

namespace quoin::v3rpc {

class ClusterServiceTest : public ServicesTest {
 protected:
  using ServicesTest::ServicesTest;
  template <class Request>
  const grpc::test::RawClient::Stream& ask(std::string_view method, const Request& request) {
    const http2::StreamId id = call("/etcdserverpb." + std::string(method), request);
    run_until([&] { return stream(id).ended; });
    return stream(id);
  }
  template <class Response, class Request>
  Response good(std::string_view method, const Request& request) {
    const auto& s = ask(method, request);
    EXPECT_EQ(s.status(), "0 ");
    if (s.status() != "0 ") return {};
    auto r = wire::decode<Response>(message(s));
    EXPECT_TRUE(r);
    return *std::move(r);
  }
  pb::MemberAddRequest adding(std::vector<std::string_view> urls, bool learner) {
    pb::MemberAddRequest r;
    r.peer_urls = std::move(urls);
    r.is_learner = learner;
    return r;
  }
  std::string add(std::vector<std::string_view> urls, bool learner) {
    return ask("Cluster/MemberAdd", adding(std::move(urls), learner)).status();
  }
  template <class Request>
  http2::StreamId call_with(std::string_view method, const Request& request,
                            std::vector<std::pair<std::string, std::string>> headers, bool end = true) {
    auto head = grpc::test::RawClient::post("/" + std::string(method));
    head.insert(head.end(), headers.begin(), headers.end());
    return client_->request(head, grpc::test::framed(wire::encode_string(request)), end);
  }
  // Another voter that is not there: nothing is decided from then on, and in an election timeout or two nobody
  // leads.
  void lose_quorum() {
    ASSERT_EQ(add({"http://away:2380"}, false), "0 ");
    run_until([&] { return !member_->leader(); });
  }
};

}  // namespace quoin::v3rpc

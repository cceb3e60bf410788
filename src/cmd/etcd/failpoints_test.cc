#include "cmd/etcd/failpoints.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

namespace quoin::cmd {
namespace {

struct NoEffects final : failpoint::Effects {
  void sleep(int64_t) override {}
  void print(std::string_view) override {}
  void die(std::string_view) override {}
};

class Client {
 public:
  explicit Client(uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
  }
  ~Client() { ::close(fd_); }
  void send(std::string_view bytes) {
    EXPECT_EQ(::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
  }
  // Reads until the end of what was answered is there.
  std::string until(std::string_view end) {
    std::string all;
    while (!all.ends_with(end)) {
      char byte;
      if (::recv(fd_, &byte, 1, 0) != 1) return all + "<end>";
      all += byte;
    }
    return all;
  }

 private:
  const int fd_;
};

struct Rig {
  NoEffects effects;
  failpoint::Registry registry;
  failpoint::Point a{registry, "walBeforeSync"}, b{registry, "beforeCommit"};
  std::unique_ptr<FailpointPort> port;
  Rig() {
    registry.use(effects, 1);
    port = std::move(*FailpointPort::open("127.0.0.1:0", registry));
  }
};

TEST(FailpointPort, SetsListsAndClearsOverOneConnection) {
  Rig rig;
  Client client(rig.port->port());
  client.send("PUT /walBeforeSync HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nsleep(10)");
  EXPECT_EQ(client.until("\r\n\r\n"), "HTTP/1.1 204 No Content\r\n\r\n");
  client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_EQ(client.until("(10)\n"),
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 38\r\n\r\n"
            "beforeCommit=\nwalBeforeSync=sleep(10)\n");
  client.send("DELETE /walBeforeSync HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_EQ(client.until("\r\n\r\n"), "HTTP/1.1 204 No Content\r\n\r\n");
  client.send("GET /walBeforeSync HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_EQ(client.until("\n\n"),
            "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: "
            "nosniff\r\n"
            "Content-Length: 49\r\n\r\nfailed to GET: failpoint: failpoint is disabled\n\n");
  client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
  const std::string refused = client.until("not allowed\n");
  EXPECT_TRUE(refused.starts_with("HTTP/1.1 405 Method Not Allowed\r\n")) << refused;
  EXPECT_NE(refused.find("Allow: PUT\r\n"), std::string::npos) << refused;
}

TEST(FailpointPort, ServesOneClientWhileAnotherSaysNothing) {
  Rig rig;
  Client silent(rig.port->port()), client(rig.port->port());
  silent.send("PUT /walBefo");
  client.send("GET /beforeCommit/count HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_TRUE(client.until("disabled\n").starts_with("HTTP/1.1 500 "));
  silent.send("reSync HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\noff");
  EXPECT_EQ(silent.until("\r\n\r\n"), "HTTP/1.1 204 No Content\r\n\r\n");
}

TEST(FailpointPort, RefusesABodyWithoutBounds) {
  Rig rig;
  Client client(rig.port->port());
  client.send("PUT /walBeforeSync HTTP/1.1\r\nHost: h\r\nContent-Length: 70000000\r\n\r\n");
  EXPECT_TRUE(client.until("\r\n\r\n").starts_with("HTTP/1.1 413 "));
}

TEST(FailpointPort, AnAddressInUseIsToldAsGoTellsIt) {
  Rig rig;
  const std::string address = fmt::format("127.0.0.1:{}", rig.port->port());
  const auto second = FailpointPort::open(address, rig.registry);
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().text(), fmt::format("listen tcp {}: bind: address already in use", address));
  EXPECT_EQ(FailpointPort::open("nothing", rig.registry).error().text(),
            "listen tcp: address nothing: missing port in address");
}

}  // namespace
}  // namespace quoin::cmd

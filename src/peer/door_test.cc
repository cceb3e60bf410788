// What is answered below /raft, byte for byte but for the order in which Go writes fields.
#include "base/coding.h"
#include "peer/cluster_test.h"
#include "peer/raft_bytes.h"
#include "raft/codec.h"

namespace quoin::peer {
namespace {

struct Asked {
  explicit Asked(uint64_t seed = 1) : c(seed) { c.form(2); }
  Node& a() { return c[1]; }
  Node& b() { return c[2]; }
  // To m2, as member 101 of cluster c1 unless `fields` say otherwise.
  std::string ask(const std::string& method, const std::string& path, const std::string& fields = "",
                  const std::string& body = "", bool defaults = true) {
    std::string request = method + " " + path + " HTTP/1.1\r\nHost: m2\r\n";
    if (defaults) {
      request +=
          "X-Server-From: 101\r\nX-Server-Version: 3.6.14\r\nX-Min-Cluster-Version: 3.0.0\r\n"
          "X-Etcd-Cluster-Id: c1\r\nX-Raft-To: 102\r\n";
    }
    request += fields;
    if (!body.empty() || method == "POST") request += fmt::format("Content-Length: {}\r\n", body.size());
    return converse(c, a(), "m2", request + "\r\n" + body, 6 * io::kSecond);
  }
  Cluster c;
};

std::string refusal(const std::string& status, const std::string& more, const std::string& text) {
  return fmt::format(
      "HTTP/1.1 {}\r\n{}Content-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n"
      "Content-Length: {}\r\n\r\n{}\n",
      status, more, text.size() + 1, text);
}
const std::string kStreamFields = "X-Server-Version: 3.6.16\r\nX-Etcd-Cluster-Id: c1\r\n";
const std::string kPostFields = "X-Etcd-Cluster-Id: c1\r\n";

TEST(Door, RefusesStreamsInEtcdsOrder) {
  Asked t;
  const std::string msgapp = "/raft/stream/msgapp/101";
  EXPECT_EQ(t.ask("POST", msgapp), refusal("405 Method Not Allowed", "Allow: GET\r\n", "Method Not Allowed"));
  const auto none = [&](const std::string& fields) { return t.ask("GET", msgapp, fields, "", false); };
  const std::string incompatible = refusal("412 Precondition Failed", kStreamFields, "incompatible version");
  const std::string other = refusal("412 Precondition Failed", kStreamFields, "cluster ID mismatch");
  EXPECT_EQ(none(""), incompatible);
  EXPECT_EQ(none("X-Server-Version: 2.3.0\r\nX-Min-Cluster-Version: 2.1.0\r\nX-Etcd-Cluster-Id: c1\r\n"),
            incompatible);
  EXPECT_EQ(none("X-Server-Version: 3.9.0\r\nX-Min-Cluster-Version: 3.7.0\r\nX-Etcd-Cluster-Id: c1\r\n"),
            incompatible);
  EXPECT_EQ(none("X-Server-Version: 3.5.1\r\nX-Min-Cluster-Version: 3.0.0\r\n"), other);
  EXPECT_EQ(none("X-Server-Version: 3.5.1\r\nX-Min-Cluster-Version: 3.0.0\r\nX-Etcd-Cluster-ID: 00c1\r\n"),
            other);
  EXPECT_EQ(none("X-Server-Version: 3.5.1\r\nX-Etcd-Cluster-ID: c2\r\n"), other);
  // What is no version ends the connection.
  EXPECT_EQ(none("X-Server-Version: 3.6\r\nX-Etcd-Cluster-Id: c1\r\n"), "<end>");
  EXPECT_EQ(none("X-Server-Version: 3.6.14\r\nX-Min-Cluster-Version: x\r\n"), "<end>");

  const auto not_found = [](const std::string& text) {
    return refusal("404 Not Found", kStreamFields, text);
  };
  EXPECT_EQ(t.ask("GET", "/raft/stream/other/101"), not_found("invalid path"));
  EXPECT_EQ(t.ask("GET", "/raft/stream/"), not_found("invalid path"));
  EXPECT_EQ(t.ask("GET", "/raft/stream/msgapp/101/x"), not_found("invalid path"));
  EXPECT_EQ(t.ask("GET", "/raft/stream/msgapp/xyz"), not_found("invalid from"));
  EXPECT_EQ(t.ask("GET", "/raft/stream/msgapp/"), not_found("invalid from"));
  EXPECT_TRUE(t.b().log.contains("path=xyz error=strconv.ParseUint: parsing \"xyz\": invalid syntax"));
  EXPECT_TRUE(t.b().log.contains("path=msgapp error=strconv.ParseUint: parsing \"msgapp\": invalid syntax"));
  EXPECT_EQ(t.ask("GET", "/raft/stream/msgapp/11111111111111111"), not_found("invalid from"));
  EXPECT_TRUE(t.b().log.contains("parsing \"11111111111111111\": value out of range"));
  t.b().member.removed_members.insert(MemberId{0x109});
  EXPECT_EQ(t.ask("GET", "/raft/stream/message/109"), refusal("410 Gone", kStreamFields, "removed member"));
  EXPECT_EQ(t.ask("GET", "/raft/stream/message/108", "X-PeerURLs: http://m8:1,http://m9:2\r\n"),
            not_found("error sender not found"));
  EXPECT_TRUE(
      t.b().log.contains("added new remote peer local-member-id=102 remote-peer-id=108 "
                         "remote-peer-urls=[http://m8:1 http://m9:2]"));
  EXPECT_EQ(t.ask("GET", msgapp, "X-Raft-To: 1\r\n", "", false), incompatible);
  const std::string to =
      "X-Server-Version: 3.6.14\r\nX-Min-Cluster-Version: 3.0.0\r\nX-Etcd-Cluster-Id: c1\r\n";
  EXPECT_EQ(t.ask("GET", msgapp, to + "X-Raft-To: 0102\r\n", "", false),
            refusal("412 Precondition Failed", kStreamFields, "to field mismatch"));
  EXPECT_EQ(t.ask("GET", msgapp, to, "", false),
            refusal("412 Precondition Failed", kStreamFields, "to field mismatch"));
  EXPECT_TRUE(
      t.b().log.contains("warn ignored streaming request; ID mismatch local-member-id=102 "
                         "remote-peer-id-stream-handler=102 remote-peer-id-header=0102 "
                         "remote-peer-id-from=101 cluster-id=c1"));
}

TEST(Door, OpensStreams) {
  Asked t(2);
  const std::string answer = t.ask("GET", "/raft/stream/message/101");
  const std::string head = "HTTP/1.1 200 OK\r\n" + kStreamFields + "Transfer-Encoding: chunked\r\n\r\n";
  EXPECT_EQ(answer.substr(0, head.size()), head);
  // Link heartbeats every 5/3 s; ours took the place of the peer's, which took it back.
  EXPECT_TRUE(
      t.b().log.contains("warn closed TCP streaming connection with remote peer stream-writer-type=stream "
                         "Message local-member-id=102 remote-peer-id=101"));
}

TEST(Door, RedirectsWhereServeMuxDoes) {
  Asked t(3);
  EXPECT_EQ(
      t.ask("GET", "/raft/stream?x=1"),
      "HTTP/1.1 307 Temporary Redirect\r\nLocation: /raft/stream/?x=1\r\nContent-Type: text/html; "
      "charset=utf-8\r\nContent-Length: 53\r\n\r\n<a href=\"/raft/stream/?x=1\">Temporary Redirect</a>.\n\n");
  EXPECT_TRUE(t.ask("POST", "/raft/stream")
                  .starts_with("HTTP/1.1 307 Temporary Redirect\r\nLocation: /raft/stream/\r\n"));
  http1::Door& door = t.b().transport().door();
  for (const char* path :
       {"/raft", "/raft/probing", "/raft/snapshot", "/raft/stream", "/raft/stream/", "/raft/stream/x/y/"})
    EXPECT_TRUE(door.serves(path)) << path;
  for (const char* path : {"/raft/", "/raft/x", "/raftx", "/raft/stream//", "/raft/stream/./x",
                           "/raft/stream/..", "/version", "/"})
    EXPECT_FALSE(door.serves(path)) << path;
}

TEST(Door, ProbingSaysTheTime) {
  Asked t(4);
  for (const char* method : {"GET", "POST", "DELETE"}) {
    const std::string answer = t.ask(method, "/raft/probing", "", "", false);
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n"))
        << answer;
    EXPECT_NE(answer.find("\r\n\r\n{\"OK\":true,\"Now\":\"2023-11-14T"), std::string::npos) << answer;
  }
}

TEST(Door, TakesPostedMessages) {
  Asked t(5);
  const std::string body = raft::encode_string(message(raft::MessageType::kVote, t.a(), t.b(), 9));
  EXPECT_EQ(t.ask("POST", "/raft", "X-PeerURLs: http://m1:2380\r\n", body),
            "HTTP/1.1 204 No Content\r\n" + kPostFields + "\r\n");
  ASSERT_EQ(t.b().member.processed.size(), 1u);
  EXPECT_EQ(raft::encode_string(t.b().member.processed[0]), body);
  EXPECT_EQ(t.ask("GET", "/raft"),
            refusal("405 Method Not Allowed", "Allow: POST\r\n", "Method Not Allowed"));
  EXPECT_EQ(t.ask("POST", "/raft", "", body, false),
            refusal("412 Precondition Failed", kPostFields, "incompatible version"));
  EXPECT_EQ(t.ask("POST", "/raft", "X-Server-Version: 3.6.1\r\nX-Etcd-Cluster-Id: c7\r\n", body, false),
            refusal("412 Precondition Failed", kPostFields, "cluster ID mismatch"));
  EXPECT_EQ(t.ask("POST", "/raft", "", "\xff\xff"),
            refusal("400 Bad Request", kPostFields, "error unmarshalling raft message"));
  // An empty body is a message with nothing in it.
  EXPECT_EQ(t.ask("POST", "/raft", "", ""), "HTTP/1.1 204 No Content\r\n" + kPostFields + "\r\n");
  t.b().member.process_result = Error(Code::kIo, "cannot process message from removed member");
  EXPECT_EQ(t.ask("POST", "/raft", "", body),
            "HTTP/1.1 500 Internal Server Error\r\n" + kPostFields +
                "Content-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n"
                "Transfer-Encoding: chunked\r\n\r\n1e\r\nerror processing raft message\n\r\n<end>");
  EXPECT_TRUE(t.b().log.contains(
      "warn failed to process Raft message local-member-id=102 error=cannot process message "
      "from removed member"));
  EXPECT_EQ(t.b().metric("quoin_peer_posted_bytes"), 0);
}

// A chunked body that breaks off is answered, and counts under the address it came from.
TEST(Door, ABodyThatBreaksOff) {
  Asked t(6);
  const std::string answer = t.ask("POST", "/raft", "Transfer-Encoding: chunked\r\n", "");
  (void)answer;
  const std::string broken =
      converse(t.c, t.a(), "m2",
               "POST /raft HTTP/1.1\r\nHost: m2\r\nX-Server-Version: 3.6.14\r\nX-Etcd-Cluster-Id: "
               "c1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcdeXX");
  EXPECT_TRUE(broken.starts_with("HTTP/1.1 400 Bad Request\r\n" + kPostFields)) << broken;
  EXPECT_NE(broken.find("error reading raft message\n"), std::string::npos);
  EXPECT_EQ(t.b().metric("etcd_network_peer_received_failures_total"), 1);
}

TEST(Door, BodiesInTheMakingAreBounded) {
  Options options;
  options.posted_bytes_max = 1 << 20;
  Cluster c(7);
  c.form(2, options);
  // Ten bodies of a megabyte that all stay incomplete.
  struct Silent final : io::StreamHandler {
    void on_data(std::string_view) override {}
    void on_eof() override {}
    void on_drained() override {}
    void on_closed(Result<>) override {}
  } silent;
  std::vector<std::unique_ptr<io::Stream>> streams;
  std::vector<std::unique_ptr<io::Connecting>> connecting;
  for (int i = 0; i < 10; ++i) {
    connecting.push_back(c[1].network.connect(
        {false, "m2", 2380}, {}, c[1].loop, [&](Result<std::unique_ptr<io::Stream>> stream) {
          ASSERT_TRUE(stream.has_value());
          (*stream)->set_handler(&silent);
          (*stream)->write(fmt::format("POST /raft HTTP/1.1\r\nHost: m2\r\nX-Server-Version: 3.6.14\r\n"
                                       "X-Etcd-Cluster-Id: c1\r\nContent-Length: {}\r\n\r\n",
                                       3 << 20) +
                           std::string(2 << 20, 'x'));
          streams.push_back(std::move(*stream));
        }));
  }
  c.world.run_for(10 * io::kSecond);
  EXPECT_GE(c[2].metric("quoin_peer_posted_bytes"), 2 << 20);  // the oldest is read on
  // Each of the others may have one window more than the bound.
  EXPECT_LE(c[2].metric("quoin_peer_posted_bytes"), (2 << 20) + (1 << 20) + 10 * (512 << 10));
  streams.clear();
  c.world.run_for(io::kSecond);
  EXPECT_EQ(c[2].metric("quoin_peer_posted_bytes"), 0);
}

// A proposal without a leader is never answered: its connection may end first.
TEST(Door, AConnectionThatEndsWhileRaftThinks) {
  Asked t(8);
  t.b().member.never_answer = true;
  const raft::Message m = message(raft::MessageType::kProp, t.a(), t.b(), 9, 1000);
  const std::string body = raft::encode_string(m);
  EXPECT_EQ(t.ask("POST", "/raft", "", body), "");  // converse() closes
  t.c.world.run_for(io::kSecond);
  EXPECT_EQ(t.b().metric("quoin_peer_posted_bytes"), static_cast<double>(body.size() + parts_size(m)));
  for (auto& done : t.b().member.unanswered) done({});
  t.b().member.held.clear();
  t.c.world.run_for(io::kSecond);
  EXPECT_EQ(t.b().metric("quoin_peer_posted_bytes"), 0);
}

}  // namespace
}  // namespace quoin::peer

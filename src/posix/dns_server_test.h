// A name server on the loopback, for tests: answers UDP and TCP on one port, and misbehaves by the name asked for.
#pragma once
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/check.h"

namespace quoin::posix {

class DnsServer {
 public:
  enum class Way : uint8_t {
    kAnswer,
    kNever,
    kHeld,          // not before release()
    kWrongIdFirst,  // an answer to another question, with another address, before the right one
    kGarbage,
    kCut,             // an answer that ends in the middle of a record
    kLoop,            // two aliases that name each other
    kTruncated,       // over UDP; the whole of it over TCP
    kTruncatedNever,  // over TCP then nothing
    kFails,           // SERVFAIL
  };
  struct Name {
    Way way = Way::kAnswer;
    std::vector<std::string> v4, v6;
    std::vector<std::string> srv;  // "priority weight port target"
  };

  explicit DnsServer(std::map<std::string, Name> names) : names_(std::move(names)) {
    udp_ = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    tcp_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    // The two families of sockets number their ports apart: the same one may be taken.
    sockaddr_in a = {};
    socklen_t n = sizeof a;
    do {
      if (a.sin_port != 0) {
        close(udp_);
        udp_ = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
      }
      a = {};
      a.sin_family = AF_INET;
      a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      CHECK_EQ(bind(udp_, reinterpret_cast<sockaddr*>(&a), sizeof a), 0);
      getsockname(udp_, reinterpret_cast<sockaddr*>(&a), &n);
    } while (bind(tcp_, reinterpret_cast<sockaddr*>(&a), sizeof a) != 0);
    CHECK_EQ(listen(tcp_, 16), 0);
    port_ = ntohs(a.sin_port);
    CHECK_EQ(pipe(stop_), 0);
    thread_ = std::thread([this] { run(); });
  }
  ~DnsServer() {
    CHECK_EQ(write(stop_[1], "x", 1), 1);
    thread_.join();
    for (const int fd : {udp_, tcp_, stop_[0], stop_[1]}) close(fd);
    for (const int fd : silent_) close(fd);
  }
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  int asked() const { return asked_; }
  int asked_over_tcp() const { return asked_over_tcp_; }
  void release() {
    std::lock_guard lock(mutex_);
    held_over_ = true;
    for (const auto& [to, bytes] : held_) send_udp(to, bytes);
    held_.clear();
  }

 private:
  using Bytes = std::string;
  static void put16(Bytes& b, unsigned v) { b += {static_cast<char>(v >> 8), static_cast<char>(v)}; }
  static void put_name(Bytes& b, const std::string& name) {
    for (size_t at = 0; at < name.size();) {
      const size_t dot = std::min(name.find('.', at), name.size());
      b += static_cast<char>(dot - at);
      b.append(name, at, dot - at);
      at = dot + 1;
    }
    b += '\0';
  }
  static void put_record(Bytes& b, const std::string& name, unsigned type, const Bytes& data) {
    if (name.empty()) {
      put16(b, 0xc00c);  // the name asked for
    } else {
      put_name(b, name);
    }
    put16(b, type);
    put16(b, 1);
    put16(b, 0);
    put16(b, 60);
    put16(b, static_cast<unsigned>(data.size()));
    b += data;
  }
  static Bytes head(const Bytes& question, unsigned flags, unsigned answers, size_t question_end) {
    Bytes b = question.substr(0, 2);
    put16(b, 0x8180 | flags);
    put16(b, 1);
    put16(b, answers);
    put16(b, 0);
    put16(b, 0);
    return b + question.substr(12, question_end - 12);
  }

  // What to say, one message after the other.
  std::vector<Bytes> answers(const Bytes& q, bool tcp, bool& held) {
    if (q.size() < 17) return {};
    std::string name;
    size_t at = 12;
    for (; at < q.size() && q[at] != 0; at += static_cast<size_t>(q[at]) + 1)
      name += (name.empty() ? "" : ".") + q.substr(at + 1, static_cast<size_t>(q[at]));
    const size_t end = at + 5;
    if (end > q.size()) return {};
    const unsigned type = static_cast<unsigned char>(q[at + 2]);
    const auto it = names_.find(name);
    if (it == names_.end()) return {head(q, 3, 0, end)};
    const Name& n = it->second;
    Bytes records;
    unsigned count = 0;
    for (const auto& [family, list, number] :
         {std::tuple{AF_INET, &n.v4, 1u}, std::tuple{AF_INET6, &n.v6, 28u}}) {
      for (const std::string& text : *list) {
        char data[16];
        if (type != number || inet_pton(family, text.c_str(), data) != 1) continue;
        put_record(records, "", type, Bytes(data, family == AF_INET ? 4 : 16));
        ++count;
      }
    }
    for (const std::string& text : n.srv) {
      unsigned priority, weight, port;
      char target[256];
      if (type != 33 || sscanf(text.c_str(), "%u %u %u %255s", &priority, &weight, &port, target) != 4)
        continue;
      Bytes data;
      put16(data, priority);
      put16(data, weight);
      put16(data, port);
      put_name(data, target);
      put_record(records, "", 33, data);
      ++count;
    }
    const Bytes right = head(q, 0, count, end) + records;
    switch (n.way) {
      case Way::kNever:
        return {};
      case Way::kHeld:
        held = true;
        return {right};
      case Way::kWrongIdFirst: {
        Bytes wrong = head(q, 0, type == 1, end);
        if (type == 1) put_record(wrong, "", 1, Bytes("\x7f\0\0\x09", 4));
        wrong[1] = static_cast<char>(wrong[1] + 1);
        return {wrong, right};
      }
      case Way::kGarbage:
        return {q.substr(0, 2) + "\x81\x80 nothing that could be read as an answer"};
      case Way::kCut:
        return {right.substr(0, right.size() - 3)};
      case Way::kLoop: {
        Bytes b = head(q, 0, 2, end);
        Bytes other, self;
        put_name(other, "other.test");
        put_name(self, name);
        put_record(b, "", 5, other);
        put_record(b, "other.test", 5, self);
        return {b};
      }
      case Way::kTruncated:
        return {tcp ? right : head(q, 0x0200, 0, end)};
      case Way::kTruncatedNever:
        if (tcp) return {};
        return {head(q, 0x0200, 0, end)};
      case Way::kFails:
        return {head(q, 2, 0, end)};
      case Way::kAnswer:
        break;
    }
    return {right};
  }

  void send_udp(const sockaddr_in& to, const Bytes& bytes) {
    sendto(udp_, bytes.data(), bytes.size(), 0, reinterpret_cast<const sockaddr*>(&to), sizeof to);
  }

  void run() {
    for (;;) {
      pollfd fds[3] = {{stop_[0], POLLIN, 0}, {udp_, POLLIN, 0}, {tcp_, POLLIN, 0}};
      poll(fds, 3, -1);
      if (fds[0].revents != 0) return;
      if (fds[1].revents != 0) serve_udp();
      if (fds[2].revents != 0) serve_tcp();
    }
  }
  void serve_udp() {
    char buffer[1500];
    sockaddr_in from = {};
    socklen_t size = sizeof from;
    const ssize_t n = recvfrom(udp_, buffer, sizeof buffer, 0, reinterpret_cast<sockaddr*>(&from), &size);
    if (n <= 0) return;
    ++asked_;
    bool held = false;
    for (const Bytes& b : answers(Bytes(buffer, static_cast<size_t>(n)), false, held)) {
      std::lock_guard lock(mutex_);
      if (held && !held_over_) {
        held_.emplace_back(from, b);
      } else {
        send_udp(from, b);
      }
    }
  }
  // One connection at a time, until its client ends it or gets no answer.
  void serve_tcp() {
    const int fd = accept(tcp_, nullptr, nullptr);
    unsigned char size[2];
    while (recv(fd, size, 2, MSG_WAITALL) == 2) {
      ++asked_over_tcp_;
      Bytes q(static_cast<size_t>(size[0] << 8 | size[1]), '\0');
      if (recv(fd, q.data(), q.size(), MSG_WAITALL) != static_cast<ssize_t>(q.size())) break;
      bool held = false;
      const auto said = answers(q, true, held);
      if (said.empty()) {
        silent_.push_back(fd);
        return;
      }
      for (const Bytes& b : said) {
        Bytes framed;
        put16(framed, static_cast<unsigned>(b.size()));
        framed += b;
        send(fd, framed.data(), framed.size(), MSG_NOSIGNAL);
      }
    }
    close(fd);
  }

  const std::map<std::string, Name> names_;
  int udp_ = -1, tcp_ = -1;
  int stop_[2] = {-1, -1};
  uint16_t port_ = 0;
  std::atomic<int> asked_{0}, asked_over_tcp_{0};
  std::mutex mutex_;
  bool held_over_ = false;                           // guarded by mutex_
  std::vector<std::pair<sockaddr_in, Bytes>> held_;  // guarded by mutex_
  std::vector<int> silent_;
  std::thread thread_;
};

}  // namespace quoin::posix

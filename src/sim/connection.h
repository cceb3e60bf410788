// One simulated stream with its two ends. Internal to sim; made by SimHost.
#pragma once
#include <array>
#include <deque>
#include <memory>
#include <string>

#include "io/stream.h"
#include "sim/network.h"

namespace quoin::sim {

class SimStream;

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  struct Side {
    std::string host;     // for cuts
    std::string address;  // shown to the other side
    io::Loop* loop;
  };
  Connection(SimNetwork& network, Side client, Side server);

  std::unique_ptr<SimStream> make_stream(int which);
  const Side& side(int which) const { return ends_[static_cast<size_t>(which)].side; }
  bool ended() const { return ends_[0].closed && ends_[1].closed; }

  // Of SimStream.
  void set_handler(int which, io::StreamHandler* handler);
  void set_paused(int which, bool paused);
  void write(int which, std::string bytes);
  size_t queued_bytes(int which) const { return ends_[static_cast<size_t>(which)].queued; }
  void shutdown(int which);
  void close(int which, bool tell);

  // Both ends fail, as if a router between them had said so.
  void reset();
  // The process of one end has ended.
  void stop(int which, bool silent);
  void flush();

 private:
  struct End {
    Side side;
    io::StreamHandler* handler = nullptr;
    bool paused = false;
    bool closed = false;  // nothing is called back any more but, once, on_closed
    // Sending.
    std::deque<std::string> out;
    size_t queued = 0;     // bytes of `out`
    size_t under_way = 0;  // sent, not yet read at the other end
    bool fin_wanted = false, fin_sent = false;
    io::MonotonicNs last_arrival = 0;
    // Receiving.
    std::deque<std::string> in;
    bool fin_arrived = false, eof_told = false;
    bool read_posted = false;
    std::deque<Task> waiting;  // arrivals that a cut link or a host that is down holds back
  };
  End& end(int which) { return ends_[static_cast<size_t>(which)]; }
  void send(int from);
  // `effect` happens at end `to`, behind all that was sent there before.
  void deliver(int to, Task effect);
  bool held_back(int to);
  void let_read(int which);
  void read_some(int which);
  void fail(int which, Error error);

  SimNetwork& network_;
  std::array<End, 2> ends_;
};

class SimStream final : public io::Stream {
 public:
  SimStream(std::shared_ptr<Connection> connection, int which)
      : connection_(std::move(connection)), which_(which) {}
  ~SimStream() override { connection_->close(which_, false); }
  void set_handler(io::StreamHandler* handler) override { connection_->set_handler(which_, handler); }
  void pause_reading() override { connection_->set_paused(which_, true); }
  void resume_reading() override { connection_->set_paused(which_, false); }
  void write(std::string bytes) override { connection_->write(which_, std::move(bytes)); }
  void write(Blob bytes) override { connection_->write(which_, std::string(bytes.view())); }
  size_t queued_bytes() const override { return connection_->queued_bytes(which_); }
  void shutdown() override { connection_->shutdown(which_); }
  void close() override { connection_->close(which_, true); }
  const std::string& peer_address() const override { return connection_->side(1 - which_).address; }
  const std::string& local_address() const override { return connection_->side(which_).address; }
  io::Loop& loop() override { return *connection_->side(which_).loop; }

 private:
  std::shared_ptr<Connection> connection_;
  const int which_;
};

}  // namespace quoin::sim

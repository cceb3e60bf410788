#include "sim/connection.h"

#include <algorithm>
#include <cerrno>
#include <utility>

namespace quoin::sim {

Connection::Connection(SimNetwork& network, Side client, Side server) : network_(network) {
  end(0).side = std::move(client);
  end(1).side = std::move(server);
}

std::unique_ptr<SimStream> Connection::make_stream(int which) {
  return std::make_unique<SimStream>(shared_from_this(), which);
}

void Connection::set_handler(int which, io::StreamHandler* handler) {
  end(which).handler = handler;
  let_read(which);
}

void Connection::set_paused(int which, bool paused) {
  end(which).paused = paused;
  let_read(which);
}

// ---- sending ----

void Connection::write(int which, std::string bytes) {
  End& e = end(which);
  if (e.closed || e.fin_wanted || bytes.empty()) return;
  e.queued += bytes.size();
  e.out.push_back(std::move(bytes));
  send(which);
}

void Connection::shutdown(int which) {
  end(which).fin_wanted = true;
  send(which);
}

void Connection::send(int from) {
  End& e = end(from);
  if (e.closed) return;
  const bool had_bytes = e.queued > 0;
  while (!e.out.empty() && e.under_way < network_.options_.window_bytes) {
    Prng& prng = network_.prng_;
    std::string& front = e.out.front();
    // As TCP does: the window is not filled up with the crumbs that come free, or all pieces become crumbs.
    const NetworkOptions& o = network_.options_;
    const uint64_t worth = std::min<uint64_t>({e.queued, o.piece_bytes_max, o.window_bytes / 2});
    if (e.under_way > 0 && o.window_bytes - e.under_way < worth) break;
    uint64_t n = std::min<uint64_t>(
        {front.size(), network_.options_.piece_bytes_max, network_.options_.window_bytes - e.under_way});
    if (prng.chance(1, 4)) n = prng.between(1, n);
    std::string piece = front.substr(0, n);
    front.erase(0, n);
    if (front.empty()) e.out.pop_front();
    e.queued -= n;
    e.under_way += n;
    if (network_.options_.resets_per_million &&
        prng.chance(network_.options_.resets_per_million, 1'000'000)) {
      return reset();
    }
    const int to = 1 - from;
    deliver(to, [this, to, piece = std::move(piece)]() mutable {
      End& r = end(to);
      if (r.closed) return fail(1 - to, errno_error("read", r.side.address, ECONNRESET));
      r.in.push_back(std::move(piece));
      let_read(to);
    });
  }
  if (e.out.empty() && had_bytes) {
    e.side.loop->post([self = shared_from_this(), from] {
      End& e = self->end(from);
      if (!e.closed && e.handler && e.queued == 0) e.handler->on_drained();
    });
  }
  if (e.out.empty() && e.fin_wanted && !e.fin_sent) {
    e.fin_sent = true;
    const int to = 1 - from;
    deliver(to, [this, to] {
      end(to).fin_arrived = true;
      let_read(to);
    });
  }
}

bool Connection::held_back(int to) {
  const std::string& target = end(to).side.host;
  return network_.cut(end(1 - to).side.host, target) || network_.down_.count(target) != 0;
}

void Connection::deliver(int to, Task effect) {
  End& sender = end(1 - to);
  sender.last_arrival = std::max(sender.last_arrival, network_.world_.now() + network_.draw_latency());
  network_.world_.at(sender.last_arrival,
                     [self = shared_from_this(), to, effect = std::move(effect)]() mutable {
                       End& r = self->end(to);
                       if (!r.waiting.empty() || self->held_back(to)) {
                         r.waiting.push_back(std::move(effect));
                       } else {
                         effect();
                       }
                     });
}

void Connection::flush() {
  for (int to : {0, 1}) {
    while (!end(to).waiting.empty() && !held_back(to)) {
      Task effect = std::move(end(to).waiting.front());
      end(to).waiting.pop_front();
      effect();
    }
  }
}

// ---- receiving ----

void Connection::let_read(int which) {
  End& e = end(which);
  if (e.closed || e.read_posted || !e.handler || e.paused) return;
  if (e.in.empty() && (!e.fin_arrived || e.eof_told)) return;
  e.read_posted = true;
  e.side.loop->post([self = shared_from_this(), which] { self->read_some(which); });
}

void Connection::read_some(int which) {
  End& e = end(which);
  e.read_posted = false;
  if (e.closed || !e.handler || e.paused) return;
  if (!e.in.empty()) {
    const std::string piece = std::move(e.in.front());
    e.in.pop_front();
    end(1 - which).under_way -= piece.size();
    send(1 - which);
    if (!e.closed && e.handler) e.handler->on_data(piece);
  } else if (e.fin_arrived && !e.eof_told) {
    e.eof_told = true;
    e.handler->on_eof();
  }
  let_read(which);
}

// ---- ending ----

// Tells one end that the stream has failed.
void Connection::fail(int which, Error error) {
  End& e = end(which);
  if (e.closed) return;
  e.closed = true;
  e.side.loop->post([self = shared_from_this(), which, error = std::move(error)]() mutable {
    io::StreamHandler* const handler = std::exchange(self->end(which).handler, nullptr);
    if (handler) handler->on_closed(std::move(error));
  });
}

void Connection::close(int which, bool tell) {
  End& e = end(which);
  io::StreamHandler* const handler = tell ? e.handler : nullptr;
  if (!tell) e.handler = nullptr;
  if (e.closed) return;
  const bool lost = !e.out.empty() || !e.in.empty();
  const bool fin_sent = e.fin_sent;
  e.closed = true;
  e.out.clear();
  e.queued = 0;
  const int other = 1 - which;
  if (lost) {
    deliver(other,
            [this, other] { fail(other, errno_error("read", end(1 - other).side.address, ECONNRESET)); });
  } else if (!fin_sent) {
    deliver(other, [this, other] {
      end(other).fin_arrived = true;
      let_read(other);
    });
  }
  if (handler) {
    e.side.loop->post([self = shared_from_this(), which] {
      io::StreamHandler* const handler = std::exchange(self->end(which).handler, nullptr);
      if (handler) handler->on_closed({});
    });
  }
}

void Connection::reset() {
  for (int which : {0, 1}) fail(which, errno_error("read", end(1 - which).side.address, ECONNRESET));
}

void Connection::stop(int which, bool silent) {
  End& e = end(which);
  e.handler = nullptr;
  if (e.closed) return;
  e.closed = true;
  if (silent) return;
  const int other = 1 - which;
  deliver(other,
          [this, other] { fail(other, errno_error("read", end(1 - other).side.address, ECONNRESET)); });
}

}  // namespace quoin::sim

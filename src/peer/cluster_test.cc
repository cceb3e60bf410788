#include "peer/cluster_test.h"

#include <algorithm>

#include "base/coding.h"

namespace quoin::peer {

// ---- Node ----

Node::Node(Cluster& c, int n, Options options, ClusterId cluster_id)
    : cluster(c),
      number(n),
      id(0x100 + static_cast<uint64_t>(n)),
      host(fmt::format("m{}", n)),
      url(fmt::format("http://m{}:2380", n)),
      process(c.world.start_process(host)),
      loop(process.executor("peer")),
      raft(process.executor("raft")),
      files(process.executor("files")),
      network(c.net, host),
      disk(c.world),
      fs(disk, files),
      member(id, fs, files) {
  member.cluster_id = cluster_id;
  CHECK(fs.make_dir("/snap", 0700).has_value());
  options.peer_urls = {url};
  transport_ = std::make_unique<Transport>(
      std::move(options),
      Environment{network, loop, process.timers(), process.clock(), files, registry, log,
                  [&c](absl::FunctionRef<bool()> over) { c.world.run_until(over, 60 * io::kSecond); }});
  transport_->start(member);
  auto listener = network.listen({false, "", 2380}, {&loop}, [this](std::unique_ptr<io::Stream> stream) {
    sweep();
    connections_.push_back(std::make_unique<DoorConnection>(transport_->door(), std::move(stream)));
  });
  CHECK(listener.has_value());
  listener_ = std::move(*listener);
}

Node::~Node() {
  kill();
}

void Node::sweep() {
  connections_.remove_if([](const auto& c) { return c->over(); });
}

void Node::kill(bool silent) {
  if (!std::exchange(alive_, false)) return;
  process.kill();
  network.stop(silent);
  connections_.clear();
  listener_.reset();
  transport_.reset();
}

void Node::know(int count) {
  for (int i = 1; i <= count; ++i) {
    if (i != number)
      transport_->add(MemberId{0x100 + static_cast<uint64_t>(i)}, {fmt::format("http://m{}:2380", i)});
  }
}

double Node::metric(const std::string& name, const std::string& label) const {
  double sum = 0;
  registry.visit([&](const metrics::Family& family) {
    if (family.name != name) return;
    for (const metrics::Cell& cell : family.cells) {
      if (!label.empty() && std::none_of(cell.labels.begin(), cell.labels.end(),
                                         [&](const auto& l) { return l.second == label; })) {
        continue;
      }
      if (const auto* const* c = std::get_if<const metrics::Counter*>(&cell.source)) {
        sum += static_cast<double>((*c)->value());
      } else if (const auto* const* g = std::get_if<const metrics::Gauge*>(&cell.source)) {
        sum += (*g)->value();
      } else if (const auto* const* h = std::get_if<const metrics::Histogram*>(&cell.source)) {
        for (size_t i = 0; i <= (*h)->bounds().size(); ++i) sum += static_cast<double>((*h)->bucket(i));
      }
    }
  });
  return sum;
}

void Cluster::form(int count, Options options) {
  for (int i = 1; i <= count; ++i) add(i, options);
  for (int i = 1; i <= count; ++i) (*this)[i].know(count);
  const size_t streams =
      static_cast<size_t>(count - 1) * 4;  // two read and two written for each other member
  CHECK(until([&] {
    return std::all_of(nodes.begin(), nodes.end(), [&](const auto& n) {
      return n->log.count("established TCP streaming connection") == streams;
    });
  }));
}

raft::Message message(raft::MessageType type, const Node& from, const Node& to, uint64_t index,
                      size_t data_bytes) {
  raft::Message m;
  m.type = type;
  m.from = from.id, m.to = to.id;
  m.term = m.log_term = Term{1};
  m.index = Index{index};
  if (data_bytes > 0) {
    m.entries.push_back(
        {Term{1}, Index{index + 1}, raft::EntryType::kNormal, Blob::copy(std::string(data_bytes, 'x'))});
  }
  return m;
}

raft::Message snapshot_message(const Node& from, const Node& to, uint64_t index) {
  raft::Message m = message(raft::MessageType::kSnap, from, to);
  raft::Snapshot s;
  s.metadata.index = Index{index};
  s.metadata.term = Term{1};
  s.metadata.conf_state.voters = {from.id, to.id};
  s.data = Blob::copy("{}");
  m.snapshot = std::make_shared<const raft::Snapshot>(std::move(s));
  return m;
}

std::string converse(Cluster& cluster, Node& from, const std::string& host, const std::string& bytes,
                     int64_t max_ns) {
  struct Talk final : io::StreamHandler {
    std::unique_ptr<io::Stream> stream;
    std::string got;
    bool over = false;
    void on_data(std::string_view b) override { got += b; }
    void on_eof() override { over = true; }
    void on_drained() override {}
    void on_closed(Result<>) override { over = true; }
  } talk;
  const auto connecting = from.network.connect({false, host, 2380}, {}, from.loop,
                                               [&](Result<std::unique_ptr<io::Stream>> stream) {
                                                 CHECK(stream.has_value(), "{}", stream.error().text());
                                                 talk.stream = std::move(*stream);
                                                 talk.stream->set_handler(&talk);
                                                 talk.stream->write(bytes);
                                               });
  cluster.world.run_until([&] { return talk.over; }, max_ns);
  return talk.got + (talk.over ? "<end>" : "");
}

}  // namespace quoin::peer

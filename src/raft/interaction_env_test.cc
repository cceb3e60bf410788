// The nodes and messages of an interaction trace; the commands are in interaction_test.cc.
#include <gtest/gtest.h>

#include "raft/codec.h"
#include "raft/describe.h"
#include "raft/interaction_test.h"

namespace quoin::raft {

void Output::line(LineLevel level, std::string_view text) {
  static constexpr const char* kNames[] = {"DEBUG", "INFO", "WARN", "ERROR"};
  if (!quiet()) text_ += fmt::format("{} {}\n", kNames[static_cast<size_t>(level)], text);
}

std::vector<MemberId> InteractionEnv::nodes_of(const trace::Directive& d) const {
  std::vector<MemberId> ids;
  for (const trace::Argument& a : d.args) {
    if (a.values.empty()) ids.push_back(MemberId{std::strtoull(a.key.c_str(), nullptr, 10)});
  }
  if (ids.empty()) {
    for (const auto& n : nodes_) ids.push_back(n->config.id);
  }
  return ids;
}

void InteractionEnv::start(Node& n) {
  n.raw = nullptr;
  n.prng = std::make_unique<Prng>(n.config.id.v);
  n.raw = std::make_unique<RawNode>(n.config, *n.storage, *n.prng, out_);
}

void InteractionEnv::tick(Node& n, uint64_t times) {
  for (; times > 0; --times) n.raw->tick();
}

// ---- messages ----

std::vector<Message> InteractionEnv::split_messages(Recipient to, const std::string& type, bool take) {
  std::vector<Message> matching, rest;
  for (const Message& m : messages_) {
    const bool local = m.from == m.to || is_storage_thread(m.from) || is_storage_thread(m.to);
    const bool match = m.to == to.id && !(to.drop && local) && (type.empty() || name_of(m.type) == type);
    (match ? matching : rest).push_back(m);
  }
  if (take) messages_ = std::move(rest);
  return matching;
}

size_t InteractionEnv::deliver_to(Recipient to, const std::string& type) {
  std::vector<Message> msgs = split_messages(to, type, true);
  for (Message& m : msgs) {
    out_.write((to.drop ? "dropped: " : "") + describe(m) + "\n");
    if (to.drop) continue;
    // Over the wire and back, so that the traces also run through the codec.
    Result<Message> copy = decode_message(encode_blob(m));
    CHECK(copy.has_value(), "{}", copy.error().text());
    EXPECT_EQ(describe(*copy), describe(m));
    if (const Result<> r = node(to.id).raw->step(std::move(*copy)); !r) {
      out_.write(std::string(r.error().text()) + "\n");
    }
  }
  return msgs.size();
}

// ---- storage ----

void InteractionEnv::store(Node& n, const HardState& hs, std::vector<Entry> entries,
                           std::shared_ptr<const Snapshot> snapshot) {
  if (!hs.empty()) n.storage->set_hard_state(hs);
  if (snapshot) {
    ASSERT_TRUE(n.storage->apply_snapshot(std::move(snapshot)).has_value());
  }
  n.storage->append(std::move(entries));
}

void InteractionEnv::apply(Node& n, const std::vector<Entry>& entries) {
  for (const Entry& e : entries) {
    const Snapshot& last = *n.storage->history.back();
    auto next = std::make_shared<Snapshot>();
    next->metadata = {last.metadata.conf_state, e.index, e.term};
    std::string update(e.data.view());
    if (e.type != EntryType::kNormal) {
      const auto change = conf_change_of(e);
      ASSERT_TRUE(change.has_value());
      update = change->context.view();
      next->metadata.conf_state = n.raw->apply_conf_change(*change, e.index);
    }
    next->data = Blob::copy(std::string(last.data.view()) + update);
    n.storage->history.push_back(std::move(next));
  }
}

void InteractionEnv::process_ready(Node& n) {
  const bool async = n.config.async_storage_writes;
  Ready rd = n.raw->ready();
  out_.write(describe(rd, n.config.id, async));
  for (Message& m : rd.messages) messages_.push_back(std::move(m));
  if (async) {
    if (rd.needs_append()) n.append_work.push_back(take_storage_append(rd, n.config.id));
    if (rd.needs_apply()) n.apply_work.push_back(take_storage_apply(rd, n.config.id));
    return;
  }
  store(n, rd.hard_state, std::move(rd.entries), std::move(rd.snapshot));
  apply(n, rd.committed_entries);
  n.raw->advance();
}

void InteractionEnv::process_append(Node& n) {
  if (n.append_work.empty()) {
    out_.write("no append work to perform");
    return;
  }
  Message m = std::move(n.append_work.front());
  n.append_work.pop_front();
  const std::vector<Message> responses = std::exchange(m.responses, {});
  out_.write("Processing:\n" + describe(m) + "\nResponses:\n");
  store(n, {m.term, m.vote, m.commit}, std::move(m.entries), std::move(m.snapshot));
  for (const Message& r : responses) out_.write(describe(r) + "\n");
  messages_.insert(messages_.end(), responses.begin(), responses.end());
}

void InteractionEnv::process_apply(Node& n) {
  if (n.apply_work.empty()) {
    out_.write("no apply work to perform");
    return;
  }
  Message m = std::move(n.apply_work.front());
  n.apply_work.pop_front();
  const std::vector<Message> responses = std::exchange(m.responses, {});
  out_.write("Processing:\n" + describe(m) + "\n");
  apply(n, m.entries);
  out_.write("Responses:\n");
  for (const Message& r : responses) out_.write(describe(r) + "\n");
  messages_.insert(messages_.end(), responses.begin(), responses.end());
}

// One round over the nodes; false if there was nothing to do.
bool InteractionEnv::stabilize_pass(const std::vector<MemberId>& ids) {
  bool done = false;
  const auto section = [&](MemberId id, std::string_view title, auto&& f) {
    done = true;
    out_.write(fmt::format("> {} {}\n", id, title));
    f();
  };
  for (MemberId id : ids) {
    Node& n = node(id);
    if (!n.raw->has_ready()) continue;
    section(id, "handling Ready", [&] { out_.indented([&] { process_ready(n); }); });
  }
  for (MemberId id : ids) {
    if (split_messages({id}, "", false).empty()) continue;
    section(id, "receiving messages", [&] { out_.indented([&] { deliver_to({id}, ""); }); });
  }
  for (MemberId id : ids) {
    Node& n = node(id);
    if (n.append_work.empty()) continue;
    section(id, "processing append thread", [&] {
      while (!n.append_work.empty()) out_.indented([&] { process_append(n); });
    });
  }
  for (MemberId id : ids) {
    Node& n = node(id);
    if (n.apply_work.empty()) continue;
    section(id, "processing apply thread", [&] {
      while (!n.apply_work.empty()) out_.indented([&] { process_apply(n); });
    });
  }
  return done;
}

// ---- printing ----

void InteractionEnv::print_log(Node& n) {
  const Index first = n.storage->first_index(), last = n.storage->last_index();
  if (last < first) {
    out_.write(fmt::format("log is empty: first index={}, last index={}", first, last));
    return;
  }
  std::vector<Entry> entries;
  ASSERT_TRUE(n.storage->entries(first, last + 1, kUnlimited, entries).has_value());
  for (const Entry& e : entries) out_.write(describe(e) + "\n");
}

void InteractionEnv::print_state() {
  for (const auto& n : nodes_) {
    const Status s = n->raw->status();
    const bool voter = s.config->voters.contains(s.id);
    out_.write(fmt::format("{}: {} ({}) Term:{} Lead:{}\n", s.id, name_of(s.soft_state.role),
                           voter ? "Voter" : "Non-Voter", s.hard_state.term, s.soft_state.lead));
  }
}

void InteractionEnv::print_status(Node& n) {
  const Status s = n.raw->status();
  if (!s.progress) return;
  for (const auto& [id, p] : *s.progress) out_.write(fmt::format("{}: {}\n", id, describe(p)));
}

}  // namespace quoin::raft

#include "cmd/etcdctl/check_load.h"

#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <deque>
#include <random>
#include <thread>

#include "cmd/etcdctl/methods.h"

namespace quoin::ctl {
namespace {

using Clock = std::chrono::steady_clock;

// Keys from the thread that makes them to those that put them; as many as there are clients.
class KeyQueue {
 public:
  explicit KeyQueue(size_t keys_max) : keys_max_(keys_max) {}
  void push(std::string key) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return keys_.size() < keys_max_; });
    keys_.push_back(std::move(key));
    changed_.notify_all();
  }
  void close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    changed_.notify_all();
  }
  // Nothing: there are no more.
  std::optional<std::string> pop() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !keys_.empty() || closed_; });
    if (keys_.empty()) return std::nullopt;
    std::string key = std::move(keys_.front());
    keys_.pop_front();
    changed_.notify_all();
    return key;
  }

 private:
  const size_t keys_max_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::string> keys_;
  bool closed_ = false;
};

// Go's PutVarint of a random number, into a key of fixed length whose other bytes stay.
class RandomKeys {
 public:
  RandomKeys(std::string prefix, size_t bytes) : prefix_(std::move(prefix)), key_(bytes, '\0') {}
  std::string next() {
    uint64_t v = (random_() >> 1) << 1;  // zigzag of a number that is not negative
    size_t at = 0;
    for (; v >= 0x80; v >>= 7) key_[at++] = static_cast<char>(v | 0x80);
    key_[at] = static_cast<char>(v);
    return prefix_ + key_;
  }

 private:
  const std::string prefix_;
  std::string key_;
  std::mt19937_64 random_{std::random_device{}()};
};

struct Answers {
  std::vector<double> seconds;
  std::map<std::string, int> errors;
};

void put_keys(Client& client, KeyQueue& queue, const Load& load, Answers& answers) {
  pb::PutRequest request;
  request.set_value(std::string(load.value_bytes, '\0'));
  while (auto key = queue.pop()) {
    request.set_key(std::move(*key));
    const auto began = Clock::now();
    const auto r = client.call(kPut, request, Deadline::never());
    if (r) {
      answers.seconds.push_back(std::chrono::duration<double>(Clock::now() - began).count());
    } else {
      ++answers.errors[r.error().text()];
    }
    if (load.on_answer) load.on_answer();
  }
}

// One token at a time: what was missed is not made up for.
void make_keys(KeyQueue& queue, const Load& load) {
  RandomKeys keys(load.prefix, load.key_bytes);
  const auto end =
      load.seconds_max > 0 ? Clock::now() + std::chrono::seconds(load.seconds_max) : Clock::time_point::max();
  const auto pause = std::chrono::duration_cast<Clock::duration>(
      std::chrono::duration<double>(load.per_second_max > 0 ? 1 / load.per_second_max : 0));
  auto next = Clock::now();
  for (int64_t i = 0; load.count_max == 0 || i < load.count_max; ++i) {
    if (load.per_second_max > 0) {
      if (next >= end) break;
      std::this_thread::sleep_until(next);
      next = std::max(next + pause, Clock::now());
    }
    if (Clock::now() >= end || (load.interrupted && load.interrupted())) break;
    queue.push(keys.next());
  }
  queue.close();
}

LoadResult summarize(std::vector<Answers>& all, double took_s) {
  LoadResult r;
  std::vector<double> seconds;
  double sum = 0;
  for (Answers& a : all) {
    seconds.insert(seconds.end(), a.seconds.begin(), a.seconds.end());
    for (const auto& [text, count] : a.errors) r.errors[text] += count;
  }
  for (const double s : seconds) {
    sum += s;
    r.slowest_s = std::max(r.slowest_s, s);
  }
  const auto count = static_cast<double>(seconds.size());
  r.per_second = count / took_s;
  double squares = 0;
  for (const double s : seconds) squares += (s - sum / count) * (s - sum / count);
  r.deviation_s = std::sqrt(squares / count);
  return r;
}

}  // namespace

Or<Clients> connect_many(Session& session, size_t count) {
  Clients clients;
  for (size_t i = 0; i < count; ++i) {
    auto c = session.connect();
    if (!c) return tl::unexpected(std::move(c.error()));
    clients.push_back(std::move(*c));
  }
  return clients;
}

LoadResult put_all(const Clients& clients, const Load& load) {
  const auto began = Clock::now();
  KeyQueue queue(clients.size());
  std::vector<Answers> answers(clients.size());
  {
    std::vector<std::jthread> threads;
    for (size_t i = 0; i < clients.size(); ++i) {
      threads.emplace_back([&, i] { put_keys(*clients[i], queue, load, answers[i]); });
    }
    make_keys(queue, load);
  }
  return summarize(answers, std::chrono::duration<double>(Clock::now() - began).count());
}

}  // namespace quoin::ctl

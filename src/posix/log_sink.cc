#include "posix/log_sink.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <ctime>
#include <map>
#include <mutex>
#include <thread>

#include "base/check.h"
#include "base/go_text.h"
#include "posix/log_render.h"

namespace quoin::posix {
namespace {

thread_local bool g_forbid_waiting = false;

// An output that takes nothing (a pipe whose reader stopped) must not keep a process from ending.
constexpr std::chrono::seconds kFlushMax{10};

// zap's sampler: of lines with the same level and text within a second, the first kFirst pass, then each
// kThereafter-th. Texts share counters by hash; a shared counter only means that a busy neighbour costs a
// quiet text some lines.
class Sampler {
 public:
  Sampler() : cells_(new Cell[kLevels * kCells]) {}

  bool pass(log::Level level, std::string_view message, int64_t wall_ns) {
    constexpr uint64_t kFirst = 100, kThereafter = 100;
    const int row = std::clamp(static_cast<int>(level) + 1, 0, kLevels - 1);
    const uint64_t n = count(cells_[row * kCells + hash(message) % kCells], wall_ns);
    return n <= kFirst || (n - kFirst) % kThereafter == 0;
  }

 private:
  static constexpr int kLevels = 7;
  static constexpr int kCells = 4096;
  struct Cell {
    std::atomic<int64_t> reset_at{0};
    std::atomic<uint64_t> count{0};
  };

  static uint32_t hash(std::string_view s) {  // FNV-1a
    uint32_t h = 2166136261U;
    for (const char c : s) h = (h ^ static_cast<unsigned char>(c)) * 16777619U;
    return h;
  }
  static uint64_t count(Cell& cell, int64_t now) {
    constexpr int64_t kSecond = 1'000'000'000;
    int64_t reset_at = cell.reset_at.load(std::memory_order_relaxed);
    if (reset_at > now) return cell.count.fetch_add(1, std::memory_order_relaxed) + 1;
    cell.count.store(1, std::memory_order_relaxed);
    if (cell.reset_at.compare_exchange_strong(reset_at, now + kSecond, std::memory_order_relaxed)) return 1;
    return cell.count.fetch_add(1, std::memory_order_relaxed) + 1;
  }

  std::unique_ptr<Cell[]> cells_;
};

int64_t realtime_ns() {
  timespec ts{};
  clock_gettime(CLOCK_REALTIME, &ts);
  return int64_t{ts.tv_sec} * 1'000'000'000 + ts.tv_nsec;
}

void default_stop(log::Level level, std::string_view message) {
  if (level != log::Level::kPanic) _exit(1);
  const std::string text = fmt::format("panic: {}\n", message);
  (void)!::write(STDERR_FILENO, text.data(), text.size());
  _exit(2);
}

// One place that lines go to.
struct Output {
  int fd = -1;
  bool owned = false;
  std::unique_ptr<RotatingFile> rotating;

  Output() = default;
  Output(Output&& o) noexcept
      : fd(o.fd), owned(std::exchange(o.owned, false)), rotating(std::move(o.rotating)) {}
  Output& operator=(Output&&) = delete;
  ~Output() {
    if (owned) ::close(fd);
  }

  bool write(std::string_view data) const {
    while (!data.empty()) {
      const ssize_t n = ::write(fd, data.data(), data.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return false;
      data.remove_prefix(static_cast<size_t>(n));
    }
    return true;
  }
};

// What the ring holds per event, in front of the encoded record.
struct Entry {
  int64_t wall_ns;
  uint32_t size;
  log::Level level;
};

}  // namespace

namespace {

// The path that zap opens for an output: a path as it is, a file:// URL's path. Errors in zap's words.
Result<std::string> output_path(const std::string& output) {
  const auto fail = [&](std::string_view why) {
    return make_error(Code::kInvalidArgument, "open sink \"{}\": {}", output, why);
  };
  const size_t colon = output.find(':');
  if (output.starts_with('/') || colon == std::string::npos || colon == 0) return output;
  std::string scheme = output.substr(0, colon);
  for (char& c : scheme) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  const bool word = std::all_of(scheme.begin(), scheme.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.';
  });
  if (!word || scheme[0] < 'a') return output;
  if (scheme != "file") return fail(fmt::format("no sink found for scheme \"{}\"", scheme));
  std::string_view rest = std::string_view(output).substr(colon + 1);
  const auto refuse = [&](std::string_view what) { return fail(fmt::format("{}: got {}", what, output)); };
  if (rest.find('#') != std::string_view::npos) return refuse("fragments not allowed with file URLs");
  if (rest.find('?') != std::string_view::npos) return refuse("query parameters not allowed with file URLs");
  if (rest.starts_with("//")) {
    rest.remove_prefix(2);
    const std::string_view host = rest.substr(0, rest.find('/'));
    rest.remove_prefix(host.size());
    if (host.find('@') != std::string_view::npos)
      return refuse("user and password not allowed with file URLs");
    if (host.find(':') != std::string_view::npos) return refuse("ports not allowed with file URLs");
    if (!host.empty() && host != "localhost")
      return refuse("file URLs must leave host empty or use localhost");
  }
  return std::string(rest);
}

}  // namespace

struct LogSink::Impl {
  explicit Impl(LogSinkOptions o) : options(std::move(o)) {
    if (!options.wall_ns) options.wall_ns = realtime_ns;
    if (!options.stop) options.stop = default_stop;
    if (options.sampling) sampler = std::make_unique<Sampler>();
  }

  void log(const log::Event& event, std::string_view name);
  bool make_room(std::unique_lock<std::mutex>& lock, log::Level level, size_t size);
  void flush();
  void run();
  void write_batch(std::string_view batch, uint64_t drops);
  void write_out(std::string_view text);

  LogSinkOptions options;
  std::vector<Output> outputs;
  std::optional<Journal> journal;
  bool discard = false;
  std::unique_ptr<Sampler> sampler;

  std::mutex mutex;
  std::condition_variable work;     // the writer waits for it
  std::condition_variable written;  // flush() and callers waiting for room
  std::string queue;                // entries not yet taken by the writer
  size_t writing_bytes = 0;         // taken, not yet written
  uint64_t accepted = 0;            // events ever queued
  uint64_t done = 0;                // events ever written
  uint64_t queued = 0;              // events in `queue`
  uint64_t drops_unreported = 0;
  uint64_t drops = 0;
  bool stopping = false;
  std::thread writer;

  class Named final : public log::Logger {
   public:
    Named(Impl& impl, std::string name) : impl_(impl), name_(std::move(name)) {}
    bool enabled(log::Level level) const override { return level >= impl_.options.level; }
    void log(const log::Event& event) override { impl_.log(event, name_); }

   private:
    Impl& impl_;
    const std::string name_;
  };
  std::map<std::string, std::unique_ptr<Named>, std::less<>> children;
};

// True when `size` bytes more may be queued. Debug and info have three quarters of the ring.
bool LogSink::Impl::make_room(std::unique_lock<std::mutex>& lock, log::Level level, size_t size) {
  const bool important = level >= log::Level::kWarn;
  const size_t limit = important ? options.queue_bytes_max : options.queue_bytes_max / 4 * 3;
  const auto fits = [&] {
    const size_t used = queue.size() + writing_bytes;
    return used == 0 || used + size <= limit;
  };
  if (fits() || level >= log::Level::kPanic) return true;
  if (!important || g_forbid_waiting || stopping) return false;
  written.wait(lock, [&] { return fits() || stopping; });
  return fits();
}

void LogSink::Impl::log(const log::Event& event, std::string_view name) {
  if (event.level < options.level) return;
  const int64_t now = options.wall_ns();
  const bool stops = event.level >= log::Level::kPanic;
  if (!discard && (!sampler || sampler->pass(event.level, event.message, now))) {
    // Encoded outside the mutex into a buffer that each thread keeps.
    static thread_local std::string record;
    record.clear();
    encode_event(record, event, name);
    std::unique_lock lock(mutex);
    if (make_room(lock, event.level, sizeof(Entry) + record.size())) {
      const Entry entry{now, static_cast<uint32_t>(record.size()), event.level};
      if (queue.empty()) work.notify_one();
      queue.append(reinterpret_cast<const char*>(&entry), sizeof entry);
      queue += record;
      ++queued;
      ++accepted;
    } else {
      ++drops;
      ++drops_unreported;
    }
  }
  if (stops) {
    flush();
    options.stop(event.level, event.message);
  }
}

void LogSink::Impl::flush() {
  std::unique_lock lock(mutex);
  const uint64_t target = accepted;
  written.wait_for(lock, kFlushMax, [&] { return done >= target; });
}

void LogSink::Impl::run() {
  std::string batch;
  std::unique_lock lock(mutex);
  for (;;) {
    work.wait(lock, [&] { return !queue.empty() || stopping; });
    if (queue.empty()) return;
    batch.clear();
    batch.swap(queue);
    const uint64_t taken = std::exchange(queued, 0);
    const uint64_t drops_now = std::exchange(drops_unreported, 0);
    writing_bytes = batch.size();
    lock.unlock();
    write_batch(batch, drops_now);
    lock.lock();
    writing_bytes = 0;
    done += taken;
    written.notify_all();
  }
}

void LogSink::Impl::write_batch(std::string_view batch, uint64_t drops_now) {
  constexpr size_t kChunkBytes = 64 << 10;
  const auto render = options.format == LogFormat::kJson ? render_json : render_console;
  const bool line_by_line =
      std::any_of(outputs.begin(), outputs.end(), [](const Output& o) { return o.rotating != nullptr; });
  std::string text;
  const auto add = [&](std::string_view record, log::Level level, int64_t wall_ns) {
    render(text, record, level, wall_ns, /*stack=*/!journal.has_value());
    if (!journal) return;
    // Standard error is what remains where journald is gone.
    if (!journal->send(level, record_caller(record), text)) write_out(text);
    text.clear();
  };
  while (!batch.empty()) {
    Entry entry{};
    CHECK_GE(batch.size(), sizeof entry);
    std::memcpy(&entry, batch.data(), sizeof entry);
    add(batch.substr(sizeof entry, entry.size), entry.level, entry.wall_ns);
    batch.remove_prefix(sizeof entry + entry.size);
    if (text.size() >= kChunkBytes || line_by_line) {
      write_out(text);
      text.clear();
    }
  }
  if (drops_now > 0) {
    std::string record;
    encode_event(record,
                 log::Event{log::Level::kWarn,
                            "dropped log lines; the queue was full",
                            {{"lines", drops_now}},
                            __FILE__,
                            __LINE__},
                 {});
    add(record, log::Level::kWarn, options.wall_ns());
  }
  if (!text.empty()) write_out(text);
}

void LogSink::Impl::write_out(std::string_view text) {
  for (const Output& o : outputs) {
    const bool ok = o.rotating ? o.rotating->write(text).has_value() : o.write(text);
    if (ok || o.fd == STDERR_FILENO) continue;
    // A full or broken log disk must not hide what happens: the line goes to standard error instead.
    Output err;
    err.fd = STDERR_FILENO;
    (void)err.write(text);
  }
}

LogSink::LogSink(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {
  impl_->writer = std::thread([i = impl_.get()] { i->run(); });
}

LogSink::~LogSink() {
  {
    std::lock_guard lock(impl_->mutex);
    impl_->stopping = true;
    impl_->work.notify_one();
    impl_->written.notify_all();
  }
  impl_->writer.join();
}

Result<std::unique_ptr<LogSink>> LogSink::open(LogSinkOptions options) {
  auto impl = std::make_unique<Impl>(std::move(options));
  const LogSinkOptions& o = impl->options;
  std::vector<std::string> paths = o.outputs.empty() ? std::vector<std::string>{"default"} : o.outputs;
  std::sort(paths.begin(), paths.end());
  paths.erase(std::unique(paths.begin(), paths.end()), paths.end());
  impl->discard = std::find(paths.begin(), paths.end(), "/dev/null") != paths.end();
  if (impl->discard) paths.clear();
  constexpr std::string_view kJournal = "systemd/journal";
  if (std::find(paths.begin(), paths.end(), kJournal) != paths.end()) {
    if (paths.size() > 1) return make_error(Code::kInvalidArgument, "journald and other outputs");
    auto journal = Journal::open(o.journal_socket, program_invocation_short_name);
    if (!journal) return make_error(Code::kIo, "can't find journal ({})", journal.error().text());
    impl->journal.emplace(std::move(*journal));
    impl->sampler.reset();
    paths = {"stderr"};
  }
  for (const std::string& path : paths) {
    Output out;
    if (path == "default" || path == "stderr") {
      out.fd = STDERR_FILENO;
    } else if (path == "stdout") {
      out.fd = STDOUT_FILENO;
    } else if (o.rotation) {
      if (o.rotation->compress && !o.rotation->gzip) {
        return make_error(Code::kInvalidArgument, "log rotation with compress, but no compressor");
      }
      out.rotating = std::make_unique<RotatingFile>(path, *o.rotation, o.wall_ns);
    } else {
      ASSIGN_OR_RETURN(const std::string file, output_path(path));
      out.fd = ::open(file.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
      if (out.fd < 0) {
        return make_error(Code::kIo, "open sink \"{}\": open {}: {}", path, file, go_errno_text(errno));
      }
      out.owned = true;
    }
    impl->outputs.push_back(std::move(out));
  }
  return std::unique_ptr<LogSink>(new LogSink(std::move(impl)));
}

bool LogSink::enabled(log::Level level) const {
  return level >= impl_->options.level;
}
void LogSink::log(const log::Event& event) {
  impl_->log(event, {});
}

log::Logger& LogSink::named(std::string_view name) {
  std::lock_guard lock(impl_->mutex);
  auto it = impl_->children.find(name);
  if (it == impl_->children.end()) {
    it = impl_->children.emplace(std::string(name), std::make_unique<Impl::Named>(*impl_, std::string(name)))
             .first;
  }
  return *it->second;
}

void LogSink::flush() {
  impl_->flush();
}

uint64_t LogSink::dropped() const {
  std::lock_guard lock(impl_->mutex);
  return impl_->drops;
}

void LogSink::forbid_waiting(bool forbid) {
  g_forbid_waiting = forbid;
}

}  // namespace quoin::posix

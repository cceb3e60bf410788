#include "tls/keeper.h"

#include <limits>

#include "tls/chain.h"

namespace quoin::tls {
namespace {
constexpr int64_t kDay = 24 * 3600;
constexpr std::array<int64_t, 3> kWarnDays = {30, 7, 1};
constexpr int64_t kHasteWhenBroken = 10;
}  // namespace

Result<std::unique_ptr<Keeper>> Keeper::start(const Options& options, Role role, Surroundings around,
                                              int64_t period_ns) {
  std::shared_ptr<TicketKeys> tickets;
  if (role == Role::kServer) tickets = std::make_shared<TicketKeys>(around.clock);
  // Read first: a change between the two is seen as one.
  FileContents contents = FileContents::read(options, around.files);
  ASSIGN_OR_RETURN(auto credentials,
                   Credentials::load(options, role, around.files, around.clock, std::move(tickets)));
  std::unique_ptr<Keeper> keeper(
      new Keeper(options, around, period_ns, std::move(credentials), std::move(contents)));
  keeper->warn_of_end();
  keeper->schedule();
  return keeper;
}

Keeper::Keeper(const Options& options, Surroundings around, int64_t period_ns,
               std::shared_ptr<const Credentials> credentials, FileContents contents)
    : options_(options),
      around_(around),
      period_ns_(period_ns),
      contents_(std::move(contents)),
      current_(std::move(credentials)) {}

std::shared_ptr<const Credentials> Keeper::current() const {
  const std::lock_guard lock(mutex_);
  return current_;
}

double Keeper::seconds_left() const {
  const auto end = not_after();
  if (!end) return std::numeric_limits<double>::quiet_NaN();
  return static_cast<double>(*end) - static_cast<double>(around_.clock.wall()) / io::kSecond;
}

void Keeper::schedule() {
  const int64_t wait = current()->pair_error() ? period_ns_ / kHasteWhenBroken : period_ns_;
  timer_ = around_.timers.schedule(wait, around_.executor, [this] {
    look();
    schedule();
  });
}

void Keeper::look() {
  FileContents fresh = FileContents::read(options_, around_.files);
  if (!fresh.same_as(contents_)) {
    contents_ = std::move(fresh);
    auto made = Credentials::renew(*current(), contents_);
    report(*made);
    const std::lock_guard lock(mutex_);
    current_ = std::move(made);
  }
  warn_of_end();
}

void Keeper::report(const Credentials& now) {
  log::Logger& logger = around_.logger;
  if (now.pair_error()) {
    LOG(logger, kWarn, "TLS certificate and key cannot be used; handshakes fail until they can",
        {"cert-file", options_.cert_file}, {"key-file", options_.key_file},
        {"error", now.pair_error()->text()});
  } else {
    LOG(logger, kInfo, "loaded changed TLS files", {"tls-info", options_.describe()});
  }
  if (now.trust_error())
    LOG(logger, kWarn, "trusted CA file cannot be used; the certificates trusted before stay",
        {"trusted-ca", options_.trusted_ca_file}, {"error", now.trust_error()->text()});
}

void Keeper::warn_of_end() {
  const auto end = not_after();
  if (!end) return;
  if (*end != warned_for_) {
    warned_for_ = *end;
    warned_ = 0;
  }
  const double left = seconds_left();
  size_t due = warned_;
  while (due < kWarnDays.size() && left <= static_cast<double>(kWarnDays[due] * kDay)) ++due;
  if (due == warned_) return;
  warned_ = due;
  LOG(around_.logger, kWarn, "TLS certificate ends soon", {"cert-file", options_.cert_file},
      {"not-after", rfc3339(*end, false)}, {"days-left", static_cast<int64_t>(left / kDay)});
}

}  // namespace quoin::tls

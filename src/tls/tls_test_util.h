// What the tests of this module share: certificates made on the spot, a clock, timers, a loop and executors
// that the test drives, and pairs of streams without sockets.
#pragma once
#include <openssl/pem.h>
#include <stdlib.h>

#include <deque>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/log.h"
#include "io/stream.h"
#include "io/timer.h"
#include "posix/file.h"
#include "tls/credentials.h"
#include "tls/ossl.h"
#include "tls/session.h"

namespace quoin::tls::testing {

constexpr int64_t kNow = 1'800'000'000;  // 2027-01-15T08:00:00Z
constexpr int64_t kDay = 24 * 3600;

class FakeClock final : public io::Clock {
 public:
  io::MonotonicNs monotonic() const override { return ns; }
  io::WallNs wall() const override { return kNow * io::kSecond + ns; }
  int64_t ns = 0;
};

// A loop that runs when it is told to.
class FakeLoop final : public io::Loop {
 public:
  void post(Task task) override { tasks_.push_back(std::move(task)); }
  bool running_here() const override { return true; }
  void at_end_of_round(Task task) override { ends_.push_back(std::move(task)); }
  // Until nothing is left; how many tasks ran.
  size_t run() {
    size_t n = 0;
    while (!tasks_.empty() || !ends_.empty()) {
      auto& queue = tasks_.empty() ? ends_ : tasks_;
      Task task = std::move(queue.front());
      queue.pop_front();
      task();
      ++n;
      CHECK(n < 1'000'000, "the loop does not come to rest");
    }
    return n;
  }
  size_t waiting() const { return tasks_.size(); }

 private:
  std::deque<Task> tasks_, ends_;
};

class FakeTimers final : public io::TimerService {
 public:
  explicit FakeTimers(FakeClock& clock) : clock_(clock) {}
  std::unique_ptr<io::Timer> schedule(int64_t delay_ns, io::Executor& executor, Task task) override {
    auto shot = std::make_shared<Shot>(Shot{clock_.ns + delay_ns, &executor, std::move(task)});
    shots_.push_back(shot);
    return std::make_unique<Handle>(shot);
  }
  // Lets time pass and posts what is due.
  void advance(int64_t ns) {
    clock_.ns += ns;
    auto shots = std::exchange(shots_, {});
    for (auto& weak : shots) {
      const auto shot = weak.lock();
      if (!shot) continue;
      if (shot->at > clock_.ns) {
        shots_.push_back(weak);
        continue;
      }
      shot->executor->post([held = std::weak_ptr(shot)] {
        if (const auto s = held.lock()) std::exchange(s->task, {})();
      });
    }
  }

 private:
  struct Shot {
    int64_t at;
    io::Executor* executor;
    Task task;
  };
  struct Handle final : io::Timer {
    explicit Handle(std::shared_ptr<Shot> s) : shot(std::move(s)) {}
    void cancel() override { shot.reset(); }
    std::shared_ptr<Shot> shot;
  };
  FakeClock& clock_;
  std::vector<std::weak_ptr<Shot>> shots_;
};

class Lines final : public log::Logger {
 public:
  bool enabled(log::Level) const override { return true; }
  void log(const log::Event& e) override {
    std::string line(e.message);
    for (const log::Field& f : e.fields) {
      if (const auto* text = std::get_if<std::string_view>(&f.value))
        line += fmt::format(" {}={}", f.key, *text);
      if (const auto* n = std::get_if<int64_t>(&f.value)) line += fmt::format(" {}={}", f.key, *n);
    }
    lines.push_back(std::move(line));
  }
  std::vector<std::string> lines;
};

// ---- certificates

struct Spec {
  std::string cn = "leaf";
  std::vector<std::string> dns, ips;
  bool ca = false;
  bool client_auth = true, server_auth = true, eku = true;
  int64_t from = kNow - kDay, to = kNow + 365 * kDay;
  std::string key = "P-256";  // "RSA-2048", "P-521", "ED25519"
  uint64_t serial = 0;        // 0: the next one
};

struct Issued {
  X509Ptr certificate;
  PkeyPtr key;

  std::string cert_pem() const {
    BIO* bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(bio, certificate.get());
    return drain(bio);
  }
  std::string key_pem() const {
    BIO* bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PrivateKey(bio, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
    return drain(bio);
  }
  static std::string drain(BIO* bio) {
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio, &data);
    std::string text(data, static_cast<size_t>(size));
    BIO_free(bio);
    return text;
  }
};

inline PkeyPtr make_key(const std::string& kind) {
  if (kind == "ED25519") return PkeyPtr(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
  if (kind.starts_with("RSA-")) return PkeyPtr(EVP_RSA_gen(std::stoul(kind.substr(4))));
  return PkeyPtr(EVP_EC_gen(kind.c_str()));
}

inline void extend(X509* x, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX ctx;
  X509V3_set_ctx(&ctx, issuer, x, nullptr, nullptr, 0);
  X509_EXTENSION* e = X509V3_EXT_conf_nid(nullptr, &ctx, nid, value.c_str());
  CHECK(e != nullptr, "{}", value);
  X509_add_ext(x, e, -1);
  X509_EXTENSION_free(e);
}

// Signed by `issuer`, or by itself.
inline Issued issue(const Spec& spec, const Issued* issuer = nullptr) {
  static uint64_t next_serial = 100;
  Issued made;
  made.key = make_key(spec.key);
  made.certificate.reset(X509_new());
  X509* x = made.certificate.get();
  X509_set_version(x, X509_VERSION_3);
  ASN1_INTEGER_set_uint64(X509_get_serialNumber(x), spec.serial != 0 ? spec.serial : ++next_serial);
  X509_NAME_add_entry_by_NID(X509_get_subject_name(x), NID_commonName, MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(spec.cn.c_str()), -1, -1, 0);
  X509* by = issuer != nullptr ? issuer->certificate.get() : x;
  X509_set_issuer_name(x, X509_get_subject_name(by));
  ASN1_TIME_set(X509_getm_notBefore(x), spec.from);
  ASN1_TIME_set(X509_getm_notAfter(x), spec.to);
  X509_set_pubkey(x, made.key.get());
  extend(x, by, NID_basic_constraints, spec.ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
  std::string usages;
  if (spec.server_auth) usages = "serverAuth";
  if (spec.client_auth) usages += usages.empty() ? "clientAuth" : ",clientAuth";
  if (spec.eku && !spec.ca && !usages.empty()) extend(x, by, NID_ext_key_usage, usages);
  std::string sans;
  for (const auto& d : spec.dns) sans += (sans.empty() ? "DNS:" : ",DNS:") + d;
  for (const auto& ip : spec.ips) sans += (sans.empty() ? "IP:" : ",IP:") + ip;
  if (!sans.empty()) extend(x, by, NID_subject_alt_name, sans);
  EVP_PKEY* signer = issuer != nullptr ? issuer->key.get() : made.key.get();
  const bool ed = EVP_PKEY_get_base_id(signer) == EVP_PKEY_ED25519;
  CHECK(X509_sign(x, signer, ed ? nullptr : EVP_sha256()) > 0);
  return made;
}

inline Issued make_ca(const std::string& cn = "ca", const std::string& key = "P-256") {
  return issue({.cn = cn, .ca = true, .key = key});
}

// A revocation list with these serials, DER.
inline std::string make_crl(const Issued& ca, const std::vector<uint64_t>& serials) {
  X509CrlPtr crl(X509_CRL_new());
  X509_CRL_set_version(crl.get(), X509_CRL_VERSION_2);
  X509_CRL_set_issuer_name(crl.get(), X509_get_subject_name(ca.certificate.get()));
  ASN1_TIME* when = ASN1_TIME_set(nullptr, kNow);
  X509_CRL_set1_lastUpdate(crl.get(), when);
  X509_CRL_set1_nextUpdate(crl.get(), when);
  for (const uint64_t serial : serials) {
    X509_REVOKED* revoked = X509_REVOKED_new();
    ASN1_INTEGER* number = ASN1_INTEGER_new();
    ASN1_INTEGER_set_uint64(number, serial);
    X509_REVOKED_set_serialNumber(revoked, number);
    ASN1_INTEGER_free(number);
    X509_REVOKED_set_revocationDate(revoked, when);
    X509_CRL_add0_revoked(crl.get(), revoked);
  }
  ASN1_TIME_free(when);
  X509_CRL_sign(crl.get(), ca.key.get(), EVP_sha256());
  unsigned char* der = nullptr;
  const int size = i2d_X509_CRL(crl.get(), &der);
  std::string bytes(reinterpret_cast<char*>(der), static_cast<size_t>(size));
  OPENSSL_free(der);
  return bytes;
}

// A temporary directory with files, and the file system over it.
class Files {
 public:
  Files() {
    std::string name = (std::filesystem::temp_directory_path() / "quoin-tls-XXXXXX").string();
    CHECK(mkdtemp(name.data()) != nullptr);
    dir = name;
  }
  ~Files() { std::filesystem::remove_all(dir); }
  std::string write(const std::string& name, const std::string& bytes) {
    std::ofstream(dir + "/" + name, std::ios::binary | std::ios::trunc) << bytes;
    return dir + "/" + name;
  }
  std::string path(const std::string& name) const { return dir + "/" + name; }
  // The options of one side: its pair, and what it trusts.
  Options side(const std::string& name, const Issued& pair, const Issued* trusted = nullptr) {
    Options o;
    o.cert_file = write(name + ".crt", pair.cert_pem());
    o.key_file = write(name + ".key", pair.key_pem());
    if (trusted != nullptr) o.trusted_ca_file = write(name + ".ca", trusted->cert_pem());
    o.system_root_files.clear();
    o.system_root_dirs.clear();
    return o;
  }

  std::string dir;
  FakeLoop executor;
  std::unique_ptr<io::FileSystem> fs = posix::make_file_system(executor);
};

// ---- two sessions back to back

// Moves bytes both ways, `piece` at a time, until both rest.
inline void shake(Session& a, Session& b, size_t piece = SIZE_MAX) {
  const auto settle = [](Session& s) {
    while (s.wants_step()) s.step();
  };
  const auto carry = [&](Session& from, Session& to) {
    if (!from.has_output()) return false;
    const std::string bytes = from.take_output();
    for (size_t at = 0; at < bytes.size(); at += std::min(piece, bytes.size() - at)) {
      to.feed(std::string_view(bytes).substr(at, piece));
      settle(to);
    }
    return true;
  };
  settle(a);
  settle(b);
  while (carry(a, b) || carry(b, a)) {
  }
}

inline std::string read_all(Session& s) {
  std::string all;
  std::array<char, kRecordBytesMax> buffer;
  while (const size_t n = s.read(buffer)) all.append(buffer.data(), n);
  return all;
}

inline std::string error_of(const Session& s) {
  return s.error() ? std::string(s.error()->text()) : "";
}

}  // namespace quoin::tls::testing

#include "cmd/etcdutl/snapshot_copy.h"

#include <fmt/ranges.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <span>
#include <vector>

namespace quoin::utl {

namespace {

constexpr uint64_t kDigestBytes = 32;
constexpr uint64_t kSectorBytes = 512;
constexpr size_t kBlockBytes = 1 << 20;

class Sha256 {
 public:
  Sha256() : context_(EVP_MD_CTX_new()) { EVP_DigestInit_ex(context_, EVP_sha256(), nullptr); }
  ~Sha256() { EVP_MD_CTX_free(context_); }
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;
  void add(std::string_view bytes) { EVP_DigestUpdate(context_, bytes.data(), bytes.size()); }
  std::string end() {
    std::string digest(kDigestBytes, '\0');
    EVP_DigestFinal_ex(context_, reinterpret_cast<unsigned char*>(digest.data()), nullptr);
    return digest;
  }

 private:
  EVP_MD_CTX* const context_;
};

// "[1 2 255]", as Go prints bytes.
std::string byte_list(std::string_view bytes) {
  std::vector<int> numbers;
  for (const char c : bytes) numbers.push_back(static_cast<unsigned char>(c));
  return fmt::format("[{}]", fmt::join(numbers, " "));
}

}  // namespace

Result<> copy_snapshot(io::FileSystem& fs, const std::string& from, const std::string& to,
                       bool skip_hash_check, const Job& job) {
  ASSIGN_OR_RETURN(const auto source, fs.open(from, {}));
  ASSIGN_OR_RETURN(const uint64_t size, source->size());
  if (size < kDigestBytes) return make_error(Code::kInvalidArgument, "seek {}: invalid argument", from);
  const bool has_digest = size % kSectorBytes == kDigestBytes;
  const uint64_t wanted = has_digest ? size - kDigestBytes : size;

  ASSIGN_OR_RETURN(const auto target, fs.open(to, {.write = true, .create = true, .exclusive = true}));
  Sha256 sha;
  const bool hashes = has_digest && !skip_hash_check;
  std::string block(std::min<uint64_t>(kBlockBytes, wanted), '\0');
  for (uint64_t at = 0; at < wanted;) {
    TRY(job.step("copying the snapshot", at, wanted));
    const size_t n = std::min<uint64_t>(block.size(), wanted - at);
    ASSIGN_OR_RETURN(const size_t got, source->read_at(at, std::span<char>(block.data(), n)));
    if (got != n) return make_error(Code::kIo, "read {}: the file became shorter while it was read", from);
    const std::string_view bytes = std::string_view(block).substr(0, n);
    if (hashes) sha.add(bytes);
    TRY(target->write_at(at, bytes));
    at += n;
  }
  if (!has_digest && !skip_hash_check) {
    return Error(Code::kInvalidArgument, "snapshot missing hash but --skip-hash-check=false");
  }
  if (hashes) {
    std::string expected(kDigestBytes, '\0');
    ASSIGN_OR_RETURN(const size_t got,
                     source->read_at(wanted, std::span<char>(expected.data(), expected.size())));
    if (got != expected.size())
      return make_error(Code::kIo, "read {}: the file became shorter while it was read", from);
    if (const std::string digest = sha.end(); digest != expected) {
      return make_error(Code::kInvalidArgument, "expected sha256 {}, got {}", byte_list(expected),
                        byte_list(digest));
    }
  }
  TRY(job.step("writing to disk", wanted, wanted));
  return target->sync();
}

}  // namespace quoin::utl

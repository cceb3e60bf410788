// Runs a fuzz target without libFuzzer: every corpus file once, then `-runs=N` mutations of them from a fixed
// seed. For compilers and builds without libFuzzer, and for the normal test pass.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "base/prng.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {
void run(const std::string& input) {
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()), input.size());
}

std::string mutate(std::string s, const std::vector<std::string>& corpus, quoin::Prng& prng) {
  for (uint64_t n = prng.between(1, 4); n > 0; --n) {
    const size_t at = s.empty() ? 0 : prng.below(s.size());
    switch (prng.below(5)) {
      case 0:
        if (!s.empty()) s[at] = static_cast<char>(prng.next());
        break;
      case 1:
        if (!s.empty()) s[at] = static_cast<char>(s[at] ^ (1 << prng.below(8)));
        break;
      case 2:
        s.resize(at);
        break;
      case 3:
        s.insert(at, 1, static_cast<char>(prng.next()));
        break;
      case 4:
        s.insert(at, corpus[prng.below(corpus.size())].substr(0, prng.between(1, 64)));
        break;
    }
  }
  return s;
}
}  // namespace

int main(int argc, char** argv) {
  uint64_t runs = 0;
  std::vector<std::string> names;
  for (int i = 1; i < argc; ++i) {
    if (std::strncmp(argv[i], "-runs=", 6) == 0) {
      runs = std::strtoull(argv[i] + 6, nullptr, 10);
    } else if (std::filesystem::is_directory(argv[i])) {
      for (const auto& e : std::filesystem::recursive_directory_iterator(argv[i])) {
        if (e.is_regular_file()) names.push_back(e.path().string());
      }
    } else {
      std::fprintf(stderr, "no corpus at %s\n", argv[i]);
      return 1;
    }
  }
  std::sort(names.begin(), names.end());
  std::vector<std::string> corpus;
  for (const auto& name : names) {
    std::ifstream in(name, std::ios::binary);
    corpus.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
    run(corpus.back());
  }
  if (corpus.empty()) {
    std::fprintf(stderr, "empty corpus\n");
    return 1;
  }
  quoin::Prng prng(1);
  for (uint64_t i = 0; i < runs; ++i) run(mutate(corpus[prng.below(corpus.size())], corpus, prng));
  std::printf("%zu corpus files, %llu mutations\n", corpus.size(), static_cast<unsigned long long>(runs));
  return 0;
}

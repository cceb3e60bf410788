// etcd-benchmark: see docs/benchmark.md.
#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "cmd/benchmark/arguments.h"
#include "cmd/benchmark/interrupts.h"
#include "cmd/benchmark/output.h"
#include "cmd/benchmark/run.h"

int main(int argc, char** argv) {
  namespace bench = quoin::cmd::bench;
  bench::Interrupts interrupts;
  rlimit descriptors{};
  if (getrlimit(RLIMIT_NOFILE, &descriptors) == 0) {
    descriptors.rlim_cur = descriptors.rlim_max;
    setrlimit(RLIMIT_NOFILE, &descriptors);
  }
  const std::string program =
      argc > 0 ? std::filesystem::path(argv[0]).filename().string() : "etcd-benchmark";
  const std::vector<std::string> words(argv + std::min(argc, 1), argv + argc);
  const bench::ArgumentsOrEnd read = bench::read_arguments(program, words);
  std::fputs(read.err.c_str(), stderr);
  bench::write_out(read.out);
  return read.arguments ? bench::run_command(*read.arguments, interrupts) : read.exit_code;
}

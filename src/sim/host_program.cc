#include "sim/host_program.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "base/check.h"

namespace quoin::sim {
namespace {

namespace fs = std::filesystem;

struct Output {
  int status;
  std::string text;
};

Output shell(const std::string& command) {
  Output out{-1, {}};
  std::FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
  if (!pipe) return out;
  char buffer[4096];
  for (size_t n; (n = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) out.text.append(buffer, n);
  out.status = ::pclose(pipe);
  return out;
}

}  // namespace

Result<HostProgram> HostProgram::build_go(const std::string& source) {
  if (shell("command -v go").status != 0) return Error(Code::kUnsupported, "Go is not installed");
  const std::string in = "cd '" + source + "' && GOTOOLCHAIN=local ";
  if (const Output fetched = shell(in + "go mod download"); fetched.status != 0) {
    return make_error(Code::kUnsupported, "Go is too old or its modules cannot be fetched: {}", fetched.text);
  }
  // Beside the test program, so that the next run finds it; one at a time, as tests run side by side.
  const std::string target = fs::current_path().string() + "/go-" + fs::path(source).filename().string();
  const Output built = shell(in + "flock '" + target + ".lock' go build -o '" + target + "' .");
  if (built.status != 0) return make_error(Code::kIo, "go build in {}: {}", source, built.text);
  return HostProgram(target);
}

Result<std::string> HostProgram::run(const std::vector<std::string>& arguments) const {
  std::string command = "'" + path_ + "'";
  for (const std::string& argument : arguments) command += " '" + argument + "'";
  const Output out = shell(command);
  if (out.status != 0) return make_error(Code::kIo, "{}: {}", command, out.text);
  return out.text;
}

HostFolder::HostFolder() {
  std::string name = (fs::temp_directory_path() / "quoin-test-XXXXXX").string();
  CHECK(::mkdtemp(name.data()) != nullptr);
  path_ = name;
}

HostFolder::~HostFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

void HostFolder::copy_from(SimDisk& disk, const std::string& dir, const std::string& name) const {
  const std::string prefix = "/" + fmt::format("{}", fmt::join(Tree::split(dir), "/")) + "/";
  fs::create_directories(path_ + "/" + name);
  for (const std::string& file : disk.list_visible()) {
    if (!file.starts_with(prefix) || file.ends_with('/')) continue;
    const fs::path target = path_ + "/" + name + "/" + file.substr(prefix.size());
    fs::create_directories(target.parent_path());
    const auto bytes = disk.visible_bytes(file);
    CHECK(bytes.has_value());
    std::ofstream(target, std::ios::binary) << *bytes;
  }
}

void HostFolder::copy_to(SimDisk& disk, const std::string& dir, const std::string& name) const {
  const fs::path root = path_ + "/" + name;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    if (!entry.is_regular_file()) continue;
    std::ifstream in(entry.path(), std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
    disk.put_file(dir + "/" + fs::relative(entry.path(), root).string(), bytes);
  }
}

}  // namespace quoin::sim

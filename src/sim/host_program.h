// For tests that compare with another implementation: builds a Go program of the tree, runs it on real files,
// and carries files between a real folder and a simulated disk.
//
// Blocks, and leaves the simulation: nothing here is a function of the seed.
#pragma once
#include <string>
#include <vector>

#include "base/result.h"
#include "sim/disk.h"

namespace quoin::sim {

// A real folder that goes away with its object.
class HostFolder {
 public:
  HostFolder();
  ~HostFolder();
  HostFolder(const HostFolder&) = delete;
  HostFolder& operator=(const HostFolder&) = delete;
  const std::string& path() const { return path_; }

  // All files below a directory of the disk (as they are seen) go to `<path>/<name>`, and back (durable).
  void copy_from(SimDisk& disk, const std::string& dir, const std::string& name) const;
  void copy_to(SimDisk& disk, const std::string& dir, const std::string& name) const;

 private:
  std::string path_;
};

class HostProgram {
 public:
  // `source`: the folder with its go.mod. kUnsupported, with a line that says why, if there is no Go, it is
  // too old, or its modules cannot be fetched: the test then skips itself. kIo: it does not build.
  static Result<HostProgram> build_go(const std::string& source);

  // Runs it with arguments (no quoting: words without spaces) and returns what it prints. kIo if it fails,
  // with the output.
  Result<std::string> run(const std::vector<std::string>& arguments) const;

 private:
  explicit HostProgram(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

}  // namespace quoin::sim

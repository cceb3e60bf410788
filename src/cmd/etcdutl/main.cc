// The etcdutl program: offline work on the files of members and on saved snapshots.
#include "cmd/etcdutl/commands.h"

int main(int argc, char** argv) {
  return quoin::utl::run_etcdutl({argv + 1, argv + argc});
}

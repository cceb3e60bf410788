#!/usr/bin/env python3
"""Holds the include order of design.md section 3: a file of src/ may include its own module and
modules in rows above it; tests, benchmarks and fuzz targets also `sim` and `posix`; only `cmd`
includes `posix` outside tests, and nothing includes `sim`. Exits 1 with one line a finding."""
import os
import re
import sys

ROWS = [
    ["base"], ["io", "pb", "failpoint"], ["wire"], ["raft", "bolt", "http1", "http2", "tls"],
    ["wal", "snap", "backend"], ["mvcc", "lease", "auth", "membership"], ["server"],
    ["grpc", "peer"], ["v3rpc", "httpapi", "client"], ["front"], ["posix", "sim"], ["cmd"],
]
ROW = {m: i for i, row in enumerate(ROWS) for m in row}
# Generated protobuf code is seen only by these (style.md section 11).
PB_USERS = {"pb", "wire", "v3rpc", "client", "httpapi", "cmd"}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')


def allowed(own, target, is_test):
    if own == target:
        return True
    if target not in ROW:
        return False
    if target in ("sim", "posix"):
        return is_test or (own == "cmd" and target == "posix")
    if target == "pb" and own not in PB_USERS and not is_test:
        return False
    # sim's and posix's place below everything is for what they implement: they need only io and base.
    return ROW[target] < ROW[own]


def main(root):
    findings = []
    src = os.path.join(root, "src")
    for folder, dirs, files in os.walk(src):
        dirs[:] = [d for d in dirs if d not in ("corpus", "testdata")]
        for name in sorted(files):
            if not name.endswith((".cc", ".h")):
                continue
            path = os.path.join(folder, name)
            rel = os.path.relpath(path, src)
            own = rel.split(os.sep)[0]
            is_test = re.search(r"_(test|bench|fuzz)\.(cc|h)$", name) or "_test_" in name
            if own not in ROW:
                findings.append(f"src/{rel}: {own} is not a module of design.md section 3")
                continue
            with open(path, encoding="utf-8") as f:
                for number, line in enumerate(f, 1):
                    m = INCLUDE.match(line)
                    if not m:
                        continue
                    target = m.group(1).split("/")[0]
                    if not allowed(own, target, bool(is_test)):
                        findings.append(f'src/{rel}:{number}: {own} may not include "{m.group(1)}"')
    for line in findings:
        print(line)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "."))

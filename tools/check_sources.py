#!/usr/bin/env python3
"""Properties of the sources that no compiler holds; exits 1 with one line a finding.

  markers      nothing is left for later in a comment; no test is switched off, or skipped without saying why
  length       a file past 700 lines has a seam that was not looked for
  banned       time, randomness, threads and the disk reach the code below `posix` and `sim` through `io`; order that
               can reach a peer, a disk or a test comes from no library's random distribution; no unbounded C string
               functions; nothing throws outside the files that wrap a throwing library
  dead         every header is included by somebody but its own .cc
  own header   x.cc includes x.h before anything else, every header has its guard
  binaries     git tracks no built program and no file over 1 MB; a corpus or test file of bytes stays below 64 KB

With --headers, also: every header compiles by itself, without the precompiled header that builds use."""
import concurrent.futures
import os
import re
import subprocess
import sys

FILE_BYTES_MAX = 1_000_000
BINARY_BYTES_MAX = 64_000
PROGRAM_MAGIC = (b"\x7fELF", b"MZ", b"\xcf\xfa\xed\xfe", b"!<arch>\n")

LINES_MAX = 700
TEST_LINES_MAX = 800
MARKERS = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|\bDISABLED_|\bGTEST_SKIP\(\)(?! <<)")
STRING = re.compile(r'"(\\.|[^"\\])*"')
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')
# What, where it is allowed (a prefix of the path below src/), and why it is not elsewhere.
BANNED = [
    (r"\b(system_clock|steady_clock|gettimeofday|clock_gettime)\b", ("posix/", "cmd/"), "time comes from io::Clock"),
    (r"\b(sleep_for|sleep_until|usleep|nanosleep)\b", ("posix/", "cmd/"), "nothing waits by sleeping"),
    (r"\b(random_device|mt19937|rand|srand|uniform_int_distribution)\b\s*[<({]", ("cmd/",), "randomness comes from Prng"),
    (r"\bstd::(thread|jthread|async)\b", ("posix/", "cmd/"), "threads belong to posix"),
    (r"\b(strcpy|strcat|sprintf|vsprintf|gets|strtok|atoi|atol)\s*\(", (), "bounded functions"),
    (r"\busing namespace\b", (), "names are written out"),
    (r"\bthrow\b(?!\w)", (), "errors are values"),
    (r"(?<![\w>])::(open|pread|pwrite|fsync|fdatasync|rename|unlink)\(", ("posix/", "cmd/"), "files come from io::FileSystem"),
]
TEST_FILE = re.compile(r"(_(test|fuzz|bench)\.(cc|h)$)|(/testing/)|(_test_)")


def sources(root):
    for top in ("src", "scenarios", "tools"):
        for folder, dirs, files in os.walk(os.path.join(root, top)):
            dirs[:] = sorted(d for d in dirs if d not in ("corpus", "testdata"))
            for name in sorted(files):
                if name.endswith((".cc", ".h")):
                    yield os.path.relpath(os.path.join(folder, name), root)


def code_of(line):
    """The line without string literals and its comment."""
    return re.sub(r"//.*", "", STRING.sub('""', line))


def check_file(path, text, findings):
    lines = text.split("\n")
    most = TEST_LINES_MAX if TEST_FILE.search(path) else LINES_MAX
    if len(lines) > most:
        findings.append(f"{path}: {len(lines)} lines, at most {most}")
    if path.endswith(".h") and "#pragma once" not in text:
        findings.append(f"{path}: no #pragma once")
    below_src = path[4:] if path.startswith("src/") else None
    for number, line in enumerate(lines, 1):
        if MARKERS.search(STRING.sub('""', line)):
            findings.append(f"{path}:{number}: left for later: {line.strip()}")
        if below_src is None or TEST_FILE.search(path):
            continue
        for pattern, allowed, why in BANNED:
            if re.search(pattern, code_of(line)) and not below_src.startswith(allowed or ("\0",)):
                findings.append(f"{path}:{number}: {why}: {line.strip()}")


def check_includes(texts, findings):
    users = {}
    for path, text in texts.items():
        included = [m.group(1) for m in map(INCLUDE.match, text.split("\n")) if m]
        for name in included:
            users.setdefault(name, set()).add(path)
        own = re.sub(r"\.cc$", ".h", path)
        if path.endswith(".cc") and own in texts and path.startswith("src/"):
            if not included or "src/" + included[0] != own:
                findings.append(f"{path}: includes something before its own header")
    for path in texts:
        if not path.endswith(".h") or not path.startswith("src/"):
            continue
        others = users.get(path[4:], set()) - {path, path[:-2] + ".cc"}
        if not others:
            findings.append(f"{path}: no other file includes it")


def check_tracked_files(root, findings):
    """What git tracks, or would track with the next `git add`. Outside a checkout there is nothing to ask."""
    command = ["git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, check=False).stdout
    for name in filter(None, listed.decode("utf-8", "surrogateescape").split("\0")):
        path = os.path.join(root, name)
        if os.path.islink(path) or not os.path.isfile(path):
            continue
        size = os.path.getsize(path)
        with open(path, "rb") as f:
            head = f.read(8192)
        if head.startswith(PROGRAM_MAGIC):
            findings.append(f"{name}: a built program; the build makes it, git does not keep it")
        elif size > FILE_BYTES_MAX:
            findings.append(f"{name}: {size} bytes, at most {FILE_BYTES_MAX}")
        elif b"\0" in head and size > BINARY_BYTES_MAX:
            findings.append(f"{name}: {size} bytes that are no text, at most {BINARY_BYTES_MAX}")


def check_headers(root, texts, findings):
    """Compiles each header by itself."""
    include = ["-I", root, "-I", os.path.join(root, "src")]
    for generated in ("build/release/src/pb/gen", "build/release/src/wire/gen"):
        include += ["-I", os.path.join(root, generated)]

    def alone(path):
        command = ["g++", "-std=c++20", "-fsyntax-only", "-x", "c++-header", *include, os.path.join(root, path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        first = next((l for l in done.stderr.split("\n") if "error" in l), "")
        return None if done.returncode == 0 else f"{path}: does not compile by itself: {first}"

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        findings += filter(None, pool.map(alone, [p for p in texts if p.endswith(".h")]))


def main(arguments):
    root = next((a for a in arguments if not a.startswith("--")), ".")
    texts = {}
    for path in sources(root):
        with open(os.path.join(root, path), encoding="utf-8") as f:
            texts[path] = f.read()
    findings = []
    for path, text in texts.items():
        check_file(path, text, findings)
    check_includes(texts, findings)
    check_tracked_files(root, findings)
    if "--headers" in arguments:
        check_headers(root, texts, findings)
    for line in findings:
        print(line)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

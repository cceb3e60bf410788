#!/usr/bin/env python3
"""make_man.py PROGRAM: the program's manual page, made of what it says of itself: its help, and that of each of its
commands. So the page has the flags and words of the tables that the program reads its command line with."""
import os
import re
import subprocess
import sys

TITLES = {"etcd": "a member of a highly available key-value store", "etcdctl": "a client of etcd for the command line",
          "etcdutl": "works on the files of an etcd member", "etcd-benchmark": "puts load on etcd and measures it"}
# The lists of commands in cobra's help and in that of etcd's tools.
COMMANDS = re.compile(r"^(?:COMMANDS|Available Commands):\n((?:[ \t]+.*\n)+)", re.M)


def help_of(program, *words):
    done = subprocess.run([program, *words, "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          check=False, env={**os.environ, "LC_ALL": "C.UTF-8"}, timeout=60)
    # etcd says how it is called on standard error, and its flags on standard output.
    return done.stderr.strip("\n") + ("\n\n" if done.stderr.strip() else "") + done.stdout.strip("\n") + "\n"


def roff(line):
    line = line.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + line if line[:1] in (".", "'") else line


def block(text):
    """Lines as they are, with the headings that the help has."""
    out, open_block = [], False
    for line in text.split("\n"):
        heading = re.fullmatch(r"([A-Z][A-Za-z ]*):", line)
        if open_block and (heading or not line):
            out.append(".fi\n.RE")
            open_block = False
        if heading:
            out.append(f".SS {roff(heading[1])}")
        elif line:
            if not open_block:
                out.append(".PP\n.RS 2\n.nf")
                open_block = True
            out.append(roff(line.expandtabs(4)))
    if open_block:
        out.append(".fi\n.RE")
    return "\n".join(out)


def commands(text):
    found = COMMANDS.search(text)
    names = []
    for line in found[1].split("\n") if found else []:
        # The name ends where two blanks or a tab begin what the command does.
        name = re.split(r"\t|  +", line.strip())[0]
        if name and name != "help":
            names.append(name.split())
    return names


def main(program):
    name = os.path.basename(program)
    text = help_of(program)
    print(f'.TH {name.upper()} 1 "" "Quoin" "Quoin"')
    print(f".SH NAME\n{name} \\- {TITLES.get(name, name)}")
    print(".SH DESCRIPTION\n" + block(text))
    names = commands(text)
    if names:
        print(".SH COMMANDS")
    for words in names:
        print(f".SS {roff(' '.join(words))}")
        print(re.sub(r"^\.SS (.*)$", r".PP\n.B \1", block(help_of(program, *words)), flags=re.M))
    print(".SH SEE ALSO\n" + ", ".join(f".BR {n} (1)" if i == 0 else f"{n}(1)" for i, n in enumerate(t for t in TITLES if t != name)))


if __name__ == "__main__":
    main(sys.argv[1])

#!/usr/bin/env python3
"""embed.py INPUT.sql OUTPUT.c DEPFILE: an SQL file as the C string sql_<name>.

A line "--include FILE" (beside INPUT) is replaced by that file's text. What follows a line "--string NAME" becomes a string of
its own, sql_NAME. Other comments and empty lines are dropped: the server need not read them."""

import os
import re
import sys


def lines(path, read):
    read.append(path)
    with open(path, encoding="utf-8") as f:
        for line in f:
            include = re.match(r"--include (\S+)$", line)
            if include:
                yield from lines(os.path.join(os.path.dirname(path), include[1]), read)
                continue
            if re.match(r"--string \w+$", line):
                yield line.strip()
                continue
            # Our files have no string that holds two dashes.
            line = re.sub(r"--.*", "", line).strip()
            if line:
                yield line


def main():
    source, target, depfile = sys.argv[1:]
    read = []
    strings = {os.path.splitext(os.path.basename(source))[0]: []}
    for line in lines(source, read):
        if line.startswith("--string "):
            strings[line.split()[1]] = []
            continue
        quoted = line.replace("\\", "\\\\").replace('"', '\\"')
        list(strings.values())[-1].append(f'\t"{quoted} "')
    with open(target, "w", encoding="utf-8") as f:
        f.write("/* Made from " + os.path.basename(source) + ". */\n")
        for name, text in strings.items():
            if text:
                f.write(f"extern const char sql_{name}[];\nconst char sql_{name}[] =\n" + "\n".join(text) + ";\n")
    with open(depfile, "w", encoding="utf-8") as f:
        f.write(target + ": " + " ".join(path.replace(" ", "\\ ") for path in read) + "\n")


main()

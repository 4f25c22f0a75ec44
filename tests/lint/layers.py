#!/usr/bin/env python3
"""Includes point down only, and each foreign library has one owner.

The layers are the directories of daemon/. A .c or .h file includes the C library, its own layer and the layers that LAYERS
grants it; a foreign library's header only where OWNERS says. Only app/ logs.

Usage: layers.py [TREE]
"""

import re
import sys
from fnmatch import fnmatch

import tree

LAYERS = {
    "base": {"base"},
    "model": {"base", "model"},
    "store": {"base", "model", "loop", "store"},
    "loop": {"base", "loop"},
    "source": {"base", "model", "loop", "source"},
    "sink": {"base", "model", "loop", "sink"},
    "app": {"base", "model", "store", "loop", "source", "sink", "app"},
}

# Header of a foreign library: the files that may include it. Never a header of ours: it would hand the library on.
OWNERS = {
    "event2/*": ["loop/*.c"],
    "curl/*": ["loop/*.c"],
    "libpq-fe.h": ["source/pgconn.c", "source/pgconn_dsn.c"],
    "sqlite3.h": ["store/*.c"],
    "yajl/*": ["model/json.c"],
    "systemd/*": ["app/service.c"],
    "openssl/*": ["sink/signature.c", "loop/tls.c"],
}

# The C library and the kernel; whatever else appears in <> is foreign and must be given an owner.
C_LIBRARY = [
    "arpa/*", "linux/*", "net/*", "netinet/*", "sys/*",
    "assert.h", "ctype.h", "dirent.h", "endian.h", "errno.h", "fcntl.h", "float.h", "fnmatch.h", "getopt.h", "glob.h",
    "grp.h", "inttypes.h", "langinfo.h", "limits.h", "locale.h", "math.h", "netdb.h", "poll.h", "pthread.h", "pwd.h",
    "sched.h", "search.h", "signal.h", "stdalign.h", "stdarg.h", "stdatomic.h", "stdbool.h", "stddef.h", "stdint.h",
    "stdio.h", "stdlib.h", "string.h", "strings.h", "sysexits.h", "syslog.h", "termios.h", "threads.h", "time.h", "uchar.h", "unistd.h",
    "wchar.h",
]  # fmt: skip

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"\n]+)[>"]', re.MULTILINE)


def any_match(path, patterns):
    return any(fnmatch(path, p) for p in patterns)


def judge_foreign(name, inside):
    """What is wrong with @inside (a path below daemon/) including <@name>, or None."""
    if any_match(name, C_LIBRARY):
        return None
    for pattern, owners in OWNERS.items():
        if fnmatch(name, pattern):
            if any_match(inside, owners):
                return None
            return f"<{name}> belongs to {' and '.join(owners)}: declare what you need forward"
    return f"<{name}> is a foreign library without an owner: give it one in tests/lint/layers.py"


def judge_own(name, inside):
    layer, _, rest = inside.partition("/")
    target = name.partition("/")[0]
    if target not in LAYERS:
        return f'"{name}" is not written as "layer/file.h"'
    if target not in LAYERS[layer]:
        return f"{layer}/ must not include {target}/: includes point down only"
    if name == "base/log.h" and layer != "app" and rest != "log.c":
        return "only app/ logs: return what happened to your caller"
    return None


def main():
    root = tree.root_of(sys.argv)
    report = tree.Report()
    for path in tree.files(root):
        if path.parts[0] != "daemon" or path.suffix not in (".c", ".h"):
            continue
        inside = "/".join(path.parts[1:])
        if path.parts[1] not in LAYERS or len(path.parts) != 3:
            report.add(path, 1, "lies in no layer")
            continue
        text = tree.without_comments((root / path).read_text(encoding="utf-8", errors="replace"))
        for found in INCLUDE.finditer(text):
            judge = judge_foreign if found[1] == "<" else judge_own
            wrong = judge(found[2], inside)
            if wrong:
                report.add(path, tree.line_of(text, found.start()), wrong)
    report.exit()


main()

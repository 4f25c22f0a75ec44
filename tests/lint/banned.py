#!/usr/bin/env python3
"""What must not stand in this repository.

In C: functions that overflow, block or lie; file descriptors that leak into children or block the loop; output, exits and
clocks outside the layers that own them; functions and files that hold two ideas. Anywhere: marks of unfinished work,
paths of somebody's machine, hosts of package registries, letters that look like others.

Usage: banned.py [TREE]
"""

import ast
import re
import sys
import unicodedata
from fnmatch import fnmatch

import tree

FILE_LINES = 800
FUNCTION_LINES = 80

# Name: why not.
CALLS = {
    "strcpy": "knows no bounds: snprintf or a strbuf",
    "strcat": "knows no bounds: a strbuf",
    "stpcpy": "knows no bounds: snprintf or a strbuf",
    "strncpy": "may leave no NUL: snprintf",
    "strncat": "counts wrongly: a strbuf",
    "sprintf": "knows no bounds: snprintf or a strbuf",
    "vsprintf": "knows no bounds: vsnprintf or a strbuf",
    "gets": "knows no bounds",
    "scanf": "hides overflow", "sscanf": "hides overflow", "fscanf": "hides overflow",
    "atoi": "hides errors: strtol", "atol": "hides errors: strtol", "atoll": "hides errors: strtoll",
    "atof": "hides errors: strtod",
    "strtok": "has hidden state: strtok_r or strcspn",
    "alloca": "has no failure",
    "usleep": "blocks: a timer", "sleep": "blocks: a timer", "nanosleep": "blocks: a timer",
    "system": "runs a shell", "popen": "runs a shell",
    "tmpnam": "races", "tempnam": "races", "mktemp": "races", "mkstemp": "leaks the fd: mkostemp with O_CLOEXEC",
    "signal": "is not portable in what it does: sigaction, or the loop",
    "select": "has a limit of 1,024 fds: the loop, or poll",
    "accept": "makes an fd that leaks and blocks: accept4",
    "pipe": "makes fds that leak and block: pipe2",
    "dup": "leaks the fd: fcntl with F_DUPFD_CLOEXEC", "dup2": "leaks the fd: dup3 with O_CLOEXEC",
    "creat": "leaks the fd: open with O_CLOEXEC",
    "epoll_create": "leaks the fd: epoll_create1", "inotify_init": "leaks the fd: inotify_init1",
    "gethostbyname": "blocks: the resolver",
}  # fmt: skip

# Calls that make an fd: the flags that must stand among their arguments.
FLAGS = {
    "open": ["O_CLOEXEC"],
    "openat": ["O_CLOEXEC"],
    "mkostemp": ["O_CLOEXEC"],
    "dup3": ["O_CLOEXEC"],
    "memfd_create": ["MFD_CLOEXEC"],
    "epoll_create1": ["EPOLL_CLOEXEC"],
    "socket": ["SOCK_CLOEXEC", "SOCK_NONBLOCK"],
    "socketpair": ["SOCK_CLOEXEC", "SOCK_NONBLOCK"],
    "accept4": ["SOCK_CLOEXEC", "SOCK_NONBLOCK"],
    "pipe2": ["O_CLOEXEC", "O_NONBLOCK"],
    "eventfd": ["EFD_CLOEXEC", "EFD_NONBLOCK"],
    "signalfd": ["SFD_CLOEXEC", "SFD_NONBLOCK"],
    "timerfd_create": ["TFD_CLOEXEC", "TFD_NONBLOCK"],
    "inotify_init1": ["IN_CLOEXEC", "IN_NONBLOCK"],
}

# Words of daemon/ that only some files may use: pattern of the word, those files, why.
RESERVED = [
    (r"\b(?:exit|_exit|_Exit|quick_exit)\s*\(", ["app/main.c"], "only main.c may exit"),
    (
        r"\b(?:printf|puts|putchar|perror|syslog|vsyslog|sd_journal_\w+)\s*\(|\b(?:stdout|stderr)\b",
        ["app/*", "base/log.c"],
        "only app/ prints and logs",
    ),
    (
        r"\b(?:clock_gettime|gettimeofday|time)\s*\(",
        ["base/clock.c"],
        "time is an argument; base/clock.c asks the clock",
    ),
    (
        r"\bclock_(?:monotonic|realtime)\s*\(",
        ["base/clock.*", "base/log.c", "loop/*", "app/*"],
        "time is an argument; loop/ and app/ ask the clock",
    ),
    (r"\b(?:rand|random|srand|drand48)\s*\(", [], "randomness is an argument; loop_random() or getrandom()"),
    (r"\btypedef\s+(?:struct|union|enum)\b", [], "struct x is never a typedef"),
]

# Marks and places, in pieces so that this file is clean.
UNFINISHED = re.compile(r"\b(?:" + "|".join(["TO" "DO", "FIX" "ME", "XX" "X", "HA" "CK"]) + r")\b")
PLACES = re.compile(
    "|".join(
        [
            r"(?<![\w.$}])/wo" r"rk/",
            r"/tmp/" r"wt\b",
            r"(?<![\w$}])/ro" r"ot/",
            r"(?<![\w$}])/home/\w",
            r"\bpy" r"env\b",
            r"\bnpm" r"js\.",
            r"\byarn" r"pkg\.",
            r"\b(?:deb|security|archive|ports|snapshot)\.(?:deb" r"ian|ubu" r"ntu)\.",
            r"\bpy" r"pi\.",
            r"\bpython" r"hosted\.",
            r"\bcrates" r"\.io\b",
            r"\bproxy\.go" r"lang\.",
            r'"resol' r'ved"\s*:\s*"http',
        ]
    )
)

TEXT = {".c", ".h", ".py", ".sh", ".sql", ".mjs", ".js", ".md", ".json", ".build", ".txt", ".control", ".service", ".conf", ""}
CODE = {".c", ".h", ".py", ".sh", ".sql", ".mjs", ".js"}
# Fixtures may hold anything; npm writes its own lock file.
FIXTURES = ["tests/data/*", "tests/fuzz/corpus/*"]

CALL = re.compile(r"(?<![\w.>])([A-Za-z_]\w*)\s*\(")
# A function as the formatter leaves it: its braces stand in the first column.
FUNCTION = re.compile(r"^\{\n(.*?)^\}$", re.MULTILINE | re.DOTALL)


def arguments(text, start):
    """The text from the parenthesis at @start to the one that closes it."""
    depth = 0
    for i in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[i], 0)
        if depth == 0:
            return i + 1
    return len(text)


def check_calls(report, path, text, masked):
    for call in CALL.finditer(masked):
        name, line = call[1], tree.line_of(masked, call.start())
        end = arguments(masked, call.end() - 1)
        given = text[call.end() : end]
        # What signal() does is only in doubt where it sets a handler.
        if name in CALLS and not (name == "signal" and re.search(r"\bSIG_(IGN|DFL)\b", given)):
            report.add(path, line, f"{name}() {CALLS[name]}")
        for flag in FLAGS.get(name, []):
            if not re.search(rf"\b{flag}\b", given):
                report.add(path, line, f"{name}() without {flag}")
        if name == "fopen" and not re.search(r'"[rwa][^"]*e[^"]*"\s*\)$', given):
            report.add(path, line, 'fopen() without "e" (close on exec) in its mode')


def check_reserved(report, path, masked):
    inside = "/".join(path.parts[1:])
    for pattern, owners, why in RESERVED:
        if any(fnmatch(inside, o) for o in owners):
            continue
        for found in re.finditer(pattern, masked):
            report.add(path, tree.line_of(masked, found.start()), f"{found[0].strip()}: {why}")


def check_functions(report, path, text):
    if path.suffix == ".py":
        try:
            parsed = ast.parse(text)
        except SyntaxError as e:
            report.add(path, e.lineno or 1, f"no Python: {e.msg}")
            return
        spans = [
            (n.lineno, n.end_lineno)
            for n in ast.walk(parsed)
            if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))
        ]
    else:
        found = [(f.start(), f.end()) for f in FUNCTION.finditer(text)]
        spans = [(tree.line_of(text, a), tree.line_of(text, b)) for a, b in found]
    for first, last in spans:
        if last - first + 1 > FUNCTION_LINES:
            report.add(path, first, f"a function of {last - first + 1} lines holds two ideas: split it")


def check_letters(report, path, number, line):
    for c in line:
        kind = unicodedata.category(c)
        if kind in ("Cf", "Co", "Cn") or (kind == "Cc" and c not in "\t\f"):
            report.add(path, number, f"invisible character U+{ord(c):04X}")
        elif kind[0] == "L" and ord(c) > 127 and c != "µ" and path.parts[0] == "daemon":
            report.add(path, number, f"letter U+{ord(c):04X}: code is written in English")


def check_lines(report, path, text):
    if text and not text.endswith("\n"):
        report.add(path, text.count("\n") + 1, "no newline at the end of the file")
    for number, line in enumerate(text.split("\n"), 1):
        if UNFINISHED.search(line):
            report.add(path, number, "mark of unfinished work")
        if PLACES.search(line):
            report.add(path, number, "path of somebody's machine or host of a registry")
        if line != line.rstrip() and path.suffix in CODE:
            report.add(path, number, "white space at the end of the line")
        check_letters(report, path, number, line)


def check(report, root, path):
    try:
        text = (root / path).read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        report.add(path, 1, "no UTF-8")
        return
    check_lines(report, path, text)
    if path.suffix in CODE and text.count("\n") > FILE_LINES:
        report.add(path, 1, f"a file of {text.count(chr(10))} lines holds two ideas: split it")
    if path.suffix in (".c", ".h", ".py"):
        check_functions(report, path, text)
    if path.parts[0] == "daemon" and path.suffix in (".c", ".h"):
        masked = tree.without_strings(text)
        check_calls(report, path, tree.without_comments(text), masked)
        check_reserved(report, path, masked)


def main():
    root = tree.root_of(sys.argv)
    report = tree.Report()
    for path in tree.files(root):
        if path.suffix in TEXT and not any(fnmatch(str(path), f) for f in FIXTURES):
            check(report, root, path)
    report.exit()


main()

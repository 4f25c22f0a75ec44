#!/usr/bin/env python3
"""Shows that each lint rule fails on what it forbids, and is silent on what it does not.

Each case is a small tree and the finding that must, or must not, be printed for it.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
LONG_FUNCTION = "void f(void)\n{\n" + "\tg();\n" * 90 + "}\n"
FITTING_FUNCTION = "void f(void)\n{\n" + "\tg();\n" * 70 + "}\n"
LONG_PYTHON = "def f():\n" + "    g()\n" * 90
MARK = "TO" + "DO"

# program, file, its text, finding ("" : none)
CASES = [
    ("layers.py", "daemon/base/a.c", '#include "base/b.h"\n#include <stdio.h>\n#include <sys/socket.h>\n', ""),
    ("layers.py", "daemon/base/a.c", '#include "model/b.h"\n', "a.c:1: base/ must not include model/"),
    ("layers.py", "daemon/model/a.h", '\n#include "loop/loop.h"\n', "a.h:2: model/ must not include loop/"),
    ("layers.py", "daemon/source/a.c", '#include "sink/sink.h"\n', "source/ must not include sink/"),
    ("layers.py", "daemon/sink/a.c", '#  include "source/source.h"\n', "sink/ must not include source/"),
    ("layers.py", "daemon/loop/a.c", '#include "model/change.h"\n', "loop/ must not include model/"),
    ("layers.py", "daemon/app/a.c", '#include "sink/sink.h"\n#include "source/source.h"\n#include "base/log.h"\n', ""),
    ("layers.py", "daemon/sink/a.c", '#include "base/log.h"\n', "only app/ logs"),
    ("layers.py", "daemon/sink/a.c", '/* #include "app/relay.h" */\n// #include <curl/curl.h>\n', ""),
    ("layers.py", "daemon/sink/a.c", '#include "lane.h"\n', 'not written as "layer/file.h"'),
    ("layers.py", "daemon/sink/a.c", "#include <curl/curl.h>\n", "<curl/curl.h> belongs to loop/*.c"),
    ("layers.py", "daemon/loop/http.c", "#include <curl/curl.h>\n#include <event2/event.h>\n", ""),
    ("layers.py", "daemon/loop/http.h", "#include <curl/curl.h>\n", "<curl/curl.h> belongs to loop/*.c"),
    ("layers.py", "daemon/app/admin.c", "#include <event2/http.h>\n", "<event2/http.h> belongs to loop/*.c"),
    ("layers.py", "daemon/source/journal.c", "#include <libpq-fe.h>\n", "<libpq-fe.h> belongs to source/pgconn.c"),
    ("layers.py", "daemon/source/pgconn.c", "#include <libpq-fe.h>\n", ""),
    ("layers.py", "daemon/app/a.c", "#include <sqlite3.h>\n", "<sqlite3.h> belongs to store/*.c"),
    ("layers.py", "daemon/model/payload.c", "#include <yajl/yajl_parse.h>\n", "belongs to model/json.c"),
    ("layers.py", "daemon/app/relay.c", "#include <systemd/sd-daemon.h>\n", "belongs to app/service.c"),
    ("layers.py", "daemon/sink/sink.c", "#include <openssl/hmac.h>\n", "belongs to sink/signature.c and loop/tls.c"),
    ("layers.py", "daemon/app/a.c", "#include <glib.h>\n", "foreign library without an owner"),
    ("layers.py", "daemon/util/a.c", "\n", "lies in no layer"),
    ("layers.py", "daemon/a.c", "\n", "lies in no layer"),
    ("banned.py", "daemon/base/a.c", "void f(void)\n{\n\tstrcpy(a, b);\n}\n", "a.c:3: strcpy()"),
    ("banned.py", "daemon/base/a.c", "\tx = strcat(a, b);\n", "strcat()"),
    ("banned.py", "daemon/base/a.c", '\tsprintf(a, "%d", b);\n', "sprintf()"),
    ("banned.py", "daemon/base/a.c", '\tsnprintf(a, sizeof(a), "%d", b);\n', ""),
    ("banned.py", "daemon/base/a.c", "\tn = atoi(a);\n", "atoi()"),
    ("banned.py", "daemon/base/a.c", '\tp = strtok(a, " ");\n', "strtok()"),
    ("banned.py", "daemon/base/a.c", '\tp = strtok_r(a, " ", &q);\n', ""),
    ("banned.py", "daemon/base/a.c", "\tusleep(1);\n", "usleep()"),
    ("banned.py", "daemon/base/a.c", "/* strcpy(a, b) */\n\tf(\"atoi(x)\");\n\tops->accept(s);\n", ""),
    ("banned.py", "daemon/base/a.c", "\tfd = open(path, O_RDONLY);\n", "open() without O_CLOEXEC"),
    ("banned.py", "daemon/base/a.c", "\tfd = open(path,\n\t\t  O_RDONLY | O_CLOEXEC);\n", ""),
    ("banned.py", "daemon/base/a.c", "\ts = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);\n", "without SOCK_NONBLOCK"),
    ("banned.py", "daemon/base/a.c", "\ts = socket(f(a), SOCK_STREAM | SOCK_NONBLOCK, 0); /* SOCK_CLOEXEC */\n", "without SOCK_CLOEXEC"),
    ("banned.py", "daemon/base/a.c", "\ts = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);\n", ""),
    ("banned.py", "daemon/base/a.c", "\ts = accept(l, NULL, NULL);\n", "accept()"),
    ("banned.py", "daemon/base/a.c", "\ts = accept4(l, NULL, NULL, SOCK_CLOEXEC);\n", "accept4() without SOCK_NONBLOCK"),
    ("banned.py", "daemon/base/a.c", "\tr = pipe2(fds, O_CLOEXEC);\n", "pipe2() without O_NONBLOCK"),
    ("banned.py", "daemon/base/a.c", "\tfd = eventfd(0, 0);\n", "eventfd() without EFD_CLOEXEC"),
    ("banned.py", "daemon/base/a.c", '\tf = fopen(path, "r");\n', 'fopen() without "e"'),
    ("banned.py", "daemon/base/a.c", '\tf = fopen(path, "re");\n', ""),
    ("banned.py", "daemon/base/a.c", "\tsignal(SIGHUP, f);\n", "signal()"),
    ("banned.py", "daemon/base/a.c", "\tsignal(SIGPIPE, SIG_IGN);\n", ""),
    ("banned.py", "daemon/base/a.c", "\texit(1);\n", "only main.c may exit"),
    ("banned.py", "daemon/app/main.c", "\texit(1);\n", ""),
    ("banned.py", "daemon/sink/a.c", '\tfprintf(stderr, "x");\n', "only app/ prints and logs"),
    ("banned.py", "daemon/app/a.c", '\tfprintf(stderr, "x");\n', ""),
    ("banned.py", "daemon/model/a.c", "\tt = time(NULL);\n", "time is an argument"),
    ("banned.py", "daemon/sink/a.c", "\tt = clock_realtime();\n", "time is an argument"),
    ("banned.py", "daemon/loop/a.c", "\tt = clock_realtime();\n", ""),
    ("banned.py", "daemon/base/a.c", "\tr = rand();\n", "randomness is an argument"),
    ("banned.py", "daemon/base/a.h", "typedef struct x x_t;\n", "never a typedef"),
    ("banned.py", "daemon/base/a.c", LONG_FUNCTION, "a.c:2: a function of 92 lines"),
    ("banned.py", "daemon/base/a.c", FITTING_FUNCTION, ""),
    ("banned.py", "tests/a.py", LONG_PYTHON, "a.py:1: a function of 91 lines"),
    ("banned.py", "daemon/base/a.c", "\tg();\n" * 801, "a.c:1: a file of 801 lines"),
    ("banned.py", "daemon/base/a.c", "\tg();\n" * 800, ""),
    ("banned.py", "README.md", f"{MARK}: write it\n", "README.md:1: mark of unfinished work"),
    ("banned.py", "tests/a.sh", "d=$(mktemp -d /var/tmp/a.XXXXXX)\n", ""),
    ("banned.py", "tests/a.sh", "cd /wo" + "rk/main\n", "path of somebody's machine"),
    ("banned.py", "tests/a.sh", "cd $BASE/wo" + "rk/main\n", ""),
    ("banned.py", "tests/a.json", '{"resol' + 'ved": "https://a.b/c"}\n', "host of a registry"),
    ("banned.py", "docker/Dockerfile", "RUN curl deb.deb" + "ian.org\n", "host of a registry"),
    ("banned.py", "tests/a.sh", "echo \n", "white space at the end"),
    ("banned.py", "tests/a.sh", "echo", "no newline at the end"),
    ("banned.py", "daemon/base/a.c", "/* gr\u00f6\u00dfe */\n", "U+00F6: code is written in English"),
    ("banned.py", "daemon/base/a.c", "/* 5 \u00b5s \u2264 6 */\n", ""),
    ("banned.py", "README.md", "a\u202eb\n", "invisible character U+202E"),
    ("banned.py", "daemon/base/a.c", b"/* \xff */\n", "no UTF-8"),
    ("banned.py", "tests/data/bad.json", b"\xff", ""),
    ("banned.py", "build-gcc/a.c", "\tstrcpy(a, b);", ""),
    ("banned.py", "tests/node/node_modules/a.js", f"// {MARK}", ""),
]  # fmt: skip


def run(program, name, text):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return subprocess.run(
            [sys.executable, HERE / program, folder], capture_output=True, text=True, check=False
        )


def main():
    wrong = 0
    for program, name, text, finding in CASES:
        done = run(program, name, text)
        good = done.returncode == (1 if finding else 0) and not done.stderr
        if finding not in done.stdout or (not finding and done.stdout) or not good:
            wrong += 1
            print(f"{program} on {name} {text[:60]!r}: expected {finding!r}, got {done.stdout!r} {done.stderr}")
    print(f"{len(CASES) - wrong} passed, {wrong} failed")
    sys.exit(1 if wrong else 0)


main()

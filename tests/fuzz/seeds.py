"""What a fuzzer begins with besides its corpus: the cases of tests/data, every option of the configuration's table, and the words
that the daemon compares with. Made anew each time, so that what is added there is fuzzed without further ado.
"""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"


def decoded(text):
    """The bytes of a line of tests/data: %HH is a byte."""
    return re.sub(rb"%([0-9A-Fa-f]{2})", lambda m: bytes([int(m[1], 16)]), text.encode())


# --- JSON ---------------------------------------------------------------------------------------------


def json_documents():
    documents = []
    open_document = False
    for line in (DATA / "json" / "documents.txt").read_text().split("\n"):
        if not line.startswith(">"):
            open_document = False
            continue
        if not open_document:
            documents.append([])
        documents[-1].append(decoded(line[2:]))
        open_document = True
    return [b"\n".join(d) for d in documents]


# --- configurations -----------------------------------------------------------------------------------

EXTREMES = ["0", "1us", "999d", "18446744073709551615us", "18446744073709551616B", "1TiB", "15s", "never", "", "*", "/x", "/", "a:1", "[::1]:514"]


LONGEST_WORD = 60  # libFuzzer's limit is 64 bytes


def schema(build):
    return json.loads((build / "conf" / "schemarelay.schema.json").read_text())


def properties(node, path=()):
    """Each option below @node: its path and its schema."""
    for name, inner in node.get("properties", {}).items():
        if inner.get("type") == "object" and "properties" in inner:
            yield from properties(inner, (*path, name))
        elif "type" in inner and name not in ("databases", "sinks"):
            yield (*path, name), inner


def values(option):
    """What an option may be, and what it may not."""
    if "default" in option:
        yield option["default"]
    if "enum" in option:
        yield from option["enum"]
    elif option["type"] == "string":
        yield from EXTREMES
    elif option["type"] == "integer":
        yield from (option["minimum"], option["maximum"], option["maximum"] + 1, 0)
    elif option["type"] == "array":
        yield from (["*"], ["a", "a"], ["new.secret"], [1])
    elif option["type"] == "object":
        yield from ({"X-Name": "value"}, {"Host": "x"})
    yield from (None, True, 1, "x", [], {})


def nested(path, value):
    for name in reversed(path):
        value = {name: value}
    return value


def merged(base, more):
    both = dict(base)
    for key, value in more.items():
        both[key] = merged(both[key], value) if isinstance(both.get(key), dict) and isinstance(value, dict) else value
    return both


SINKS = {
    "webhook": {"type": "webhook", "url": "https://ui.example.com/x"},
    "unix": {"type": "unix", "path": "/run/x.sock"},
    "syslog": {"type": "syslog"},
    "journald": {"type": "journald"},
}


def bases(options):
    """Nothing; all defaults; all options set to something else, so that what ties them together is in force."""
    usual, unusual = {}, {}
    for path, option in options:
        if "default" in option:
            usual = merged(usual, nested(path, option["default"]))
        unusual = merged(unusual, nested(path, other_value(option)))
    return {}, usual, unusual


def other_value(option):
    if "enum" in option:
        return option["enum"][-1]
    if option["type"] == "string":
        return "1s" if "|ms|" in option.get("pattern", "") else "/x"
    return {"boolean": True, "integer": 2, "array": ["b"], "object": {"X-Name": "value"}}[option["type"]]


def option_configurations(build):
    """Each option with each of its values: alone, and among all others."""
    whole = schema(build)
    database = list(properties(whole["properties"]["databases"]["additionalProperties"]))
    kinds = [k["then"] for k in whole["properties"]["sinks"]["additionalProperties"]["allOf"]]
    for path, option in properties(whole):
        for value in values(option):
            yield nested(path, value)
    for path, option in database:
        for value in values(option):
            for base in bases(database):
                yield {"databases": {"a": merged({"dsn": "dbname=a", **base}, nested(path, value))}}
    for (kind, required), then in zip(SINKS.items(), kinds, strict=True):
        rows = list(properties(then))
        for path, option in rows:
            for value in values(option):
                for base in bases(rows):
                    yield {"sinks": {kind: merged({**base, **required}, nested(path, value))}}


def option_texts(build):
    """Each option as it stands among others: what a mutation inserts."""
    for made in option_configurations(build):
        sections = [*made.get("databases", {}).values(), *made.get("sinks", {}).values()]
        for inner in sections or [made]:
            if len(inner) <= 3:
                yield from (json.dumps({k: v}, separators=(",", ":"))[1:-1] + "," for k, v in inner.items())


def files_of_folder(folder):
    """Each configuration of @folder with the files that it includes, as fuzz_config.c reads them."""
    for path in sorted(folder.glob("*.json")):
        text = path.read_bytes()
        for other in sorted(folder.glob("*.d/*.json")):
            if other.parent.name.encode() in text:
                text += f"\n@@ {other.parent.name}/{other.name}\n".encode() + other.read_bytes()
        yield text


def configurations(build):
    yield from files_of_folder(DATA / "config" / "good")
    yield from files_of_folder(DATA / "config" / "bad")
    yield from files_of_folder(ROOT / "conf")
    for made in option_configurations(build):
        yield json.dumps(made).encode()


def option_words(build):
    whole = schema(build)
    words = set(EXTREMES) | {"databases", "sinks", "x.json", "conf.d/", "\n@@ ", "us", "ms", "min", "KiB", "MiB", "GiB", "//", "/*", "*/"}
    words |= set(re.findall(r'"([^"]{2,40})"', json.dumps(whole)))
    return words | {t for t in option_texts(build) if len(t) <= LONGEST_WORD}


# --- payloads ---------------------------------------------------------------------------------------


def payloads():
    for name in ("journal.txt", "notification.txt"):
        for line in (DATA / "payload" / name).read_text().split("\n"):
            kind, _, payload = line.partition(" ")
            if kind in ("journal", "doorbell", "channel"):
                yield decoded(payload)


def payload_words():
    source = (ROOT / "daemon" / "model" / "payload.c").read_text()
    return set(re.findall(r'"(\w+)"', source)) | {"resync", "null", "true", "false", "\\u0000", "\\ud800", "\\udc00", "\u2028", "\u0085"}


# --- all of them ---------------------------------------------------------------------------------------


def texts():
    """What the unit tests of small texts hold in quotes."""
    modules = ("config_text", "config_units", "http_retry_after", "timestamp", "base64", "signature", "text", "journal")
    for module in modules:
        source = (ROOT / "tests" / "unit" / f"test_{module}.c").read_text()
        for literal in re.findall(r'"((?:\\.|[^"\\\n])*)"', source):
            yield literal.encode().decode("unicode_escape").encode("latin-1", "replace")


HELLOS = [
    b'{"after": "1762519000000001"}\n',
    b'{"after": "18446744073709551615"}\n{"after": "1"}\n',
    b'{"after": "18446744073709551616"}\n',
    b'{"after": 1}\n',
    b'{"after": ""}\n',
    b'{}\n',
    b'[]\n',
    b'{"other": {"after": "1"}, "after": "\\u0031"}\r\n',
    b'{"after": "1", "after": "2"}\n',
    b"\n{}\n",
    b'{"x": "' + b"x" * 1015 + b'"}\n',
    b'{"x": "' + b"x" * 1016 + b'"}\n',
]


def responses():
    statuses = ("100", "101", "199", "200", "204", "301", "304", "400", "410", "429", "503", "600", "999")
    headers = (
        "", "Retry-After: 120\r\n", "Retry-After: Sun, 06 Nov 2094 08:49:37 GMT\r\n", "X-Name: value\r\n",
        "Content-Length: 2\r\n", "Content-Length: x\r\n", "Transfer-Encoding: chunked\r\n", "Connection: keep-alive\r\n",
        "Retry-After: 1\r\nretry-after:\t2 \r\n", "Retry-After: 1\r\n 2\r\n", "X-Long: " + "x" * 5000 + "\r\n",
    )  # fmt: skip
    bodies = ("", "no", "2\r\nno\r\n0\r\nRetry-After: 9\r\n\r\n", "x" * 17000)
    for status in statuses:
        for header in headers:
            yield f"HTTP/1.1 {status} \r\n{header}\r\n".encode()
            yield f"HTTP/1.1 100 \r\nRetry-After: 7\r\n\r\nHTTP/1.1 {status} \r\n{header}\r\nno".encode()
    for header in headers:
        for body in bodies:
            yield f"HTTP/1.1 503 Service Unavailable\r\n{header}\r\n{body}".encode()
    yield from (b"", b"\n", b"HTTP/1.0 200\n\n", b"HTTP/2 200 \r\n\r\n", b"HTTP/0.9", b"220 smtp\r\n", b"\x16\x03\x01\x02", b"ICY 200 OK\r\n\r\n")


def seeds(name, build):
    made = {
        "json": json_documents,
        "config": lambda: configurations(build),
        "payload": payloads,
        "text": texts,
        "response": responses,
        "hello": lambda: HELLOS,
        "log": texts,
    }
    return list(made.get(name, list)())


WORDS = {
    "admin": [
        "GET ", "HEAD ", "POST ", " HTTP/1.1\r\nHost: a\r\n", " HTTP/1.0\r\n", "\r\n\r\n", "Content-Length: ", "Content-Type: application/json\r\n",
        "Connection: keep-alive\r\n", "Connection: close\r\n", "Expect: 100-continue\r\n", "Transfer-Encoding: chunked\r\n", "/healthz", "/readyz", "/metrics",
        "/api/v1/", "status", "changes", "dead-letters", "replay", "reload", "databases/alpha/", "sinks/hook/", "pause", "resume", "reconnect",
        "enable", "retry", "drop", "database", "sink", "after", "until", "since", "before", "limit", "last", "numbers", "all", "true",
        "2025-11-07T12:34:56Z", "18446744073709551615", "%41", "?", "&", "=",
    ],
    "json": ["true", "false", "null", "\\u", "\\ud83d", "\\ude00", "//", "/*", "*/", "1e-3", "\xef\xbb\xbf"],
    "hello": ["after", '{"after": "', '"}\n', "18446744073709551615", "\\u0031"],
    "log": ["\x1b[31m", "\n", "\\", '"', "\u2028", "\x80"],
    "response": [
        "HTTP/1.1 ", "HTTP/1.0 ", "HTTP/2 ", "HTTP/0.9", "200", "204", "429", "503", "100 Continue", "101", "\r\n", "\r\n\r\n", "\n\n",
        "Retry-After: ", "Content-Length: ", "Transfer-Encoding: chunked", "Connection: close", "Trailer: ", "0\r\n\r\n",
        "Sun, 06 Nov 1994 08:49:37 GMT", "Location: ",
    ],
    "text": [
        "Mon", "Sunday", "Nov", " GMT", "us", "ms", "min", "KiB", "GiB", "whsec_", "http://", "https://", "-----BEGIN ",
        "PRIVATE KEY-----", "CERTIFICATE-----", "[::1]", "T", "Z", "+05:30", "2025-11-07", "12:34:56.789", "100:105:102,103",
    ],
}  # fmt: skip


def words(name, build):
    if name == "config":
        return option_words(build)
    if name == "payload":
        return payload_words()
    return set(WORDS.get(name, []))


def dictionary(name, build):
    """The same as libFuzzer reads them."""
    lines = []
    for word in sorted(words(name, build)):
        escaped = "".join(f"\\x{b:02x}" if b < 32 or b > 126 or b in b'"\\' else chr(b) for b in word.encode())
        if escaped:
            lines.append(f'"{escaped}"\n')
    return "".join(lines)

#!/usr/bin/env python3
"""The JSON Schema of the configuration accepts what the daemon accepts, and refuses what it refuses, as far as a schema can.

Good: the shipped configuration, as it is and with all that is commented out in it, the examples, and tests/data/config/good. Bad:
tests/data/config/bad; each fault that the daemon finds there (.err) must be one that the schema finds at the same place, or one of
those that no schema can know: BEYOND, which names them by the daemon's message.

Usage: schema.py SCHEMA
"""

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2].resolve()
DATA = ROOT / "tests/data/config"
sys.path.insert(0, str(ROOT / "tests/integration"))

try:
    import jsonschema
except ImportError:
    print("python3-jsonschema is missing")
    sys.exit(77)

import options  # noqa: E402
from harness import jsonc  # noqa: E402

BEYOND = [
    # JSON itself, and what stands in other files or names them.
    r"the document ends", r"stands here already, at", r"^and \d+ more$", r": an included file holds", r"^include: ",
    r": (?:/\S*|the credential in \$CREDENTIALS_DIRECTORY): ", r"this is a secret, where the path",
    # Between two options, or two objects.
    r"is more than max", r"this name is taken already", r"makes its socket there", r"the admin socket is there", r"is for mode ", r"is for https", r"is for transport",
    r"needs client_(?:key|certificate)_file", r"there can be only one of", r"is required for this transport", r"a batch is a list",
    r"debounce sends together", r"from (?:bearer_token|basic_auth)_file",
    # Texts that are languages of their own, and sums.
    r"several hosts", r"expected a duration from .*found \"(?:0|\d+(?:us|ms|s|min|h|d))\"$", r"expected a size from .*found \"[^\"]*B\"$",
    r"in the brackets|the bracket of|stands in brackets|behind the (?:colon|host)|a host's name or address|the host is missing",
    r"into a URL|has no fragment|a URL holds no", r"headers: .*(?:the relay sets|header's name|a header's value|stands here already)",
    r"address: ", r"a whole number .*found \d+e\d", r"with control characters|has no control characters",
]  # fmt: skip

findings = 0


def report(message):
    global findings
    findings += 1
    print(message)


def load(path):
    # Of a key that stands twice, the first value is looked at.
    return jsonc.loads(path.read_text(encoding="utf-8"), object_pairs_hook=lambda pairs: dict(reversed(pairs)))


def places(validator, document):
    """Where the schema finds faults, as the daemon writes a place: a list stands for its items, an unknown key for itself."""
    found = set()

    for error in validator.iter_errors(document):
        at = ".".join(p for p in error.absolute_path if isinstance(p, str))
        found.add(at)
        names = []
        if "propertyNames" in error.absolute_schema_path:
            names = [error.instance]
        elif error.validator in ("additionalProperties", "required"):
            # They stand in the message only.
            names = re.findall(r"'((?:\\'|[^'])*)'", error.message)
        found.update(f"{at}.{name}" if at else name for name in names)
    return found


def is_found(place, message, found):
    if message.startswith("expected an object: {"):
        return "" in found
    # Where the type of a sink is wrong, nothing else is known of it.
    sink = re.match(r"sinks\.[^.]+", place)
    if sink and f"{sink[0]}.type" in found:
        return True
    if place.endswith(".headers"):
        return any(f.startswith(place) for f in found)
    # Strange names are escaped there, and long ones cut.
    begin = place.partition("\\")[0]
    return place in found or any(f.startswith(begin) for f in found if begin != place or len(place) > 80)


def check_good(validator, name, document):
    for error in validator.iter_errors(document):
        report(f"{name}: the schema refuses {'.'.join(map(str, error.absolute_path))}: {error.message}")


def check_bad(validator, path):
    """@path: the .err file."""
    documents = {}
    n_found = 0
    for line in path.read_text(encoding="utf-8").splitlines():
        name, place, message = re.match(r"([^:]+)(?::\d+:\d+)?: (?:(?!expected |the doc)([^:]*): )?(.*)", line).groups(default="")
        if any(re.search(b, f"{place}: {message}" if place else message) for b in BEYOND):
            continue
        if name not in documents:
            try:
                documents[name] = places(validator, load(path.parent / name))
            except ValueError:
                documents[name] = None
        # What is no JSON has no schema.
        if documents[name] is None:
            continue
        if is_found(place, message, documents[name]):
            n_found += 1
        else:
            report(f"{line}\n    is no fault to the schema; if no schema can know it, BEYOND in {Path(__file__).name} must name it")
    return n_found


def main():
    with open(sys.argv[1], encoding="utf-8") as f:
        schema = json.load(f)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    shipped = ROOT / "conf/schemarelay.json"
    check_good(validator, "conf/schemarelay.json", load(shipped))
    check_good(validator, "conf/schemarelay.json without comment marks", options.shipped(shipped))
    good = [p for folder in (DATA / "good", ROOT / "conf/examples") for p in folder.rglob("*.json")]
    for path in good:
        check_good(validator, path.relative_to(ROOT), load(path))
    bad = sorted((DATA / "bad").glob("*.err"))
    n_found = sum(check_bad(validator, path) for path in bad)
    assert len(good) > 5 and len(bad) > 15 and n_found > 80, "the files are not where they were"
    print(f"{len(good)} good files; {n_found} faults found in {len(bad)} bad ones")
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()

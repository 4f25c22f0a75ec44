#!/usr/bin/env python3
"""What the documents repeat from the code is what the code says, and the pages are sound.

- Manual pages: mandoc and groff have nothing to say; at 80 columns no line is longer. All commands and options of --help, message
  ids and states stand in schemarelay(8), all reasons of a resync and all statuses of a webhook's answer in schemarelay-formats(7).
- README.md has each condition, with the remedy that the log tells.
- Where a limit of base/limits.h is told, it is the present one: a comment with its name stands before the line of a page, or in the
  row of a table.
- Links in Markdown lead somewhere. The unit names all pages.

Usage: documents.py PRINT_FACTS SCHEMARELAY PAGE...
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import tree

ROOT = Path(__file__).parents[2].resolve()
COLUMNS = 80
# As man(1) does at that width.
RENDER = ["groff", "-man", "-Tutf8", "-rLL=78n", "-P-c", "-P-b", "-P-o", "-P-u"]
ENTRY = re.compile(r"^\.T[PQ]\n\.BR? (.*)\n", re.MULTILINE)

findings = 0


def report(message):
    global findings
    findings += 1
    print(message)


def output(*command, text=None):
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def compare(what, wanted, found):
    for name in sorted(set(wanted) - set(found)):
        report(f"{what}: {name} is missing")
    for name in sorted(set(found) - set(wanted)):
        report(f"{what}: {name} stands there, but there is no such thing")


# --- manual pages -----------------------------------------------------------------------------------


def check_page(path, text):
    for line in output("mandoc", "-T", "lint", "-W", "style", path).splitlines():
        # The options' sentences are not broken into lines.
        if "input text line longer than" not in line:
            report(line)
    for line in output("groff", "-man", "-ww", "-z", "-Tutf8", path).splitlines():
        report(line)
    for line in output(*RENDER, path).splitlines():
        if len(line) > COLUMNS:
            report(f"{os.path.basename(path)}: wider than {COLUMNS} columns: {line.strip()}")
    lines = text.splitlines()
    for above, line in zip(lines, lines[1:]):
        limit = re.match(r'\.\\" (LIMIT_\w+)$', above)
        if limit:
            check_limit(os.path.basename(path), limit[1], plain(line))


def plain(troff):
    return re.sub(r"\\f.", "", troff).replace(r"\-", "-").replace(r"\(dq", '"').replace(r"\&", "")


def listed(page, name):
    """The entries of the list that a comment `.\\" list: NAME` begins and `.\\" end` ends."""
    found = re.search(rf'^\.\\" list: {re.escape(name)}\n(.*?)^\.\\" end$', page, re.MULTILINE | re.DOTALL)
    return [plain(e) for e in ENTRY.findall(found[1])] if found else []


def options_of(help_text):
    return re.findall(r"(?<![\w-])--?[A-Za-z]\w*", re.split(r"\n\n", help_text.split("\nOptions:\n")[1])[0])


def check_command(page, facts, program):
    """A command is one word or two, in small letters; what stands behind it is its arguments."""
    help_text = output(program, "--help")
    commands = re.findall(r"^  ([a-z]+(?: [a-z]+)?) ", help_text.split("\nCommands:\n")[1].split("\n\n")[0], re.MULTILINE)
    sections = dict(re.findall(r"^\.SH ([^\n]*)\n(.*?)(?=^\.SH |\Z)", page, re.MULTILINE | re.DOTALL))
    told = [re.match(r"[a-z ]*[a-z]", plain(e))[0] for e in ENTRY.findall(sections["COMMANDS"])]
    compare("schemarelay(8), COMMANDS", commands, told)
    wanted = options_of(help_text)
    for command in commands:
        wanted += options_of(output(program, *command.split(), "--help"))
    compare("schemarelay(8), OPTIONS", wanted, re.findall(r"--?[A-Za-z]\w*", " ".join(map(plain, ENTRY.findall(sections["OPTIONS"])))))
    ids = re.findall(r'"([0-9a-f]{32})"', (ROOT / "daemon/app/message_id.h").read_text(encoding="ascii"))
    compare("schemarelay(8), Message IDs", ids, listed(page, "message ids"))
    for of in ("source", "sink"):
        told = re.search(rf'^\.\\" list: {of} states\n(.*?)^\.\\" end$', page, re.MULTILINE | re.DOTALL)
        compare(f"schemarelay(8), states of a {of}", facts[f"{of}_states"], re.findall(r"^\.B[R]? (\w+)", told[1], re.MULTILINE))


def check_verdicts(page, verdicts):
    """Each entry names statuses, and its first sentence what becomes of the delivery."""
    body = re.search(r'^\.\\" list: verdicts\n(.*?)^\.\\" end$', page, re.MULTILINE | re.DOTALL)[1]
    told = {}
    for names, verdict in re.findall(r"^\.TP\n\.B (.*)\n([\w ]+)", body, re.MULTILINE):
        for name in names.split(", "):
            first, _, last = name.partition(" to ")
            statuses = range(int(first), int(last or first) + 1) if first.isdigit() else [name]
            told.update({str(s): verdict.lower() for s in statuses})
    for status, verdict in verdicts.items():
        if told.get(status, told.get("other")) != verdict:
            report(f"schemarelay-formats(7), Answer: {status} is {verdict}")


# --- README and its like ----------------------------------------------------------------------------


def check_limit(where, name, text):
    values = dict(re.findall(r"^#define (LIMIT_\w+)\s+(\d+)u", (ROOT / "daemon/base/limits.h").read_text(encoding="ascii"), re.MULTILINE))
    if name not in values:
        report(f"{where}: there is no {name}")
        return
    value = int(values[name])
    forms = [f"{value:,}", str(value)]
    forms += [f"{value // size} {unit}" for unit, size in (("KiB", 1 << 10), ("MiB", 1 << 20)) if value % size == 0]
    if not any(re.search(rf"(?<![\d,]){form}(?!\d|,\d)", text) for form in forms):
        report(f"{where}: {name} is {forms[0]}, which is not said in {text.strip()!r}")


def rows(markdown):
    """The rows of all tables, each as its cells without code marks."""
    for line in markdown.splitlines():
        if line.startswith("| ") and not line.startswith("|--"):
            yield [cell.strip().replace("`", "") for cell in line.strip().strip("|").split(" | ")]


def check_conditions(readme, conditions):
    wanted = {name: remedy for name, remedy in conditions.items() if remedy}
    told = {row[0]: row[-1] for row in rows(readme) if row[0] in conditions}
    compare("README.md, conditions", wanted, told)
    for name in wanted.keys() & told.keys():
        if told[name] != wanted[name]:
            report(f"README.md, {name}: the log says {wanted[name]!r}, the table {told[name]!r}")


def anchors(markdown):
    for heading in re.findall(r"^#+ (.*)$", markdown, re.MULTILINE):
        yield re.sub(r"[^\w -]", "", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()).replace(" ", "-")


def check_markdown(path):
    text = (ROOT / path).read_text(encoding="utf-8")
    for line in text.splitlines():
        for name in re.findall(r"<!-- (LIMIT_\w+) -->", line):
            check_limit(path, name, re.sub(r"<!--.*?-->", "", line))
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if re.match(r"\w+:", target):
            continue
        name, _, anchor = target.partition("#")
        place = (ROOT / path).parent / name if name else ROOT / path
        if not place.exists():
            report(f"{path}: there is no {target}")
        elif anchor and anchor not in anchors(place.read_text(encoding="utf-8")):
            report(f"{path}: {name or path} has no heading for #{anchor}")


def check_unit(pages):
    unit = (ROOT / "systemd/schemarelay.service").read_text(encoding="ascii")
    told = [page for line in re.findall(r"^Documentation=(.*)$", unit, re.MULTILINE) for page in line.split()]
    wanted = [re.sub(r"(.*)\.(\d)$", r"man:\1(\2)", os.path.basename(p)) for p in pages]
    compare("schemarelay.service, Documentation=", wanted, [t for t in told if t.startswith("man:")])


def main():
    print_facts, program, *pages = sys.argv[1:]
    for tool in ("mandoc", "groff"):
        if not shutil.which(tool):
            print(f"{tool} is missing")
            sys.exit(77)
    facts = json.loads(output(print_facts))
    texts = {}
    for path in pages:
        texts[os.path.basename(path)] = text = Path(path).read_text(encoding="utf-8")
        check_page(path, text)
    check_command(texts["schemarelay.8"], facts, program)
    formats = texts["schemarelay-formats.7"]
    compare("schemarelay-formats(7), reasons", facts["reasons"], listed(formats, "reasons"))
    check_verdicts(formats, facts["verdicts"])
    check_conditions((ROOT / "README.md").read_text(encoding="utf-8"), facts["conditions"])
    for path in tree.files(ROOT):
        if path.suffix == ".md":
            check_markdown(path)
    check_unit(pages)
    sys.exit(1 if findings else 0)


main()

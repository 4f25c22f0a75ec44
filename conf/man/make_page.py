#!/usr/bin/env python3
"""make_page.py INPUT OUTPUT OPTIONS KEY=VALUE...: a manual page as it is installed.

@KEY@ becomes VALUE, as text of troff; the line @OPTIONS@ becomes what `print_reference man` has printed into the file OPTIONS. A
mark that nobody has a value for is an error."""

import re
import sys


def main():
    source, target, options, *pairs = sys.argv[1:]
    values = {}
    for pair in pairs:
        key, _, value = pair.partition("=")
        values[key] = value.replace("\\", "\\e").replace("-", "\\-")
    with open(options, encoding="utf-8") as f:
        values["OPTIONS"] = f.read().rstrip("\n")
    with open(source, encoding="utf-8") as f:
        text = f.read()
    try:
        text = re.sub(r"@([A-Z]+)@", lambda m: values[m[1]], text)
    except KeyError as e:
        sys.exit(f"{source}: there is no value for @{e.args[0]}@")
    with open(target, "w", encoding="utf-8") as f:
        f.write(text)


main()

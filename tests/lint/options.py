#!/usr/bin/env python3
"""Every option stands in the shipped configuration, with its default, and in the reference.

What is commented out in the shipped configuration is JSON like the rest: with the comment marks taken away it must parse, hold
every option of the tables and nothing else, and each value must be the option's default, unless it is an example (there is no
default, or it is empty). The options come from the JSON Schema that is made from the tables; the reference is
schemarelay.conf(5), whose entries are made from the same. Both are what `meson install` installs.

Usage: options.py SCHEMA PAGE CONFIGURATION
"""

import json
import re
import sys

# A comment mark in front of JSON: what follows it begins with a string or a bracket.
MARK = re.compile(r'^(\t*)// ?(?=\t*["{}\[\]])')
COMMENT = re.compile(r'("(?:\\.|[^"\\])*")|//[^\n]*')

findings = 0


def report(message):
    global findings
    findings += 1
    print(message)


def shipped(path):
    """The configuration with all its examples, as one object."""
    with open(path, encoding="utf-8") as f:
        lines = f.read().split("\n")
    first = lines.index("{")
    text = "\n".join(MARK.sub(r"\1", line) for line in lines[first:])
    text = COMMENT.sub(lambda m: m[1] or "", text)
    try:
        return json.loads(text, object_pairs_hook=distinct)
    except ValueError as e:
        sys.exit(f"{path}: without its comment marks it is no JSON: {e} (line {first} is line 0)")


def distinct(pairs):
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise ValueError(f"a key stands twice among {names}")
    return dict(pairs)


def leaves(schema, prefix=""):
    """The options of an object's schema: {dotted key: its schema}."""
    found = {}
    for key, value in schema["properties"].items():
        if "properties" in value:
            found.update(leaves(value, f"{prefix}{key}."))
        elif key not in ("databases", "sinks") or prefix:
            found[prefix + key] = value
    return found


def values(example, options, prefix=""):
    """What an example sets: {dotted key: value}."""
    found = {}
    for key, value in example.items():
        path = prefix + key
        if isinstance(value, dict) and path not in options:
            found.update(values(value, options, path + "."))
        else:
            found[path] = value
    return found


def compare(where, options, example):
    """The example holds exactly the options, with their defaults."""
    got = values(example, options)
    for key in sorted(got.keys() - options.keys()):
        report(f"{where}.{key}: the configuration names it, the tables do not")
    for key, schema in options.items():
        default = schema.get("default")
        if key not in got:
            report(f"{where}.{key}: missing in the shipped configuration")
        elif default not in (None, [], {}) and got[key] != default:
            report(f"{where}.{key}: the shipped configuration says {got[key]!r}, the default is {default!r}")


def compare_sinks(kinds, sinks):
    """Each kind has an example with its own options; those of all kinds stand in the first one."""
    common = set.intersection(*(set(options) for options in kinds.values())) - {"type"}
    first = next(iter(kinds))
    for kind, options in kinds.items():
        examples = [s for s in sinks.values() if s.get("type") == kind]
        if len(examples) != 1:
            report(f"sinks: {len(examples)} examples of type {kind}")
            continue
        wanted = {k: v for k, v in options.items() if kind == first or k not in common}
        compare(f"sinks.<{kind}>", wanted, examples[0])


def compare_reference(man, groups):
    """groups: (heading, its options)."""
    sections = dict(re.findall(r"^\.SS ([^\n]*)\n(.*?)(?=^\.S[SH] |\Z)", man, re.MULTILINE | re.DOTALL))
    for heading, options in groups:
        entries = re.findall(r"^\.TP\n\\fB([^\\]*)\\fR", sections.get(heading, ""), re.MULTILINE)
        for key in options:
            if key not in entries:
                report(f"{heading}: {key} is missing in the reference")


def main():
    schema_path, page_path, path = sys.argv[1:]
    with open(schema_path, encoding="utf-8") as f:
        schema = json.load(f)
    with open(page_path, encoding="utf-8") as f:
        man = f.read().replace("\\-", "-")
    properties = schema["properties"]
    databases = leaves(properties["databases"]["additionalProperties"])
    kinds = {}
    for one in properties["sinks"]["additionalProperties"]["allOf"]:
        kinds[one["if"]["properties"]["type"]["const"]] = leaves(one["then"])

    config = shipped(path)
    compare("databases", databases, next(iter(config.pop("databases").values())))
    compare_sinks(kinds, config.pop("sinks"))
    compare("main", leaves(schema), config)

    common = set.intersection(*(set(options) for options in kinds.values()))
    # A key of all kinds whose default differs has a row in each.
    differs = {k for k in common if len({str(o[k].get("default")) for o in kinds.values()}) > 1}
    groups = [("The main file", leaves(schema)), ("databases.<name>", databases)]
    groups += [("sinks.<name>, all types", common - differs)]
    groups += [(f"sinks.<name>, type {k}", (set(o) - common) | differs) for k, o in kinds.items()]
    assert len(databases) > 5 and all(len(o) > 10 for o in kinds.values()), "the schema is not understood"
    compare_reference(man, groups)
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()

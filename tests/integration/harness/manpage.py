"""Manual pages as tests read them: the examples between .EX and .EE, and the names in lists.

In the source, a comment before .EX names an example:

	.\\" example: doorbell
	.EX
	...
	.EE

A line of an example that ends with a backslash goes on in the next one, without that one's leading blanks. A comment before a
list of .TP names it, another one ends it:

	.\\" list: reasons
	.TP
	.B listen_gap
	...
	.\\" end
"""

import os
import re

from harness.relay import binary

ESCAPES = {r"\-": "-", r"\e": "\\", r"\(aq": "'", r"\(dq": '"', r"\(ga": "`", r"\(ha": "^", r"\(ti": "~", r"\&": "", r"\%": ""}
ESCAPE = re.compile(r"\\(?:\(..|f.|.)")
EXAMPLE = re.compile(r'^\.\\" example: ([^\n]*)\n\.EX\n(.*?)^\.EE$', re.MULTILINE | re.DOTALL)
LIST = re.compile(r'^\.\\" list: ([^\n]*)\n(.*?)^\.\\" end$', re.MULTILINE | re.DOTALL)
ENTRY = re.compile(r"^\.T[PQ]\n\.BR? (.*)\n", re.MULTILINE)
WIDTH = 66


def source(name):
    """The page as it was built beside the program under test."""
    build = os.path.dirname(os.path.dirname(binary()))
    with open(os.path.join(build, "conf", name), encoding="utf-8") as f:
        return f.read()


def text_of(troff):
    def plain(match):
        return "" if match[0].startswith(r"\f") else ESCAPES[match[0]]

    return ESCAPE.sub(plain, troff)


def unfolded(text):
    return re.sub(r"\\\n *", "", text)


def examples(page):
    """{name: text}, unfolded; without the last line feed."""
    found = EXAMPLE.findall(page)
    assert len({name for name, _ in found}) == len(found), "two examples have one name"
    return {name: unfolded(text_of(text)).removesuffix("\n") for name, text in found}


def lists(page):
    """{name: [entry, ...]}: an entry line may hold several names, separated by ", "."""
    return {
        name: [word for entry in ENTRY.findall(text) for word in text_of(entry).replace('"', "").split(", ")]
        for name, text in LIST.findall(page)
    }


def folded(text, width=WIDTH):
    """@text as it may stand in an example: for who must change one."""
    lines = []
    for line in text.split("\n"):
        indent = ""
        while len(indent + line) > width:
            room = width - 1 - len(indent)
            # Blanks at the beginning of a line would be lost.
            places = [i for i in range(1, room + 1) if line[i - 1] in " ," and line[i] != " "]
            # Behind a comma, if that leaves no more than half of the line empty.
            commas = [i for i in places if i > room // 2 and line[:i].rstrip()[-1:] == ","]
            cut = max(commas or places, default=room)
            lines.append(indent + line[:cut] + "\\")
            line, indent = line[cut:], "  "
        lines.append(indent + line)
    return "\n".join(lines)


def troff(text):
    escaped = text.replace("\\", r"\e").replace("-", r"\-").replace("'", r"\(aq")
    escaped = escaped.replace("`", r"\(ga").replace("^", r"\(ha").replace("~", r"\(ti")
    return re.sub(r"(?m)^([.'])", r"\\&\1", escaped)

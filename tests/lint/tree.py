"""What the lint programs share: the files of a tree, and C source without its comments."""

import os
import re
import sys
from pathlib import Path

NOT_OURS = {"node_modules", "__pycache__"}

# A comment, a string or a character constant: whichever begins first wins.
C_TOKEN = re.compile(
    r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL
)


def root_of(argv):
    """The tree to look at: the repository, or what a self-test hands over."""
    return Path(argv[1] if len(argv) > 1 else Path(__file__).parents[2]).resolve()


def files(root):
    """Every file that somebody wrote, as a sorted list of paths relative to @root."""
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = [
            d
            for d in folders
            if d not in NOT_OURS and not d.startswith("build") and (d == ".ci" or d[0] != ".")
        ]
        found += [Path(folder, n).relative_to(root) for n in names if n[0] != "." or n == ".npmrc"]
    return sorted(found)


def _blank(text):
    return re.sub(r"[^\n]", " ", text)


def without_comments(text):
    """@text with its comments blanked: lines and columns stay."""
    return C_TOKEN.sub(lambda m: _blank(m[0]) if m[0][0] == "/" else m[0], text)


def without_strings(text):
    """The same, and what stands inside quotes blanked too."""
    return C_TOKEN.sub(
        lambda m: _blank(m[0]) if m[0][0] == "/" else m[0][0] + _blank(m[0][1:-1]) + m[0][-1], text
    )


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1


class Report:
    """Findings, printed as file:line: message."""

    def __init__(self):
        self.n = 0

    def add(self, path, line, message):
        self.n += 1
        print(f"{path}:{line}: {message}")

    def exit(self):
        sys.exit(1 if self.n else 0)

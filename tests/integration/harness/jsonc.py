"""JSON with comments, as the daemon's configuration is."""

import json
import re

# A string, or a comment: whichever begins first wins.
_TOKEN = re.compile(r'("(?:\\.|[^"\\])*")|//[^\n]*|/\*.*?\*/', re.DOTALL)


def loads(text, **options):
    return json.loads(_TOKEN.sub(lambda m: m[1] or " ", text), **options)

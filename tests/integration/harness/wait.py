"""Waiting for what must come, and never a sleep for what may."""

import time

LIMIT = 30.0


def wait_until(condition, what, limit=LIMIT, interval=0.01):
    """Calls @condition until it answers something true, which is returned. @what tells what was waited for: a text, or a
    function that makes one."""
    deadline = time.monotonic() + limit
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {limit:g} s: {what() if callable(what) else what}")
        time.sleep(interval)

#!/usr/bin/env python3
"""listen.py [SOCKET [STATE]]: prints each schema change that arrives at the socket, one line each.

The sequence of the last change that was dealt with is kept in the file STATE (default: ~/.schema-changes), so that a restart goes on
where it was. When the relay cannot tell what was missed, it sends a resync: then everything must be looked at anew."""

import json
import os
import socket
import sys
import time


def load(path):
    try:
        with open(path, encoding="ascii") as f:
            return f.read().strip()
    except FileNotFoundError:
        return None


def save(path, sequence):
    """Whole or not at all, whenever the power fails."""
    with open(path + ".new", "w", encoding="ascii") as f:
        f.write(sequence + "\n")
        f.flush()
        os.fsync(f.fileno())
    os.replace(path + ".new", path)


def deal_with(event):
    """What this program is for. Names hold whatever somebody has chosen: ascii() keeps a terminal safe."""
    if event["type"] == "schemarelay.resync":
        print(f"{event['time']} {event['partitionkey']}: refresh everything ({event['data']['reason']})", flush=True)
    elif event["type"] == "schemarelay.schema_changed":
        print(f"{event['time']} {event['partitionkey']}: {event['data']['tag']} {ascii(event.get('subject'))}", flush=True)


def listen(path, state):
    """Until the connection ends."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
        s.connect(path)
        last = load(state)
        s.sendall(json.dumps({"after": last} if last else {}).encode() + b"\n")
        with s.makefile("rb") as lines:
            for line in lines:
                # The relay ended in the middle of it.
                if not line.endswith(b"\n"):
                    return
                event = json.loads(line)
                # Somebody tries whether the relay delivers; nothing has changed.
                if event["type"] == "schemarelay.test":
                    continue
                deal_with(event)
                # A change that somebody has sent again has its old sequence.
                if last is None or int(event["sequence"]) > int(last):
                    last = event["sequence"]
                    save(state, last)


def main():
    path = sys.argv[1] if len(sys.argv) > 1 else "/run/schemarelay/bus.sock"
    state = sys.argv[2] if len(sys.argv) > 2 else os.path.expanduser("~/.schema-changes")
    while True:
        try:
            listen(path, state)
        except (FileNotFoundError, ConnectionError) as e:
            print(f"{path}: {e.strerror}; again in a second", file=sys.stderr)
        time.sleep(1)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass

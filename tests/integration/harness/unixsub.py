"""A program that subscribes at a unix sink: reads lines of JSON."""

import json
import socket
import threading
import time

from harness.wait import wait_until


class Subscriber:
    """`on_event` is called with each event and time.time() of its arrival."""

    def __init__(self, path, hello=None, on_event=None):
        self.on_event = on_event
        self.events = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        wait_until(lambda: self._connect(path), f"a socket at {path}")
        if hello:
            self.socket.sendall(hello)
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _connect(self, path):
        try:
            self.socket.connect(path)
            return True
        except (FileNotFoundError, ConnectionRefusedError):
            return False

    def _read(self):
        try:
            with self.socket.makefile("rb") as lines:
                for line in lines:
                    at = time.time()
                    self.events.append(json.loads(line))
                    if self.on_event:
                        self.on_event(self.events[-1], at)
        except OSError:
            pass
        self.ended.set()

    def received(self):
        return list(self.events)

    def close(self):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.thread.join(5)
        self.socket.close()

"""Receivers that keep what they were sent, byte for byte: a socket for datagrams, and one for a stream."""

import contextlib
import os
import socket
import threading


class Datagrams:
    """A socket on which datagrams arrive: at @path, or at a UDP port of 127.0.0.1."""

    def __init__(self, path=None):
        self.messages = []
        if path:
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self.socket.bind(path)
            os.chmod(path, 0o666)
            self.address = path
        else:
            self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self.socket.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{self.socket.getsockname()[1]}"
        self.thread = threading.Thread(target=self._receive, daemon=True)
        self.thread.start()

    def _receive(self):
        while data := self.socket.recv(1 << 20):
            self.messages.append(data)

    def close(self):
        # Ends the thread, connected or not.
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RD)
        self.thread.join(5)
        self.socket.close()


class Stream:
    """Reads a connection to its end: one that is made to a TCP port of 127.0.0.1, or with @path one of ours to that Unix
    socket, where it first says @hello."""

    def __init__(self, path=None, hello=b""):
        self.data = b""
        self.ends = []
        if path:
            end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
            end.connect(path)
            end.sendall(hello)
            self.ends.append(end)
        else:
            self.ends.append(socket.create_server(("127.0.0.1", 0)))
            self.address = f"127.0.0.1:{self.ends[0].getsockname()[1]}"
        self.thread = threading.Thread(target=self._read, args=(path is None,), daemon=True)
        self.thread.start()

    def _read(self, listening):
        with contextlib.suppress(OSError):
            if listening:
                self.ends.append(self.ends[0].accept()[0])
            while data := self.ends[-1].recv(65536):
                self.data += data

    def close(self):
        for end in self.ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self.thread.join(5)
        for end in self.ends:
            end.close()

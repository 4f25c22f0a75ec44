"""A TCP proxy between the relay and a server that can be made to fail as networks do."""

import contextlib
import selectors
import socket
import struct
import threading


class Proxy:
    """Forwards 127.0.0.1:port to `target` (host, port).

    forward()  pass everything on (how it begins)
    stall()    read nothing any more: both sides see a peer that is there and silent
    swallow()  read and throw away: a half-open connection that still takes bytes
    cut()      reset every connection; new ones are welcome
    refuse()   cut, and take no new connections until forward()
    cut_after(n)  pass on n more bytes of what the relay sends, then cut (n_cut counts)

    `buffer`: as little (bytes) is acknowledged that was not read.
    """

    def __init__(self, target, buffer=None):
        self.target = target
        self.buffer = buffer
        self.budget = None
        self.n_cut = 0
        self.clients = set()
        self.mode = "forward"
        self.n_accepted = 0
        self.pairs = {}
        self.selector = selectors.DefaultSelector()
        self.wake_read, self.wake_write = socket.socketpair()
        self.selector.register(self.wake_read, selectors.EVENT_READ)
        self.orders = []
        self.listener = None
        self._listen(0)
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def forward(self):
        self._order("forward")

    def stall(self):
        self._order("stall")

    def swallow(self):
        self._order("swallow")

    def cut(self):
        self._order("cut")

    def refuse(self):
        self._order("refuse")

    def cut_after(self, n):
        self.budget = n

    def close(self):
        self._order("close")
        self.thread.join(5)

    def _order(self, what):
        """Hands it to the thread and waits until it is so."""
        done = threading.Event()
        self.orders.append((what, done))
        self.wake_write.send(b"x")
        assert done.wait(10), "the proxy's thread does not answer"

    # on the thread

    def _listen(self, port):
        self.listener = socket.create_server(("127.0.0.1", port))
        if self.buffer:
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.buffer)
        self.selector.register(self.listener, selectors.EVENT_READ)

    def _deaf(self):
        if self.listener:
            self.selector.unregister(self.listener)
            self.listener.close()
            self.listener = None

    def _watch(self):
        for s in self.pairs:
            if self.mode == "stall":
                with contextlib.suppress(KeyError):
                    self.selector.unregister(s)
            elif s not in self.selector.get_map():
                self.selector.register(s, selectors.EVENT_READ)

    def _drop(self, s):
        for end in (s, self.pairs.get(s)):
            if end in self.pairs:
                del self.pairs[end]
                self.clients.discard(end)
                with contextlib.suppress(KeyError):
                    self.selector.unregister(end)
                # A reset, not an orderly end.
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.close()

    def _accept(self):
        client, _ = self.listener.accept()
        self.n_accepted += 1
        try:
            server = socket.create_connection(self.target, 5)
        except OSError:
            client.close()
            return
        self.pairs[client], self.pairs[server] = server, client
        self.clients.add(client)
        self._watch()

    def _pump(self, s):
        try:
            counted = self.budget is not None and s in self.clients
            data = s.recv(min(65536, self.budget) if counted else 65536)
            if not data:
                raise ConnectionError
            if self.mode == "forward":
                self.pairs[s].sendall(data)
            if counted:
                self.budget -= len(data)
                if self.budget == 0:
                    self.budget = None
                    self.n_cut += 1
                    raise ConnectionError
        except OSError:
            self._drop(s)

    def _obey(self, what):
        if what in ("cut", "refuse", "close"):
            for s in list(self.pairs):
                self._drop(s)
        if what in ("refuse", "close"):
            self._deaf()
        if what in ("forward", "stall", "swallow"):
            self.mode = what
            self._watch()
            if not self.listener:
                self._listen(self.port)
        return what != "close"

    def _run(self):
        alive = True
        while alive:
            for key, _ in self.selector.select():
                if key.fileobj is self.wake_read:
                    self.wake_read.recv(1)
                    what, done = self.orders.pop(0)
                    alive = self._obey(what)
                    done.set()
                elif key.fileobj is self.listener:
                    self._accept()
                elif key.fileobj in self.pairs:
                    self._pump(key.fileobj)
        self.selector.close()
        self.wake_read.close()
        self.wake_write.close()

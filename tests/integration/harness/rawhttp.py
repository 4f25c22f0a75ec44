"""A webhook receiver that does what no HTTP server should. Each behaviour is a function of the connection (a socket) and the
request (bytes); the connection is closed when it returns. `receiver.behave = well` repairs the receiver."""

import json
import select
import socket
import threading

from harness.wait import wait_until

CHUNK = b"x" * 4096


def well(receiver, connection, request):
    """204, and what came is kept."""
    receiver.keep(request)
    connection.sendall(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")


def hang(receiver, connection, _):
    receiver.wait_for_end_of(connection)


def close(*_):
    """Without an answer."""


def answer(head, endless=b"", pause=0.0):
    """@head, then @endless again and again, with a pause after each."""

    def behave(receiver, connection, _):
        connection.sendall(head)
        while endless and not receiver.wait_for_end_of(connection, pause):
            connection.sendall(endless)
            receiver.n_endless += len(endless)

    return behave


class RawReceiver:
    """Listens on 127.0.0.1. `read`: whether requests are read before @behave is called."""

    def __init__(self, behave, read=True):
        self.behave = behave
        self.read = read
        self.events = []
        self.n_requests = 0
        self.n_endless = 0
        self.closing = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/hook"
        self.threads = [threading.Thread(target=self._accept, daemon=True)]
        self.threads[0].start()

    def keep(self, request):
        self.events.append(json.loads(request.partition(b"\r\n\r\n")[2]))

    def received(self):
        return list(self.events)

    def wait_requests(self, count):
        wait_until(lambda: self.n_requests >= count, lambda: f"{count} requests; there were {self.n_requests}")

    def wait_for_end_of(self, connection, limit=None):
        """Until the peer has closed the connection, or this receiver is closed; False: not within @limit."""
        waited = 0.0
        while not self.closing.is_set():
            step = 0.05 if limit is None else min(0.05, max(limit - waited, 0))
            if select.select([connection], [], [], step)[0] and not connection.recv(65536):
                return True
            waited += step
            if limit is not None and waited >= limit:
                return False
        return True

    def close(self):
        self.closing.set()
        # Wakes the thread that accepts.
        socket.create_connection(("127.0.0.1", self.port)).close()
        for thread in self.threads:
            thread.join(10)
        self.listener.close()

    # on the threads

    def _accept(self):
        while True:
            connection, _ = self.listener.accept()
            if self.closing.is_set():
                connection.close()
                return
            self.threads.append(threading.Thread(target=self._serve, args=(connection,), daemon=True))
            self.threads[-1].start()

    def _serve(self, connection):
        with connection:
            try:
                connection.settimeout(60)
                request = self._request(connection) if self.read or self.behave is well else b""
                if request is not None:
                    self.n_requests += 1
                    self.behave(self, connection, request)
            except OSError:
                pass

    @staticmethod
    def _request(connection):
        """All of it; None: the peer has left before its end."""
        data = b""
        wanted = None
        while wanted is None or len(data) < wanted:
            more = connection.recv(65536)
            if not more:
                return None
            data += more
            head, found, _ = data.partition(b"\r\n\r\n")
            if found and wanted is None:
                lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
                wanted = len(head) + 4 + int(lines[b"content-length"])
        return data

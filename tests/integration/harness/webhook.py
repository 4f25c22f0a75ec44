"""A webhook receiver that answers what a test tells it to, and keeps all that it was sent."""

import http.server
import json
import socket
import ssl
import threading
import time
from collections import deque
from dataclasses import dataclass, field

from harness.wait import wait_until

GONE_AWAY = -1


@dataclass
class Answer:
    """What to say to one request. hold: first wait until the event is set."""

    status: int = 204
    headers: dict = field(default_factory=dict)
    body: bytes = b""
    hold: threading.Event = None


@dataclass
class Request:
    at: float  # time.time() when it had been read
    method: str
    path: str
    headers: object  # an email.message.Message: case does not matter
    body: bytes
    client: tuple
    status: int = 0  # what it was answered; GONE_AWAY: the peer had closed the connection

    parsed: object = None

    def json(self):
        """Not to be changed: whoever waits asks for it again and again."""
        if self.parsed is None:
            self.parsed = json.loads(self.body)
        return self.parsed


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Headers and body leave together; the default would wait for the peer's acknowledgement between them.
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_POST(self):
        hook = self.server.hook
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        request = Request(time.time(), self.command, self.path, self.headers, body, self.client_address)
        answer = hook.choose(request)
        if answer.hold:
            answer.hold.wait(60)
        request.status = GONE_AWAY if self._peer_has_gone() else answer.status
        # Before the answer leaves: what the peer sends next comes behind it.
        hook.keep(request)
        if request.status == GONE_AWAY:
            self.close_connection = True
            return
        try:
            self._send(answer)
        except OSError:
            self.close_connection = True

    def _send(self, answer):
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status != 204:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if answer.status != 204:
            self.wfile.write(answer.body)
        self.wfile.flush()

    def _peer_has_gone(self):
        """Whether nobody waits for the answer any more."""
        try:
            if isinstance(self.connection, ssl.SSLSocket):
                return False
            return not self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def log_message(self, *_):
        pass


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    # A failed handshake or a cut connection is the test's business.
    handle_error = lambda *_: None  # noqa: E731


class Webhook:
    """Listens on 127.0.0.1. `answers` holds what the next requests get, one each: a status, an Answer, or a function of the
    request that gives either; then `default`. `on_request` is called with each request."""

    def __init__(self, certificate=None, default=204, on_request=None):
        self.on_request = on_request
        self.answers = deque()
        self.default = default
        self.lock = threading.Lock()
        self.requests = []
        self.server = _Server(("127.0.0.1", 0), _Handler)
        self.server.hook = self
        scheme = "http"
        if certificate:
            scheme = "https"
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(*certificate)
            self.server.socket = self.tls.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        self.url = f"{scheme}://127.0.0.1:{self.port}/hook"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def choose(self, request):
        with self.lock:
            answer = self.answers.popleft() if self.answers else self.default
        if callable(answer):
            answer = answer(request)
        return answer if isinstance(answer, Answer) else Answer(answer)

    def keep(self, request):
        with self.lock:
            self.requests.append(request)
        if self.on_request:
            self.on_request(request)

    def show(self, certificate):
        """Another certificate from now on."""
        self.tls.load_cert_chain(*certificate)

    def accepted(self):
        """The bodies that were answered 2xx, in the order of the answers."""
        with self.lock:
            return [r.json() for r in self.requests if 200 <= r.status < 300]

    def received(self):
        """The same, as every reader of the tests gives it: CloudEvents."""
        return self.accepted()

    def wait_requests(self, count, limit=30.0):
        wait_until(
            lambda: len(self.requests) >= count,
            lambda: f"{count} requests; there were {len(self.requests)}",
            limit,
        )
        return self.requests

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(5)

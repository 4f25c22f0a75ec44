"""A client of the daemon's admin socket."""

import http.client
import json
import socket
from urllib.parse import urlencode


class _Connection(http.client.HTTPConnection):
    def __init__(self, path, limit):
        super().__init__("localhost", timeout=limit)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Answer:
    def __init__(self, answer):
        self.status = answer.status
        self.headers = answer.headers
        self.text = answer.read().decode()

    @property
    def type(self):
        return self.headers["Content-Type"]

    def json(self):
        return json.loads(self.text)

    def problem(self):
        """The detail of an error as RFC 9457 has it."""
        assert self.type == "application/problem+json", (self.status, self.type, self.text)
        body = self.json()
        assert body["status"] == self.status >= 400 and body["title"], body
        return body["detail"]


class Admin:
    def __init__(self, path, limit=30):
        self.path = path
        self.limit = limit

    def raw(self):
        """A connected socket."""
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.settimeout(self.limit)
        client.connect(self.path)
        return client

    def request(self, method, target, body=None, headers=None):
        connection = _Connection(self.path, self.limit)
        try:
            connection.request(method, target, body=body, headers=headers or {})
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def get(self, target, **params):
        return self.request("GET", target + ("?" + urlencode(params) if params else ""))

    def post(self, target, **body):
        return self.request("POST", target, json.dumps(body), {"Content-Type": "application/json"})

    def status(self):
        """{"databases": {name: ...}, "sinks": {name: ...}, ...}"""
        answer = self.get("/api/v1/status")
        assert answer.status == 200, answer.text
        told = answer.json()
        for kind in ("databases", "sinks"):
            told[kind] = {one["name"]: one for one in told[kind]}
        return told

    def database(self, name):
        return self.status()["databases"][name]

    def sink(self, name):
        return self.status()["sinks"][name]

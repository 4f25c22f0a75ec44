"""A name server that takes questions and never answers, and how to make a program ask it."""

import os
import random
import socket
import tempfile
import threading


class DeadDns:
    """Listens on UDP port 53 of a loopback address of its own. `prefix` makes a command ask it and nobody else: in a mount
    namespace of its own, where /etc/resolv.conf is ours."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self.address = f"127.{random.randint(1, 254)}.{random.randint(0, 254)}.53"
        self.socket.bind((self.address, 53))
        self.questions = []
        with tempfile.NamedTemporaryFile("w", prefix="resolv-", delete=False) as f:
            f.write(f"nameserver {self.address}\noptions timeout:5 attempts:2\n")
        os.chmod(f.name, 0o644)
        self.resolv_conf = f.name
        self.prefix = [
            "unshare", "--mount", "sh", "-c",
            'mount --bind "$0" /etc/resolv.conf && exec "$@"', self.resolv_conf,
        ]  # fmt: skip
        self.thread = threading.Thread(target=self._listen, daemon=True)
        self.thread.start()

    @staticmethod
    def possible():
        """Port 53 and mounting want root."""
        return os.geteuid() == 0

    def _listen(self):
        while question := self.socket.recv(4096):
            self.questions.append(question)

    def close(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
            end.sendto(b"", (self.address, 53))
        self.thread.join(5)
        self.socket.close()
        os.unlink(self.resolv_conf)

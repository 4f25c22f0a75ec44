"""A real pgbouncer before a server."""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile

from harness.postgres import free_port
from harness.wait import wait_until


class Pooler:
    """Listens on 127.0.0.1:port and lets everybody in. `mode`: session, transaction or statement."""

    def __init__(self, server, mode, round_robin=1):
        self.port = free_port()
        self.directory = tempfile.mkdtemp(prefix="sr-pooler-")
        os.chmod(self.directory, 0o755)
        path = os.path.join(self.directory, "ini")
        with open(path, "w", encoding="ascii") as f:
            f.write(
                f"[databases]\n* = host=127.0.0.1 port={server.port} user=postgres\n[pgbouncer]\n"
                f"listen_addr = 127.0.0.1\nlisten_port = {self.port}\nauth_type = any\npool_mode = {mode}\n"
                f"unix_socket_dir =\nserver_round_robin = {round_robin}\n"
            )
        user = {"user": server.user.pw_uid, "group": server.user.pw_gid, "extra_groups": []} if server.user else {}
        self.process = subprocess.Popen(
            [self.program(), "-q", path], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **user
        )
        wait_until(self._is_up, "pgbouncer")

    @staticmethod
    def program():
        return shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")

    def _is_up(self):
        assert self.process.poll() is None, "pgbouncer has ended"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True

    def close(self):
        self.process.terminate()
        self.process.wait(10)
        shutil.rmtree(self.directory, ignore_errors=True)

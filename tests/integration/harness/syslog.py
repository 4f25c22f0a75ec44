"""A real rsyslogd with a socket, a UDP port and a TCP port of its own, which writes what it has understood as lines of JSON."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from harness.postgres import free_port, unprivileged_user
from harness.wait import wait_until

PROGRAM = "/usr/sbin/rsyslogd"

# Made anew for each receiver: an authority, the receiver's certificate, and one for a client.
CERTIFICATES = """\
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.pem
for name in server client; do
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=$name -keyout $name.key -out $name.csr
	printf 'subjectAltName=DNS:localhost,IP:127.0.0.1' >ext
	openssl x509 -req -in $name.csr -days 2 -CA ca.pem -CAkey ca.key -CAcreateserial -extfile ext -out $name.pem
done
"""

TLS_DRIVER = "/usr/lib/*/rsyslog/lmnsd_ossl.so"

TLS_CONFIG = """\
input(type="imtcp" address="127.0.0.1" port="{tls_port}" name="tls" streamDriver.name="ossl" streamDriver.mode="1"
	streamDriver.authMode="x509/certvalid" streamDriver.CAFile="{dir}/ca.pem" streamDriver.CertFile="{dir}/server.pem"
	streamDriver.KeyFile="{dir}/server.key")
"""

CONFIG = """\
global(workDirectory="{dir}" maxMessageSize="64k")
module(load="imuxsock" SysSock.Use="off")
module(load="imudp")
module(load="imtcp")
template(name="parsed" type="list" option.jsonf="on") {{
	property(outname="input" name="inputname" format="jsonf")
	property(outname="facility" name="syslogfacility-text" format="jsonf")
	property(outname="severity" name="syslogseverity-text" format="jsonf")
	property(outname="time" name="timereported" dateFormat="rfc3339" format="jsonf")
	property(outname="host" name="hostname" format="jsonf")
	property(outname="app_name" name="app-name" format="jsonf")
	property(outname="procid" name="procid" format="jsonf")
	property(outname="msgid" name="msgid" format="jsonf")
	property(outname="data" name="structured-data" format="jsonf")
	property(outname="message" name="msg" format="jsonf")
	property(outname="raw" name="rawmsg" format="jsonf")
}}
input(type="imuxsock" Socket="{dir}/log" RateLimit.Interval="0")
input(type="imudp" address="127.0.0.1" port="{port}")
input(type="imtcp" address="127.0.0.1" port="{tcp_port}")
action(type="omfile" file="{dir}/out" template="parsed")
"""


class Rsyslog:
    """`socket` stands in for /dev/log, `address` is host:port for UDP, `tcp_address` for TCP."""

    def __init__(self, tls=False, start=True):
        self.directory = Path(tempfile.mkdtemp(prefix="sr-syslog-"))
        self.port = free_port()
        self.tcp_port = free_port()
        self.tls_port = free_port() if tls else None
        self.socket = str(self.directory / "log")
        self.address = f"127.0.0.1:{self.port}"
        self.tcp_address = f"127.0.0.1:{self.tcp_port}"
        (self.directory / "conf").write_text(self.configuration(), encoding="ascii")
        user = unprivileged_user()
        if user:
            os.chown(self.directory, user.pw_uid, user.pw_gid)
        # Whoever runs the relay may write to the socket, which rsyslogd makes.
        self.directory.chmod(0o755)
        self.process = None
        if start:
            self.start()

    def start(self):
        user = unprivileged_user()
        with open(self.directory / "errors", "wb") as errors:
            self.process = subprocess.Popen(
                [PROGRAM, "-n", "-f", str(self.directory / "conf"), "-i", str(self.directory / "pid")],
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                start_new_session=True,
                **({"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}),
            )
        wait_until(self._is_up, lambda: "rsyslogd is up: " + (self.directory / "errors").read_text())

    def configuration(self):
        config = CONFIG.format(dir=self.directory, port=self.port, tcp_port=self.tcp_port)
        if self.tls_port:
            subprocess.run(["sh", "-ec", CERTIFICATES], cwd=self.directory, check=True, capture_output=True)
            config += TLS_CONFIG.format(dir=self.directory, tls_port=self.tls_port)
            # rsyslogd reads it as another user.
            (self.directory / "server.key").chmod(0o644)
        return config

    def _is_up(self):
        assert self.process.poll() is None, "rsyslogd has ended: " + (self.directory / "errors").read_text()
        return os.path.exists(self.socket) and self._listens()

    def _listens(self):
        ports = [self.tcp_port, self.tls_port] if self.tls_port else [self.tcp_port]
        return self._is_bound("udp", self.port) and all(self._is_bound("tcp", port) for port in ports)

    @staticmethod
    def _is_bound(protocol, port):
        wanted = f"0100007F:{port:04X}"
        with open(f"/proc/net/{protocol}", encoding="ascii") as f:
            return any(line.split()[1] == wanted for line in f)

    def file(self, name):
        """The path of "ca.pem", "client.pem" or "client.key"."""
        return str(self.directory / name)

    def messages(self, of_input=None):
        """What has arrived so far ("imuxsock", "imudp", "imtcp" or "tls" only), as dicts."""
        out = self.directory / "out"
        lines = out.read_text(encoding="utf-8", errors="surrogateescape").split("\n")[:-1] if out.exists() else []
        # rsyslogd says hello by itself.
        found = [json.loads(line) for line in lines]
        return [m for m in found if m["app_name"] != "rsyslogd" and of_input in (None, m["input"])]

    def stop(self):
        if self.process:
            # One that was stopped hears SIGTERM afterwards.
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            self.process.wait(10)
        self.process = None

    def close(self):
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

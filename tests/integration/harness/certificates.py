"""An authority of a test's own, and certificates that are right, or wrong in one way."""

import datetime
import shutil
import subprocess
import tempfile
from pathlib import Path

NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]

CONFIG = """\
[ca]
default_ca = test
[test]
database = index
serial = serial
new_certs_dir = .
certificate = ca.pem
private_key = ca.key
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
"""


class Authority:
    """Files in a directory of its own; `ca_file` is what to trust."""

    def __init__(self):
        self.directory = Path(tempfile.mkdtemp(prefix="sr-ca-"))
        self.ca_file = str(self.directory / "ca.pem")
        (self.directory / "config").write_text(CONFIG, encoding="ascii")
        (self.directory / "index").touch()
        (self.directory / "serial").write_text("01\n", encoding="ascii")
        self._openssl("req", "-x509", *NEW_KEY, "-days", "30", "-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.pem")

    def _openssl(self, *arguments):
        subprocess.run(["openssl", *arguments], cwd=self.directory, check=True, capture_output=True)

    def issue(self, name, names="DNS:localhost,IP:127.0.0.1", begin=-1, end=2):
        """(certificate, key): files. Valid from @begin to @end, in days from now, for @names."""
        now = datetime.datetime.now(datetime.timezone.utc)
        dates = [(now + datetime.timedelta(days=d)).strftime("%Y%m%d%H%M%SZ") for d in (begin, end)]
        (self.directory / "extensions").write_text(f"subjectAltName={names}\n", encoding="ascii")
        self._openssl("req", *NEW_KEY, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        self._openssl("ca", "-batch", "-config", "config", "-in", f"{name}.csr", "-out", f"{name}.pem", "-notext",
                      "-extfile", "extensions", "-startdate", dates[0], "-enddate", dates[1])  # fmt: skip
        return str(self.directory / f"{name}.pem"), str(self.directory / f"{name}.key")

    def close(self):
        shutil.rmtree(self.directory, ignore_errors=True)

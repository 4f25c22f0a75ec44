"""Commands that see other files than everybody else: in a mount namespace of their own, which wants root. Each function makes
the words to put before a command."""

import os

HOSTS = 'mount --bind "$0" /etc/hosts && exec "$@"'

# As on a machine with systemd, where it leads to journald's socket.
DEV = """\
dev=$0/dev
mkdir "$dev" && mount -t tmpfs -o mode=755 tmpfs "$dev" || exit
for node in null zero full random urandom; do
	: >"$dev/$node" && mount --bind "/dev/$node" "$dev/$node" || exit
done
ln -s /proc/self/fd "$dev/fd"
ln -s "$1" "$dev/log"
shift
mount --rbind "$dev" /dev && exec "$@"
"""

RUN = """\
mount -t tmpfs -o mode=755 tmpfs /run && mkdir -p /run/systemd/journal && ln -s "$0" /run/systemd/journal/socket && exec "$@"
"""


def possible():
    return os.geteuid() == 0


def with_hosts(path):
    """@path is /etc/hosts."""
    return ["unshare", "--mount", "sh", "-c", HOSTS, path]


def with_dev_log(directory, target):
    """/dev/log is a link to @target, which need not exist. @directory is for the mount."""
    return ["unshare", "--mount", "sh", "-c", DEV, directory, target]


def with_journald(target):
    """journald's socket is a link to @target, which need not exist."""
    return ["unshare", "--mount", "sh", "-c", RUN, target]

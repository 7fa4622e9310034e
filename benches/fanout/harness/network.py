"""A loopback of the benchmark's own: a network namespace, so that neither the machine's settings nor its traffic count.

Above all its congestion control. BBR, the default of some distributions, paces what it sends by its estimate of the line.
On a loopback the estimate is the scheduler's mood: a connection that has said little is now and then held back for a
second, and whichever server it hits looks slow.
"""

import ctypes
import fcntl
import os
import socket
import struct
from pathlib import Path

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1

_CONTROL = Path("/proc/sys/net/ipv4/tcp_congestion_control")

# Without pacing; the first of them that there is.
_PREFERRED = ("cubic", "reno")


def _unshare(flags):
    if ctypes.CDLL(None, use_errno=True).unshare(flags):
        raise OSError(ctypes.get_errno(), "unshare")


def _separate():
    if os.geteuid() == 0:
        _unshare(_CLONE_NEWNET)
        return
    user, group = os.geteuid(), os.getegid()
    _unshare(_CLONE_NEWUSER | _CLONE_NEWNET)
    Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1", encoding="ascii")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1", encoding="ascii")


def separate():
    """Moves this process, and what it starts from now on, to a loopback of its own. Says in words where they are."""
    try:
        _separate()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", _IFF_UP))
        place = "a network namespace of its own"
        for name in _PREFERRED:
            try:
                _CONTROL.write_text(name, encoding="ascii")
                break
            except OSError:
                continue
    except OSError as error:
        place = f"the machine's own loopback ({error})"
    return f"loopback in {place}, congestion control {_CONTROL.read_text(encoding='ascii').strip()}"

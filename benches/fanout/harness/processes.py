"""Processes, pinned and looked after: what they cost by the kernel's own accounting, and that none is left behind."""

import atexit
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")

# Below the ports that the kernel gives to clients.
_FIRST_PORT, _LAST_PORT = 20000, 29999

_running = []


class Failure(Exception):
    """A server that did not start, a generator that came to no result."""


def stop_all():
    """Ends every process that is still running."""
    for process in list(_running):
        _stop(process)


atexit.register(stop_all)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def _start(command, cores, **options):
    pinned = ["taskset", "-c", ",".join(map(str, cores)), *map(str, command)]
    # Each a session of its own: where the kernel shares out the CPU by session (sched_autogroup), a server must not get
    # less because the generator is busy on another core.
    process = subprocess.Popen(pinned, stdin=subprocess.DEVNULL, start_new_session=True, **options)
    _running.append(process)
    return process


def _stop(process):
    """Kills: what a server does on SIGTERM is none of the benchmark's business."""
    if process.poll() is None:
        process.kill()
    process.wait()
    if process in _running:
        _running.remove(process)


@dataclass(frozen=True)
class Sample:
    """A process at one moment. Seconds and bytes."""

    at: float
    user: float
    system: float
    # Time that its threads could have run and did not, because something else had the processor.
    waited: float
    rss: int

    def since(self, earlier):
        """(wall, user, system) seconds between two samples."""
        return self.at - earlier.at, self.user - earlier.user, self.system - earlier.system


def sample(pid):
    """Reads the CPU time of all threads of a process, those that have ended included, and its resident memory."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return Sample(time.monotonic(), int(fields[11]) / TICKS, int(fields[12]) / TICKS, _waited(pid), rss(pid))


def _waited(pid):
    """Seconds that the threads of a process have waited for a processor; 0 where the kernel does not count them."""
    total = 0
    for thread in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            total += int(thread.read_text(encoding="ascii").split()[1])
        except (OSError, ValueError, IndexError):
            continue
    return total / 1e9


def rss(pid):
    """Resident bytes, exact where the kernel tells; 0 for a process that has ended."""
    for name, pattern in (("smaps_rollup", r"^Rss:\s+(\d+) kB"), ("status", r"^VmRSS:\s+(\d+) kB")):
        try:
            found = re.search(pattern, Path(f"/proc/{pid}/{name}").read_text(encoding="utf-8"), re.MULTILINE)
        except OSError:
            continue
        if found:
            return int(found.group(1)) * 1024
    return 0


def reset_peak(pid):
    """Lets the kernel forget the peak of a process's resident memory."""
    try:
        Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        pass


def peak(pid):
    """The peak of a process's resident memory, in bytes, since it started or since `reset_peak`."""
    found = re.search(r"^VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(encoding="utf-8"), re.MULTILINE)
    return int(found.group(1)) * 1024 if found else 0


def tcp_memory():
    """Bytes that the kernel holds for TCP, in all connections of the machine."""
    found = re.search(r"^TCP:.* mem (\d+)", Path("/proc/net/sockstat").read_text(encoding="utf-8"), re.MULTILINE)
    return int(found.group(1)) * os.sysconf("SC_PAGE_SIZE") if found else 0


class Server:
    """A server of its own for one measurement; use it as a context manager."""

    def __init__(self, command, cores, environment=None):
        self.port = _free_port()
        self._log = tempfile.TemporaryFile()
        command = [str(part).replace("{port}", str(self.port)) for part in command]
        settings = {key: value.replace("{port}", str(self.port)) for key, value in (environment or {}).items()}
        # Nothing of the caller's settings: a JWT_SECRET or PORT of theirs must not change what is measured.
        environment = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ} | settings
        # Nor of a file .env where they happen to be.
        self._process = _start(command, cores, env=environment, cwd="/", stdout=self._log, stderr=self._log)
        self.pid = self._process.pid
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise

    def _wait(self):
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.02)
        raise Failure(f"the server did not start:\n{self.log()}")

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def is_running(self):
        return self._process.poll() is None

    def sample(self):
        return sample(self.pid)

    def log(self):
        """The last lines that it wrote."""
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - 2000))
        return self._log.read().decode(errors="replace")

    def stop(self):
        _stop(self._process)
        self._log.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


_next_port = _FIRST_PORT + os.getpid() % 5000


def _free_port():
    """A port never used before in this run, so that no connection of the last server stands in the way."""
    global _next_port
    for _ in range(_LAST_PORT - _FIRST_PORT):
        _next_port = _next_port + 1 if _next_port < _LAST_PORT else _FIRST_PORT
        with socket.socket() as candidate:
            try:
                candidate.bind(("127.0.0.1", _next_port))
                return _next_port
            except OSError:
                continue
    raise Failure("no free port")


@dataclass
class Load:
    """What a run of the generator gave: its report, and server and generator at each phase."""

    report: dict
    exit_code: int
    server: dict = field(default_factory=dict)
    generator: dict = field(default_factory=dict)
    seen: dict = field(default_factory=dict)


def run_load(program, server, arguments, cores, environment=None, timeout=60, on_phase=None):
    """Runs `alt-ws load` against a server. `on_phase(name)` is called at each phase; what it returns is in `seen`."""
    command = [program, "load", server.url, "--json", *map(str, arguments)]
    with tempfile.TemporaryFile() as out:
        process = _start(
            command, cores, stdout=out, stderr=subprocess.PIPE, env={**os.environ, **(environment or {})}
        )
        load = Load({}, 0)
        complaints = []
        try:
            for line in _lines(process.stderr, time.monotonic() + timeout):
                if not line.startswith("phase "):
                    complaints.append(line)
                    continue
                phase = line.removeprefix("phase ").strip()
                if not server.is_running():
                    raise Failure(f"the server ended:\n{server.log()}")
                load.server[phase] = server.sample()
                load.generator[phase] = sample(process.pid)
                if on_phase:
                    load.seen[phase] = on_phase(phase)
            load.exit_code = process.wait(timeout=10)
            out.seek(0)
            text = out.read().decode(errors="replace").strip()
        except (TimeoutError, subprocess.TimeoutExpired):
            raise Failure(f"no end after {timeout} s: {' '.join(map(str, command))}\n{server.log()}") from None
        finally:
            _stop(process)
            process.stderr.close()
    try:
        load.report = json.loads(text.splitlines()[-1])
    except (ValueError, IndexError):
        words = "\n".join(complaints[-5:])
        raise Failure(f"exit code {load.exit_code}: {' '.join(map(str, command))}\n{words}\n{server.log()}") from None
    return load


def _lines(pipe, deadline):
    """The lines of a pipe as they come, so that a phase is seen when it begins."""
    buffer = b""
    os.set_blocking(pipe.fileno(), False)
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([pipe], [], [], left)[0]:
            raise TimeoutError
        chunk = pipe.read()
        if chunk is None:
            continue
        if not chunk:
            return
        *lines, buffer = (buffer + chunk).split(b"\n")
        yield from (line.decode(errors="replace") for line in lines)

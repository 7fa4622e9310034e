"""What the numbers were measured on: processor, kernel, versions, and which processors serve and which load."""

import os
import platform
import re
import subprocess
from pathlib import Path


def processors():
    """The processors this process may use, in order."""
    return sorted(os.sched_getaffinity(0))


def layout():
    """Where servers and the generator run: one core each, two for a server on two cores, apart as far as possible."""
    cores = processors()
    return {"one": cores[:1], "two": cores[:2], "generator": cores[-1:], "shared": len(cores) < 3}


def _first(pattern, path):
    try:
        found = re.search(pattern, Path(path).read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        return None
    return found.group(1).strip() if found else None


def _output(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _disk(folder):
    """The file system that holds `folder`."""
    line = (_output("findmnt", "-no", "FSTYPE,SOURCE", "-T", str(folder)) or "").split()
    return " on ".join(line[:2]) or "unknown"


def description(data_folder):
    """Pairs of what and which, for the head of the report."""
    memory = _first(r"^MemTotal:\s+(\d+) kB", "/proc/meminfo")
    found = {
        "Processor": _first(r"^model name\s*:\s*(.+)$", "/proc/cpuinfo") or platform.machine(),
        "Processors online": str(len(processors())),
        "Clock": f"{mhz} MHz" if (mhz := _first(r"^cpu MHz\s*:\s*(.+)$", "/proc/cpuinfo")) else None,
        "Virtual machine": "yes" if _first(r"^flags\s*:.*\b(hypervisor)\b", "/proc/cpuinfo") else None,
        "Memory": f"{int(memory) / 1024 / 1024:.1f} GiB" if memory else None,
        "Kernel": f"{platform.system()} {platform.release()}",
        "Congestion control": _first(r"^(\w+)", "/proc/sys/net/ipv4/tcp_congestion_control"),
        "Data folder": _disk(data_folder),
        "Rust": _output("rustc", "--version"),
        "Node": _output("node", "--version"),
    }
    return {what: which for what, which in found.items() if which}

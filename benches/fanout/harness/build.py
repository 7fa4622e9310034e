"""Builds everything that is measured, in release mode, from the lock files."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

FANOUT = Path(__file__).resolve().parent.parent
ROOT = FANOUT.parent.parent


@dataclass(frozen=True)
class Programs:
    """What was built. A peer that could not be built is None."""

    alt_ws: Path
    floor: Path
    socketioxide: Optional[Path]
    node: Optional[Path]


def _target(folder):
    """Where cargo puts what it builds for the package in `folder`."""
    shared = os.environ.get("CARGO_TARGET_DIR")
    return Path(shared) if shared else folder / "target"


def _run(*command, folder):
    print("$", " ".join(map(str, command)), flush=True)
    return subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, check=False).returncode == 0


def build(peers_needed):
    """Builds, or explains in one sentence why that is impossible. With `peers_needed` every peer has to be there."""
    release = _target(ROOT) / "release"
    if not _run("cargo", "build", "--release", "--locked", folder=ROOT):
        raise SystemExit("alt-ws does not build")
    cargo = ("cargo", "build", "--release", "--locked")
    if not _run(*cargo, "--bin", "floor", folder=FANOUT):
        raise SystemExit("the floor does not build")
    fanout = _target(FANOUT) / "release"
    socketioxide = fanout / "socketioxide-peer" if _run(*cargo, "--bin", "socketioxide-peer", folder=FANOUT) else None
    node = None
    if shutil.which("node") and shutil.which("npm"):
        folder = FANOUT / "node-peer"
        if _run("npm", "ci", "--no-audit", "--no-fund", "--loglevel=error", folder=folder):
            node = folder / "server.js"
    for name, program in (("socketioxide", socketioxide), ("Node socket.io", node)):
        if program is None:
            if peers_needed:
                raise SystemExit(f"the peer {name} cannot be built; --without-peers measures without")
            print(f"the peer {name} cannot be built and is left out")
    return Programs(release / "alt-ws", fanout / "floor", socketioxide, node)

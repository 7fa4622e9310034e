"""What is measured: the scenarios, each one function that starts a server, loads it, and returns numbers.

Numbers are in seconds, bytes and counts unless the name says otherwise. A scenario is run for each of its servers in
turn, and all of them again in each round, so that what disturbs the machine for a while disturbs everybody.
"""

import os
import shutil
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Callable, Optional

from . import machine, servers
from .processes import Failure, Server, peak, reset_peak, run_load, tcp_memory

IN_FLIGHT = (1, 4, 16, 64)
WAVES = 5

# A process that waits for its processor for more than this share of the time is not alone on it.
DISTURBED = 0.1

# What may be wrong with messages, as the generator counts it.
DAMAGE = ("lost", "duplicated", "reordered", "strayed", "unacknowledged")


@dataclass(frozen=True)
class Sizes:
    """How much of everything."""

    rounds: int
    seconds: float
    clients: int
    crowd: int
    polling: int
    stalled: int
    stalled_seconds: float
    settle: float
    # In all; what has not begun by then is not run.
    budget: float
    # The scenarios that the peers take part in; None is all.
    peers_in: Optional[tuple] = None


FULL = Sizes(rounds=3, seconds=1.5, clients=1000, crowd=10_000, polling=100, stalled=1000, stalled_seconds=4,
             settle=1.5, budget=600)
QUICK = Sizes(rounds=1, seconds=0.3, clients=100, crowd=300, polling=20, stalled=20, stalled_seconds=0.5, settle=0.2,
              budget=300, peers_in=("room-16", "connect", "polling"))


@dataclass(frozen=True)
class Scenario:
    """One row of measurements."""

    key: str
    title: str
    servers: tuple
    measure: Callable
    # Rounds beyond these tell nothing new: memory is steady, and a crowd takes long.
    most_rounds: int = 3


class Bench:
    """What all measurements share."""

    def __init__(self, programs, generator, sizes, data_root):
        self.programs, self.generator, self.sizes, self.data_root = programs, generator, sizes, data_root
        self.starts = servers.starts(programs)
        self.layout = machine.layout()

    def serve(self, name, start=None, cores="one"):
        start = start or self.starts[name]
        return Server(start.command, self.layout[cores], start.environment)

    def load(self, name, server, timeout=90, on_phase=None, **options):
        """Runs the generator; `None` and `True` of an option mean absent and present."""
        arguments = []
        for key, value in options.items():
            if value is not None:
                arguments += ["--" + key.replace("_", "-")] + ([] if value is True else [value])
        if name.startswith(servers.ALT_WS):
            arguments += ["--secret", servers.SECRET]
        load = run_load(
            self.generator, server, arguments, self.layout["generator"], timeout=timeout, on_phase=on_phase
        )
        if load.exit_code > 1:
            raise Failure(f"the generator ended with {load.exit_code}: {load.report}")
        return load

    def warm_up(self, name, server):
        """Ten clients come and go, so that code and tables that are used once and for all count for nobody."""
        self.load(name, server, clients=10, connect_only=True, hold=0)
        time.sleep(self.sizes.settle / 3)


def _latency(report):
    return {f"{name}_us": report["latency_us"][name] for name in ("p50", "p99", "p999", "max")}


def _counts(load):
    return {name: load.report[name] for name in (*DAMAGE, "refused", "errors")}


def _exchange(load, per):
    """What the exchange of messages cost per `deliveries` or per message `sent`."""
    wall, user, system = load.server["done"].since(load.server["running"])
    _, *generator = load.generator["done"].since(load.generator["running"])
    count = load.report[per]
    if not count or wall <= 0:
        raise Failure(f"nothing was delivered: {load.report}")
    return {
        "cpu_us": (user + system) / count * 1e6,
        "user_us": user / count * 1e6,
        "system_us": system / count * 1e6,
        "per_second": load.report["deliveries_per_second"],
        "server_busy": (user + system) / wall,
        "generator_busy": sum(generator) / wall,
        "server_waited": (load.server["done"].waited - load.server["running"].waited) / wall,
        "generator_waited": (load.generator["done"].waited - load.generator["running"].waited) / wall,
        **_latency(load.report),
        **_counts(load),
    }


def _room(in_flight):
    def measure(bench, name):
        with bench.serve(name) as server:
            load = bench.load(
                name, server, clients=bench.sizes.clients, in_flight=in_flight, seconds=bench.sizes.seconds
            )
            return _exchange(load, "deliveries")

    return measure


def _rooms(bench, name, start=None, cores="one"):
    clients = bench.sizes.clients
    with bench.serve(name, start, cores) as server:
        load = bench.load(
            name, server, clients=clients, rooms=clients // 10, senders=min(64, clients // 10),
            seconds=bench.sizes.seconds,
        )
        return _exchange(load, "deliveries")


def _cores(count):
    def measure(bench, name):
        start = servers.alt_ws(bench.programs, cores=count)
        cores = "one" if count == 1 else "two"
        found = {f"rooms_{key}": value for key, value in _rooms(bench, name, start, cores).items()}
        with bench.serve(name, start, cores) as server:
            load = bench.load(name, server, clients=bench.sizes.clients, in_flight=16, seconds=bench.sizes.seconds)
            return found | _exchange(load, "deliveries")

    return measure


def _connections(size, room=1):
    """As many clients as `size` says, in rooms of `room`, that connect and then do nothing."""

    def measure(bench, name):
        clients = getattr(bench.sizes, size)
        settle = bench.sizes.settle
        with bench.serve(name) as server:
            bench.warm_up(name, server)
            before = server.sample()

            def held(phase):
                if phase != "connected":
                    return None
                time.sleep(settle)
                return server.sample()

            load = bench.load(
                name, server, clients=clients, rooms=clients // room, connect_only=True, hold=settle + 0.5, on_phase=held
            )
            _, user, system = load.server["connected"].since(before)
            return {
                "cpu_us": (user + system) / clients * 1e6,
                "user_us": user / clients * 1e6,
                "system_us": system / clients * 1e6,
                "per_second": load.report["connect"]["per_second"],
                "rss_each": (load.seen["connected"].rss - before.rss) / clients,
                "clients": clients,
                **_counts(load),
            }

    return measure


def _polling(bench, name):
    clients = bench.sizes.polling
    with bench.serve(name) as server:
        load = bench.load(
            name, server, clients=clients, rooms=clients, senders=clients, transport="polling",
            seconds=bench.sizes.seconds,
        )
        return _exchange(load, "sent")


def _stalled(bench, name):
    """The same number of members, once all of them reading, once with some that never read again."""
    clients, stalled = bench.sizes.clients, bench.sizes.stalled
    found = {}
    for label, options in (
        ("without", {"clients": clients + stalled}), ("with", {"clients": clients, "stalled": stalled})
    ):
        with bench.serve(name) as server:

            def watch(phase):
                if phase == "running":
                    reset_peak(server.pid)
                return peak(server.pid), tcp_memory()

            load = bench.load(
                name, server, in_flight=16, seconds=bench.sizes.stalled_seconds, on_phase=watch, **options
            )
            found |= {f"{label}_{key}": value for key, value in _exchange(load, "deliveries").items()}
            found[f"{label}_growth"] = max(0, load.seen["done"][0] - load.server["running"].rss)
            found[f"{label}_kernel"] = load.seen["done"][1] - load.seen["running"][1]
            found[f"{label}_sent_per_second"] = load.report["sent"] / load.report["seconds"]
    return found | {key: found[f"without_{key}"] + found[f"with_{key}"] for key in DAMAGE}


def _waves(bench, name):
    clients = bench.sizes.crowd
    # Longer than the server holds back that somebody went offline.
    pause = bench.sizes.settle + 0.7
    with bench.serve(name) as server:
        bench.warm_up(name, server)
        before = server.sample().rss

        def after(phase):
            if not phase.startswith("wave "):
                return None
            time.sleep(pause)
            return server.sample().rss

        load = bench.load(
            name, server, clients=clients, rooms=clients // 10, senders=clients // 10, waves=WAVES, hold=pause + 0.5,
            timeout=120, on_phase=after,
        )
        waves = {f"rss_{wave}": load.seen[f"wave {wave}"] for wave in range(1, WAVES + 1)}
        return {"rss_0": before, **waves, "clients": clients, **_counts(load)}


def bare_fdatasync(folder, count=200):
    """Seconds that the disk needs for what a commit needs at least: 4 KiB appended, then fdatasync. The median."""
    took = []
    with tempfile.NamedTemporaryFile(dir=folder, buffering=0) as file:
        page = os.urandom(4096)
        for _ in range(count):
            start = time.perf_counter()
            file.write(page)
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - start)
    return sorted(took)[len(took) // 2]


def _durable(bench, name):
    sizes = bench.sizes
    found = {}
    cases = (
        ("one", {"clients": 1, "rooms": 1, "senders": 1}),
        ("many", {"clients": sizes.clients, "rooms": sizes.clients // 10, "senders": min(64, sizes.clients // 10)}),
        (
            "deep",
            {
                "clients": sizes.clients, "rooms": sizes.clients // 10, "senders": min(64, sizes.clients // 10),
                "in_flight": 16,
            },
        ),
    )
    folder = Path(tempfile.mkdtemp(prefix="durable-", dir=bench.data_root))
    try:
        found["fdatasync_us"] = bare_fdatasync(folder) * 1e6
        for label, options in cases:
            start = servers.alt_ws(bench.programs, cores=2, data_folder=folder / label)
            with bench.serve(name, start, "two") as server:
                load = bench.load(name, server, durable=True, seconds=sizes.seconds, **options)
                found |= {f"{label}_{key}": value for key, value in _latency(load.report).items()}
                found[f"{label}_acked_per_second"] = load.report["acked_per_second"]
                wall, user, system = load.server["done"].since(load.server["running"])
                found[f"{label}_server_busy"] = (user + system) / wall
                for key, value in _counts(load).items():
                    found[key] = found.get(key, 0) + value
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return found


def all_scenarios(sizes):
    """Every scenario, in the order of the report."""
    alt_ws_and_peers = (servers.ALT_WS, *servers.PEERS)
    plain = (servers.FLOOR, *alt_ws_and_peers)
    scenarios = [
        *(
            Scenario(f"room-{count}", f"One room of {sizes.clients:,}, {count} in flight", servers.ALL, _room(count))
            for count in IN_FLIGHT
        ),
        Scenario("rooms", f"{sizes.clients // 10} rooms of 10, 64 in flight", servers.ALL, _rooms),
        Scenario("cores-1", "One core", (servers.ALT_WS,), _cores(1)),
        Scenario("cores-2", "Two cores", (servers.ALT_WS,), _cores(2)),
        Scenario("connect", f"{sizes.clients:,} connections, a room each", plain, _connections("clients")),
        Scenario("idle", f"{sizes.clients:,} connections in rooms of 10", plain, _connections("clients", 10), most_rounds=2),
        Scenario("crowd", f"{sizes.crowd:,} connections in rooms of 10", plain, _connections("crowd", 10), most_rounds=1),
        Scenario("polling", f"{sizes.polling} clients that poll", alt_ws_and_peers, _polling),
        Scenario("stalled", f"{sizes.stalled:,} readers that stop reading", alt_ws_and_peers, _stalled, most_rounds=2),
        Scenario("waves", f"Five waves of {sizes.crowd:,}", alt_ws_and_peers, _waves, most_rounds=1),
        Scenario("durable", "Messages on disk", (servers.ALT_WS,), _durable),
    ]
    if sizes.peers_in is None:
        return scenarios
    return [
        replace(scenario, servers=tuple(name for name in scenario.servers if name not in servers.PEERS))
        if scenario.key not in sizes.peers_in
        else scenario
        for scenario in scenarios
    ]

"""The numbers as a page: docs/benchmarks.md and its plots."""

from . import targets
from .plots import all_plots
from .scenarios import DISTURBED, IN_FLIGHT
from .servers import ALL, ALT_WS, CORKED, FLOOR, NODE, PEERS, SOCKETIOXIDE


# Servers closer to each other than this are level.
NOISE = 1.03


def _number(value, digits=None):
    if value is None:
        return "–"
    if digits is None:
        digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{digits}f}"


def _times(value):
    return "–" if value is None else f"{value:.2f} ×"


def _percent(value):
    return "–" if value is None else f"{value * 100:.0f} %"


def _milliseconds(value):
    return "–" if value is None else _number(value / 1000)


def _kilobytes(value):
    return "–" if value is None else _number(value / 1024, 1)


def _megabytes(value):
    return "–" if value is None else _number(value / 1e6, 1)


def _table(head, rows):
    """The first column is text, all others are numbers."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _named(name):
    return f"**{name}**" if name == ALT_WS else name


def _plot(results, name, what):
    return f"![{what}](benchmarks/{name})" if name in all_plots(results, IN_FLIGHT) else ""


def _exchange_table(results, scenario, measured, references):
    rows = []
    for name in (name for name in ALL if name in results.servers(scenario)):

        def get(number):
            return results.get(scenario, name, number)

        rows.append(
            [
                _named(name),
                _number(get("cpu_us")), _number(get("user_us")), _number(get("system_us")),
                *(_times(results.ratio(scenario, name, reference, "cpu_us")) for reference in references),
                _number(get("per_second"), 0),
                _milliseconds(get("p50_us")), _milliseconds(get("p99_us")), _milliseconds(get("p999_us")),
                _percent(get("server_busy")), _percent(get("generator_busy")),
            ]
        )
    head = [
        "", f"CPU per {measured}, µs", "user", "system", *(f"by {reference}" for reference in references),
        "deliveries/s", "p50, ms", "p99", "p99.9", "server's core", "generator's core",
    ]
    return _table(head, rows) if rows else "Not measured."


def _connections(results):
    rows = []
    for name in (name for name in ALL if name in results.servers("connect") or name in results.servers("crowd")):
        rows.append(
            [
                _named(name),
                _number(results.get("connect", name, "cpu_us")),
                _times(results.ratio("connect", name, FLOOR, "cpu_us")),
                _number(results.get("connect", name, "per_second"), 0),
                _kilobytes(results.get("connect", name, "rss_each")),
                _kilobytes(results.get("idle", name, "rss_each")),
                _number(results.get("crowd", name, "cpu_us")),
                _kilobytes(results.get("crowd", name, "rss_each")),
            ]
        )
    small, large = results.about["sizes"]["clients"], results.about["sizes"]["crowd"]
    head = [
        "", "CPU per connection, µs", f"by {FLOOR}", "connections/s", f"KB each of {small:,}, a room each",
        f"KB each of {small:,}, rooms of 10", f"CPU, {large:,} at once", f"KB each of {large:,}, rooms of 10",
    ]
    return _table(head, rows) if rows else "Not measured."


def _cores(results):
    rows = []
    for room, prefix in ((f"one room of {results.about['sizes']['clients']:,}, 16 in flight", ""), ("rooms of 10", "rooms_")):
        one, two = (results.get(f"cores-{count}", ALT_WS, f"{prefix}per_second") for count in (1, 2))
        rows.append(
            [
                room, _number(one, 0), _number(two, 0), _times(two / one if one and two else None),
                *(_number(results.get(f"cores-{count}", ALT_WS, f"{prefix}cpu_us")) for count in (1, 2)),
                _percent(results.get("cores-2", ALT_WS, f"{prefix}server_busy")),
                _percent(results.get("cores-2", ALT_WS, f"{prefix}generator_busy")),
            ]
        )
    head = [
        "deliveries/s", "1 core", "2 cores", "gain", "CPU per delivery, µs, 1 core", "2 cores",
        "server, of 200 %", "generator's core",
    ]
    return _table(head, rows)


def _stalled(results):
    rows = []
    for name in (name for name in ALL if name in results.servers("stalled")):
        row = [_named(name)]
        for number, shown in (
            ("growth", _megabytes), ("kernel", _megabytes), ("p99_us", _milliseconds), ("sent_per_second", _number)
        ):
            row += [shown(results.get("stalled", name, f"{label}_{number}")) for label in ("without", "with")]
        rows.append(row)
    head = [
        "", "server's memory +, MB, all read", "some stalled", "kernel's TCP memory +, MB, all read", "some stalled",
        "p99, ms, all read", "some stalled", "messages/s, all read", "some stalled",
    ]
    return _table(head, rows) if rows else "Not measured."


def _waves(results):
    rows = []
    for name in (name for name in ALL if name in results.servers("waves")):
        first, last = (results.get("waves", name, f"rss_{wave}") for wave in (1, 5))
        waves = (_megabytes(results.get("waves", name, f"rss_{wave}")) for wave in range(6))
        rows.append([_named(name), *waves, _times(last / first if first and last else None)])
    head = ["MB", "before", "wave 1", "2", "3", "4", "5", "fifth by first"]
    return _table(head, rows) if rows else "Not measured."


def _durable(results):
    rows = []
    for label, what in (
        ("one", "1 sender, alone"), ("many", "64 senders, rooms of 10, 1 in flight each"), ("deep", "the same, 16 in flight each")
    ):

        def get(number):
            return results.get("durable", ALT_WS, f"{label}_{number}")

        rows.append(
            [what, _number(get("acked_per_second"), 0), _milliseconds(get("p50_us")), _milliseconds(get("p99_us")),
             _percent(get("server_busy"))]
        )
    return _table(["alt-ws, 2 cores", "acknowledged/s", "p50, ms", "p99, ms", "server, of 200 %"], rows)


def _compared():
    """(scenario, number, what it is, whether less is better) of everything that a peer could do better."""
    exchange = (("cpu_us", "CPU", True), ("per_second", "deliveries per second", False), ("p99_us", "latency p99", True))
    for scenario, title in (
        *((f"room-{count}", f"one room, {count} in flight") for count in IN_FLIGHT),
        ("rooms", "many rooms"), ("polling", "polling"),
    ):
        yield from ((scenario, number, f"{title}: {what}", less) for number, what, less in exchange)
    yield "connect", "cpu_us", "CPU per connection", True
    yield "connect", "rss_each", "memory per idle connection", True
    yield "crowd", "cpu_us", "CPU per connection in a crowd", True
    yield "crowd", "rss_each", "memory per idle connection in a crowd", True
    yield "stalled", "with_growth", "memory for readers that stop", True
    yield "stalled", "with_p99_us", "latency p99 beside readers that stop", True
    yield "waves", "rss_5", "memory after five waves", True


def losses(results):
    """Where a peer was ahead by more than noise, one sentence each."""
    found = []
    for scenario, number, what, less in _compared():
        mine = results.get(scenario, ALT_WS, number)
        for peer in PEERS:
            theirs = results.get(scenario, peer, number)
            if not mine or theirs is None or (mine <= theirs * NOISE if less else mine * NOISE >= theirs):
                continue
            shown = _megabytes if what.startswith("memory") and "idle" not in what else _number
            by = f" ({mine / theirs if less else theirs / mine:.2f} ×)" if theirs else ""
            found.append(f"- {what}: {peer} is ahead, {shown(theirs)} to {shown(mine)}{by}.")
    return found


def _behind(results, verdicts):
    missed = [
        f"- {verdict.key}, {verdict.what}: {verdict.measured}, where {verdict.target} was the "
        f"aim; {verdict.text()}."
        for verdict in verdicts
        if verdict.missed_by is not None and verdict.missed_by > 0
    ]
    found = missed + losses(results)
    return "\n".join(found) if found else (
        "Nowhere in this run: every target is met, and no peer was ahead by more than 3 % in any of these tables."
    )


def _damage(results):
    found = [
        f"- {scenario}, {server}: {count:,} {what} in one round" for scenario, server, what, count in results.damage()
    ] + [f"- {failure['scenario']}, {failure['server']}: {failure['why'].splitlines()[0]}" for failure in results.failures]
    if not found:
        return "Every client checked every message: none was lost, doubled or out of order, on any server."
    return "What went wrong in this run:\n\n" + "\n".join(found)


def _head(results):
    about = results.about
    layout = about["layout"]
    shared = (
        " With so few processors a server on two cores shares one of them with the generator."
        if layout["shared"] else ""
    )
    return (
        _table(["", ""], [[what, which] for what, which in about["machine"].items()]).replace("---:", "---")
        + f"\n\nEach server ran on processor {layout['one'][0]}, the generator on processor {layout['generator'][0]}."
        + shared
    )


def _quiet(results):
    """Whether the machine was left alone, from the time that processes waited for a processor."""
    alone = [f"room-{count}" for count in IN_FLIGHT] + ["rooms", "polling"]

    def waited(scenario, name):
        return max(results.get(scenario, name, f"{who}_waited") or 0 for who in ("server", "generator"))

    rows = [(waited(scenario, name), scenario, name) for scenario in alone for name in results.servers(scenario)]
    if not rows:
        return ""
    most, scenario, name = max(rows)
    disturbed = sum(row[0] > DISTURBED for row in rows)
    verdict = (
        f"The machine was **not** quiet: in {disturbed} of {len(rows)} rows something else had one of the two processors for "
        f"more than {_percent(DISTURBED)} of the time, {_percent(most)} at most ({scenario}, {name}). Latencies and rates of "
        "those rows say little; CPU per delivery suffers less."
        if disturbed else
        f"The machine was quiet: neither server nor generator waited for its processor for more than {_percent(most)} of the "
        "time in any of these rows, and some of that is threads of their own."
    )
    return verdict


def markdown(results):
    """The page."""
    verdicts = targets.verdicts(results)
    about, sizes = results.about, results.about["sizes"]
    rounds = results.rounds("room-1", ALT_WS)
    medians = f"Medians of {rounds} rounds" if rounds > 1 else "One round"
    target_rows = [
        [verdict.key, verdict.what, verdict.target, verdict.measured, verdict.text()] for verdict in verdicts
    ]
    generator = max(
        (results.get(f"room-{count}", name, "generator_busy") or 0 for count in IN_FLIGHT for name in ALL), default=0
    )
    rooms = "\n\n".join(
        f"**{count} in flight**\n\n"
        + _exchange_table(results, f"room-{count}", "delivery", (FLOOR, CORKED) if count > 1 else (FLOOR,))
        for count in IN_FLIGHT
    )
    return f"""# Benchmarks

Written by `make bench` on {about["date"]}; do not edit. Absolute numbers belong to the machine; what counts is the
ratio to the references in the same run.

- **{FLOOR}**: one thread, one epoll loop, one encoded frame per message, one `write` per recipient. No HTTP library, no
  tokens, no store. What the kernel charges for a fan-out, and little else.
- **{CORKED}**: the same, with all messages of one turn of the loop in one vectored `write` per recipient.
- **{SOCKETIOXIDE}** 0.18.9 on hyper and **{NODE}** 4.8.4 with `ws` and `bufferutil`: the same two events, their best
  settings, neither tokens nor a store.
- **{ALT_WS}** does everything it does in production: it checks a token for each client, parses and checks each message,
  numbers it, stores it (in memory, unless said otherwise) and acknowledges it.

CPU is the server process's own, all threads, from `/proc/PID/stat`. {medians} (two for stalled readers, one
for crowds and waves), in each of which the servers take turns. Code: `benches/fanout`.

{_head(results)}

{_quiet(results)}

## Targets

{_table(["", "what", "target", "measured", ""], target_rows).replace("---:", "---")}

## Where alt-ws is behind

{_behind(results, verdicts)}

What a profile shows of the cost that remains stands in [decisions.md](decisions.md#where-the-time-of-a-fan-out-goes).

## Fan-out: one room of {sizes["clients"]:,}

{sizes["clients"]:,} WebSocket clients, messages of 100 bytes of text, {sizes["seconds"]:g} s a run. *In flight* is how many messages are under way at
any time: the next is sent when one has come back to its sender. The generator used at most {_percent(generator)} of its
core, so {"it was never what held a server back" if generator < 0.9 else "where both cores are near 100 % the deliveries per second are as much its limit as the server's; CPU per delivery is not affected"}.

{_plot(results, "cpu-per-delivery.svg", "Server CPU per delivered message")}

{rooms}

{_plot(results, "latency-1.svg", "Latency with one message in flight")}

{_plot(results, "latency-16.svg", "Latency with 16 messages in flight")}

## Many small rooms

{sizes["clients"] // 10} rooms of 10, {min(64, sizes["clients"] // 10)} senders with one message in flight each.

{_exchange_table(results, "rooms", "delivery", (FLOOR, CORKED))}

## One core and two

{_cores(results)}

## Connections: CPU and memory

From the handshake to the answer of `room:join`, each client in a room of its own, or ten to a room. Memory is what the
process grew by while all of them were idle, after ten clients had come and gone.

{_plot(results, "memory-per-connection.svg", "Resident memory per idle connection")}

{_connections(results)}

## Long-polling

{sizes["polling"]} clients that only poll, each in a room of its own, each waiting for its own message.

{_exchange_table(results, "polling", "echo", ())}

## Readers that stop reading

One busy room of {sizes["clients"] + sizes["stalled"]:,}, 16 in flight: once all of them read, once {sizes["stalled"]:,} of them stop after joining. Latency is that of
those who read; memory is how far it rose while messages were sent. What the kernel holds is mostly what it took for
the stalled ones before it refused more.

{_stalled(results)}

## Waves

{sizes["crowd"]:,} clients connect, join rooms of 10, each room hears a message, all go; five times. Resident memory after each.

{_waves(results)}

## Messages on disk

The embedded store, on {about["machine"].get("Data folder", "disk")}: acknowledged means written and synced. A bare `fdatasync` of 4 KiB took
{_milliseconds(results.get("durable", ALT_WS, "fdatasync_us"))} ms on the same disk (median). The server ran on two cores. Latency is from sending to receiving one's own
message, which is sent out after the commit, just before the acknowledgement.

{_durable(results)}

## Lost, doubled, out of order

{_damage(results)}
"""


def write(results, docs):
    """Writes the page and its plots; returns the files."""
    folder = docs / "benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.svg"):
        old.unlink()
    files = {docs / "benchmarks.md": markdown(results)}
    files |= {folder / name: plot for name, plot in all_plots(results, IN_FLIGHT).items()}
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")
    return list(files)

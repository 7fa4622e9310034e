"""The targets P1 to P11, each met or missed by how much."""

from dataclasses import dataclass
from typing import Optional

from .servers import ALT_WS, CORKED, FLOOR, NODE


@dataclass(frozen=True)
class Verdict:
    """One target. `missed_by` is None when there is nothing to compare, at most 0 when it is met."""

    key: str
    what: str
    target: str
    measured: str
    missed_by: Optional[float]

    def text(self):
        if self.missed_by is None:
            return "not measured"
        if self.missed_by <= 0:
            return "**met**"
        return f"missed by {max(1, round(self.missed_by * 100))} %"


def _at_most(key, what, target, value, limit, shown):
    """A number that should be small; `target` and `shown` are how the limit and the number are written."""
    if value is None or limit is None:
        return Verdict(key, what, target, "–", None)
    return Verdict(key, what, target, shown(value), value / limit - 1 if limit else 0)


def _at_least(key, what, target, value, limit, shown):
    if value is None:
        return Verdict(key, what, target, "–", None)
    return Verdict(key, what, target, shown(value), (limit - value) / limit)


def verdicts(results):
    """All targets, in order."""

    def times(reference):
        return lambda value: f"{value:.2f} × {reference}"

    def kilobytes(value):
        return f"{value / 1024:.1f} KB"

    get, ratio = results.get, results.ratio
    memory = [value for key in ("idle", "crowd") if (value := get(key, ALT_WS, "rss_each")) is not None]
    sync = get("durable", ALT_WS, "fdatasync_us")
    first, last = get("waves", ALT_WS, "rss_1"), get("waves", ALT_WS, "rss_5")
    growth, quiet = get("stalled", ALT_WS, "with_growth"), get("stalled", ALT_WS, "without_growth")
    p99, quiet_p99 = get("stalled", ALT_WS, "with_p99_us"), get("stalled", ALT_WS, "without_p99_us")
    stalled = Verdict("P11", "Readers that stop reading", "memory + 100 MB, others' p99 + 20 %", "–", None)
    if None not in (growth, quiet, p99, quiet_p99) and quiet_p99:
        more, later = max(0, growth - quiet), p99 / quiet_p99 - 1
        kernel = get("stalled", ALT_WS, "with_kernel") or 0
        stalled = Verdict(
            stalled.key, stalled.what, stalled.target,
            f"{more / 1e6:+.0f} MB (and {kernel / 1e6:+.0f} MB in the kernel), {later * 100:+.0f} %",
            max(more / 100e6 - 1, (1 + later) / 1.2 - 1),
        )
    return [
        _at_most("P1", "CPU per delivery, 1 in flight", "≤ 1.25 × floor",
                 ratio("room-1", ALT_WS, FLOOR, "cpu_us"), 1.25, times("floor")),
        _at_most("P2", "CPU per delivery, 16 in flight", "≤ 1.6 × corked floor",
                 ratio("room-16", ALT_WS, CORKED, "cpu_us"), 1.6, times("corked floor")),
        _at_least("P3", "Deliveries per second on one core, 16 in flight", "≥ 0.5 × corked floor",
                  ratio("room-16", ALT_WS, CORKED, "per_second"), 0.5, times("corked floor")),
        _at_most("P4", "Memory per idle connection in rooms of 10, the larger of both crowds", "≤ 6 KB",
                 max(memory) if len(memory) == 2 else None, 6 * 1024, kilobytes),
        _at_most("P5", "CPU per connection, token checked, room joined", "≤ 150 µs",
                 get("connect", ALT_WS, "cpu_us"), 150, lambda value: f"{value:.0f} µs"),
        _at_most("P6", "Latency p99, 1 in flight", "≤ 1.3 × floor",
                 ratio("room-1", ALT_WS, FLOOR, "p99_us"), 1.3, times("floor")),
        _at_least("P7", "Messages acknowledged per second, on disk", "≥ 10,000",
                  get("durable", ALT_WS, "many_acked_per_second"), 10_000, lambda value: f"{value:,.0f}"),
        _at_most("P8", "Time until a lone message is back, on disk, p50",
                 "≤ 1.5 × fdatasync + 1 ms" + (f" = {1.5 * sync / 1000 + 1:.2f} ms" if sync else ""),
                 get("durable", ALT_WS, "one_p50_us"), 1.5 * sync + 1000 if sync else None,
                 lambda value: f"{value / 1000:.2f} ms"),
        _at_most("P9", "CPU per message echoed over polling", "≤ 0.5 × Node",
                 ratio("polling", ALT_WS, NODE, "cpu_us"), 0.5, times("Node")),
        _at_most("P10", "Memory after the fifth wave", "≤ 1.15 × after the first",
                 last / first if first and last else None, 1.15, lambda value: f"{value:.2f} × after the first"),
        stalled,
    ]

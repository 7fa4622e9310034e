"""Bars as SVG, written by hand: readable on light and on dark, without a font or a script of their own."""

import math
from html import escape

# Strong enough on white and on black; one per server, told apart by lightness as well as by hue.
COLOURS = {
    "floor": "#8b949e",
    "corked floor": "#57606a",
    "alt-ws": "#2f81f7",
    "socketioxide": "#d29922",
    "Node socket.io": "#2da44e",
}

WIDTH, TOP, BOTTOM, LEFT, RIGHT, PLOT = 860, 92, 46, 64, 16, 300

STYLE = """
  text { font: 12px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2328 }
  .title { font-size: 16px; font-weight: 600 }
  .quiet { fill: #59636e }
  .value { font-size: 10px }
  .grid { stroke: #d1d9e0; stroke-width: 1 }
  .axis { stroke: #818b98; stroke-width: 1 }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc }
    .quiet { fill: #9198a1 }
    .grid { stroke: #3d444d }
  }
"""


def short(value):
    """A number with two or three digits that matter."""
    if value >= 10_000:
        return f"{value / 1000:,.0f}k"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value >= 1 else f"{value:.2f}"


def _ticks(low, high):
    """Powers of ten from `low` to `high`, and 2 and 5 between them when that leaves few lines."""
    steps = (1,) if high / low > 1000 else (1, 2, 5)
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [step * 10.0**exponent for exponent in exponents for step in steps]
    return [tick for tick in found if low <= tick * 1.0001 and tick <= high * 1.0001]


def _bounds(values):
    """The scale's ends: below the smallest value, so that each bar can be seen, and above the largest."""
    low, high = min(values), max(values)
    steps = (1, 2, 5, 10)
    floor, ceiling = 10.0 ** math.floor(math.log10(low)), 10.0 ** math.floor(math.log10(high))
    below = max((step * floor for step in steps if step * floor < low * 0.9), default=floor / 2)
    above = min(step * ceiling for step in (*steps, 20) if step * ceiling > high * 1.05)
    return below, above


def bars(title, note, groups, series, values, unit):
    """Bars in groups on a logarithmic scale. `values[group][name]` may be missing; None when nothing is there at all.

    `series` are names from COLOURS, the same colour in every plot.
    """
    there = [value for group in groups for value in values.get(group, {}).values() if value]
    if not there:
        return None
    series = [name for name in series if any(values.get(group, {}).get(name) for group in groups)]
    low, high = _bounds(there)

    def height(value):
        return PLOT * math.log(value / low) / math.log(high / low)

    bottom = TOP + PLOT
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + BOTTOM}" role="img" '
        f'aria-label="{escape(title)}">',
        f"<style>{STYLE}</style>",
        f'<text class="title" x="{LEFT}" y="24">{escape(title)}</text>',
        f'<text class="quiet" x="{LEFT}" y="44">{escape(note)}</text>',
    ]
    x = LEFT
    for name in series:
        out.append(f'<rect x="{x}" y="59" width="12" height="12" rx="2" fill="{COLOURS[name]}"/>')
        out.append(f'<text x="{x + 18}" y="69">{escape(name)}</text>')
        x += 34 + 7 * len(name)
    for tick in _ticks(low, high):
        y = bottom - height(tick)
        out.append(f'<line class="grid" x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}"/>')
        out.append(f'<text class="quiet" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{short(tick)}</text>')
    out.append(
        f'<text class="quiet" x="{LEFT - 8}" y="{TOP - 14}" text-anchor="end">{escape(unit)}</text>'
    )
    group_width = (WIDTH - LEFT - RIGHT) / len(groups)
    bar_width = min(40, group_width * 0.84 / len(series))
    for number, group in enumerate(groups):
        middle = LEFT + group_width * (number + 0.5)
        x = middle - bar_width * len(series) / 2
        for name in series:
            value = values.get(group, {}).get(name)
            if value:
                top = bottom - height(value)
                out.append(
                    f'<rect x="{x + 1:.1f}" y="{top:.1f}" width="{bar_width - 2:.1f}" height="{bottom - top:.1f}" '
                    f'rx="2" fill="{COLOURS[name]}"><title>{escape(f"{name}, {group}: {short(value)} {unit}")}</title></rect>'
                )
                out.append(
                    f'<text class="value" x="{x + bar_width / 2:.1f}" y="{top - 4:.1f}" text-anchor="middle">'
                    f"{short(value)}</text>"
                )
            x += bar_width
        out.append(f'<text x="{middle:.1f}" y="{bottom + 20}" text-anchor="middle">{escape(group)}</text>')
    out.append(f'<line class="axis" x1="{LEFT}" y1="{bottom}" x2="{WIDTH - RIGHT}" y2="{bottom}"/>')
    out.append(
        f'<text class="quiet" x="{WIDTH - RIGHT}" y="{bottom + 40}" text-anchor="end">'
        "logarithmic scale, shorter is better</text>"
    )
    return "\n".join([*out, "</svg>", ""])


def all_plots(results, in_flight):
    """The plots of a run by file name."""
    sizes, servers = results.about["sizes"], list(COLOURS)

    def table(groups, scenario_and_number, scale):
        found = {}
        for group in groups:
            scenario, number = scenario_and_number(group)
            found[group] = {
                name: value / scale for name in servers if (value := results.get(scenario, name, number)) is not None
            }
        return found

    room = f"{sizes['clients']:,} WebSocket clients in one room, messages of 100 bytes, server on one core"
    groups = {f"{count} in flight": f"room-{count}" for count in in_flight}
    percentiles = {"p50": "p50_us", "p99": "p99_us", "p99.9": "p999_us"}
    crowds = {f"{sizes['clients']:,} clients": "idle", f"{sizes['crowd']:,} clients": "crowd"}
    plots = {
        "cpu-per-delivery.svg": bars(
            "Server CPU per delivered message", room, list(groups), servers,
            table(groups, lambda group: (groups[group], "cpu_us"), 1), "µs",
        ),
        "latency-1.svg": bars(
            "Latency, one message in flight", room, list(percentiles), servers,
            table(percentiles, lambda group: ("room-1", percentiles[group]), 1000), "ms",
        ),
        "latency-16.svg": bars(
            "Latency, 16 messages in flight", room, list(percentiles), servers,
            table(percentiles, lambda group: ("room-16", percentiles[group]), 1000), "ms",
        ),
        "memory-per-connection.svg": bars(
            "Resident memory per idle connection",
            "WebSocket, each in a room of its own; only alt-ws checks a token for it",
            list(crowds), servers, table(crowds, lambda group: (crowds[group], "rss_each"), 1024), "KB",
        ),
    }
    return {name: plot for name, plot in plots.items() if plot}

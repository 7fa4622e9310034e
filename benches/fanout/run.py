#!/usr/bin/env python3
"""The benchmark: alt-ws beside the floor and the peers, in one run, as numbers and as a picture.

    run.py            everything; writes docs/benchmarks.md and its plots (about ten minutes)
    run.py --quick    small numbers, in under a minute: that every scenario runs and nothing is lost; writes nothing

Needs Linux, Python 3.9, a Rust toolchain and, for the peers, Node with npm.
"""

import argparse
import datetime
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path

from harness import machine, report, targets
from harness.build import FANOUT, ROOT, build
from harness.processes import Failure, stop_all
from harness.results import Results
from harness.scenarios import DAMAGE, DISTURBED, FULL, QUICK, Bench, all_scenarios
from harness.servers import ALT_WS

RESULTS = FANOUT / "target" / "results.json"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a smoke test: small numbers, nothing written")
    parser.add_argument("--only", metavar="SCENARIO", nargs="+", help="these scenarios alone; nothing written")
    parser.add_argument("--rounds", type=int, metavar="N", help=f"instead of {FULL.rounds}")
    parser.add_argument("--without-peers", action="store_true", help="leave out peers that cannot be built")
    parser.add_argument("--generator", type=Path, metavar="PROGRAM", help="another alt-ws for the load")
    parser.add_argument("--render", type=Path, metavar="JSON", nargs="?", const=RESULTS,
                        help=f"write the page again from the numbers of an earlier run ({RESULTS.name})")
    return parser.parse_args()


def raise_limits(sockets):
    """Lets this process and its children open as many files as `sockets` clients need; says how many that are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = sockets + 1000
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(wanted, hard) if hard >= 0 else hard))
        except (ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return sockets if soft == resource.RLIM_INFINITY else min(sockets, soft - 1000)


def sized(options):
    sizes = QUICK if options.quick else FULL
    sizes = replace(sizes, rounds=options.rounds or sizes.rounds)
    possible = raise_limits(sizes.crowd + sizes.clients)
    if possible < sizes.crowd:
        print(f"only {possible} files may be open: crowds are that small; `ulimit -n` is the limit")
        sizes = replace(sizes, crowd=possible // 10 * 10)
    return sizes


def line(numbers):
    """A few numbers of a measurement, for the one who watches."""
    shown = (("cpu_us", "µs CPU"), ("per_second", "/s"), ("p99_us", "µs p99"), ("rss_each", "bytes each"),
             ("rss_1", "bytes after the first"), ("rss_5", "bytes after the fifth"),
             ("without_p99_us", "µs p99, all reading"), ("with_p99_us", "µs p99, some stalled"),
             ("many_acked_per_second", "acked/s"))
    parts = [f"{numbers[key]:,.4g} {unit}" if numbers[key] < 1000 else f"{numbers[key]:,.0f} {unit}"
             for key, unit in shown if key in numbers]
    if (waited := max(numbers.get("server_waited", 0), numbers.get("generator_waited", 0))) > DISTURBED:
        parts.append(f"disturbed for {waited * 100:.0f} % of the time")
    parts += [f"{numbers[key]:,} {key.upper()}" for key in DAMAGE if numbers.get(key)]
    return ", ".join(parts)


def measure(bench, scenarios, results):
    """Runs all rounds that fit into the time. What fails is noted, and not tried again."""
    started = time.monotonic()
    for number in range(bench.sizes.rounds):
        for scenario in scenarios:
            for name in scenario.servers:
                failed = any((f["scenario"], f["server"]) == (scenario.key, name) for f in results.failures)
                if name != ALT_WS and name not in bench.starts or number >= scenario.most_rounds or failed:
                    continue
                spent = time.monotonic() - started
                if spent > bench.sizes.budget:
                    print(f"the time is over after {spent:.0f} s; the report has what was measured until now")
                    return
                print(f"[{spent:4.0f} s, round {number + 1}/{bench.sizes.rounds}] {scenario.title}: {name} … ",
                      end="", flush=True)
                try:
                    numbers = scenario.measure(bench, name)
                except (Failure, OSError, KeyError) as failure:
                    why = f"{type(failure).__name__}: {failure}" if not isinstance(failure, Failure) else str(failure)
                    results.fail(scenario.key, name, why)
                    print(f"FAILED\n{why}", flush=True)
                    continue
                results.add(scenario.key, name, numbers)
                print(line(numbers), flush=True)


def about(sizes, data_root):
    """What the report says of where and when."""
    git = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False)
    found = machine.description(data_root)
    if git.returncode == 0:
        found["alt-ws"] = git.stdout.strip()
    return {
        "date": datetime.date.today().isoformat(),
        "machine": found,
        "layout": machine.layout(),
        "sizes": asdict(sizes),
    }


def publish(results):
    for path in report.write(results, ROOT / "docs"):
        print("wrote", path.relative_to(ROOT))
    for verdict in targets.verdicts(results):
        print(f"{verdict.key:>4}  {verdict.text().replace('*', ''):<16} {verdict.what}: {verdict.measured} ({verdict.target})")


def main():
    options = arguments()
    if options.render:
        publish(Results.load(options.render))
        return 0
    programs = build(peers_needed=not (options.quick or options.without_peers))
    sizes = sized(options)
    scenarios = all_scenarios(sizes)
    if options.only:
        known = {scenario.key for scenario in scenarios}
        if unknown := set(options.only) - known:
            raise SystemExit(f"no such scenario: {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}")
        scenarios = [scenario for scenario in scenarios if scenario.key in options.only]
    (FANOUT / "target").mkdir(exist_ok=True)
    # Beside the build, because /tmp is often no disk.
    with tempfile.TemporaryDirectory(prefix="data-", dir=FANOUT / "target") as data_root:
        results = Results(about(sizes, data_root))
        bench = Bench(programs, options.generator or programs.alt_ws, sizes, Path(data_root))
        try:
            measure(bench, scenarios, results)
        finally:
            stop_all()
    # Only a whole run is worth a page.
    if options.quick or options.only:
        results.save(RESULTS.with_name("results-partial.json"))
    else:
        results.save(RESULTS)
        publish(results)
    broken = [f"{failure['scenario']} failed for {failure['server']}" for failure in results.failures]
    broken += [f"{scenario}, {server}: {count:,} {what}" for scenario, server, what, count in results.damage()]
    broken += [f"{scenario.title} was not measured" for scenario in scenarios if not results.rounds(scenario.key, ALT_WS)]
    for complaint in broken:
        print("NOT GOOD:", complaint)
    measured = sum(len(results.servers(scenario.key)) for scenario in scenarios)
    print(f"{measured} passed, {len(broken)} failed")
    return 1 if broken else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)

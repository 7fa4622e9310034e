"""The benchmark's parts: build, processes, servers, scenarios, targets, report, plots."""

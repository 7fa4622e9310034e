"""What was measured, round by round, and the medians of it."""

import json
from pathlib import Path
from statistics import median

from .scenarios import DAMAGE


class Results:
    """The numbers of each scenario and server, a table of them for each round."""

    def __init__(self, about=None, rounds=None, failures=None):
        # Machine, versions, sizes: whatever the report's head needs.
        self.about = about or {}
        self._rounds = rounds or {}
        self.failures = failures or []

    def add(self, scenario, server, numbers):
        self._rounds.setdefault(scenario, {}).setdefault(server, []).append(numbers)

    def fail(self, scenario, server, why):
        self.failures.append({"scenario": scenario, "server": server, "why": why})

    def rounds(self, scenario, server):
        """How many rounds there are."""
        return len(self._rounds.get(scenario, {}).get(server, []))

    def servers(self, scenario):
        """The servers that have numbers, in the order they were first run."""
        return list(self._rounds.get(scenario, {}))

    def get(self, scenario, server, number):
        """The median of a number over the rounds; None when there is none."""
        rounds = self._rounds.get(scenario, {}).get(server, [])
        values = [numbers[number] for numbers in rounds if numbers.get(number) is not None]
        return median(values) if values else None

    def worst(self, scenario, server, number):
        """The largest of a number over the rounds; 0 when there is none."""
        return max((numbers.get(number, 0) for numbers in self._rounds.get(scenario, {}).get(server, [])), default=0)

    def ratio(self, scenario, server, reference, number):
        """A number by the same number of a reference, both from the same run; None when either is missing."""
        mine, theirs = self.get(scenario, server, number), self.get(scenario, reference, number)
        return mine / theirs if mine is not None and theirs else None

    def damage(self):
        """(scenario, server, what, how many) wherever messages went wrong."""
        return [
            (scenario, server, number, count)
            for scenario, found in self._rounds.items()
            for server in found
            for number in DAMAGE
            if (count := self.worst(scenario, server, number))
        ]

    def save(self, path):
        numbers = {"about": self.about, "rounds": self._rounds, "failures": self.failures}
        Path(path).write_text(json.dumps(numbers, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, path):
        numbers = json.loads(Path(path).read_text(encoding="utf-8"))
        return cls(numbers["about"], numbers["rounds"], numbers["failures"])

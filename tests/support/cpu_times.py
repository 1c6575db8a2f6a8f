"""pytest's option `--cpu-times FILE`: what each test costs, in a table of tabs, the dearest first.

Seconds of processor time count the test's own process, every process below it that is still alive, and all
that those have waited for. A fixture's time is that of the first test that needs it.
"""

import os
import time
from pathlib import Path

import pytest

HEAD = "cpu_s\twall_s\ttest"
TICKS = os.sysconf("SC_CLK_TCK")


def pytest_addoption(parser):
    parser.addoption("--cpu-times", metavar="FILE", help="write what each test costs to FILE, in seconds")


def pytest_configure(config):
    path = config.getoption("--cpu-times")
    if path:
        config.pluginmanager.register(CpuTimes(Path(path), lead=not hasattr(config, "workerinput")))


def tree_seconds(pid):
    """Processor time of a process, of those below it, and of all that they have waited for. Linux only."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        children = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:  # it has ended
        return 0.0
    own = sum(map(int, fields[11:15])) / TICKS  # user, system, and both of the children waited for
    return own + sum(tree_seconds(int(child)) for text in children for child in text.split())


class CpuTimes:
    """Adds a line per test; the process that leads (not one of pytest-xdist's) begins and sorts the file."""

    def __init__(self, path, lead):
        self.path, self.lead = path, lead
        if lead:
            path.write_text("")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        cpu, wall = tree_seconds(os.getpid()), time.perf_counter()
        done = yield
        cpu, wall = tree_seconds(os.getpid()) - cpu, time.perf_counter() - wall
        with self.path.open("a") as handle:
            handle.write(f"{max(cpu, 0):.2f}\t{wall:.2f}\t{item.nodeid}\n")
        return done

    def pytest_terminal_summary(self, terminalreporter):
        if self.lead:
            rows = [line.split("\t", 2) for line in self.path.read_text().splitlines()]
            rows.sort(key=lambda row: -float(row[0]))
            self.path.write_text("".join(f"{line}\n" for line in (HEAD, *map("\t".join, rows))))
            total = sum(float(row[0]) for row in rows)
            terminalreporter.write_line(f"{total:.0f} seconds of processor time, by test in {self.path}")

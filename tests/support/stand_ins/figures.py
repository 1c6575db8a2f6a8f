"""Stand-in for matplotlib: every call is accepted, and the file holds the calls with their data."""

from contextlib import contextmanager

import numpy as np

from alma.files import write_text

BLACK = ORANGE = SKY = GREEN = YELLOW = BLUE = RED = PURPLE = GRAY = "#000000"
CYCLE = ("#000000",) * 7
MARKERS = ("o",) * 7


class Recorder:
    """A canvas, axes, or what their methods return: writes each call to a list."""

    def __init__(self, calls, name):
        self._calls, self._name = calls, name

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Recorder(self._calls, f"{self._name}.{name}")

    def __call__(self, *arguments, **options):
        told = [repr(value) for value in (arguments, options)]
        self._calls.append(f"{self._name} {' '.join(told)}")
        return self

    def __getitem__(self, key):
        return self

    def __repr__(self):
        return self._name

    def __iter__(self):
        return iter(())


@contextmanager
def figure(path, size, rows=1, columns=1, **subplots):
    calls: list[str] = []
    grid = np.empty((rows, columns), dtype=object)
    for place in np.ndindex(rows, columns):
        grid[place] = Recorder(calls, f"axes{place}")
    yield Recorder(calls, "figure"), grid
    write_text(path, "\n".join(calls))


def nothing(axes, text):
    axes.text(text)


def checkpoint_colors(names):
    return dict.fromkeys([*names, "base", "judge-seed", "judge", "chosen"], "#000000")


def with_interval(axes, x, rows, **style):
    axes.errorbar(x, rows)

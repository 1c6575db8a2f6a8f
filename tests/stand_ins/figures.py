"""Stand-in for matplotlib: every call is accepted, and the file holds what was drawn."""

import re
from contextlib import contextmanager
from unittest.mock import MagicMock

from alma.files import write_text

CYCLE = ["#000000"] * 8
MARKERS = ["o"] * 8
BLACK = BLUE = GREEN = GREY = ORANGE = PURPLE = RED = SKY = "#000000"


class Axes(MagicMock):
    """Axes, and arrays of them."""

    def __getitem__(self, key):
        return self

    def __iter__(self):
        return iter([self] * 6)


@contextmanager
def figure(path, size, rows=1, columns=1, **subplots):
    canvas, axes = MagicMock(), Axes()
    yield canvas, axes
    drawn = f"{axes.mock_calls!r}\n{canvas.mock_calls!r}"
    write_text(path, re.sub(r"0x[0-9a-f]+|id='\d+'", "", drawn))


def nothing(axes, text):
    axes.text(text)


def checkpoint_colors(names):
    return dict.fromkeys(names, "#000000") | {"chosen": "#000000"}


def with_interval(axes, x, rows, **style):
    axes.errorbar(x, rows)

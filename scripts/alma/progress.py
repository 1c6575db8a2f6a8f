"""A steady line in the log of a long job: how far, how fast, how long still."""

import sys
import time


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes:02d}min" if hours else f"{minutes}min {rest:02d}s" if minutes else f"{rest}s"


class Progress:
    """Print one line at most every `every` seconds, and one at the end.

    A plain line and no bar: it reads the same in a terminal, a log file and a cluster's output.
    """

    def __init__(self, what: str, total: int, unit: str, every: float = 5.0) -> None:
        self.what, self.total, self.unit, self.every = what, total, unit, every
        self.done, self.start = 0, time.monotonic()
        self.last = self.start

    def advance(self, count: int = 1) -> None:
        """Note that `count` more units are done."""
        self.done += count
        now = time.monotonic()
        if now - self.last >= self.every or self.done >= self.total:
            self.last = now
            rate = self.done / max(now - self.start, 1e-9)
            left = (self.total - self.done) / rate
            note = f"{_span(left)} left" if self.done < self.total else f"took {_span(now - self.start)}"
            print(
                f"{self.what}: {self.done}/{self.total} {self.unit}, {rate:.1f}/s, {note}",
                flush=True,
            )
            sys.stdout.flush()

"""What a library prints as it starts, kept out of a job's log, which it would bury."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

SHOW = "ALMA_SHOW_START"  # set to 1, nothing is held back


@contextmanager
def held_back(what: str) -> Iterator[None]:
    """Hold back what the body prints, that of C libraries included; it is shown where the body fails.

    One line says how much was left out. Processes that the body starts must not outlive it: they would go on
    printing to where nobody reads.
    """
    if os.environ.get(SHOW):
        yield
        return
    sys.stdout.flush()
    sys.stderr.flush()
    before = os.dup(1), os.dup(2)
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), 1)
        os.dup2(kept.fileno(), 2)
        failed = True
        try:
            yield
            failed = False
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, old in enumerate(before, start=1):
                os.dup2(old, number)
                os.close(old)
            kept.seek(0)
            said = kept.read()
            if failed:
                os.write(2, said)
        if said:
            lines = len(said.splitlines())
            print(f"{what} is ready; {lines} lines that it printed are left out ({SHOW}=1 shows them)")

# fmt: off
# ruff: noqa
"""Many kinds of syntax node, for the code hash: each must give the same words in every Python.

It is parsed and never run. An edit changes the golden hash in tests/test_codehash.py.
"""

from __future__ import annotations

import os.path as place, sys
from collections import abc, deque as queue

GLOBAL: int = 1
BARE: list[int]
TEXT = "ä – é 🙂 \u0378 \x00 \t" 'and more' r"\d" if b"bytes\xff" else u"unicode"
NUMBERS = [0, -1, 1_000, 0xFF, 1.5, 1e300, 1e-7, 2j, True, None, ..., 10**20]
FORMATTED = f"{GLOBAL!r:>{GLOBAL}} {{braces}} {GLOBAL=} {GLOBAL:.3f}" f"{'nested' + f'{GLOBAL}'}" "plain"
EMPTY = f"", f"{GLOBAL}", f"{GLOBAL:}", f"a\nb{GLOBAL}\tc{{", rf"\d{GLOBAL}\w"
MORE = f"{GLOBAL = } {GLOBAL = !r:^{10}.{2}} \N{EM DASH} {'a' 'b'} {(lambda: 1)()} {GLOBAL:\n>4} {GLOBAL!a}"
LONG = f"""
  first {GLOBAL
  } {sorted([3, 1], key=lambda x: -x)[0]:{'>'}{10}}
"""


@staticmethod
def plain(a, /, b, c=1, *args, d, e=2, **kwargs) -> int:
    """Gone from the hash."""
    global GLOBAL
    GLOBAL += 1
    x = y = a if b else c
    (p, *q), [r] = [1, 2, 3], [4]
    del x, q[0]
    assert y, "words"
    return a + b - c * d / e // 2 % 3 @ p << 1 >> 2 | 3 & 4 ^ ~5


def nothing(): return


def none(): return None


class Sample(abc.Sized, metaclass=type, **{}):
    """Gone too."""

    field: int = 0

    def __len__(self):
        def inner():
            nonlocal count
            count = 1
            yield count
            got = yield
            yield from (got, *self.items)
        count = 0
        return super().__len__()

    @property
    def other(self): pass


async def waits(rows):
    async with open(rows) as a, open(rows): ...
    async for row in rows:
        await row
    return [x async for x in rows if await x]


for i, (j, k) in enumerate(NUMBERS):
    if not i: continue
    elif i is not None and j in k or i not in j: break
    else: pass
else:
    i = 1 < 2 <= 3 != 4 == 5 > 6 >= 7

while (n := 10) > 5:
    break

with open("a") as a, (open("b")) as (b, c):
    pass

with (open("a") as a, open("b")):
    pass

try:
    raise
except (ValueError, TypeError) as error:
    raise KeyError from error
except Exception:
    raise RuntimeError("words", 1) from None
else:
    pass
finally:
    pass

try:
    pass
except* OSError as group:
    print("gone")
except* ValueError:
    print("stays", file=sys.stderr)

match NUMBERS:
    case [1, 2, *rest] if rest: pass
    case {"a": 1, **more}: pass
    case Sample(1, field=2) | Sample(): pass
    case (1 | 2) as low: pass
    case -1.5 | 1 + 2j | "text" | None | True: pass
    case place.sep: pass
    case [_, [*_]]: pass
    case _: pass

made = {1, *NUMBERS}, {**{}, "a": 1, **{"b": 2}}, (), [], {}, set(), (1,), [*NUMBERS, 1]
grown = [x for y in NUMBERS for x in y if x if y], {x: y for x, y in made}, {x for x in made}, (x for x in made)
cut = made[0], made[1:2], made[::2, 1], made[...], made[*NUMBERS], made[:, None]
call = plain(1, *made, d=2, **{}, e=3), (lambda *a, k=1, **b: (a, k, b)), (lambda: (yield))
del cut

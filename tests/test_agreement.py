"""Krippendorff's alpha: published examples, a reference written as its definition, the bootstrap."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alma.agreement import agreement, krippendorff_alpha

# Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), section D: four observers, twelve units.
PUBLISHED = """
1 2 3 3 2 1 4 1 2 . .  .
1 2 3 3 2 2 4 1 2 5 .  3
. 3 3 3 2 3 4 2 2 5 1  .
1 2 3 3 2 4 4 1 2 5 1  .
"""


def units_of(text):
    lines = [line.split() for line in text.strip().splitlines()]
    return [[float(cell) for cell in column if cell != "."] for column in zip(*lines, strict=True)]


def reference(units):
    """Alpha as it is defined: mean squared difference of pairs within units and of all pairs."""
    units = [values for values in units if len(values) >= 2]
    everything = [value for values in units for value in values]
    n = len(everything)
    inside = [
        (a - b) ** 2 / (len(values) - 1) for values in units for a, b in itertools.permutations(values, 2)
    ]
    among = [(a - b) ** 2 for a, b in itertools.permutations(everything, 2)]
    expected = math.fsum(among) / (n * (n - 1)) if n else 0
    return 1 - math.fsum(inside) / n / expected if expected else None


def test_the_published_example_on_the_interval_scale():
    """The source gives 0.849; the twelfth unit has one value and does not count."""
    assert krippendorff_alpha(units_of(PUBLISHED)) == pytest.approx(0.849, abs=0.0005)


@given(st.lists(st.lists(st.integers(0, 10), max_size=4), max_size=8))
def test_it_is_what_the_definition_says(units):
    assert krippendorff_alpha(units) == pytest.approx(reference(units))


def test_where_there_is_nothing_to_agree_on():
    assert krippendorff_alpha([]) is None
    assert krippendorff_alpha([[3], [7]]) is None
    assert krippendorff_alpha([[7, 7], [7, 7, 7]]) is None
    assert krippendorff_alpha([[7, 7], [2, 2]]) == 1
    assert krippendorff_alpha([[0, 10], [10, 0]]) < 0


def test_the_interval_holds_alpha_and_counts_what_was_rated_twice():
    rated = {(f"p{i // 2}", f"r{i}"): [i % 11, min(10, i % 11 + i % 2)] for i in range(40)}
    found = agreement(rated | {("p0", "alone"): [3]}, 500, 0)
    assert (found.responses, found.labels) == (40, 80)
    assert found.alpha == krippendorff_alpha(rated.values())
    assert found.low < found.alpha < found.high <= 1
    assert found == agreement(dict(reversed(rated.items())), 500, 0), "the order of the labels is nothing"
    assert found != agreement(rated, 500, 1)


def test_the_interval_resamples_prompts_and_not_responses():
    """Ten responses of one prompt that agree alike tell no more than one: the interval is as wide."""
    one = {(f"p{i}", "r"): [i % 11, (i + i % 3) % 11] for i in range(30)}
    ten = {(prompt, f"r{k}"): values for (prompt, _), values in one.items() for k in range(10)}
    a, b = agreement(one, 1000, 0), agreement(ten, 1000, 0)
    assert b.high - b.low == pytest.approx(a.high - a.low, rel=0.1)


def test_one_prompt_has_no_interval():
    assert agreement({("p", "a"): [1, 2], ("p", "b"): [8, 8]}, 100, 0)[1:3] == (None, None)

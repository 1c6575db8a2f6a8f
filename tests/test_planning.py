"""Snakemake remembers which rules make a path and what a function takes, and plans as without it."""

from types import SimpleNamespace

import pytest
from snakemake import common, rules
from snakemake.output_index import OutputIndex

from alma.workflow import planning


class Pattern(str):
    """An output whose wildcard is one letter."""

    def constant_prefix(self):
        return self.partition("*")[0]

    def constant_suffix(self):
        return self.rpartition("*")[2]

    def match(self, path):
        return len(path) == len(self) and path.startswith(self.constant_prefix())


class Rule:
    """What an index uses of a rule; counts how often it is asked."""

    def __init__(self, *outputs):
        self.outputs, self.asked = list(map(Pattern, outputs)), 0

    def products(self):
        return self.outputs

    def is_producer(self, path):
        self.asked += 1
        return any(one.match(path) and path.endswith(one.constant_suffix()) for one in self.outputs)


@pytest.fixture
def installed(monkeypatch):
    """Snakemake as it came, with the wrappers; all is put back after the test."""
    monkeypatch.setattr(OutputIndex, "alma_planning", False, raising=False)
    monkeypatch.setattr(OutputIndex, "match_producers", _original(OutputIndex.match_producers))
    for module in (common, rules):
        monkeypatch.setattr(module, "get_function_params", _original(common.get_function_params))
    monkeypatch.setattr(planning.gc, "set_threshold", lambda *numbers: None)
    assert planning.install() and planning.install()


def _original(function):
    return getattr(function, "__wrapped__", function)


PATHS = ["results/a/x.csv", "results/b/x.csv", "results/a/y", "results/none", "other"]


def test_the_rules_that_make_a_path_are_found_once_and_are_the_same(installed):
    made = [Rule("results/*/x.csv", "logs/*"), Rule("results/*/y"), Rule("results/a/x.csv")]
    index, plain = OutputIndex(made), _original(OutputIndex.match_producers)
    first = [index.match_producers(path) for path in PATHS]
    asked = [rule.asked for rule in made]
    assert first == [{made[0], made[2]}, {made[0]}, {made[1]}, set(), set()]
    assert [index.match_producers(path) for path in PATHS] == first
    assert [rule.asked for rule in made] == asked, "the second time nothing is asked"
    assert [plain(index, path) for path in PATHS] == first, "what Snakemake finds by itself"
    assert OutputIndex(made[1:]).match_producers(PATHS[1]) == set(), "each index has its own answers"


def test_arguments_of_functions_are_the_same(installed):
    function = lambda w, input, attempt=1: w  # noqa: E731
    plain = _original(common.get_function_params)
    for _ in range(2):
        assert rules.get_function_params(function) == common.get_function_params(function) == plain(function)
    asked = {"input": 1, "output": 2, "attempt": 3}
    assert common.get_input_function_aux_params(function, asked) == {"input": 1, "attempt": 3}

    class Callable:
        __hash__ = None  # as an object that compares by its values

        def __call__(self, wildcards, threads):
            pass

    assert list(rules.get_function_params(Callable())) == ["wildcards", "threads"]


@pytest.mark.parametrize("name", ["match_producers", "get_function_params"])
def test_another_snakemake_is_left_as_it_is(monkeypatch, name):
    monkeypatch.setattr(OutputIndex, "alma_planning", False, raising=False)
    monkeypatch.setattr(planning.gc, "set_threshold", lambda *numbers: None)
    monkeypatch.delattr(OutputIndex if name == "match_producers" else common, name)
    kept = SimpleNamespace(**vars(OutputIndex))
    assert not planning.install()
    assert getattr(OutputIndex, "match_producers", None) is getattr(kept, "match_producers", None)

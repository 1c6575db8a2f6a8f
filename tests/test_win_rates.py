"""Win rates: games in both orders, length control, intervals."""

import math
import random

import numpy as np
import pytest
from scipy.optimize import minimize

from alma.outside_judges import FIRST, SCORE, SECOND
from alma.win_rates import Game, games_of, length_controlled


def row(prompt, question, value, length=10, reference_length=None):
    return {
        "prompt_id": prompt,
        "question": question,
        "value": value,
        "length": length,
        "reference_length": reference_length,
    }


def test_a_game_is_the_mean_over_both_orders_and_needs_both():
    rows = [
        *(row("a", FIRST, 1.0, 10, 4), row("a", SECOND, 1.0, 10, 4)),
        *(row("b", FIRST, 1.0, 3, 4), row("b", SECOND, 0.0, 3, 4)),  # a judge that favors the first place
        *(row("c", FIRST, 1.0, 3, 4), row("c", SECOND, None, 3, 4)),
        *(row("d", FIRST, 0.5, 3, 3), row("d", SECOND, 0.0, 3, 3), row("d", SCORE, 9.0)),
        row("e", SCORE, 9.0),
    ]
    assert games_of(rows, []) == {
        "a": Game(1.0, 6, True),
        "b": Game(0.5, -1, False),
        "d": Game(0.25, 0, False),
    }


def test_the_higher_score_wins_where_a_judge_sees_one_response():
    mine = [row("a", SCORE, -1.5, 10), row("b", SCORE, 2.0, 2), row("c", SCORE, 1.0), row("d", SCORE, None)]
    theirs = [row("a", SCORE, -2.0, 4), row("b", SCORE, 3.0, 8), row("c", SCORE, 1.0), row("d", SCORE, 1.0)]
    assert games_of(mine, theirs) == {
        "a": Game(1.0, 6, None),
        "b": Game(0.0, -6, None),
        "c": Game(0.5, 0, None),
    }
    assert games_of(mine, []) == {}


def by_length(count, pull, lean, seed=0):
    """Games that length decides with the strength `pull`, of responses that are longer on average."""
    dice = random.Random(seed)
    longer = [round(dice.gauss(0.6, 1.0) * 100) for _ in range(count)]
    spread = float(np.std(longer))
    p = [1 / (1 + math.exp(-(lean + pull * math.tanh(d / spread)))) for d in longer]
    return [Game(float(dice.random() < q), d, True) for q, d in zip(p, longer, strict=True)]


def test_length_control_takes_out_what_length_alone_gives():
    games = by_length(800, pull=3.0, lean=0.0)
    raw = sum(game.won for game in games) / len(games)
    rate, (low, high) = length_controlled(games, 500, "s")
    assert raw > 0.6 and low < 0.5 < high and abs(rate - 0.5) < 0.06
    better = by_length(800, pull=3.0, lean=1.0)
    assert length_controlled(better, 500, "s")[0] == pytest.approx(1 / (1 + math.exp(-1)), abs=0.06)


def test_the_model_is_fitted_as_another_solver_fits_it():
    games = by_length(60, pull=1.0, lean=0.4)
    longer, won = np.array([g.longer for g in games]), np.array([g.won for g in games])
    x = np.tanh(longer / longer.std())

    def loss(theta):
        z = theta[0] + theta[1] * x
        return np.logaddexp(0, z).sum() - (won * z).sum() + 0.5 * (theta[1] / 2.5) ** 2

    expected = 1 / (1 + math.exp(-minimize(loss, [0.0, 0.0]).x[0]))
    assert length_controlled(games, 100, 0)[0] == pytest.approx(expected, abs=1e-4)


def test_equal_lengths_leave_the_win_rate_as_it_is():
    games = [Game(won, 0, True) for won in (1.0, 0.5, 0.0, 1.0)]
    assert length_controlled(games, 100, 0)[0] == pytest.approx(0.625)


def test_extreme_and_few_games():
    assert length_controlled([], 100, 0) == (None, (None, None))
    rate, interval = length_controlled([Game(0.5, 3, True)], 100, 0)
    assert rate == pytest.approx(0.5) and interval == (None, None)
    always = [Game(1.0, d, True) for d in (1, 5, -2, 8)]
    rate, (low, high) = length_controlled(always, 100, 0)
    assert 0.999 < low <= rate <= high <= 1.0
    apart = [Game(float(d > 0), d, True) for d in (-3, -2, -1, 1, 2, 3)]  # length decides every game
    rate, (low, high) = length_controlled(apart, 200, 0)
    assert rate == pytest.approx(0.5, abs=0.01) and 0.0 <= low < 0.5 < high <= 1.0


def test_equal_arguments_give_equal_intervals_whatever_is_held_at_once(monkeypatch):
    games = by_length(40, pull=1.0, lean=0.2)
    first = length_controlled(games, 300, ["a", 1])
    assert length_controlled(games, 300, ["a", 1]) == first != length_controlled(games, 300, ["a", 2])
    monkeypatch.setattr("alma.win_rates._CELLS", 40 * 7)
    assert length_controlled(games, 300, ["a", 1])[1] == pytest.approx(first[1])

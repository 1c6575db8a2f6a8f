"""Filters of new prompts by their text and their probability, as data pipelines for language models use them.

Each looks at one prompt. None knows whether a prompt makes sense; each drops a kind of prompt that mostly
does not.
"""

import math
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable
from itertools import accumulate
from typing import TYPE_CHECKING

from alma.checks import language_hits
from alma.errors import InputError
from alma.tables import iter_columns
from alma.words import words_of

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

# All filters in their order: a prompt counts as removed by the first that it fails. Whether it fails
# perplexity, exact_duplicate or near_duplicate shows in comparison with the prompts of all shards alone.
FILTERS = (
    *("unfinished", "too_short", "marker_or_answer", "no_end", "other_language", "blocked_word"),
    *("perplexity", "no_constraint", "exact_duplicate", "near_duplicate"),
    *("few_shot_overlap", "seed_overlap", "evaluation_overlap", "too_long"),
)

# A filter that would drop more of the seeds than this is not used: it does not fit this kind of prompts
# (prompts in a script without periods, in a language without known function words, about insults).
SEEDS_LOST = 0.1

_CLOSERS = "\"'”’»)]}*_`"
_ENDS = (".", "?", "!", "…", "。", "？", "！")
# What no sentence ends with, and a cut-off or garbled one does.
_DANGLING = frozenset("a an the and or but nor because than as if whose which my your our their its".split())  # noqa: SIM905


def ends_like_a_request(text: str) -> bool:
    """Whether a text ends with an end mark or a closing quote, and not on a word that needs another one."""
    text = text.strip()
    bare = text.rstrip(_CLOSERS)
    if not bare.endswith(_ENDS):
        # A closing quote ends it too; an apostrophe or bracket alone does not.
        return text.endswith(('"', "”", "»", "`")) and bare != ""
    words = words_of(bare)
    # A word with a closing quote is cited, and may be any.
    last = words[-1].rstrip("".join(_ENDS)).lower() if words else ""
    before_mark = bare.rstrip("".join(_ENDS)).rstrip()
    return last not in _DANGLING and not before_mark.endswith((",", ";", "-"))


def seed_languages(texts: list[str]) -> list[str]:
    """Codes of the languages whose function words lead in at least one of a hundred of the texts."""
    leading: Counter[str] = Counter()
    for text in texts:
        hits = language_hits(text)
        best = max(hits, key=lambda language: hits[language])
        leading[best] += hits[best] > 0
    return sorted(language for language, count in leading.items() if count >= max(1, len(texts) / 100))


def function_word_share(text: str, languages: list[str]) -> float:
    """Function words among the words of a text, 0-1, in that of the languages that has most of them."""
    hits = language_hits(text)
    return max((hits[language] for language in languages), default=0) / max(1, len(words_of(text)))


def blocked_words(words: list[str]) -> Callable[[str], bool]:
    """A test whether a text holds one of the words or phrases, as whole words in any case."""
    if not words:
        return lambda text: False
    found = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, words))})(?!\w)", re.IGNORECASE)
    return lambda text: found.search(text) is not None


def fits_the_seeds(name: str, keeps: Callable[[str], bool], seeds: list[str]) -> bool:
    """Whether a filter keeps nearly all of the seeds; a line in the log where it does not."""
    lost = sum(not keeps(text) for text in seeds)
    if lost <= SEEDS_LOST * len(seeds):
        return True
    print(f"{name}: not used, it would drop {lost} of {len(seeds)} seed prompts")
    return False


def counts_before(name: str, fails: str | None) -> bool:
    """Whether a prompt still counts when a filter looks at it.

    Args:
        name: the filter. fails: first filter that the prompt fails by itself, None where it fails none.
    """
    return fails is None or FILTERS.index(fails) > FILTERS.index(name)


def still_there(fails: "pa.ChunkedArray", name: str) -> "pa.ChunkedArray":
    """`counts_before` of a column `fails`, as a column of booleans."""
    import pyarrow as pa
    import pyarrow.compute as pc

    later = [other for other in FILTERS if counts_before(name, other)]
    return pc.or_(pc.is_null(fails), pc.fill_null(pc.is_in(fails, pa.array(later, pa.string())), False))


def quantile_bounds(counts: dict[float, int], band: tuple[float, float]) -> tuple[float, float]:
    """Smallest and largest value between two quantiles, both included; the larger first where there is none.

    Args:
        counts: {value: how often it occurs}. band: the quantiles, 0-1; the smallest value is quantile 0.
    """
    if not counts:
        return math.inf, -math.inf
    values = sorted(counts)
    ends = list(accumulate(counts[value] for value in values))
    last = ends[-1] - 1
    low, high = math.ceil(band[0] * last), math.floor(band[1] * last)
    return values[bisect_right(ends, low)], values[bisect_right(ends, high)]


class PerplexityBand:
    """Which perplexities lie between two quantiles of those of all prompts that the filters before left.

    The quantiles are exact. Values of `logprob` have four decimals, so the memory grows with the values that
    differ (some ten thousand) and not with the prompts.

    Args:
        filtered: `filtered_prompt` tables of all shards. band: the quantiles, 0-1, both included; (0, 1) is
            all.

    Raises:
        InputError: the larger quantile comes first.
    """

    def __init__(self, filtered: list[str], band: list[float]) -> None:
        if band[0] >= band[1]:
            raise InputError(f"prompts.perplexity_band: found {band}, expected the lower quantile first")
        self._all = tuple(band) == (0, 1)
        self._low = self._high = 0.0
        if self._all:
            return
        counts: Counter[float] = Counter()
        for path in filtered:
            for part in iter_columns(path, "filtered_prompt", ["logprob", "fails"]):
                found = part["logprob"].filter(still_there(part["fails"], "perplexity")).drop_null()
                for entry in found.value_counts().to_pylist():
                    counts[-entry["values"]] += entry["counts"]  # the perplexity is exp(-logprob)
        self._low, self._high = quantile_bounds(counts, (band[0], band[1]))

    def holds(self, logprobs: "pa.ChunkedArray") -> "np.ndarray":
        """bool [prompts]: which are in the band. A prompt without a value is in no band but (0, 1)."""
        import numpy as np

        if self._all:
            return np.ones(len(logprobs), dtype=np.bool_)
        values = -logprobs.to_numpy()  # null becomes NaN, which is in no band
        return (self._low <= values) & (values <= self._high)

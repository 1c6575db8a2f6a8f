"""Filters of new prompts by their text and their probability, as data pipelines for language models use them.

Each looks at one prompt. None knows whether a prompt makes sense; each drops a kind of prompt that mostly
does not.
"""

import math
import re
from collections import Counter
from collections.abc import Callable

from alma.checks import language_hits
from alma.words import words_of

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


def in_band(logprobs: list[float | None], band: tuple[float, float]) -> list[bool]:
    """Which perplexities lie between two quantiles of all of them.

    Args:
        logprobs: mean natural log-probability of the tokens of each prompt; its perplexity is exp(-logprob).
            A prompt without one is in no band but (0, 1).
        band: the quantiles, 0-1, both included. The smallest perplexity is quantile 0; (0, 1) is all.
    """
    if tuple(band) == (0, 1):
        return [True] * len(logprobs)
    known = sorted(-value for value in logprobs if value is not None)
    if not known:
        return [False] * len(logprobs)

    def quantile(q: float, up: Callable[[float], int]) -> float:
        return known[min(len(known) - 1, max(0, up(q * (len(known) - 1))))]

    low, high = quantile(band[0], math.ceil), quantile(band[1], math.floor)
    return [value is not None and low <= -value <= high for value in logprobs]

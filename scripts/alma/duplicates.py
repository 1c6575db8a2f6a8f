"""Equal and overlapping texts, compared by their words (`alma.minhash` finds nearly equal ones).

Overlap is looked up in an index of word 3-grams, so the cost grows with the number of texts and not
with the number of pairs. Words are runs of letters and digits; a script without spaces (Chinese,
Thai) makes one long word of a phrase, and there only equal texts are found.
"""

import re
import unicodedata
from collections import Counter, defaultdict

GRAM = 3
_WORD = re.compile(r"\w+")


def folded_words(text: str) -> list[str]:
    """Words of a text without case, punctuation and Unicode variants (NFKC)."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def folded(text: str) -> str:
    """A text without differences of case, white space and Unicode variants (NFKC); punctuation counts."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def bare_words(text: str) -> str:
    """A text's words with single spaces: equal for texts that differ in case, space or punctuation."""
    return " ".join(folded_words(text))


def grams_of(text: str) -> list[str]:
    """The distinct word 3-grams of a text, in order; a text of fewer words is one shorter gram."""
    words = folded_words(text)
    if len(words) < GRAM:
        return [" ".join(words)] if words else []
    return list(dict.fromkeys(" ".join(words[i : i + GRAM]) for i in range(len(words) - GRAM + 1)))


class OverlapIndex:
    """Which of a fixed set of texts a new text overlaps."""

    def __init__(self, texts: list[str]) -> None:
        self._holders: dict[str, list[int]] = defaultdict(list)
        self._sizes = []
        for number, text in enumerate(texts):
            grams = grams_of(text)
            self._sizes.append(len(grams))
            for gram in grams:
                self._holders[gram].append(number)

    def overlapping(self, text: str, threshold: float) -> set[int]:
        """Numbers of the texts that `text` overlaps.

        One overlaps where it holds at least `threshold` of the 3-grams of `text` (an equal text
        holds all of them), or where all of its own 3-grams, three or more, occur in `text`: a short
        evaluation prompt inside a long text is leaked as well.
        """
        grams = grams_of(text)
        shared = Counter(number for gram in grams for number in self._holders.get(gram, ()))
        return {
            number
            for number, count in shared.items()
            # The product of a float and a count: stay clear of rounding at the threshold itself.
            if count >= threshold * len(grams) - 1e-9 or count == self._sizes[number] >= GRAM
        }

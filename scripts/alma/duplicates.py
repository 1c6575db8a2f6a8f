"""Equal, nearly equal and overlapping texts, compared by their words.

Everything looks up word 3-grams in an index, so the cost grows with the number of texts and not
with the number of pairs. Words are runs of letters and digits; a script without spaces (Chinese,
Thai) makes one long word of a phrase, and there only equal texts are found.
"""

import re
import unicodedata
from collections import Counter, defaultdict

PERMUTATIONS = 128
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


def _bands(threshold: float) -> int:
    """Fewest LSH bands that find a pair at the threshold with a probability of at least 0.999."""
    bands = 1
    while bands < PERMUTATIONS and (1 - threshold ** (PERMUTATIONS // bands)) ** bands > 0.001:
        bands *= 2
    return bands


def first_of_near_duplicates(texts: list[str], threshold: float) -> list[bool]:
    """Whether each text is kept when those like an earlier kept one are dropped.

    Two texts are alike where the MinHash estimate (128 permutations, standard error at most 0.045)
    of the Jaccard similarity of their word 3-grams is at least `threshold`. The hashes are fixed,
    so the result depends on the texts and their order alone. Library: rensa (R-MinHash, LSH).

    Args:
        texts: in the order in which they have precedence.
        threshold: similarity in (0, 1].

    Returns:
        One flag per text.
    """
    from rensa import RMinHash, RMinHashLSH

    index = RMinHashLSH(threshold, PERMUTATIONS, _bands(threshold))
    sketches: dict[int, RMinHash] = {}  # of the texts that are kept
    flags = []
    for number, text in enumerate(texts):
        sketch = RMinHash(PERMUTATIONS, 0)
        sketch.update(grams_of(text))
        alike = any(sketch.jaccard(sketches[other]) >= threshold for other in index.query(sketch))
        if not alike:
            index.insert(number, sketch)
            sketches[number] = sketch
        flags.append(not alike)
    return flags

"""Programmatic checks of a response: does it keep a constraint that its prompt states?

A check is a dict with a ``kind`` (one of `CHECK_KINDS`) and that kind's arguments, as kept in the
``checks`` list of a prompt in ``data/*.jsonl``. A response is judged as it is: nothing is repaired,
and no valid check raises on any string. Each kind is taken literally, so an upper bound alone
(``words`` or ``sentences`` with ``max``) and ``excludes`` hold for the empty string.

A *word* is one of `alma.words`.
"""

from __future__ import annotations

import ast
import json
import math
import re
import unicodedata
import warnings
from collections.abc import Callable
from typing import Any

from alma.words import words_of

Check = dict[str, Any]

# ---------------------------------------------------------------------------------------------
# Text helpers
# ---------------------------------------------------------------------------------------------

_BULLET = re.compile(r"\s*[-*•]\s+\S")
_NUMBERED = re.compile(r"\s*([0-9]{1,4})[.)]\s+\S")
_LIST_MARKER = re.compile(r"\s*(?:[-*•]|[0-9]{1,4}[.)])\s+")
_BARE_NUMERAL = re.compile(r"[0-9]{1,2}[.)]")
_CLOSERS = "\"'”’»)]}*_`"
_OPENERS = "\"'“‘«([{*_`¿¡"
_SENTENCE_MARKS = ".!?…"
_CJK_STOP = re.compile(r"([。！？])")


def _word_set(words: str) -> frozenset[str]:
    """The white-space-separated entries of ``words``."""
    return frozenset(words.split())


# Never end a sentence, unless they are the last word of the paragraph.
_ABBREVIATIONS = _word_set(
    "mr mrs ms dr prof mt vs e.g i.e eg ie cf nr fig vol pp approx sr sra mme z.b d.h bzw ca gen "
    "col sgt capt rev dept"
)
# End a sentence only when the next word starts with a capital letter (or an opening mark).
_MAYBE_ABBREVIATIONS = _word_set(
    "etc a.m p.m am pm u.s u.k u.n inc ltd co corp jr b.c a.d ph.d usw st no min max"
)


def lines_of(text: str) -> list[str]:
    """The non-empty lines of ``text`` (a line of white space alone is empty)."""
    return [line for line in text.splitlines() if line.strip()]


def _ends_sentence(token: str, before: str, after: str | None) -> bool:
    """Whether ``token`` closes a sentence, given the tokens around it (``after`` None: none)."""
    core = token.rstrip(_CLOSERS)
    if not core or core[-1] not in _SENTENCE_MARKS:
        return False
    if after is None:
        return True
    head = after.lstrip(_OPENERS)[:1]
    if head.islower() and (len(core) < len(token) or core.endswith(("...", "…"))):
        return False  # `"Stop!" he said`, "well... maybe"
    if core[-1] != ".":
        return True
    stem = core.rstrip(".").lstrip(_OPENERS)
    low = stem.lower()
    if low in _ABBREVIATIONS:
        return False
    if low in _MAYBE_ABBREVIATIONS:
        return not head.islower() and not head.isdigit()
    if len(stem) == 1 and stem.isupper() and stem != "I":
        # an initial ("J. Smith", "George R. R. Martin"), but not "vitamin C. Eat"
        return bool(before) and not before.lstrip(_OPENERS)[:1].isupper()
    return True


def sentences_of(text: str) -> list[str]:
    """Split ``text`` into sentences.

    A sentence ends with ``.``, ``!``, ``?`` or an ellipsis before white space or the end, or with
    its paragraph; every list item is a paragraph of its own, and a text without any end mark is
    one sentence. Decimals, times and addresses hold no white space, so their points do not count.
    A list marker ("3. Stir it.") and a numeral alone between two sentences ("2." in "Mix it.
    2. Bake it.") belong to the sentence that follows. Common abbreviations ("Dr.", "e.g.") do not
    end a sentence; "etc.", "p.m." and the like do when a capital follows. German ordinals
    ("am 3. Mai") are not recognized and count as an end.

    No library of the lock splits sentences, and those tried split responses less well. Of the 33 cases
    in tests/test_checks.py pysbd 0.3.4 (its last release is of 2021) gets 29: each line break is an end
    for it, and "Oranges hold vitamin C. Eat two." is one sentence. syntok 1.4 gets 24: "- one" above
    "- two" is one, as is "go home. eat soup.". On the embedded seeds' 438 responses pysbd differs from
    this function on 37, but for two of them by a line break alone, and takes 0.56 ms in place of 0.02.
    """
    paragraphs: list[list[str]] = [[]]
    for line in text.splitlines():
        marker = _LIST_MARKER.match(line)
        if marker or not line.strip():
            paragraphs.append([])
        body = line[marker.end() :] if marker else line
        paragraphs[-1].extend(_CJK_STOP.sub(r"\1 ", body).split())
    found: list[str] = []
    for tokens in paragraphs:
        current: list[str] = []
        for i, token in enumerate(tokens):
            current.append(token)
            after = tokens[i + 1] if i + 1 < len(tokens) else None
            numeral = len(current) == 1 and after is not None and _BARE_NUMERAL.fullmatch(token)
            before = tokens[i - 1] if i else ""
            cjk = token[-1] in "。！？"
            if cjk or (not numeral and _ends_sentence(token, before, after)):
                found.append(" ".join(current))
                current = []
        found.append(" ".join(current))
    return [sentence for sentence in found if words_of(sentence)]


def _plain(text: str) -> str:
    """``text`` in composed Unicode form (NFC) with typographic apostrophes made plain."""
    return unicodedata.normalize("NFC", text).replace("’", "'")


def _occurs(phrase: str, text: str) -> bool:
    """Whether ``phrase`` occurs in ``text`` as whole word(s), case-insensitive.

    A whole word has no letter, digit or underscore next to it: "art" does not occur in "start",
    "fat" does in "low-fat". White space in a phrase matches any white space, line ends included.
    """
    body = r"\s+".join(re.escape(part) for part in _plain(phrase).split())
    return re.search(rf"(?<!\w){body}(?!\w)", _plain(text), re.IGNORECASE) is not None


_NUMBER = re.compile(
    r"(?<![^\W_])(?<![^\W_]\.)"  # not inside a word ("m2"), nor the tail of one ("v1.2")
    r"(?P<sign>(?<![\w)])(?:[-−][$€£]|[$€£]?[-−]))?"
    r"[$€£]?(?P<digits>[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]+)?|\.[0-9]+)"
)


def numbers_of(text: str) -> list[float]:
    """The numbers of ``text`` in order, digits only (number words such as "ten" are not read).

    Thousands commas, a currency sign before and a % after are tolerated, with no change of unit:
    "15%" is 15. A minus counts where no letter, digit or ")" stands right before it and the digits
    follow at once: "-4" and "-$4" are negative, "10-15" and "10 - 15" hold 15. Digits glued behind
    a letter ("H2O", "m2") are not numbers. "1/2" is the two numbers 1 and 2.
    """
    found = []
    for match in _NUMBER.finditer(text):
        value = float(match["digits"].replace(",", ""))
        found.append(-value if match["sign"] else value)
    return found


_FUNCTION_WORDS: dict[str, frozenset[str]] = {
    "en": _word_set(
        "the a an of to and in is are was were be been it this that these those for with on at by "
        "from as or but not no you he she they we i my your his her its our their have has had do "
        "does did will would can could should what which who when where how there if so than then "
        "into about because just please me him them us very too here see go get got hey yes one all more"
    ),
    "es": _word_set(
        "el la los las un una unos unas de del al a y e o u que qué en es son está están estoy soy "
        "era fue ser estar hay no sí se me te le les nos lo mi mis tu tus su sus nuestro nuestra "
        "con sin por para pero porque como cómo cuando cuándo donde dónde muy más menos este esta "
        "esto ese esa eso yo tú él ella ellos ellas usted nosotros aquí allí hoy mañana ya si "
        "también hasta desde entre sobre cada todo todos toda todas quiero puedo puede tengo tiene "
        "he ha han quién cuál gracias favor buenos buenas antes después"
    ),
    "fr": _word_set(
        "le la les l' un une des de du d' à au aux et ou où que qu' qui quoi dans en est sont suis es "
        "êtes sommes était être c' ce cet cette ces il elle ils elles je j' tu nous vous on me m' te "
        "t' se s' lui leur mon ma mes ton ta tes son sa ses notre nos votre vos avec sans pour par "
        "sur sous mais parce comme quand comment pas ne n' plus très trop aussi y a ai as ont avez "
        "avons fait chez près ici là si oui non merci plaît tout tous toute chaque puis"
    ),
    "de": _word_set(
        "der die das den dem des ein eine einen einem einer eines und oder aber nicht kein keine "
        "ist sind war waren bin bist sein ich du er sie es wir ihr mich mir dich dir ihm ihn uns "
        "euch mein meine meinen meiner dein deine sein seine unser unsere in im an am auf aus bei "
        "mit nach von vom zu zum zur für über unter vor um durch ohne wie wo was wer wann warum "
        "wenn dass weil auch nur noch schon sehr gut hier heute morgen haben habe hat hatte wird "
        "werden kann können muss möchte bitte danke als man sich jeden jede"
    ),
    "it": _word_set(
        "il lo la i gli le l' un uno una d' di del dello della dei degli delle dell da dal dalla a "
        "al allo alla ai agli alle all in nel nella nei nelle nell su sul sulla e ed o che chi "
        "cui è sono sei siamo era essere c' ci vi si mi ti ne non con per tra fra ma perché come "
        "quando dove cosa quale molto più meno anche questo questa questi queste quello quella mio "
        "mia tuo tua suo sua nostro nostra io tu lui lei noi voi loro ho hai ha abbiamo hanno "
        "vorrei vorremmo grazie favore qui oggi domani ogni tutto tutti poi se"
    ),
}
LANGUAGES = ("es", "fr", "de", "it")
_LETTER_RUN = re.compile(r"[^\W\d_]+'?")


def language_hits(text: str) -> dict[str, int]:
    """How many of the letter runs of ``text`` are function words, per language (and English).

    An apostrophe ends a run: "l'eau" is "l'" and "eau". A letter alone is an elided word only with it,
    or the variable of a program would be French. A word shared by languages counts for each.
    """
    runs = _LETTER_RUN.findall(_plain(text).lower())
    return {
        lang: sum(run in known or (len(run) > 2 and run.rstrip("'") in known) for run in runs)
        for lang, known in _FUNCTION_WORDS.items()
    }


_FENCED = re.compile(r"\A```[^\n`]*\n(.*?)\n?```\Z", re.DOTALL)


def _parse_python(text: str) -> ast.Module | None:
    """The syntax tree of ``text`` less one code fence around the whole, or None."""
    fenced = _FENCED.match(text.strip())
    code = fenced[1] if fenced else text.strip("\n")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
        return None


def _no_constant(name: str) -> None:
    """Refuse NaN and Infinity, which Python reads but JSON has not."""
    raise ValueError(name)


# ---------------------------------------------------------------------------------------------
# One function per kind: (check, response) -> bool
# ---------------------------------------------------------------------------------------------


def _bullets(check: Check, response: str) -> bool:
    """Exactly ``count`` lines start with "- ", "* " or "• " (indented too); others may stand by."""
    return sum(bool(_BULLET.match(line)) for line in response.splitlines()) == check["count"]


def _numbered(check: Check, response: str) -> bool:
    """The lines that start with "N. " or "N) " are exactly 1 to ``count``, in that order."""
    found = [_NUMBERED.match(line) for line in response.splitlines()]
    return [int(m[1]) for m in found if m] == list(range(1, check["count"] + 1))


def _lines(check: Check, response: str) -> bool:
    """Exactly ``count`` non-empty lines."""
    return len(lines_of(response)) == check["count"]


def _words(check: Check, response: str) -> bool:
    """Between ``min`` and ``max`` words, both included; an absent bound does not bind."""
    return check.get("min", 0) <= len(words_of(response)) <= check.get("max", math.inf)


def _sentences(check: Check, response: str) -> bool:
    """Exactly ``count`` sentences, or at most ``max``."""
    found = len(sentences_of(response))
    return found == check["count"] if "count" in check else found <= check["max"]


def _json(check: Check, response: str) -> bool:
    """The whole response is one JSON object with exactly ``keys`` (any order, top level only).

    A code fence or text around the object fails, and so do NaN and Infinity.
    """
    try:
        value = json.loads(response.strip(), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and set(value) == set(check["keys"])


def _contains(check: Check, response: str) -> bool:
    """Every one of ``words`` occurs as whole word(s), case-insensitive."""
    return all(_occurs(phrase, response) for phrase in check["words"])


def _excludes(check: Check, response: str) -> bool:
    """None of ``words`` occurs as whole word(s), case-insensitive."""
    return not any(_occurs(phrase, response) for phrase in check["words"])


def _starts_with(check: Check, response: str) -> bool:
    """The stripped response starts with ``text`` (case and punctuation count)."""
    return response.strip().startswith(check["text"].strip())


def _ends_with(check: Check, response: str) -> bool:
    """The stripped response ends with ``text`` (case and punctuation count)."""
    return response.strip().endswith(check["text"].strip())


def _case(check: Check, response: str) -> bool:
    """All cased letters are upper or lower, as ``case`` says, and there is at least one."""
    return response.isupper() if check["case"] == "upper" else response.islower()


def _number(check: Check, response: str) -> bool:
    """The last number of the response equals ``value`` (relative tolerance 1e-9)."""
    found = numbers_of(response)
    return bool(found) and math.isclose(found[-1], check["value"], rel_tol=1e-9, abs_tol=1e-9)


def _equals(check: Check, response: str) -> bool:
    """Equal to ``text`` but for outer white space, one final period and case."""

    def key(text: str) -> str:
        return _plain(text).strip().removesuffix(".").rstrip().casefold()

    return key(response) == key(check["text"])


def _language(check: Check, response: str) -> bool:
    """Function words of ``language`` outnumber those of each other known language and of English.

    They must also be at least a tenth of the words, so a list of bare nouns fails.

    Libraries that name the language of a text were tried and answer another question: they always name
    one. Of the embedded seeds' responses lingua 2.1 calls `{"each": 29}` German and "It arrives at
    10:55." French, and py3langid 0.4 calls 60 German; langdetect 1.0.9, which needs a seed to be
    deterministic, misses "J'ai faim.". lingua would also add 96 MB.
    """
    hits = language_hits(response)
    own = hits.pop(check["language"])
    enough = own >= max(1, len(words_of(response)) / 10)
    return enough and own > max(hits.values())


def _python(check: Check, response: str) -> bool:
    """Parses as Python and defines ``function`` at the top level, if one is named.

    One code fence around the whole response is tolerated, text outside it is not. No code at all
    (empty, comments alone) fails. The code is never run.
    """
    tree = _parse_python(response)
    if tree is None or not tree.body:
        return False
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    return "function" not in check or check["function"] in defined


_RUNNERS: dict[str, Callable[[Check, str], bool]] = {
    "bullets": _bullets,
    "numbered": _numbered,
    "lines": _lines,
    "words": _words,
    "sentences": _sentences,
    "json": _json,
    "contains": _contains,
    "excludes": _excludes,
    "starts_with": _starts_with,
    "ends_with": _ends_with,
    "case": _case,
    "number": _number,
    "equals": _equals,
    "language": _language,
    "python": _python,
}
CHECK_KINDS: tuple[str, ...] = tuple(_RUNNERS)

# ---------------------------------------------------------------------------------------------
# Validation
# ---------------------------------------------------------------------------------------------


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_texts(value: Any) -> bool:
    if not isinstance(value, list) or not value or not all(_is_text(item) for item in value):
        return False
    return len(set(value)) == len(value)


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= 1e300  # False for NaN and infinity; larger integers are no float


def _is_case(value: Any) -> bool:
    return value in ("upper", "lower")


def _is_language(value: Any) -> bool:
    return isinstance(value, str) and value in LANGUAGES


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and value.isidentifier()


_WANTED: dict[Callable[[Any], bool], str] = {
    _is_count: "an integer of at least 1",
    _is_text: "a non-empty string",
    _is_texts: "a non-empty list of different non-empty strings",
    _is_number: "a finite number",
    _is_case: "'upper' or 'lower'",
    _is_language: f"one of {', '.join(LANGUAGES)}",
    _is_name: "a Python name",
}
_ARGUMENTS: dict[str, dict[str, Callable[[Any], bool]]] = {
    "bullets": {"count": _is_count},
    "numbered": {"count": _is_count},
    "lines": {"count": _is_count},
    "words": {"min": _is_count, "max": _is_count},
    "sentences": {"count": _is_count, "max": _is_count},
    "json": {"keys": _is_texts},
    "contains": {"words": _is_texts},
    "excludes": {"words": _is_texts},
    "starts_with": {"text": _is_text},
    "ends_with": {"text": _is_text},
    "case": {"case": _is_case},
    "number": {"value": _is_number},
    "equals": {"text": _is_text},
    "language": {"language": _is_language},
    "python": {"function": _is_name},
}
_OWN_RULES = ("words", "sentences", "python")  # kinds whose arguments are not all required


def _own_rule(check: Check) -> str | None:
    """The problem of a kind in `_OWN_RULES` with which arguments are given, or None."""
    if check["kind"] == "words":
        if "min" not in check and "max" not in check:
            return "needs 'min' or 'max'"
        if _is_count(check.get("min")) and _is_count(check.get("max")):
            return "has 'min' above 'max'" if check["min"] > check["max"] else None
    if check["kind"] == "sentences" and ("count" in check) == ("max" in check):
        return "needs either 'count' or 'max'"
    return None


def _problems(check: Any) -> list[str]:
    """What is wrong with one check object, in words; empty when it is fine."""
    if not isinstance(check, dict):
        return ["is not an object"]
    kind = check.get("kind")
    if not isinstance(kind, str) or kind not in _RUNNERS:
        return [f"has the unknown kind {kind!r}"]
    arguments = _ARGUMENTS[kind]
    problems = [
        f"({kind}) has the unknown argument {name!r}"
        for name in check
        if name != "kind" and name not in arguments
    ]
    for name, accepts in arguments.items():
        if name in check and not accepts(check[name]):
            problems.append(f"({kind}) wants {name!r} to be {_WANTED[accepts]}")
        elif name not in check and kind not in _OWN_RULES:
            problems.append(f"({kind}) lacks {name!r}")
    rule = _own_rule(check) if kind in _OWN_RULES else None
    return [*problems, f"({kind}) {rule}"] if rule else problems


def validate_checks(checks: Any) -> list[str]:
    """The problems found in a list of check objects, one line each; empty when all are fine.

    Found are: a value that is no list, an entry that is no object, an unknown kind, a missing,
    mistyped or unknown argument, and bounds that exclude each other. Nothing is raised.
    """
    if not isinstance(checks, list):
        return ["checks is not a list"]
    return [f"check {i} {text}" for i, check in enumerate(checks) for text in _problems(check)]


# ---------------------------------------------------------------------------------------------
# Running
# ---------------------------------------------------------------------------------------------


def run_check(check: Check, response: str) -> bool:
    """Whether ``response`` passes one check that `validate_checks` finds no fault with.

    Raises ValueError for an unknown kind, and nothing else whatever the response holds.
    """
    runner = _RUNNERS.get(check.get("kind", ""))
    if runner is None:
        raise ValueError(f"unknown check kind {check.get('kind')!r}; known: {CHECK_KINDS}")
    return runner(check, response)


def run_checks(checks: list[Check], response: str) -> list[bool]:
    """The verdict of each of ``checks`` on ``response``, in order; empty for no checks."""
    return [run_check(check, response) for check in checks]

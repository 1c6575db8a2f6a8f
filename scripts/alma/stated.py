"""Which constraints of form a prompt states, as checks that a program can run (`alma.checks`).

`stated_checks` is precise rather than complete. A prompt that holds a constraint which is only half
understood (a range of bullets, "about ten words", one sentence *each*, "A" or "B", a list in bullets
whose number is not said) gives no checks at all: part of a truth would make a wrong ceiling.

How it reads: quoted text is set aside, so that words inside it state nothing, and each kind has its
own patterns over what is left, in lower case. English prompts only. Not read are checks of content
(`number`, `equals`, `python`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from alma.checks import Check, validate_checks


def _split(words: str) -> list[str]:
    """The white-space-separated entries of ``words``."""
    return words.split()


_UNITS = _split(
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
)
_TENS = _split("twenty thirty forty fifty sixty seventy eighty ninety")
_NUM = (
    rf"(?:(?:{'|'.join(_TENS)})(?:[- ](?:{'|'.join(_UNITS[:9])}))?"
    rf"|{'|'.join(sorted(_UNITS, key=len, reverse=True))}|(?:a|one) hundred|a dozen|[0-9]{{1,3}})"
)
_N = rf"(?<![\w.,:$-])(?P<n>{_NUM})(?![\w%]|[.,:][0-9])"
_OPEN, _CLOSE = "\ue000", "\ue001"  # private use: they stand around the number of a quote set aside
_Q = rf"{_OPEN}[0-9]+{_CLOSE}"
_Q_ID = re.compile(rf"{_OPEN}([0-9]+){_CLOSE}")
_Q_LIST = rf"(?P<q>{_Q}(?:(?:,? and |, ?| ?& ?){_Q})*)"
_QUOTED = re.compile(r"`([^`\n]+)`|\"([^\"\n]*)\"|“([^”\n]*)”|(?<!\w)['‘]([^\n]+?)['’](?!\w)")

# Bounds before and after a number; the first that matches counts.
_NO_MORE = (
    r"(?:(?:no|not) (?:more|longer) than"
    r"|(?:not|[a-z]+n't|never|without)(?: [a-z]+){0,3} "
    r"(?:over|above|beyond|past|exceed(?:ing)?|(?:more|longer) than))"
)
_BEFORE: tuple[tuple[str, str], ...] = (
    ("exact", r"no (?:longer|more) (?:and|nor|or) (?:no |not )?(?:shorter|fewer|less) than"),
    (
        "max",
        rf"(?:{_NO_MORE}|at (?:the )?most|up to|max(?:imum|\.)?(?: length| number)?(?: of|:| is)?|within|"
        r"(?:limit|length|cap)(?: of|:| is))",
    ),
    ("min", r"(?:at least|(?:no|not) (?:fewer|less|shorter) than|(?:a )?minimum(?: of)?)"),
    ("below", r"(?:under|below|(?:fewer|less|shorter) than|beneath)"),
    ("above", r"(?:more|longer|greater) than|over|above"),
    (
        "vague",
        rf"(?:about|around|roughly|approximately|some|nearly|almost|close to|circa|not|{_NUM} (?:or|to))",
    ),
    ("exact", r"(?:exactly|precisely|just|only|a total of|a single|the)"),
)
_AFTER: tuple[tuple[str, str], ...] = (
    (
        "max",
        r"(?:or (?:fewer|less|under)|at (?:the )?most|max(?:imum)?\b|tops|limit"
        r"|(?:is|are|being) (?:the|my|your|our) (?:upper |strict |absolute )?(?:limit|max(?:imum)?|most)\b)",
    ),
    ("min", r"(?:or more|at (?:the )?least|minimum|and up)"),
    ("vague", rf"(?:or so|(?:or|to) {_NUM}|more or less)"),
)
_LIMITS = re.compile(r"\b(?:limit|keep|restrict|cap|hold|trim|cut|shorten|stick|confine)(?:ed|s)?\b[^.?!]*$")

# Up to three describing words between a number and its noun: never words that end a noun phrase.
_STOPS = (
    "a an and are as at be but by can do each every for from has have if in into is it my no not of on "
    "or per so than that the their them these this those to was were what when which while who with "
    "you your"
)
_DESCRIBING = rf"(?:,? ?(?!(?:{'|'.join(_STOPS.split())})\b)[a-z][a-z'-]*,? ){{0,3}}?"
_EACH = re.compile(r"\b(?:each|every|per|apiece|for each)\b")


STATED_KINDS: tuple[str, ...] = (
    *("bullets", "numbered", "lines", "sentences", "words", "json", "starts_with", "ends_with", "case"),
    *("language", "contains", "excludes"),
)


class _Half(Exception):
    """The prompt holds a constraint that is only half understood."""


def number_of(text: str) -> int:
    """The number that digits or number words (up to one hundred) say."""
    if text.isdigit():
        return int(text)
    if text.endswith("hundred"):
        return 100
    if text.endswith("dozen"):
        return 12
    first, _, last = text.replace("-", " ").partition(" ")
    if first in _TENS:
        return 20 + 10 * _TENS.index(first) + (_UNITS.index(last) + 1 if last else 0)
    return _UNITS.index(first) + 1


def _masked(prompt: str) -> tuple[str, list[str]]:
    """The prompt in lower case without its quoted texts, and these texts as they were written."""
    quotes: list[str] = []

    def aside(match: re.Match[str]) -> str:
        quotes.append(next(group for group in match.groups() if group is not None))
        return f"{_OPEN}{len(quotes) - 1}{_CLOSE}"

    text = _QUOTED.sub(aside, prompt.replace(_OPEN, "").replace(_CLOSE, ""))
    if re.search(r"[\"“”]", text):
        raise _Half("a quote that does not close")
    text = " ".join(text.lower().replace("’", "'").split())
    # Material to work on, not instructions: what follows "this:" or "the following:".
    material = re.search(
        rf"\b(?:this|these|following|below)\b(?! (?:[a-z]+ )?(?:keys?|fields?|words?|properties)\b)"
        rf"[^.:?!{_OPEN}]*: (?!{_OPEN})",
        text,
    )
    return (text[: material.end()] if material else text), quotes


def _bound(before: str, after: str) -> str:
    """Which bound the words around a number set: exact, max, below, min, above or vague."""
    for name, pattern in _AFTER:
        if re.match(rf"[ ,(-]*(?:long,? |in length,? |and )?{pattern}", after):
            return name
    for name, pattern in _BEFORE:
        if re.search(rf"(?<![a-z])(?:{pattern})(?: (?:a|an|the))? ?$", before):
            return name
    return "plain"


def _clause_before(text: str, end: int) -> str:
    """What stands before a place in its own sentence."""
    return re.split(r"[.?!;] ", text[:end])[-1]


def _clause_after(text: str, start: int) -> str:
    """What stands after a place in its own sentence."""
    return re.split(r"[.?!;](?: |$)", text[start:])[0]


# ---------------------------------------------------------------------------------------------
# Lists: bullets and numbered
# ---------------------------------------------------------------------------------------------

_DASH = (
    r"(?:(?:with|by|using|after|of) (?:a |an )?(?:dash(?:es)?|hyphens?)"
    r"|dashe?d?[- ](?:list|points?|lines?|items?))"
)
_BULLET_FORM = re.compile(rf"\bbullet(?:s|ed)?\b|\b{_DASH}\b|\b{_NUM} (?:dashes|hyphens)\b")
_NUMBERED_FORM = re.compile(
    rf"\bnumbered\b|\bnumber (?:the|your|each|them|these|those|all|both|every|it|its|{_NUM})\b|\bnumbering\b"
    r"|\bordered list\b|\bput a number\b|\beach with (?:a|its(?: own)?) number\b"
)
_ITEMS = r"[a-z'-]+(?:s|ies|ves)"
_GIVE = (
    r"(?:list|give|name|suggest|write|share|offer|recommend|provide|tell|pick|describe|show|explain|state|"
    r"outline|note|propose|present|include|use|make|create|compare|mention|choose|add|plan|send|draft|"
    r"number|need|want|like|which|what|put|in|as|into|with|of)(?: me| us| out| up| down| are)?"
)
_EXACT = r"(?:exactly|precisely|just|only)"


def _direct_list_counts(text: str, form: str) -> Iterator[re.Match[str]]:
    """Numbers that a pattern ties to a list of that form."""
    if form == "bullets":
        patterns = [
            rf"{_N} {_DESCRIBING}bullet(?:s|ed)?\b",
            rf"{_N}[- ]bullet\b",
            rf"{_N} (?:dashes|hyphens)\b",
            rf"\bbullet(?:s|ed)?(?: points?| lists?)? (?:of|with|containing|that has|having)"
            rf"(?: {_EXACT})? {_N}",
            rf"{_N} {_DESCRIBING}(?:dashed )?(?:points|lines|items|entries|{_ITEMS})\b"
            rf"[^.?!;]{{0,40}}?\b{_DASH}\b",
            rf"{_N} {_DESCRIBING}dashed\b",
            rf"\bdashed (?:list|points) (?:of|with) {_N}",
        ]
    else:
        patterns = [
            rf"{_N} {_DESCRIBING}numbered\b",
            rf"\bnumbered {_DESCRIBING}[a-z]+ (?:of|with|containing|that has|having|in)(?: {_EXACT})? {_N}",
            rf"\bnumbered {_DESCRIBING}[a-z]+[:,] {_EXACT} {_N}",
            rf"\bnumber(?: (?:the|your|all|out))?(?: {_EXACT})? {_N}",
            rf"\bnumber(?:ed|ing)?\b[^.?!;]{{0,25}}?(?:from )?(?:1|one) (?:to|through|thru|up to) {_N}",
            rf"{_N} {_DESCRIBING}{_ITEMS},? (?:that are |all |each )?(?:clearly )?numbered\b",
        ]
    for pattern in [*patterns, rf"{_N} (?:(?!words|sentences){_ITEMS} )?(?:in all|in total|altogether)\b"]:
        yield from re.finditer(pattern, text)


def _given_counts(text: str) -> Iterator[re.Match[str]]:
    """Numbers of things that the prompt asks for: "List four ...", "exactly four ..."."""
    yield from re.finditer(
        rf"(?:\b{_GIVE}|\byour|^|[.?!:] )(?: ?(?:the|your|my))? ?{_N} {_DESCRIBING}{_ITEMS}\b", text
    )
    yield from re.finditer(rf"{_N} of them\b", text)
    yield from re.finditer(
        rf"[,;:] (?:and )?{_N} {_DESCRIBING}{_ITEMS}(?: only| please| long| total)?(?=[,.?!:;]|$)", text
    )
    yield from re.finditer(
        rf"\b(?:want|need|like|stop at|make it|should be|must be) {_N}(?=[,.?!:;]|$)", text
    )
    yield from re.finditer(rf"\b{_EXACT} {_N}(?! (?:{_DESCRIBING})(?:words?|sentences?)\b)", text)


def _list_count(text: str, form: str) -> int | None:
    """Items of the list of that form, None where the prompt asks for no such list."""
    pattern = _BULLET_FORM if form == "bullets" else _NUMBERED_FORM
    mention = pattern.search(text)
    if mention is None:
        return None
    if re.search(r"\b(?:no|not|without|avoid|instead of|never)\b[^.?!;,]{0,25}$", text[: mention.start()]):
        raise _Half("a form that is not wanted")
    found: set[int] = set()
    for match in _direct_list_counts(text, form):
        before, after = text[: match.start("n")], text[match.end("n") :]
        before = re.sub(r"(?:1|one) (?:to|through|thru|up to) $", "", before)
        value = number_of(match["n"])
        noun = text[match.end() :]
        if value == 1 and re.match(
            r"(?: points?| items?| lines?)?,? (?:each|per|apiece|for (?:each|every))\b", noun
        ):
            continue
        if _bound(before, after) not in ("plain", "exact"):
            raise _Half("a range of items")
        found.add(value)
    if not found:
        clauses = [c for c in re.split(r"(?<=[.?!;]) ", text) if pattern.search(c)]
        for scope in (" ".join(clauses), text):
            for match in _given_counts(scope):
                noun = scope[match.start("n") : match.end()]
                if re.search(
                    r"\b(?:words|sentences|minutes?|hours?|days?|weeks?|months?|years?|dollars|people|friends|persons|kids|children|guests|lines)$",
                    noun,
                ):
                    continue
                if _bound(scope[: match.start("n")], scope[match.end("n") :]) not in ("plain", "exact"):
                    raise _Half("a range of items")
                found.add(number_of(match["n"]))
            if found:
                break
    if len(found) != 1:
        raise _Half("a list of unknown length")
    return found.pop()


# ---------------------------------------------------------------------------------------------
# Counts: sentences, words, lines
# ---------------------------------------------------------------------------------------------

# What a counted noun follows where it is asked for ("in two sentences"), and not talked about.
_ASKED = re.compile(
    r"(?:^|[.?!:;,(] |\b(?:in|into|with|within|using|use|uses|write|give|to|as|of|on|make|makes|send|answer|"
    r"reply|respond|say|at|than|a|an|exactly|precisely|just|only|most|under|below|most|be|one|single|me|"
    r"need|want|containing|having|fill|it|take|takes|spend|"
    r"(?:that|must|should|to|can) (?:has|have|contains?|includes?)|"
    r"inside|taking|let|over|total|least|maximum|max|craft|compose|draft|create|provide|share|offer|exceed|"
    r"and|for|by) )"
    r"(?:a |your |my )?$"
)
_TALKED_ABOUT = re.compile(
    r"\b(?:this|these|those|following|above|first|last|next|previous|original)(?: [a-z]+)? $"
)


def _counted(text: str, noun: str) -> Iterator[tuple[str, int, int]]:
    """(bound, number, place) of every "N nouns" that is asked for.

    Raises:
        _Half: a number that is vague, or that is meant per item.
    """
    patterns = (
        rf"{_N} ?(?:or (?:fewer|less|more) )?{_DESCRIBING}{noun}s?\b",
        rf"{_N}-{noun}\b",
        rf"\b(?P<n>single)[- ]{_DESCRIBING}{noun}\b(?!s)",
        rf"\b(?P<n>a) {_DESCRIBING}{noun}\b(?!s)",
    )
    taken: list[tuple[int, int]] = []
    for pattern in patterns:
        for match in re.finditer(pattern, text):
            if any(a < match.end() and match.start() < b for a, b in taken):
                continue
            before, after = text[: match.start("n")], text[match.end() :]
            if match["n"] == "a" and noun != "sentence":
                continue
            if match["n"] == "a" and not re.search(
                r"\b(?:in|with|as|to|into|write) (?:just |only )?$", before
            ):
                continue
            inner = text[match.end("n") : match.end()]
            taken.append(match.span())
            if _TALKED_ABOUT.search(before) or re.search(r"\b(?:the|list of) $", before):
                continue
            near = _clause_before(text, match.start("n"))
            bound = _bound(before, inner.lstrip() if re.match(r" ?or ", inner) else after)
            one_sentence = noun == "sentence" and match["n"] in ("one", "1", "single")
            if bound == "plain" and not (_ASKED.search(before) or one_sentence):
                continue
            if re.match(r" (?:in all|in total|altogether)\b", after):
                yield bound, number_of(match["n"]), match.start("n")
                continue
            if re.match(
                r",? ?(?:\(?(?:each|per|apiece|every|for (?:each|every|both))\b)", after
            ) and not re.match(r",? each (?:start|begin)", after):
                if re.search(rf"{_NUM} (?:{noun}s )?(?:in all|in total|altogether)\b", text):
                    continue
                raise _Half("a number per item")
            if re.search(r"\b(?:each|every|per)\b(?![^,.]*\bstart)[^.,]*$", near):
                raise _Half("a number per item")
            if re.search(r"\b(?:not|never|don't|without)\b(?: [a-z]+)? $", before) and bound in (
                "plain",
                "exact",
            ):
                raise _Half("a negated number")
            if re.match(rf" or {_NUM}\b| or two\b", after) or bound == "vague":
                raise _Half("a vague number")
            value = 1 if match["n"] in ("single", "a") else number_of(match["n"])
            yield bound, value, match.start("n")


def _sentences(text: str) -> Check | None:
    """The check of the number of sentences."""
    found = set()
    for bound, value, _ in _counted(text, "sentence"):
        if bound in ("min", "above"):
            raise _Half("a lower bound of sentences")
        if bound == "below":
            bound, value = "max", value - 1
        found.add(("max" if bound == "max" and value > 1 else "count", value))
    if not found:
        return None
    if len(found) > 1:
        raise _Half("two numbers of sentences")
    name, value = found.pop()
    return {"kind": "sentences", name: value}


def _lines(text: str) -> Check | None:
    """The check of the number of lines."""
    found = {(bound, value) for bound, value, _ in _counted(text, "line")}
    if not found or "line of json" in text:
        return None
    values = {value for _, value in found}
    if len(values) > 1 or any(bound not in ("plain", "exact") for bound, _ in found):
        raise _Half("a range of lines")
    return {"kind": "lines", "count": values.pop()}


def _words(text: str) -> Check | None:
    """The check of the number of words."""
    limits: dict[str, set[int]] = {"min": set(), "max": set()}
    between = re.search(
        rf"\b(?:between|from)? ?(?P<a>{_NUM})(?: and | to |(?<=[0-9]) ?[-–] ?(?=[0-9]))(?P<b>{_NUM}) words\b",
        text,
    )
    if between:
        if _EACH.search(_clause_before(text, between.start())) or _EACH.match(
            text[between.end() :].strip(" ,")
        ):
            raise _Half("a number of words per item")
        low, high = number_of(between["a"]), number_of(between["b"])
        limits = {"min": {low}, "max": {high}}
        text = text[: between.start()] + text[between.end() :]
    # "a word limit of 12", "12-word limit"
    limit = re.search(rf"\bword (?:limit|maximum|cap)(?: (?:of|is|to|at))?:? {_N}", text)
    if limit:
        limits["max"].add(number_of(limit["n"]))
    for match in re.finditer(rf"{_N}-word (?:limit|maximum|cap)", text):
        limits["max"].add(number_of(match["n"]))
        text = text.replace(match[0], "")
    for bound, value, start in _counted(text, "word"):
        if bound == "below":
            limits["max"].add(value - 1)
        elif bound == "max" or (bound == "plain" and _LIMITS.search(_clause_before(text, start))):
            limits["max"].add(value)
        elif bound == "min":
            limits["min"].add(value)
        elif bound == "above":
            limits["min"].add(value + 1)
        elif bound == "exact" or value == 1:
            limits["min"].add(value)
            limits["max"].add(value)
        else:
            raise _Half("a number of words without a bound")
    if not limits["min"] and not limits["max"]:
        return None
    check: Check = {"kind": "words"}
    for name, values in limits.items():
        if len(values) > 1:
            raise _Half("two bounds of words")
        if values:
            check[name] = values.pop()
    return check


# ---------------------------------------------------------------------------------------------
# JSON, beginnings and endings, single words
# ---------------------------------------------------------------------------------------------

_KEY = (
    rf"(?:{_Q}|(?!(?:and|another|other|with|each|in|for|as|both|only|the|whose|where|that)\b)[a-z][a-z0-9_]*)"
)
_KEY_LIST = (
    rf"(?P<q>{_Q}(?:(?:,? and |, ?| ?& ?){_Q})*|{_KEY}(?:, {_KEY})*(?:,? and | ?& ?){_KEY}"
    rf"|{_KEY}(?:, {_KEY})*(?=[.?!:;)]|$))"
)
_KEY_WORD = r"(?:keys?|fields?|properties|property|attributes?)"


def _json(text: str, quotes: list[str]) -> Check | None:
    """The check of a JSON object."""
    if not re.search(r"\bjson\b", text):
        return None
    if re.search(r"\bwhat(?:'s| is| are)(?: a| an)? json\b", text):
        raise _Half("JSON is talked about")
    if re.search(r"\bjson (?:array|list)|\b(?:array|list) of json|\bat least\b[^.]*\bkeys?\b", text):
        raise _Half("JSON that is not one object of known keys")
    number = rf"(?:(?:exactly |only |just )?(?:the )?(?:{_NUM}) )?"
    named = r"(?:(?: named| called| being| are| is| be| of|:)+| must be| should be|,? namely|,)?"
    found: list[list[str]] = []
    for pattern in (
        rf"\b{_KEY_WORD}{named}:? {_KEY_LIST}",
        rf"\b(?:with|has|have|of|us(?:e|ing)|giv(?:e|ing)|hold(?:ing)?|contain(?:ing)?|put(?:ting)?|"
        rf"mak(?:e|ing)) {number}(?:the )?{_KEY_LIST} (?:as|for) (?:its |the |your )?(?:only )?"
        rf"{number}(?:only )?{_KEY_WORD}\b",
        rf"\b(?:object|json) (?:with|of|under|containing|holding|having|that (?:has|holds|contains)) "
        rf"(?:just |only |exactly )?{_KEY_LIST}",
        rf"\bone (?:{_KEY_WORD} )?(?:called|named|being) (?P<a>{_KEY})(?: and|,) (?:another|the other|one)"
        rf"(?: {_KEY_WORD})?(?: called| named| being)? (?P<b>{_KEY})",
        rf"\b(?:a|an|one) (?P<a>{_KEY}) {_KEY_WORD} (?:and|plus) (?:a|an|one) (?P<b>{_KEY}) {_KEY_WORD}",
        rf"\bthe {_KEY_LIST} {_KEY_WORD}\b",
        rf"\({_KEY_LIST}\)",
        r"\{(?P<q>[^{}]*)\}",
    ):
        for match in re.finditer(pattern, text):
            groups = match.groupdict()
            group = groups["q"] if "q" in groups else f"{groups['a']}, {groups['b']}"
            if pattern.startswith(r"\{"):
                names = re.findall(rf"({_Q}|[a-z_]+) ?:", group)
            else:
                names = re.split(r",? and |, ?| ?& ?", group)
                if match.end() < len(text) and re.match(
                    r" (?:or|and|to) (?!no |nothing )", text[match.end() :]
                ):
                    continue
            keys = [quotes[int(m[1])] if (m := _Q_ID.fullmatch(name)) else name for name in names]
            keys = [key.strip(" ,.:") for key in keys]
            if keys and all(keys):
                found.append(keys)
        if found:
            break
    if len(found) != 1:
        raise _Half("JSON of unknown keys")
    keys = found[0]
    stated = re.search(rf"\b(?P<n>{_NUM}) (?:[a-z]+ )?{_KEY_WORD}\b", text)
    if stated and 1 < number_of(stated["n"]) != len(keys):
        raise _Half("another number of keys than names")
    return {"kind": "json", "keys": keys}


_END = (
    r"(?:ends?|ending|finish(?:es|ing)?|clos(?:e|es|ing)|conclud(?:e|es|ing)|sign(?:s|ing)? off|"
    r"wrap(?:s|ping)? up|(?<!full )stop(?:s|ping)?)"
)
_START = r"(?:starts?|starting|begins?|beginning|opens?|opening|lead|leads)"
_FILLER = r"(?: [a-z',-]+){0,5}?"
_BY = r"(?:with|in|on|after|by (?:saying|writing|using|adding)|using)"
_LAST = r"(?:very )?(?:last|final|closing|concluding|ending)"
_FIRST = r"(?:very )?(?:first|opening|starting|beginning)"
_PIECE = r"(?:words?|phrase|sentence|line|text|thing|part|remark|wish|note)"


def _edge(text: str, quotes: list[str], kind: str, prompt: str) -> Check | None:
    """The check of the first (`starts_with`) or last (`ends_with`) words; `prompt` keeps their case."""
    verb, place = (_END, _LAST) if kind == "ends_with" else (_START, _FIRST)
    noun = r"(?:end|close|ending|closing|finish)" if kind == "ends_with" else r"(?:start|beginning|opening)"
    rank = "last" if kind == "ends_with" else "first"
    patterns = [
        rf"\b{verb}{_FILLER} {_BY}(?:(?: [a-z-]+){{0,5}}?,?|(?: [a-z-]+){{0,4}}? {_PIECE}:|:) (?P<q>{_Q})",
        rf"\b{verb}(?: exactly| just| it| this)?:? (?P<q>{_Q})",
        rf"\b{place} {_PIECE}{_FILLER}[:,]? (?P<q>{_Q})",
        rf"(?P<q>{_Q}),?{_FILLER} {place} {_PIECE}\b",
        rf"(?P<q>{_Q}),?{_FILLER} (?:at|as|to|be) (?:the|its|your|an?) (?:very )?{noun}\b",
        rf"(?P<q>{_Q}) (?:must|should|has to|needs to|will|to)(?: [a-z]+){{0,4}}? {verb}\b",
        rf"(?P<q>{_Q})(?: [a-z]+){{0,3}}? (?:com|go|stand|appear|is|be)(?:es|s|e)? {rank}\b",
        rf"\b(?:say|write|put|add|place) (?P<q>{_Q}) {rank}\b",
        rf"\b{noun}(?: [a-z]+){{0,4}}? (?:reads?|be|is|says?):? (?P<q>{_Q})",
    ]
    found: dict[str, bool] = {}
    for pattern in patterns:
        for match in re.finditer(pattern, text):
            whole = match[0]
            around = _clause_before(text, match.start()) + whole
            if _EACH.search(around) or re.search(
                r"\b(?:first|last|second|third) (?:bullet|item|step|point)\b", around
            ):
                raise _Half("an edge of an item")
            if re.search(r"\b(?:not|never|don't|without|avoid)\b[^,.?!;:]*$", text[: match.start()]):
                raise _Half("an edge that is not wanted")
            if re.match(r",? (?:or|either)\b", text[match.end("q") :]) or re.search(
                r"\b(?:either|or) $", text[: match.start("q")]
            ):
                raise _Half("a choice of texts")
            found[quotes[int(_Q_ID.search(match["q"])[1])]] = True  # type: ignore[index]
    if not found and kind == "ends_with":
        mark = re.search(
            rf"\b{_END}{_FILLER} (?:with|in) (?:a|an|one) "
            r"(?P<m>question mark|exclamation (?:mark|point)|semicolon)\b",
            text,
        )
        if mark and not _EACH.search(_clause_before(text, mark.start()) + mark[0]):
            found[{"q": "?", "e": "!", "s": ";"}[mark["m"][0]]] = True
    bare = re.search(
        rf"\b{verb}{_FILLER} with the (?:exact )?word(?P<s>s?) (?P<w>[a-z][a-z'-]*)(?!{_Q})", text
    )
    if bare and not found:
        if kind == "ends_with" or bare["s"] or _EACH.search(_clause_before(text, bare.start()) + bare[0]):
            raise _Half("words without quotes, of unknown extent")
        written = re.findall(rf"\bword\s+({re.escape(bare['w'])})\b", prompt, re.IGNORECASE)
        if len(set(written)) != 1:
            raise _Half("a word of unknown case")
        found[written[0]] = True
    if not found:
        return None
    if len(found) > 1:
        raise _Half("two texts for one edge")
    value = next(iter(found)).strip()
    if kind == "ends_with" and (not value or value[-1].isalnum()):
        # '... with the word "tea"' is kept by "... tea." too, which the check would refuse.
        raise _Half("an ending without its mark")
    return {"kind": kind, "text": value}


_HOLD = (
    r"(?:includ(?:e|es|ing)|contain(?:s|ing)?|us(?:e|es|ing)|mention(?:s|ing)?|keep(?:s|ing)?|"
    r"featur(?:e|es|ing)|ha(?:s|ve|ving)|say(?:s|ing)?|work in|with|without|avoid(?:s|ing)?|"
    r"leav(?:e|es|ing) out|skip(?:s|ping)?|omit(?:s|ting)?|exclud(?:e|es|ing))"
)
_NOT = re.compile(
    r"\b(?:not|never|don't|doesn't|without|avoid(?:s|ing)?|leav(?:e|es|ing) out|skip(?:s|ping)?|"
    r"omit(?:s|ting)?|exclud(?:e|es|ing))\b[^.,;]*$"
)
_SAID_AS_WORD = r"(?: (?!one|single|two|a few)[a-z]+){0,3}? (?:words?|phrases?|terms?)"
_NO_WORD = _split(
    "limit count order for that of in list is are to and or the a with as it your you game problem only "
    "used means bank"
)


def _held(text: str, quotes: list[str]) -> list[Check]:
    """The checks of single words that must or must not occur (`contains`, `excludes`)."""
    found: dict[str, list[str]] = {"contains": [], "excludes": []}
    if re.search(
        rf"\b(?:one|either|any|some) of (?:the )?(?:two )?(?:words |phrases )?{_Q}|\beither {_Q}", text
    ):
        raise _Half("a choice of words")
    bare = r"(?P<w>[a-z][a-z'-]*)"
    bare_list = rf"(?P<w>{bare.replace('?P<w>', '?:')}(?:(?:,? and |, ){bare.replace('?P<w>', '?:')})*)"
    for pattern in (
        rf"\b{_HOLD}(?:{_SAID_AS_WORD})?:? {_Q_LIST}",
        rf"\b{_HOLD} (?:the )?(?:exact |single )?word {bare}(?![\w-])",
        rf"\b{_HOLD} the words {bare_list}(?![\w-])",
        rf"\b(?:not|never|don't) mention {bare}(?=[.;!?,]|$)",
    ):
        for match in re.finditer(pattern, text):
            group = match.groupdict()
            before = (
                _clause_before(text, match.start())
                + text[match.start() : match.start("q" if "q" in group else "w")]
            )
            after = text[match.end() :]
            if group.get("q"):
                if re.match(rf"(?:with|keep\w*|ha\w+|say\w*|skip\w*) {_OPEN}", match[0]) or re.search(
                    rf"\b{_KEY_WORD}\b", match[0]
                ):
                    continue
                words = [quotes[int(number)] for number in _Q_ID.findall(group["q"])]
            else:
                words = re.split(r",? and |, ", group["w"])
                if any(word in _NO_WORD for word in words):
                    continue
            if re.match(r",? (?:or|either)\b|,? (?:twice|once|exactly|at least|[a-z0-9]+ times)\b", after):
                raise _Half("a choice, or a count, of words")
            if re.search(r"\b(?:one|either|any|some|two|each) of\b|\beither\b", before) or _EACH.search(
                before + after[:40]
            ):
                raise _Half("a choice of words")
            found["excludes" if _NOT.search(before) else "contains"] += [w.strip(" .,") for w in words]
    return [{"kind": kind, "words": list(dict.fromkeys(w))} for kind, w in found.items() if w]


# ---------------------------------------------------------------------------------------------
# Case and language
# ---------------------------------------------------------------------------------------------

_UPPER = r"(?:upper-? ?case(?: letters)?|capital letters|capitals|all[- ]caps|caps|block letters)"
_LOWER = r"(?:lower-? ?case(?: letters)?|small letters)"
_LANGUAGE = {"spanish": "es", "french": "fr", "german": "de", "italian": "it"}
_OTHER = "portuguese|dutch|latin|greek|russian|chinese|japanese|korean|arabic|hindi|polish|swedish|turkish"


def _case(text: str) -> Check | None:
    """The check of upper or lower case."""
    found = set()
    for name, words in (("upper", _UPPER), ("lower", _LOWER)):
        for match in re.finditer(
            rf"\b(?:(?:all|only|just|everything) (?:in )?{words}"
            rf"|(?:in|use|using) (?:all |only |just )?{words}(?: only)?)\b",
            text,
        ):
            if re.search(
                r"\b(?:not|no|never|don't|without|avoid|word|title|headings?)\b[^.,;]*$",
                text[: match.start()],
            ):
                raise _Half("a case that is not wanted, or of a part")
            if _EACH.search(re.split(r"[,.?!;] ", text[: match.start()])[-1]):
                raise _Half("a case of an item")
            found.add(name)
    if len(found) > 1:
        raise _Half("two cases")
    return {"kind": "case", "case": found.pop()} if found else None


def _language(text: str, quotes: list[str]) -> Check | None:
    """The check of the language of the answer."""
    names = "|".join(_LANGUAGE)
    if not re.search(rf"\b(?:{names}|{_OTHER})\b", text):
        return None
    found = set(
        re.findall(rf"\b(?:translate|put|turn|render)\b[^.?!]*? (?:in|into|to) ({names}|{_OTHER})\b", text)
        + re.findall(
            rf"\b(?:write|answer|reply|respond|say|describe|greet)\b[^.?!]*? in ({names}|{_OTHER})\b", text
        )
    )
    if not found:
        return None
    if len(found) > 1 or "json" in text or re.search(rf"\b(?:and|or) (?:{names}|{_OTHER})\b", text):
        raise _Half("a language of a part")
    name = found.pop()
    if name not in _LANGUAGE:
        raise _Half("a language that is not known")
    translated = re.search(r"\b(?:translate|put|turn|render|say)\b", text)
    if translated and (
        ("how" in text.split() and not quotes)
        or any(len(q.split()) < 5 for q in quotes)
        or re.search(r"\bwords?\b[^.]*\b(?:in)?to\b", text)
    ):
        # A right translation of few words may hold no function word, by which the check knows a language.
        raise _Half("a translation of a word")
    return {"kind": "language", "language": _LANGUAGE[name]}


# ---------------------------------------------------------------------------------------------


def stated_checks(prompt: str) -> list[Check]:
    """The checks of the constraints of form that a prompt states; empty where there is none.

    Empty too where a constraint is only half understood; see the module's docstring. Read are the kinds
    of `STATED_KINDS`. Every check is one that `alma.checks.validate_checks` finds no fault with. Nothing is
    raised.
    """
    try:
        text, quotes = _masked(prompt)
        lists = [
            {"kind": kind, "count": count}
            for kind in ("bullets", "numbered")
            if (count := _list_count(text, kind)) is not None
        ]
        if len(lists) > 1:
            raise _Half("two forms of a list")
        found: list[Check | None] = [
            *lists,
            None if lists else _lines(text),
            _sentences(text),
            _words(text),
            _json(text, quotes),
            starts := _edge(text, quotes, "starts_with", prompt),
            ends := _edge(text, quotes, "ends_with", prompt),
            _case(text),
            _language(text, quotes),
        ]
        edges = {check["text"].strip(" .,").lower() for check in (starts, ends) if check}
        # Quotes beside JSON are mostly its keys.
        held = [] if re.search(r"\bjson\b", text) else _held(text, quotes)
        held = [check for check in held if edges.isdisjoint(word.lower() for word in check["words"])]
    except _Half:
        return []
    checks = [check for check in [*found, *held] if check is not None]
    return [] if validate_checks(checks) else checks

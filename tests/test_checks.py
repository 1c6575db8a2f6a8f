"""The programmatic checks: every kind passes and fails where its description says."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from alma.checks import (
    CHECK_KINDS,
    LANGUAGES,
    numbers_of,
    run_check,
    run_checks,
    sentences_of,
    validate_checks,
)
from alma.words import words_of

VALID = [
    {"kind": "bullets", "count": 3},
    {"kind": "numbered", "count": 3},
    {"kind": "lines", "count": 2},
    {"kind": "words", "min": 2, "max": 4},
    {"kind": "words", "min": 2},
    {"kind": "words", "max": 4},
    {"kind": "sentences", "count": 2},
    {"kind": "sentences", "max": 2},
    {"kind": "json", "keys": ["a", "b"]},
    {"kind": "contains", "words": ["salt", "olive oil"]},
    {"kind": "excludes", "words": ["art"]},
    {"kind": "starts_with", "text": "Yes,"},
    {"kind": "ends_with", "text": "the end."},
    {"kind": "case", "case": "upper"},
    {"kind": "case", "case": "lower"},
    {"kind": "number", "value": 1250},
    {"kind": "number", "value": -4.5},
    {"kind": "equals", "text": "Paris"},
    {"kind": "language", "language": "es"},
    {"kind": "language", "language": "fr"},
    {"kind": "language", "language": "de"},
    {"kind": "language", "language": "it"},
    {"kind": "python"},
    {"kind": "python", "function": "add"},
]


def test_every_kind_has_a_case() -> None:
    assert {check["kind"] for check in VALID} == set(CHECK_KINDS)


def check(kind: str, **arguments: object) -> dict:
    """A check object that the validation accepts."""
    made = {"kind": kind, **arguments}
    assert validate_checks([made]) == []
    return made


@pytest.mark.parametrize(
    ("count", "response", "passes"),
    [
        (2, "- one\n- two", True),
        (2, "* one\n• two", True),
        (2, "Here:\n\n  - one\n  - two\n", True),
        (2, "- one\r\n- two", True),
        (2, "- one\n- two\n- three", False),
        (2, "-one\n-two", False),
        (2, "**one**\n**two**", False),
        (1, "- \n- real", True),
        (1, "a - b", False),
        (1, "---", False),
        (1, "", False),
        (2, "```\n- one\n- two\n```", True),
        (1, "- ñandú", True),
    ],
)
def test_bullets(count: int, response: str, passes: bool) -> None:
    assert run_check(check("bullets", count=count), response) is passes


@pytest.mark.parametrize(
    ("count", "response", "passes"),
    [
        (3, "1. a\n2. b\n3. c", True),
        (2, "1) a\n2) b", True),
        (2, "Steps:\n1. a\n   more\n2. b", True),
        (3, "1. a\n3. b\n2. c", False),
        (2, "1. a\n1. b", False),
        (2, "1. a\n2. b\n3. c", False),
        (2, "2. a\n3. b", False),
        (1, "1.a", False),
        (1, "1.5 cups", False),
        (1, "", False),
        (1, "9" * 5000 + ". a", False),
    ],
)
def test_numbered(count: int, response: str, passes: bool) -> None:
    assert run_check(check("numbered", count=count), response) is passes


@pytest.mark.parametrize(
    ("count", "response", "passes"),
    [
        (2, "a\nb", True),
        (2, "\na\n \n\nb\n", True),
        (1, "a\nb", False),
        (1, "", False),
        (3, "```\na\n```", True),
    ],
)
def test_lines(count: int, response: str, passes: bool) -> None:
    assert run_check(check("lines", count=count), response) is passes


@pytest.mark.parametrize(
    ("bounds", "response", "passes"),
    [
        ({"min": 2, "max": 3}, "one two", True),
        ({"min": 2, "max": 3}, "one two three", True),
        ({"min": 2, "max": 3}, "one", False),
        ({"min": 2, "max": 3}, "one two three four", False),
        ({"max": 3}, "", True),
        ({"min": 1}, "", False),
        ({"max": 3}, "- one = two — three", True),
        ({"min": 2, "max": 2}, "well-known café", True),
    ],
)
def test_words(bounds: dict, response: str, passes: bool) -> None:
    assert run_check(check("words", **bounds), response) is passes


def test_a_word_holds_a_letter_or_digit() -> None:
    assert words_of("1. Mix — it's 5 ° ½ 东西 … ok!") == [
        "1.",
        "Mix",
        "it's",
        "5",
        "½",
        "东西",
        "ok!",
    ]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        (" \n\t", 0),
        ("...", 0),
        ("No end mark", 1),
        ("One. Two! Three? Four…", 4),
        ("go home. eat soup.", 2),
        ("It costs 3.50 at 10.30. Buy it.", 2),
        ("3. Stir the pot.", 1),
        ("1. Mix.\n2. Bake.\n3. Eat.", 3),
        ("Mix it. 2. Bake it.", 2),
        ("There were 3. Then we left.", 2),
        ("42.", 1),
        ("The result is -4.5.", 1),
        ("Dr. Silva met Mr. Okoye. They spoke.", 2),
        ("Use fruit, e.g. apples. Wash it, i.e. rinse it.", 2),
        ("Pack shirts, socks, etc. Then go.", 2),
        ("Pack shirts, socks, etc. and go.", 1),
        ("Meet at 5 p.m. on Friday.", 1),
        ("Meet at 5 p.m. Bring bread.", 2),
        ("J. R. Smith wrote it.", 1),
        ("Oranges hold vitamin C. Eat two.", 2),
        ("It was I. Nobody else came.", 2),
        ('"Stop!" he said. "Why?" she asked.', 2),
        ('He said "stop." Then he left.', 2),
        ("Well... maybe not.", 1),
        ("What?! Really!!", 2),
        ("¿Qué tal? ¡Muy bien!", 2),
        ("今日は。元気ですか？", 2),
        ("Write to help@oak.example, not www.oak.example.", 1),
        ("One line\ncontinues here. Two.", 2),
        ("First paragraph\n\nSecond paragraph", 2),
        ("- one\n- two", 2),
        ("Items:\n- one. Really.\n- two", 4),
    ],
)
def test_sentences_are_counted(text: str, count: int) -> None:
    assert len(sentences_of(text)) == count, sentences_of(text)


@pytest.mark.parametrize(
    ("bounds", "response", "passes"),
    [
        ({"count": 2}, "One. Two.", True),
        ({"count": 2}, "One. Two. Three.", False),
        ({"count": 1}, "", False),
        ({"max": 2}, "One.", True),
        ({"max": 2}, "One. Two.", True),
        ({"max": 2}, "One. Two. Three.", False),
    ],
)
def test_sentences(bounds: dict, response: str, passes: bool) -> None:
    assert run_check(check("sentences", **bounds), response) is passes


@pytest.mark.parametrize(
    ("response", "passes"),
    [
        ('{"a": 1, "b": [2]}', True),
        (' {"b": null, "a": {"c": 1}}\n', True),
        ('{"a": 1}', False),
        ('{"a": 1, "b": 2, "c": 3}', False),
        ('{"a": 1, "b": 2} Done.', False),
        ('```json\n{"a": 1, "b": 2}\n```', False),
        ("{'a': 1, 'b': 2}", False),
        ('["a", "b"]', False),
        ('{"a": NaN, "b": 2}', False),
        ('{"a": ' + "9" * 5000 + ', "b": 2}', False),
        ("[" * 100_000, False),
        ("", False),
    ],
)
def test_json(response: str, passes: bool) -> None:
    assert run_check(check("json", keys=["a", "b"]), response) is passes


@pytest.mark.parametrize(
    ("words", "response", "found"),
    [
        (["salt"], "Add SALT.", True),
        (["salt"], "salted butter", False),
        (["art"], "start", False),
        (["fat"], "low-fat milk", True),
        (["olive oil"], "Olive\noil", True),
        (["olive oil"], "olive and oil", False),
        (["don't"], "I don’t know", True),
        (["café"], "Un CAFE\u0301 noir", True),
        (["C++"], "Write C++ code", True),
        (["4.5"], "It is 4.5 kg", True),
        (["4.5"], "It is 465 kg", False),
        (["salt"], "", False),
    ],
)
def test_contains_and_excludes(words: list[str], response: str, found: bool) -> None:
    assert run_check(check("contains", words=words), response) is found
    assert run_check(check("excludes", words=words), response) is not found


def test_contains_wants_all_and_excludes_wants_none() -> None:
    assert not run_check(check("contains", words=["salt", "oil"]), "salt")
    assert not run_check(check("excludes", words=["salt", "oil"]), "salt")


@pytest.mark.parametrize(
    ("kind", "text", "response", "passes"),
    [
        ("starts_with", "Yes,", "  Yes, it is.", True),
        ("starts_with", "Yes,", "yes, it is.", False),
        ("starts_with", "Yes,", "Oh. Yes,", False),
        ("starts_with", "¿Qué", "¿Qué tal?", True),
        ("starts_with", "Yes,", "", False),
        ("ends_with", "the end.", "This is the end.\n", True),
        ("ends_with", "the end.", "This is the end", False),
        ("ends_with", "the end.", "the end. Bye", False),
        ("ends_with", "the end.", "", False),
    ],
)
def test_starts_and_ends(kind: str, text: str, response: str, passes: bool) -> None:
    assert run_check(check(kind, text=text), response) is passes


@pytest.mark.parametrize(
    ("case", "response", "passes"),
    [
        ("upper", "LOUD 24 ÉCLAIRS!", True),
        ("upper", "LOUD voice", False),
        ("lower", "quiet été, 24.", True),
        ("lower", "Quiet", False),
        ("upper", "24 + 1", False),
        ("lower", "", False),
        ("upper", "ÑANDÚ 东西", True),
    ],
)
def test_case(case: str, response: str, passes: bool) -> None:
    assert run_check(check("case", case=case), response) is passes


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("", []),
        ("no digits, only ten", []),
        ("It is 42.", [42]),
        ("3. The sum is 7", [3, 7]),
        ("1,250.50 and 12,345,678", [1250.5, 12345678]),
        ("1,2,3", [1, 2, 3]),
        ("$1,250 or 15% or €3.5", [1250, 15, 3.5]),
        ("-4.5, −3, -$2, $-1", [-4.5, -3, -2, -1]),
        ("10-15", [10, 15]),
        ("10 - 15 = -5", [10, 15, -5]),
        ("- 4 eggs\n- $5", [4, 5]),
        ("(2)-3", [2, 3]),
        ("H2O m2 v1.2", []),
        ("12kg at .5", [12, 0.5]),
        ("1/2", [1, 2]),
        ("٣", []),
    ],
)
def test_numbers_are_read(text: str, numbers: list[float]) -> None:
    assert numbers_of(text) == numbers


@pytest.mark.parametrize(
    ("value", "response", "passes"),
    [
        (42, "2 × 21 = 42", True),
        (42, "42 is 2 × 21", False),
        (42, "It is 42.0.", True),
        (1250, "$1,250", True),
        (0.1, "0.1%", True),
        (-4.5, "It fell to -4.5 degrees.", True),
        (4.5, "-4.5", False),
        (42, "forty-two", False),
        (42, "", False),
        (42, "9" * 5000, False),
    ],
)
def test_number(value: float, response: str, passes: bool) -> None:
    assert run_check(check("number", value=value), response) is passes


@pytest.mark.parametrize(
    ("text", "response", "passes"),
    [
        ("Paris", " paris.\n", True),
        ("Paris.", "PARIS", True),
        ("Paris", "Paris..", False),
        ("Paris", "It is Paris", False),
        ("Straße", "STRASSE", True),
        ("It's", "it’s", True),
        ("Paris", "", False),
    ],
)
def test_equals(text: str, response: str, passes: bool) -> None:
    assert run_check(check("equals", text=text), response) is passes


SAMPLES = {
    "en": ["The door is open.", "We will go to the market and buy some bread.", "Thank you."],
    "es": [
        "¿Dónde está la estación?",
        "El pan es muy bueno.",
        "Mi hermano trabaja en un hospital.",
        "BUENOS DÍAS A TODOS",
    ],
    "fr": ["Où est la gare ?", "J'ai faim.", "Le pain est très bon.", "Il n’y a pas d’eau."],
    "de": [
        "Wo ist der Bahnhof?",
        "Die Suppe ist heiß.",
        "Ich habe keine Zeit.",
        "Guten Tag, danke",
    ],
    "it": ["Dov'è la stazione?", "Il pane è molto buono.", "Vorrei un bicchiere d'acqua."],
}


@pytest.mark.parametrize(
    ("spoken", "text"), [(lang, text) for lang, texts in SAMPLES.items() for text in texts]
)
def test_language(spoken: str, text: str) -> None:
    verdicts = {x: run_check(check("language", language=x), text) for x in ("es", "fr", "de", "it")}
    assert verdicts == {lang: lang == spoken for lang in verdicts}


@pytest.mark.parametrize("text", ["", "123", "leche queso pan", "东西", "The word hola is Spanish."])
def test_language_wants_function_words(text: str) -> None:
    assert not run_check(check("language", language="es"), text)


@pytest.mark.parametrize(
    "text",
    [
        "def is_even(n):\n    return n % 2 == 0",
        "Use slicing: s[::-1]",
        "c = 5 / 9 * (f - 32)",
        "Hey, gotta run, see ya!",
        '{"each": 29}',
        "It arrives at 10:55.",
    ],
)
def test_code_and_short_english_are_no_other_language(text: str) -> None:
    for language in LANGUAGES:
        assert not run_check(check("language", language=language), text), language


@pytest.mark.parametrize(
    ("function", "response", "passes"),
    [
        ("add", "def add(a, b):\n    return a + b", True),
        ("add", "```python\ndef add(a, b):\n    return a + b\n```", True),
        ("add", "```\nasync def add(): ...\n```\n", True),
        ("add", "def sub(a, b):\n    return a - b", False),
        ("add", "class A:\n    def add(self): ...", False),
        ("add", "def add(a, b) return a + b", False),
        ("add", "Here:\n```python\ndef add(): ...\n```", False),
        ("add", "add = 1", False),
        (None, "print('hi')", True),
        (None, "print('\\d')", True),
        (None, "It is a list.", False),
        (None, "# only a comment", False),
        (None, "x = '\0'", False),
        (None, "\ud800", False),
        (None, "(" * 10_000, False),
        (None, "x = " + "9" * 5000, False),
        (None, "", False),
        (None, "```\n```", False),
    ],
)
def test_python(function: str | None, response: str, passes: bool) -> None:
    made = check("python", function=function) if function else check("python")
    assert run_check(made, response) is passes


@pytest.mark.parametrize("valid", VALID, ids=json.dumps)
def test_valid_checks_have_no_problems(valid: dict) -> None:
    assert validate_checks([valid]) == []
    assert validate_checks([valid, valid]) == []


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"kind": "haiku"}, "unknown kind 'haiku'"),
        ({"count": 3}, "unknown kind None"),
        ({"kind": ["bullets"]}, "unknown kind"),
        ("bullets", "not an object"),
        ({"kind": "bullets"}, "lacks 'count'"),
        ({"kind": "bullets", "count": "3"}, "'count' to be an integer"),
        ({"kind": "bullets", "count": True}, "'count' to be an integer"),
        ({"kind": "bullets", "count": 0}, "'count' to be an integer"),
        ({"kind": "bullets", "count": 3, "max": 4}, "unknown argument 'max'"),
        ({"kind": "words"}, "needs 'min' or 'max'"),
        ({"kind": "words", "min": 5, "max": 4}, "'min' above 'max'"),
        ({"kind": "words", "max": 4.5}, "'max' to be an integer"),
        ({"kind": "sentences"}, "either 'count' or 'max'"),
        ({"kind": "sentences", "count": 1, "max": 2}, "either 'count' or 'max'"),
        ({"kind": "json", "keys": []}, "'keys' to be a non-empty list"),
        ({"kind": "json", "keys": ["a", "a"]}, "'keys' to be a non-empty list"),
        ({"kind": "contains", "words": "salt"}, "'words' to be a non-empty list"),
        ({"kind": "excludes", "words": ["a", 1]}, "'words' to be a non-empty list"),
        ({"kind": "ends_with", "text": " "}, "'text' to be a non-empty string"),
        ({"kind": "case", "case": "title"}, "'upper' or 'lower'"),
        ({"kind": "number", "value": "42"}, "finite number"),
        ({"kind": "number", "value": float("nan")}, "finite number"),
        ({"kind": "number", "value": 10**400}, "finite number"),
        ({"kind": "language", "language": "en"}, "one of es, fr, de, it"),
        ({"kind": "python", "function": "two words"}, "a Python name"),
    ],
)
def test_invalid_checks_are_named(bad: object, said: str) -> None:
    problems = validate_checks([{"kind": "lines", "count": 1}, bad])
    assert len(problems) == 1
    assert problems[0].startswith("check 1 ")
    assert said in problems[0]


@pytest.mark.parametrize("value", [None, {}, "x", ({"kind": "lines", "count": 1},)])
def test_checks_are_a_list(value: object) -> None:
    assert validate_checks(value) == ["checks is not a list"]
    assert validate_checks([]) == []


def test_run_checks_keeps_the_order() -> None:
    checks = [{"kind": "words", "max": 1}, {"kind": "lines", "count": 1}]
    assert run_checks(checks, "two words") == [False, True]
    assert run_checks([], "anything") == []


def test_an_unknown_kind_is_an_error() -> None:
    with pytest.raises(ValueError, match="haiku"):
        run_check({"kind": "haiku"}, "text")


# Pieces that steer arbitrary text into the parsers: markers, fences, braces, signs, surrogates.
PIECES = st.one_of(
    st.sampled_from(["- ", "1. ", "```python\n", "\n```", "{", '"a": ', "}", "[", "def add(", "):\n"]),
    st.sampled_from(["\t", "\n", "\r", "\0", "\ud800", "\u2028", "-", "$", "1,", ".", "…", "²", "٣"]),
    st.sampled_from(["e.g.", "I.", '"', "'"]),
)
TEXT = st.one_of(
    st.text(alphabet=st.characters(codec=None)),
    st.lists(st.one_of(PIECES, st.text(max_size=4)), max_size=30).map("".join),
)


@given(TEXT)
@example("-" * 100_000 + "1")
@example("(" * 100_000)
@example("{" * 50_000)
@example("a." * 50_000)
@example(". " * 50_000)
@settings(deadline=None, max_examples=200)
def test_no_check_raises_on_any_text(text: str) -> None:
    for verdict in run_checks(VALID, text):
        assert isinstance(verdict, bool)

"""What people are asked to rate: which responses, and the files that they rate them in.

A task is a prompt with several responses side by side, since a judge that chooses among the responses to one
prompt learns most from how these compare. Which checkpoint wrote a response, and what the judge says of it,
stands in no file that annotators see.
"""

import json
import re
from collections.abc import Callable, Iterable
from html import escape
from itertools import combinations
from typing import Any

from alma.duplicates import bare_words, grams_of
from alma.ids import content_id, hashed_int
from alma.judging import RUBRIC
from alma.selection import why_out

Row = dict[str, Any]
LETTERS = "ABCDEFGH"  # responses of one task, at most
ALIKE = 0.5  # share of common word 3-grams from which two responses are too alike to be compared

# The ratings and their definitions, of the judge's own question: {0: "unusable", ..., 10: "outstanding"}.
SCALE = {int(number): words for number, words in re.findall(r"(\d+) ([a-z ]+)", RUBRIC)}


def response_key(prompt: str, response: str) -> str:
    """Name of a response in the files of an annotation: equal for equal texts, whoever wrote them.

    It begins with a letter, or a spreadsheet would take some of them for numbers.
    """
    prompt_id = content_id("prompt", prompt)
    return "r" + content_id("response", prompt_id, response)


# which responses


def order_doubt(a: list[float], b: list[float]) -> float:
    """How unsure the judge is which of two responses is better, 0 to 0.5.

    The probability of the less likely order, where each rating is drawn from the judge's distribution of its
    response (eleven floats). Equal ratings are no order: a judge that is sure of a tie has no doubt.
    """
    below = above = 0.0
    for i, p in enumerate(a):
        above += p * sum(b[:i])
        below += p * sum(b[i + 1 :])
    return min(above, below)


def too_alike(a: str, b: str) -> bool:
    """Whether two texts share so many word 3-grams that people could not tell which is better."""
    one, other = set(grams_of(a)), set(grams_of(b))
    return len(one & other) > ALIKE * max(1, min(len(one), len(other)))


def can_be_rated(row: Row, prompt: str, labeled: set[str]) -> bool:
    """Whether a sampled and scored response is worth a person's time.

    Not: one that could never be chosen (`alma.selection.why_out`: cut off, empty, an echo, without a score),
    and one that has a label already (`labeled` holds `response_key`s).
    """
    return why_out(prompt, row) is None and response_key(prompt, row["response"]) not in labeled


def pair_worth(choose: str, seed: int) -> Callable[[Row, Row], float]:
    """How much a comparison of two responses tells, by the rule `choose` (`annotation.choose`)."""
    if choose == "uncertain":
        return lambda a, b: order_doubt(a["p"], b["p"])
    if choose == "spread":
        return lambda a, b: abs(a["score"] - b["score"])
    return lambda a, b: hashed_int("annotation", seed, *sorted((a["key"], b["key"]))) / 2**63


def informative(rows: list[Row], count: int, choose: str, seed: int) -> tuple[float, list[Row]] | None:
    """The `count` responses to one prompt whose comparison tells most, and their mean worth per pair.

    The best pair of those that are not too alike, then one after the other the response that adds most.
    Ties are broken by seeded hash.

    Args:
        rows: responses to one prompt, of different texts, with key, response, score and p.

    Returns:
        None where there are not so many that differ.
    """
    worth = pair_worth(choose, seed)
    order = sorted(rows, key=lambda row: hashed_int("annotation tie", seed, row["key"]))
    pairs = [(a, b) for a, b in combinations(order, 2) if not too_alike(a["response"], b["response"])]
    if not pairs:
        return None
    chosen = list(max(pairs, key=lambda pair: worth(*pair)))
    while len(chosen) < count:
        taken = {row["key"] for row in chosen}
        more = [
            row
            for row in order
            if row["key"] not in taken
            and not any(too_alike(row["response"], other["response"]) for other in chosen)
        ]
        if not more:
            return None
        chosen.append(max(more, key=lambda row: sum(worth(row, other) for other in chosen)))
    worths = [worth(a, b) for a, b in combinations(chosen, 2)]
    return sum(worths) / len(worths), chosen


def distinct(rows: Iterable[Row]) -> list[Row]:
    """The first of the responses whose words are equal."""
    first: dict[str, Row] = {}
    for row in rows:
        first.setdefault(bare_words(row["response"]) or row["response"], row)
    return list(first.values())


def choose_tasks(
    prompts: dict[str, str],
    responses: list[Row],
    labeled: set[str],
    *,
    count: int,
    per_prompt: int,
    choose: str,
    seed: int,
) -> list[tuple[str, list[Row]]]:
    """The prompts and responses to be rated, both in a seeded order that tells nothing of them.

    Args:
        prompts: {prompt_id: text}.
        responses: with prompt_id, response_id, checkpoint, response, finish_reason, score and p.
        labeled: `response_key`s of what has a label.
        count: prompts, at most: those whose best comparison tells most.
        per_prompt: responses to each.
        choose: uncertain, spread or random.

    Returns:
        (prompt, its responses), each response with its key.
    """
    by_prompt: dict[str, list[Row]] = {}
    for row in responses:
        prompt = prompts[row["prompt_id"]]
        if can_be_rated(row, prompt, labeled):
            row = row | {"key": response_key(prompt, row["response"])}
            by_prompt.setdefault(row["prompt_id"], []).append(row)
    found = []
    for prompt_id, rows in by_prompt.items():
        best = informative(distinct(rows), per_prompt, choose, seed)
        if best is not None:
            found.append((best[0], prompt_id, best[1]))
    found.sort(key=lambda item: (-item[0], hashed_int("annotation prompt", seed, item[1])))
    tasks = [
        (prompts[prompt_id], sorted(rows, key=lambda row: hashed_int("annotation side", seed, row["key"])))
        for _, prompt_id, rows in found[:count]
    ]
    return sorted(tasks, key=lambda task: hashed_int("annotation order", seed, task[0]))


# the files


def label_studio_tasks(tasks: list[tuple[str, list[Row]]]) -> list[Row]:
    """Tasks as Label Studio imports them: one per prompt, with response_a, key_a, response_b, ..."""
    made = []
    for number, (prompt, rows) in enumerate(tasks, start=1):
        data: Row = {"task": number, "prompt": prompt}
        for letter, row in zip(LETTERS.lower(), rows, strict=False):
            data |= {f"response_{letter}": row["response"], f"key_{letter}": row["key"]}
        made.append({"data": data})
    return made


def sheet_rows(tasks: list[tuple[str, list[Row]]]) -> list[Row]:
    """Rows of the `annotation` table: one per response, with empty cells for the score and the annotator."""
    return [
        {
            "task": number,
            "letter": letter,
            "prompt": prompt,
            "response": row["response"],
            "score": None,
            "annotator": "",
            "key": row["key"],
        }
        for number, (prompt, rows) in enumerate(tasks, start=1)
        for letter, row in zip(LETTERS, rows, strict=False)
    ]


def label_studio_config(responses: int) -> str:
    """The labeling interface: the prompt, then each response with the eleven ratings below it.

    Texts stand in `Text`, which shows them as they are; `HyperText` would read HTML in a response.
    """
    choices = "".join(
        f'\n        <Choice value="{number} {words}" alias="{number}"/>' for number, words in SCALE.items()
    )
    parts = "".join(
        f"""
    <View className="response">
      <Header value="Response {letter}" size="5"/>
      <Text name="response_{letter.lower()}" value="$response_{letter.lower()}"/>
      <Choices name="score_{letter.lower()}" toName="response_{letter.lower()}" choice="single-radio"
               showInLine="true" required="true" requiredMessage="Please rate response {letter}.">{choices}
      </Choices>
    </View>"""
        for letter in LETTERS[:responses]
    )
    return f"""<View>
  <Style>
    .prompt, .response {{ white-space: pre-wrap; padding: 0.5rem 1rem; margin-bottom: 1rem; }}
    .prompt {{ background: rgba(128, 128, 128, 0.12); }}
    .response {{ border: 1px solid rgba(128, 128, 128, 0.4); }}
  </Style>
  <View className="prompt">
    <Header value="Prompt" size="5"/>
    <Text name="prompt" value="$prompt"/>
  </View>{parts}
</View>
"""


def instructions(tasks: int, responses: int) -> str:
    """A page for annotators, in HTML that Label Studio's field for instructions takes as well."""
    rows = [f"<tr><td>{number}</td><td>{escape(words)}</td></tr>\n" for number, words in SCALE.items()]
    return f"""<h1>Rate responses to prompts</h1>
<p>There are {tasks} prompts with {responses} responses each. Read the prompt, read all its responses, then
give each response a whole number from 0 to 10:</p>
<table>
{"".join(rows)}</table>
<ul>
<li>Ask first: does the response do what the prompt asks, all of it? Is what it says true? Then: is it clear,
and is it as long as the prompt needs? A longer response is not better for its length.</li>
<li>Rate what is there, not who may have written it. The order of prompts and responses is random.</li>
<li>Use the whole scale, and different numbers for responses that differ, however little.</li>
<li>A prompt that makes no sense to you, or that you cannot judge: skip it (in a table: leave the scores
empty).</li>
<li>Do not talk about single prompts with other annotators before all have rated them: how far you agree is
measured.</li>
</ul>
<h2>In a table (tasks.csv)</h2>
<p>Work on a copy. Write the number into <b>score</b> and your name, or any name you like, into
<b>annotator</b>; leave the other columns as they are. A spreadsheet has to read the file as UTF-8 with
commas, and every column as text: it may else take a response that begins with - or = for a formula.</p>
"""


def as_json(tasks: list[Row]) -> str:
    """Tasks as the text of a JSON file."""
    return json.dumps(tasks, ensure_ascii=False, indent=1) + "\n"

"""Whether a run made its model better, link by link of the recipe: tables in, rows of a table out.

A link is one thing that has to be true for the next one to work: the SFT learns, the judge orders
responses rightly, its choice beats a random one, a round gains. Each has a figure with its 95% interval and
a threshold, and `holds` says on which side the interval lies. A figure is taken from the table that
measured it and is never computed twice. docs/verdict.md explains every link and its threshold.
"""

from collections.abc import Callable
from typing import Any

from alma.statistics import wilson

Row = dict[str, Any]
Measured = tuple[float | None, float | None, float | None]  # value and the ends of its interval

GUESSING = 0.5  # accuracy on pairs
LENGTH_BAND = 1.25  # chosen words against the pool's, and the last model's against the SFT's, up or down
PROMPTS_KEPT = 0.5  # share of the written prompts that pass the filters
AS_OFTEN = 0.5  # how often new prompts state a constraint, as a share of how often the seeds' prompts do
FEW = 0.1  # where fewer of the seeds' prompts state one, new ones need not

YES, NO, UNCLEAR, NOT_MEASURED = "yes", "no", "unclear", "not measured"
OVERALL = "rounds_made_the_model_better"  # the first row

# What to do where a link does not hold.
ADVICE = {
    "sft": "Look at tables/training/sft-0.csv: where the loss still falls, raise training.sft.epochs or "
    "training.sft.learning_rate. The pairs in labels.sft must show what the benchmark asks for; more of "
    "them help.",
    "round": "Mend the links before this one first. Where they hold, raise prompts_per_round, "
    "samples_per_prompt or rounds; more evaluation prompts make the interval narrower.",
    "heldout": "Add rated responses to labels.judge, good and bad ones for the same prompt, and let two "
    "people rate some, to see how far they agree. Then raise judge.training.epochs, or train more layers "
    "(judge.training.last_layers).",
    "own": "Rate responses that the model itself wrote, sampled from an SFT checkpoint, good and bad ones "
    "for each prompt, and add them to labels.judge: a judge that knows only the responses of others learns "
    "their style.",
    "choice": "The rounds train on this choice. Mend the judge on own responses first; where that holds, "
    "raise samples_per_prompt, and compare with a variant of training.selection: random.",
    "unscored": "Let the judge score the evaluation (evaluation.judge_prompts above 0, or null for all), or "
    "give the evaluation prompts checks, which are the better proof.",
    "length": "Read tables/candidates.html: is the longer choice the better one? If not, add to labels.judge "
    "long responses that are bad and short ones that are good, for the same prompt.",
    "prompts": "tables/prompt_filters.csv says which filter drops them. Lower prompts.temperature, or write "
    "the prompts of labels.sft more alike: new prompts are written after their example.",
    "stated": "tables/prompt_quality.csv says which kinds of constraint get lost. Set prompts.group, so that "
    "the examples of a new prompt are of one kind, and lower prompts.temperature.",
}

KINDS = {"expected": "real-valued", "integer": "integer"}  # of judge.score, as judge.csv calls them


def number(value: float, digits: int = 2, sign: bool = False) -> str:
    """A value for people, a difference with its sign; no minus before a zero."""
    text = f"{value:{'+' if sign else ''}.{digits}f}"
    return text if float(text) else text.lstrip("+-")


def figure(row: Row) -> str:
    """Value and interval of a link, for people: +0.06 [0.02, 0.10]; empty where nothing was measured.

    A third digit shows on which side of the threshold an end lies that two digits would put on it.
    """
    if row["value"] is None:
        return ""
    ends = [row[end] for end in ("low", "high") if row[end] is not None]
    digits = 3 if any(round(end, 2) == row["threshold"] for end in ends) else 2
    shown = f" [{', '.join(number(end, digits) for end in ends)}]" if len(ends) == 2 else ""
    return number(row["value"], digits, sign=row["threshold"] == 0) + shown


def expected(row: Row) -> str:
    """What a link asks of its figure: above 0.5, between 0.8 and 1.25."""
    if row["link"].startswith("length_"):
        return f"between {1 / row['threshold']:.4g} and {row['threshold']:.4g}"
    return f"above {row['threshold']:.4g}"


def told(row: Row) -> str:
    """A link in one line: judge on own responses: 0.51 [0.47, 0.54], expected above 0.5."""
    return f"{title(row)}: {figure(row)}, expected {expected(row)}"


def title(row: Row) -> str:
    """Name of a link for people: judge on own responses."""
    return str(row["link"]).replace("_", " ")


def above(low: float | None, high: float | None, threshold: float) -> str:
    """Whether an interval lies above a threshold; without an interval one cannot tell."""
    if low is None or high is None:
        return UNCLEAR
    if low > threshold:
        return YES
    return NO if high <= threshold else UNCLEAR


def within(low: float | None, high: float | None, band: float) -> str:
    """Whether an interval of a ratio lies between 1 / band and band, or outside."""
    if low is None or high is None:
        return UNCLEAR
    if 1 / band <= low and high <= band:
        return YES
    return NO if low > band or high < 1 / band else UNCLEAR


def capitalized(text: str) -> str:
    """A sentence's first letter as a capital, but for the name of a checkpoint (round-3)."""
    return text if "-" in text.split(" ", 1)[0] else text[0].upper() + text[1:]


def link(
    name: str,
    claim: str,
    denial: str,
    measured: Measured,
    threshold: float,
    *,
    advice: str,
    detail: str = "",
    reason: str = "",
    test: Callable[[float | None, float | None, float], str] = above,
) -> Row:
    """One row of the verdict.

    Args:
        name: identifier of the link.
        claim, denial: what is true where the link holds, and where it does not; no capital, no period.
        measured: value and the ends of its 95% interval; a value of None was not measured.
        threshold: what the interval is compared with by `test`.
        advice: what to do where the link does not hold.
        detail: what was measured on what. reason: why it was not measured.
    """
    value, low, high = measured
    holds = NOT_MEASURED if value is None else test(low, high, threshold)
    told = f" ({detail})" if detail and value is not None else ""
    sentence = {
        YES: f"{capitalized(claim)}{told}.",
        NO: f"{capitalized(denial)}{told}.",
        UNCLEAR: f"It is not clear whether {claim}{told}.",
        NOT_MEASURED: f"It was not measured whether {claim}: {reason}.",
    }[holds]
    return {
        "link": name,
        "says": sentence,
        "value": value,
        "low": low,
        "high": high,
        "threshold": threshold,
        "holds": holds,
        "advice": "" if holds == YES else advice,
    }


def interval_of(row: Row | None, value: str) -> Measured:
    """Value and interval of a measure in a row of a table; None for no row."""
    return (None, None, None) if row is None else (row[value], row[f"{value}_low"], row[f"{value}_high"])


def negated(measured: Measured) -> Measured:
    """A difference the other way around."""
    value, low, high = (None if x is None else 0.0 - x for x in measured)
    return value, high, low


# the model


def main_benchmark(summary: list[Row]) -> tuple[str, bool]:
    """The benchmark of the verdict, and whether it has checks.

    It is the one with the most prompts with checks, or the most prompts where none has any; the first by
    name of several.
    """
    rows = sorted({row["benchmark"]: row for row in reversed(summary)}.values(), key=lambda r: r["benchmark"])
    best = max(rows, key=lambda row: (row["checked_prompts"], row["prompts"]))
    return best["benchmark"], best["checked_prompts"] > 0


def together(names: list[str]) -> str:
    """Names of checkpoints as what a difference is taken to: sft-0, or the mean of sft-0 and sft-1."""
    return names[0] if len(names) == 1 else f"the mean of {', '.join(names[:-1])} and {names[-1]}"


SELF_GRADED = "by the judge that chose the training data, which so grades its own choice"


def compared(row: Row, checked: bool) -> str:
    """What a difference in a row of the summary is measured on."""
    if checked:
        return f"checks passed on {row['benchmark']}, paired over {row['checked_prompts']} prompts"
    return (
        f"mean score on {row['benchmark']}, 0-10, paired over {row['judge_prompts']} prompts, {SELF_GRADED}"
    )


def model_links(summary: list[Row]) -> list[Row]:
    """SFT against base, and each round against the one before and against the SFT.

    Args:
        summary: rows of evaluation/summary.csv. The figures are shares of checks passed on the main
            benchmark; where no benchmark has checks, they are judge scores, and say so. The last round is
            also compared with the SFT on every other benchmark with checks.
    """
    name, checked = main_benchmark(summary)
    own = {row["checkpoint"]: row for row in summary if row["benchmark"] == name}
    sft = [c for c in own if c.startswith("sft-")]
    rounds = [c for c in own if c.startswith("round-")]
    suffix = "" if checked else "_judge"

    def gains(first: str, second: str) -> tuple[str, str]:
        what = ("pass", "more checks") if checked else ("have", "a better score")
        verb = {"pass": "passes", "have": "has"}[what[0]]
        return (
            f"{first} {verb} {what[1]} than {second}",
            f"{first} does not {what[0]} {what[1]} than {second}",
        )

    unmeasured = "the benchmark has no prompts that both answered with a figure"
    unscored = not checked and not any(row["judge_prompts"] for row in own.values())
    if unscored:
        unmeasured = (
            "no benchmark has checks, and the judge was asked for no score (evaluation.judge_prompts: 0)"
        )
    advice = {what: ADVICE["unscored" if unscored else what] for what in ("sft", "round")}
    claim, denial = gains(together(sft), "base")
    rows = [
        link(
            "SFT_against_base",
            claim,
            denial,
            negated(interval_of(own["base"], f"vs_sft{suffix}")),
            0.0,
            advice=advice["sft"],
            detail=compared(own["base"], checked),
            reason=unmeasured,
        )
    ]
    for i, checkpoint in enumerate(rounds):
        row = own[checkpoint]
        others = [("SFT", together(sft), "vs_sft")]
        if i > 0:
            others.insert(0, (rounds[i - 1], rounds[i - 1], "vs_before"))
        for short, other, column in others:
            claim, denial = gains(checkpoint, other)
            rows.append(
                link(
                    f"{checkpoint}_against_{short}",
                    claim,
                    denial,
                    interval_of(row, f"{column}{suffix}"),
                    0.0,
                    advice=advice["round"],
                    detail=compared(row, checked),
                    reason=unmeasured,
                )
            )
    for row in summary:
        if checked and rounds and row["checkpoint"] == rounds[-1] and row["benchmark"] != name:
            if not row["checked_prompts"]:
                continue
            claim, denial = gains(rounds[-1], together(sft))
            rows.append(
                link(
                    f"{rounds[-1]}_against_SFT_on_{row['benchmark']}",
                    claim,
                    denial,
                    interval_of(row, "vs_sft"),
                    0.0,
                    advice=ADVICE["round"],
                    detail=compared(row, checked),
                )
            )
    return rows


# the judge


def heldout_row(judge: list[Row], checkpoint: str, score: str) -> Row | None:
    """The judge that selects on held-out labels: human scores, or else the judge benchmark's pairs."""
    for benchmark in ("heldout", "pairs"):
        wanted = {"checkpoint": checkpoint, "kind": KINDS[score], "benchmark": benchmark}
        for row in judge:
            if wanted.items() <= row.items() and row["pairs"]:
                return row
    return None


def selection_row(
    selection: list[Row], checkpoint: str, measure: str, truths: tuple[str, ...], most: int = 0
) -> Row | None:
    """A measure of the judge that selects, by the first of the truths that has it.

    Args:
        selection: rows of evaluation/selection.csv.
        most: the largest n that counts, of a measure that has one; that with the largest is taken.
    """
    for truth in truths:
        wanted = {"truth": truth, "judge": checkpoint, "measure": measure, "kind": "all"}
        found = [
            row
            for row in selection
            if wanted.items() <= row.items() and row["value"] is not None and (row["n"] or 0) <= most
        ]
        if found:
            return max(found, key=lambda row: row["n"] or 0)
    return None


TRUTHS = {"checks": "checks passed", "human": "human scores"}


def judge_links(
    judge: list[Row], selection: list[Row], checkpoint: str, score: str, samples_per_prompt: int
) -> list[Row]:
    """The judge on held-out labels and on own responses, and its choice against a random one and by length.

    Args:
        judge, selection: rows of evaluation/judge.csv and evaluation/selection.csv.
        checkpoint, score: judge.checkpoint and judge.score of the run.
        samples_per_prompt: what the rounds choose from.
    """
    held = heldout_row(judge, checkpoint, score)
    # Human scores are of held-out responses, which is the link before: the truth of own responses is checks.
    own = selection_row(selection, checkpoint, "pair_accuracy", ("checks",))
    choice = selection_row(
        selection, checkpoint, "judge_minus_random", ("checks", "human"), samples_per_prompt
    )
    length = selection_row(
        selection, checkpoint, "judge_minus_length", ("checks", "human"), samples_per_prompt
    )
    by_length = "shortest or the longest" if length is None else length["choice"]
    what = (
        "human scores" if held is None or held["benchmark"] == "heldout" else "the pairs of judge.benchmark"
    )

    def ends(row: Row | None) -> Measured:
        return (None, None, None) if row is None else (row["value"], row["low"], row["high"])

    def chosen(name: str, other: str, row: Row | None, advice: str) -> Row:
        return link(
            name,
            f"the judge's choice is better than {other}",
            f"the judge's choice is no better than {other}",
            ends(row),
            0.0,
            advice=ADVICE[advice],
            detail=""
            if row is None
            else f"{TRUTHS[row['truth']]}, best of {row['n']}, {row['prompts']} prompts",
            reason="no prompt has checks, or human scores of several responses",
        )

    return [
        link(
            "judge_on_held-out_labels",
            "the judge orders held-out responses better than guessing",
            "the judge orders held-out responses no better than guessing",
            interval_of(held, "accuracy"),
            GUESSING,
            advice=ADVICE["heldout"],
            detail="" if held is None else f"share of {held['pairs']} pairs, by {what}",
            reason=f"judge.csv has no pairs for {checkpoint} with judge.score {score}",
        ),
        link(
            "judge_on_own_responses",
            "the judge orders the model's own responses to one prompt better than guessing",
            "the judge orders the model's own responses to one prompt no better than guessing",
            ends(own),
            GUESSING,
            advice=ADVICE["own"],
            detail="" if own is None else f"share of {own['pairs']} pairs, by checks passed",
            reason="no prompt of a benchmark has checks that tell two responses apart",
        ),
        chosen("choice_of_judge_against_random", "a random one", choice, "choice"),
        chosen("choice_of_judge_against_length", f"always taking the {by_length}", length, "length"),
    ]


# length and prompts


def length_links(length: list[Row], summary: list[Row]) -> list[Row]:
    """Words of what was chosen against what it was chosen from, and of the last model against the SFT.

    Args:
        length, summary: rows of tables/length.csv and evaluation/summary.csv.
    """
    rows = []
    for row in length:
        rows.append(
            link(
                f"length_of_choice_in_round-{row['round']}",
                f"the choice of round {row['round']} is about as long as its pool",
                f"the choice of round {row['round']} is not as long as its pool",
                interval_of(row, "ratio"),
                LENGTH_BAND,
                advice=ADVICE["length"],
                detail=f"ratio of words, {row['prompts']} prompts",
                reason="nothing was chosen",
                test=within,
            )
        )
    name, _ = main_benchmark(summary)
    own = [row for row in summary if row["benchmark"] == name and row["checkpoint"].startswith("round-")]
    if own:
        last = own[-1]
        rows.append(
            link(
                f"length_of_{last['checkpoint']}_against_SFT",
                f"{last['checkpoint']} answers about as long as the SFT",
                f"{last['checkpoint']} does not answer as long as the SFT",
                interval_of(last, "words_vs_sft"),
                LENGTH_BAND,
                advice=ADVICE["length"],
                detail=f"ratio of words on {name}, {last['prompts']} prompts",
                reason="the SFT wrote no words",
                test=within,
            )
        )
    return rows


def prompt_links(filters: list[Row], quality: list[Row], seeds: tuple[int, int]) -> list[Row]:
    """Share of the written prompts that the filters keep, and how many of these state a constraint.

    Prompts that `prompts.require_constraint` drops are left out of the first: they were not asked for.

    Args:
        filters, quality: rows of tables/prompt_filters.csv, in the order of the filters, and of
            tables/prompt_quality.csv.
        seeds: how many prompts of the seeds state a constraint that a program can read, and how many there
            are: new prompts are written after their example.
    """
    unasked = sum(row["removed"] for row in filters if row["filter"] == "no_constraint")
    written = filters[0]["kept"] + filters[0]["removed"] - unasked if filters else 0
    kept = filters[-1]["kept"] if filters else 0
    others = f", without {unasked} that state no constraint" if unasked else ""
    stating = next((row["kept"] for row in quality if row["kind"] == "any"), 0)
    share = seeds[0] / seeds[1] if seeds[1] else 0.0
    measured = kept > 0 and share >= FEW
    return [
        link(
            "prompts_kept_by_filters",
            "the filters keep most of the prompts that the base model writes",
            "the filters drop most of the prompts that the base model writes",
            (kept / written if written else None, *wilson(kept, written)),
            PROMPTS_KEPT,
            advice=ADVICE["prompts"],
            detail=f"{kept} of {written}{others}",
            reason="none was written",
        ),
        link(
            "prompts_that_state_a_constraint",
            "new prompts state a constraint half as often as those of labels.sft, or more often",
            "new prompts do not state a constraint half as often as those of labels.sft",
            (stating / kept, *wilson(stating, kept)) if measured else (None, None, None),
            AS_OFTEN * share,
            advice=ADVICE["stated"] if measured else "",
            detail=f"read by a program in {stating} of {kept}, and in {seeds[0]} of {seeds[1]} of the seeds",
            reason="none was kept" if kept == 0 else f"{seeds[0]} of {seeds[1]} of those state one",
        ),
    ]


# the whole


def weakest(links: list[Row]) -> Row | None:
    """The first link that does not hold, or else the first that is not clear; rounds are no cause."""
    causes = [row for row in links if not row["link"].startswith("round-")]
    for state in (NO, UNCLEAR):
        for row in causes:
            if row["holds"] == state:
                return row
    return None


def overall(summary: list[Row], links: list[Row]) -> Row:
    """The first row: whether the rounds made the model better than the SFT, and the first weak link if not.

    Args:
        summary: rows of evaluation/summary.csv.
        links: all other rows; that of the last round against the SFT decides.
    """
    weak = weakest(links)
    advice = weak["advice"] if weak else ADVICE["round"]
    gains = [row for row in links if row["link"].startswith("round-") and row["link"].endswith("_SFT")]
    if not gains:
        says = "This run has no judged rounds: it ends with the SFT."
        if weak:
            says += f" The first weak link is {told(weak)}."
        nothing = dict.fromkeys(("value", "low", "high"))
        more = {"threshold": 0.0, "holds": NOT_MEASURED, "advice": advice if weak else ""}
        return {"link": OVERALL, "says": says} | nothing | more
    gain = gains[-1]
    name, checked = main_benchmark(summary)
    own = {row["checkpoint"]: row for row in summary if row["benchmark"] == name}
    last, sft = list(own)[-1], [c for c in own if c.startswith("sft-")]
    number = f"{figure(gain)}, {last} minus {together(sft)} ({compared(own[last], checked)})"
    says = {
        YES: f"The rounds made the model better: {number}.",
        NO: f"The rounds did not make the model better: {number}.",
        UNCLEAR: f"The rounds did not show a gain: {number}.",
        NOT_MEASURED: gain["says"],
    }[gain["holds"]]
    if gain["holds"] == YES:
        return gain | {"link": OVERALL, "says": says}
    cause = f"The first weak link is {told(weak)}." if weak else "No link before it is weak."
    if gain["advice"] == ADVICE["unscored"]:  # nothing tells whether there is a gain to mend
        advice = gain["advice"]
    return gain | {"link": OVERALL, "says": f"{says} {cause}", "advice": advice}


def verdict(
    summary: list[Row],
    judge: list[Row],
    length: list[Row],
    filters: list[Row],
    quality: list[Row],
    seeds: tuple[int, int],
) -> list[Row]:
    """All rows of evaluation/verdict.csv, the overall one first.

    Args:
        judge: those of `judge_links`. The others are the arguments of the functions above.
    """
    first, *rounds = model_links(summary)
    links = [
        first,
        *judge,
        *rounds,
        *length_links(length, summary),
        *prompt_links(filters, quality, seeds),
    ]
    return [overall(summary, links), *links]


# the gate


def gate_problems(links: list[Row]) -> list[str]:
    """Why the judge should not choose the rounds' data; nothing where it may.

    Args:
        links: those of `judge_links`. The accuracy on own responses decides; where it was not measured,
            that on held-out labels. The choice is only asked to be above random by its value.
    """
    heldout, own, choice, _ = links
    decides = heldout if own["holds"] == NOT_MEASURED else own
    found = []
    if decides["holds"] == NOT_MEASURED:
        found.append(f"{own['says']} {heldout['says']}")
    elif decides["holds"] != YES:
        found.append(f"{told(decides)} with its whole interval. {decides['advice']}")
    if choice["value"] is not None and choice["value"] <= 0:
        found.append(f"{told(choice)}. {choice['advice']}")
    return found

"""What a user reads of the labels before anything is trained: read, left out and why, balance, agreement.

`read_seeds` prints it as the first job of a run, `tools/labels check` without a run.
"""

from collections import Counter
from dataclasses import dataclass, field
from math import ceil
from statistics import fmean
from typing import Any

Row = dict[str, Any]
SHOWN = 8  # reasons of one source
BINS = ((0, 1), (2, 3), (4, 6), (7, 8), (9, 10))  # of scores rounded to a rating


@dataclass
class SourceCount:
    """What became of the rows of one source."""

    key: str  # of the config
    source: str
    rows: int = 0  # in the file
    left_out: Counter[str] = field(default_factory=Counter)  # {reason: rows, or parts of rows}


def counted(count: int, one: str, many: str | None = None) -> str:
    """A number with its noun: "1 row", "2,000 rows"."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def share(part: int, whole: int) -> str:
    """A share in percent."""
    return f"{part / whole:.0%}" if whole else "-"


def source_lines(counts: list[SourceCount]) -> list[str]:
    """Rows read of each source, and what was left out of it, the commonest reason first."""
    found = []
    for count in counts:
        found.append(f"{count.key}: {counted(count.rows, 'row')} read of {count.source}")
        reasons = count.left_out.most_common()
        found += [f"  left out {number:,}: {reason}" for reason, number in reasons[:SHOWN]]
        if len(reasons) > SHOWN:
            rest = sum(number for _, number in reasons[SHOWN:])
            found.append(f"  left out {rest:,}: {len(reasons) - SHOWN} other reasons")
    return found


def sft_lines(rows: list[Row]) -> list[str]:
    """Pairs, their prompts, and how many stand after earlier turns."""
    later = sum(any(turn["role"] == "assistant" for turn in row["prompt"]) for row in rows)
    prompts = len({row["prompt_id"] for row in rows})
    found = [f"SFT: {counted(len(rows), 'pair')} of {counted(prompts, 'prompt')}"]
    if later:
        found.append(f"  {counted(later, 'pair')} after earlier turns (trained on the last answer)")
    named = Counter(row["category"] for row in rows if row["category"])
    if named:
        shown = ", ".join(f"{name} {number:,}" for name, number in named.most_common(SHOWN))
        more = f", and {len(named) - SHOWN} more" if len(named) > SHOWN else ""
        found.append(f"  categories: {shown}{more}")
    return found


def response_means(rows: list[Row]) -> dict[str, dict[str, float]]:
    """{prompt id: {response id: its mean score over the annotators}} of rows of labels."""
    scores: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        scores.setdefault(row["prompt_id"], {}).setdefault(row["response_id"], []).append(row["score"])
    return {key: {name: fmean(found) for name, found in own.items()} for key, own in scores.items()}


def balance_lines(rows: list[Row]) -> list[str]:
    """How the scores are spread, over all responses and within the prompts."""
    prompts = response_means(rows)
    means = [mean for own in prompts.values() for mean in own.values()]
    rounded = [min(int(mean + 0.5), 10) for mean in means]
    spread = [(low, high, sum(low <= score <= high for score in rounded)) for low, high in BINS]
    shown = ", ".join(f"{low}-{high} {share(number, len(means))}" for low, high, number in spread)
    several = [own.values() for own in prompts.values() if len(own) > 1]
    both = sum(min(own) < 5 < max(own) for own in several)
    differ = sum(min(own) < max(own) for own in several)
    found = [
        f"  scores of responses: {shown}; mean {fmean(means):.1f}",
        f"  {counted(len(several), 'prompt')} with several responses: the scores differ in {differ:,}, and "
        f"are above and below 5 in {both:,}",
    ]
    if means and max(spread, key=lambda bin_: bin_[2])[2] > 0.8 * len(means):
        found.append("  warning: more than 80% of the scores are alike: a judge learns to say that score")
    if not differ:
        found.append(
            "  warning: no prompt has responses with different scores: nothing teaches the judge to tell "
            "them apart"
        )
    return found


def agreement_line(rows: list[Row], found: Any) -> str:
    """How far the annotators agree.

    Args:
        rows: of labels.
        found: `alma.agreement.Agreement` of them.
    """
    if not found.responses:
        return "  annotators: no response has several labels, so their agreement is not known"
    alpha = "not defined, since all are equal" if found.alpha is None else f"{found.alpha:.2f}"
    interval = "" if found.low is None or found.alpha is None else f" [{found.low:.2f}, {found.high:.2f}]"
    scores: dict[str, list[float]] = {}
    for row in rows:
        scores.setdefault(row["response_id"], []).append(row["score"])
    gaps = [max(own) - min(own) for own in scores.values() if len(own) > 1]
    return (
        f"  annotators: {counted(found.labels, 'label')} of {counted(found.responses, 'response')} that have "
        f"several; Krippendorff's alpha {alpha}{interval}; the highest and the lowest are {fmean(gaps):.1f} "
        f"apart in the mean"
    )


def judge_lines(training: list[Row], heldout: list[Row], found: Any) -> list[str]:
    """The judge's labels: how many, the held-out ones, balance and agreement (`found`)."""
    rows = [*training, *heldout]

    def told(own: list[Row]) -> str:
        numbers = [len({row[key] for row in own}) for key in ("response_id", "prompt_id")]
        responses, prompts = counted(numbers[0], "response"), counted(numbers[1], "prompt")
        return f"{counted(len(own), 'label')} of {responses} to {prompts}"

    found_lines = [f"Judge: {told(rows)}", f"  held out to measure it: {told(heldout)}"]
    return [*found_lines, *balance_lines(rows), agreement_line(rows, found)]


def evaluation_lines(evaluation: list[Row], pairs: list[Row], conversations: set[str]) -> list[str]:
    """Prompts of each benchmark, and the pairs that the judge is measured on.

    Args:
        conversations: ids of the prompts of several messages.
    """
    found = []
    for name in sorted({row["benchmark"] for row in evaluation}):
        own = [row for row in evaluation if row["benchmark"] == name]
        checked = sum(row["checks"] != "[]" for row in own)
        several = sum(row["prompt_id"] in conversations for row in own)
        more = f", {several:,} of several turns" if several else ""
        found.append(f"Evaluation, {name}: {counted(len(own), 'prompt')}, {checked:,} with checks{more}")
    if pairs:
        found.append(f"Judge benchmark: {counted(len(pairs), 'pair')}")
    return found


def steps(rows: int, training: dict[str, Any]) -> int:
    """Optimizer steps of a training, at most: rows that are too long are left out later."""
    return ceil(rows * training["epochs"] / training["batch_size"])


def plan_lines(sft: list[Row], training: list[Row], plan: dict[str, Any]) -> list[str]:
    """What the run does with the labels, before a tokenizer has counted what is too long.

    Args:
        plan: settings of the run, by the names of their config keys (`label_plan` in rules/seeds.smk).
    """
    prompts = response_means(training)
    responses = sum(map(len, prompts.values()))
    used, how = responses, ""
    if plan["balance"] == "within_prompt":
        sides = [[(mean > 5) - (mean < 5) for mean in own.values()] for own in prompts.values()]
        used = sum(2 * min(own.count(1), own.count(-1)) + own.count(0) for own in sides)
        how = f" of {responses:,} (judge.balance)"
    few, most = plan["shots"]
    later = plan["rounds"] - 1
    sampled = later * plan["prompts_per_round"] * plan["samples_per_prompt"]
    return [
        "What the run will do with them:",
        f"  SFT on {counted(len(sft), 'pair')}, {counted(steps(len(sft), plan['sft']), 'step')} of "
        f"{plan['sft']['batch_size']}, for each of {counted(plan['checkpoints'], 'checkpoint')}",
        f"  new prompts, written after {few} to {most} prompts of these pairs",
        f"  judge on {counted(used, 'response')}{how}, {counted(steps(used, plan['judge']), 'step')} of "
        f"{plan['judge']['batch_size']}, then on its own scores",
        f"  {counted(later, 'round')} of {counted(plan['prompts_per_round'], 'new prompt')}, "
        f"{plan['samples_per_prompt']} responses each: {counted(sampled, 'response')} that the judge scores",
    ]

"""The schema of every CSV table: where it lies, what a row is, and its columns.

A column is (type, what it holds); `float | None` and `int | None` may be empty. Declare a new table or
column here, and write it with `alma.csv_tables.write_csv_table`; a test compares the paths with the
outputs of the rules. This module is not part of a job's code hash: who writes another column changes the
script that writes it, and a table must not retrain the models whose training curves lie in another.
"""

from typing import Any, NamedTuple


class CsvTable(NamedTuple):
    """One kind of CSV table: paths below results/{run}/, what a row is, {column: (type, description)}."""

    paths: tuple[str, ...]
    row: str
    columns: dict[str, tuple[Any, str]]


def _with_interval(name: str, ends: str, description: str) -> dict[str, tuple[Any, str]]:
    """A measure and its 95% interval, in the columns `name`, `ends`_low and `ends`_high."""
    return {
        name: (float | None, description),
        f"{ends}_low": (float | None, f"lower end of the 95% interval of {name}"),
        f"{ends}_high": (float | None, f"upper end of the 95% interval of {name}"),
    }


_SUMMARY: dict[str, tuple[Any, str]] = {
    "checkpoint": (str, "the model that answers"),
    "benchmark": (str, "name of the benchmark"),
    "judge": (
        str,
        "own: the main run's judge; or one of evaluation.judges. What no judge says is the same for all",
    ),
    "prompts": (int, "prompts of the benchmark"),
    "checked_prompts": (int, "prompts that have checks"),
    **_with_interval("check_rate", "check", "mean over the prompts of the share of checks passed, 0-1"),
    **_with_interval("all_passed", "all", "share of prompts with every check passed, 0-1"),
    **_with_interval("judge_score", "judge", "mean score by the judge: 0-10, or a reward model's logit"),
    "judge_prompts": (int, "prompts whose response the judge was asked about"),
    "judge_unreadable": (int, "of these, without a readable answer to each question"),
    "mean_tokens": (float, "mean tokens per response"),
    "mean_words": (float, "mean words per response"),
    "cut_off": (float, "share of responses that the token limit ended"),
    **_with_interval(
        "vs_sft", "vs_sft", "check_rate minus its mean over the SFT checkpoints, paired by prompt"
    ),
    **_with_interval("vs_sft_judge", "vs_sft_judge", "the same difference of judge_score"),
    **_with_interval("vs_before", "vs_before", "check_rate minus that of the round before, paired by prompt"),
    **_with_interval("vs_before_judge", "vs_before_judge", "the same difference of judge_score"),
    **_with_interval("words_vs_sft", "words_vs_sft", "words / their mean over the SFT checkpoints"),
    "reference": (str, "what the games are against (evaluation.reference); empty where none was played"),
    "games": (int | None, "prompts on which the judge compared the response with the reference's"),
    "same_in_both_orders": (float | None, "share of the games with the same result in both orders, 0-1"),
    **_with_interval("win_rate", "win_rate", "share of the games won, draws half, 0-1"),
    **_with_interval("win_rate_lc", "win_rate_lc", "the same at equal length (length-controlled)"),
    **_with_interval(
        "vs_sft_win", "vs_sft_win", "win_rate minus its mean over the SFT checkpoints, paired by prompt"
    ),
    **_with_interval("vs_before_win", "vs_before_win", "win_rate minus that of the round before, paired"),
}
# What a table that compares runs takes from the summary of each.
_COMPARED = (
    "checkpoint",
    "benchmark",
    "check_rate",
    "check_low",
    "check_high",
    "judge_score",
    "judge_low",
    "judge_high",
    "mean_words",
    "cut_off",
)

CSV_TABLES: dict[str, CsvTable] = {
    "prompt_filters": CsvTable(
        ("tables/prompt_filters.csv",),
        "filter of prompts, in the order in which they are applied",
        {
            "filter": (str, "name of the filter"),
            "removed": (int, "prompts that it removed"),
            "kept": (int, "prompts that it left"),
        },
    ),
    "prompt_quality": CsvTable(
        ("tables/prompt_quality.csv",),
        "kind of constraint that a prompt can state and a program can read; the first is `any` of them",
        {
            "kind": (str, "any, or a kind of check"),
            "raw": (int, "prompts that the base model wrote and that state one"),
            "raw_share": (float | None, "their share of all that it wrote, 0-1"),
            "kept": (int, "prompts that passed the filters and state one"),
            "kept_share": (float | None, "their share of all that passed, 0-1"),
        },
    ),
    "lengths": CsvTable(
        ("tables/lengths.csv",),
        "set of requests or training examples that is made of what people wrote",
        {
            "set": (
                str,
                "sft and judge: training examples; the others: requests to the engine",
            ),
            "rows": (int, "how many"),
            "mean_tokens": (float | None, "their mean length in tokens, with the longest answer asked for"),
            "longest": (int | None, "the longest, in tokens"),
            "limit": (int, "max_length of the training, or engine.max_model_len"),
            "too_long": (int, "how many are longer, and left out"),
        },
    ),
    "cells": CsvTable(
        ("tables/cells.csv",),
        "cell of a clustering in two levels (prompts.cells)",
        {
            "cell": (int, "number of the cell, from 0"),
            "prompts": (int, "prompts in it"),
            "clusters": (int, "how many clusters it is cut into"),
            "first_cluster": (int, "number of the first of them"),
        },
    ),
    "round_clusters": CsvTable(
        ("tables/round_clusters.csv",),
        "round from 2 on, with the clusters that its prompts are drawn from, one prompt each",
        {
            "round": (int, "number of the round"),
            "prompts": (int, "prompts of the round"),
            "smallest": (int, "prompts in the smallest of its clusters"),
            "median_size": (float, "median of the sizes of its clusters, in prompts"),
            "mean_size": (float, "mean of the sizes of its clusters, in prompts"),
            "largest": (int, "prompts in the largest of its clusters"),
            "new_clusters": (int, "clusters that no earlier round used"),
            "most_uses": (int, "times that the most used cluster was used up to this round"),
        },
    ),
    "training_curve": CsvTable(
        ("tables/training/{checkpoint}.csv",),
        "logged optimizer step of a training",
        {
            "step": (int, "optimizer steps so far"),
            "epoch": (float, "epochs so far"),
            "loss": (float | None, "mean loss of the step; supervised: nats per token"),
            "learning_rate": (float, "learning rate of the step"),
            "tokens": (int, "tokens processed so far; a prefix that a micro-batch shares counts once"),
        },
    ),
    "summary": CsvTable(
        ("evaluation/summary.csv",),
        "checkpoint, benchmark and judge",
        _SUMMARY,
    ),
    "ifeval": CsvTable(
        ("evaluation/ifeval.csv",),
        "benchmark that is IFEval, and checkpoint",
        {
            "benchmark": (str, "name of the benchmark"),
            "checkpoint": (str, "the model that answers"),
            "prompts": (int, "prompts that it answered"),
            "instructions": (int, "instructions in them"),
            **_with_interval(
                "prompt_strict", "prompt_strict", "share of prompts with every instruction followed, 0-1"
            ),
            **_with_interval(
                "instruction_strict", "instruction_strict", "share of instructions followed, 0-1"
            ),
            **_with_interval(
                "prompt_loose",
                "prompt_loose",
                "as prompt_strict, for the response or for it without first line, last line or asterisks",
            ),
            **_with_interval("instruction_loose", "instruction_loose", "the same share of instructions"),
            **_with_interval(
                "vs_sft", "vs_sft", "prompt_strict minus its mean over the SFT checkpoints, paired by prompt"
            ),
        },
    ),
    "harness": CsvTable(
        ("evaluation/harness.csv",),
        "checkpoint, and task and metric of lm-eval's harness",
        {
            "checkpoint": (str, "the model"),
            "task": (str, "name of the task; a group has a row for each of its tasks"),
            "metric": (str, "name of the metric, and of its filter where it has one"),
            "items": (int, "items of the task"),
            **_with_interval("value", "value", "mean over the items"),
            **_with_interval("vs_base", "vs_base", "value minus that of the base model, paired by item"),
        },
    ),
    "judge_costs": CsvTable(
        ("tables/judge_costs.csv",),
        "judge of the kind api, checkpoint and benchmark; then a row for all of the judge's",
        {
            "judge": (str, "name of the judge in evaluation.judges"),
            "checkpoint": (str, "whose responses it looked at; all for the sum"),
            "benchmark": (str, "name of the benchmark; all for the sum"),
            "questions": (int, "questions with an answer, of this run or from the cache"),
            "unreadable": (int, "questions without a readable answer"),
            "input_tokens": (int | None, "tokens of the questions, as the endpoint counts them"),
            "output_tokens": (int | None, "tokens of the answers"),
            "cost": (float | None, "both at the judge's price; empty where it names none"),
        },
    ),
    "verdict": CsvTable(
        ("evaluation/verdict.csv", "evaluation/gate.csv"),
        "link of the recipe; of the verdict, the first row is the overall one",
        {
            "link": (str, "identifier of the link"),
            "says": (str, "what was found, in one or two sentences"),
            "value": (float | None, "the figure; empty where it was not measured"),
            "low": (float | None, "lower end of its 95% interval"),
            "high": (float | None, "upper end of its 95% interval"),
            "threshold": (float, "what the interval is compared with; of a length: the ratio, up or down"),
            "holds": (str, "yes, no, unclear (the interval holds the threshold) or not measured"),
            "advice": (str, "what to do; empty where the link holds"),
        },
    ),
    "judge": CsvTable(
        ("evaluation/judge.csv",),
        "judge and benchmark",
        {
            "judge": (str, "name of the judge"),
            "checkpoint": (str, "its checkpoint"),
            "kind": (str, "integer: the most probable rating; real-valued: the expected rating"),
            "benchmark": (str, "heldout (human scores) or pairs (the judge benchmark)"),
            "rows": (int, "judged responses"),
            "pairs": (int, "pairs of responses to one prompt with different labels"),
            **_with_interval("accuracy", "accuracy", "share of the pairs in the labels' order, ties half"),
            "spearman": (float | None, "rank correlation of score and label"),
            "spearman_within": (float | None, "the same within a prompt, mean over prompts"),
            "mae": (float | None, "mean absolute difference of score and label, 0-10"),
            "calibration_error": (float | None, "mean gap of score and label over five bins, 0-10"),
            "mean_mass": (float | None, "mean probability on the eleven ratings"),
            "unreadable": (int, "responses without a score: a tie in a pair, left out elsewhere"),
        },
    ),
    "reward_bench": CsvTable(
        ("evaluation/reward_bench.csv",),
        "judge and subset, section, or all of RewardBench",
        {
            "judge": (str, "name of the judge"),
            "checkpoint": (str, "its checkpoint"),
            "kind": (str, "integer: the most probable rating; real-valued: the expected rating"),
            "set": (str, "rewardbench or rewardbench2"),
            "level": (str, "subset, section (of which all subsets are there) or total (of all sections)"),
            "name": (str, "of the subset or section; all"),
            "items": (int, "prompts with their answers"),
            **_with_interval("score", "score", "its published score, 0-1"),
        },
    ),
    "judge_calibration": CsvTable(
        ("tables/judge_calibration.csv",),
        "judge and bin of its scores on the held-out rows",
        {
            "judge": (str, "name of the judge"),
            "bin_low": (float, "lower end of the bin, 0-10"),
            "bin_high": (float, "upper end of the bin, 0-10"),
            "rows": (int, "responses in the bin"),
            "mean_score": (float, "their mean score, 0-10"),
            "mean_label": (float, "their mean human score, 0-10"),
        },
    ),
    "selection": CsvTable(
        ("evaluation/selection.csv",),
        "truth, kind of prompts and measure, for some measures also number of responses and choice",
        {
            "truth": (
                str,
                "checks: share of checks passed by sampled responses, 0-1; human: held-out scores of several "
                "responses to one prompt, 0-10",
            ),
            "judge": (str, "checkpoint of the judge that selects"),
            "measure": (
                str,
                "pair_accuracy: share of pairs of one prompt's responses in the order of the truth; "
                "quality: truth of the choice of n; judge_minus_random: the same, paired by prompt; "
                "judge_minus_length: against the better of the shortest and the longest; "
                "headroom_taken: (judge - random) / (best - random); correlation_within: rank correlation of "
                "score and truth within a prompt; correlation_between: of their means over prompts; "
                "score_spread: standard deviation of the scores within a prompt",
            ),
            "kind": (str, "all, or the kind of the prompt's checks (several: joined with +)"),
            "n": (int | None, "responses to choose from, drawn from those that were sampled"),
            "choice": (
                str,
                "random, judge, shortest, longest or best; of judge_minus_length the better one of shortest "
                "and longest; empty for other measures",
            ),
            "value": (float | None, "the measure, mean over prompts; empty where nothing was measured"),
            "low": (float | None, "lower end of its 95% interval, bootstrap over prompts"),
            "high": (float | None, "upper end of its 95% interval"),
            "prompts": (int, "prompts that it is measured on"),
            "pairs": (int | None, "pairs that differ in truth, for pair_accuracy"),
        },
    ),
    "checks": CsvTable(
        ("tables/checks.csv",),
        "benchmark, category of prompts or kind of check, and checkpoint",
        {
            "benchmark": (str, "name of the benchmark"),
            "group": (str, "category or kind"),
            "name": (str, "the category or the kind"),
            "checkpoint": (str, "the model that answers"),
            "checks": (int, "checks asked"),
            "passed": (int, "checks passed"),
            "rate": (float, "passed / checks, 0-1"),
        },
    ),
    "scores": CsvTable(
        ("tables/rounds/{round}/scores.csv", "tables/scores.csv"),
        "round and source of responses",
        {
            "round": (int, "round"),
            "source": (str, "the checkpoint that wrote the responses, or chosen"),
            "responses": (int, "responses"),
            "unreadable": (int, "responses without a score"),
            "mean": (float | None, "mean score, 0-10"),
            "p05": (float | None, "5th percentile of the scores"),
            "p25": (float | None, "25th percentile"),
            "p50": (float | None, "median"),
            "p75": (float | None, "75th percentile"),
            "p95": (float | None, "95th percentile"),
        },
    ),
    "length": CsvTable(
        ("tables/rounds/{round}/length.csv", "tables/length.csv"),
        "round",
        {
            "round": (int, "round"),
            "prompts": (int, "prompts with a chosen response"),
            "chosen_words": (float | None, "mean words of the chosen responses"),
            "pool_words": (float | None, "mean over prompts of the mean words of all that could be chosen"),
            **_with_interval("ratio", "ratio", "chosen_words / pool_words"),
            "chosen_tokens": (float | None, "mean tokens of the chosen responses"),
            "pool_tokens": (float | None, "mean over prompts of the mean tokens of all that could be chosen"),
            "ratio_tokens": (float | None, "chosen_tokens / pool_tokens"),
            "sampled_words": (float | None, "mean words of all responses"),
            "cut_off": (float | None, "share of all responses that the token limit ended"),
            "rank_correlation": (float | None, "of score and words within a prompt, mean over prompts"),
        },
    ),
    "candidates": CsvTable(
        ("tables/rounds/{round}/candidates.csv", "tables/candidates.csv"),
        "response of the first prompts of a round",
        {
            "round": (int, "round"),
            "prompt_id": (str, "id of the prompt"),
            "prompt": (str, "the prompt"),
            "response_id": (str, "id of the response"),
            "checkpoint": (str, "the checkpoint that wrote it"),
            "sample": (int, "sample index"),
            "score": (float | None, "judge score, 0-10"),
            "verdict": (str, "chosen, rejected or empty"),
            "finish_reason": (str, "stop, or length where the token limit ended it"),
            "tokens": (int, "tokens of the response"),
            "response": (str, "the response"),
        },
    ),
    "annotation": CsvTable(
        ("annotation/tasks.csv",),
        "response that people are asked to rate",
        {
            "task": (int, "number of the prompt, from 1"),
            "letter": (str, "the response among those to this prompt: A, B, ..."),
            "prompt": (str, "the prompt"),
            "response": (str, "the response"),
            "score": (int | None, "0-10; empty until a person fills it in"),
            "annotator": (str, "who rated it; empty until then"),
            "key": (str, "name of prompt and response: a hash of both texts"),
        },
    ),
    "by_round": CsvTable(
        ("tables/by_round/{table}.csv",),
        "run, round and benchmark; and for runs that differ in seeds alone, their mean",
        {
            "series": (str, "the first of the runs that differ in seeds alone"),
            "run": (str, "the run; empty for the mean over the runs of the series"),
            "runs": (int, "1, or runs in the mean"),
            "choice": (str, "training.selection: best (by the judge's score), random, or another control"),
            "round": (int, "round; 1 is the mean over the SFT checkpoints"),
            "benchmark": (str, "name of the benchmark"),
            "prompts": (int, "prompts that have checks"),
            **_with_interval(
                "check_rate", "check", "mean over the prompts of the share of checks passed, 0-1"
            ),
            **_with_interval("vs_sft", "vs_sft", "check_rate minus that of round 1, paired by prompt"),
            "control": (str, "the run of random choice that this one is compared with; empty for none"),
            **_with_interval("vs_random", "vs_random", "check_rate minus the control's, paired by prompt"),
        },
    ),
    "ablation": CsvTable(
        ("tables/ablations/{table}.csv",),
        "run, model of a round, and benchmark; a run's last row is its final model",
        {
            "run": (str, "the main run or a variant"),
            "changes": (str, "what the variant's config holds, as JSON"),
            **{name: _SUMMARY[name] for name in _COMPARED},
            "against": (str, "the main run's model that this one is compared with; empty for none"),
            **_with_interval("vs_main_checks", "vs_main_checks", "check_rate minus that one's, by prompt"),
            **_with_interval("vs_main_judge", "vs_main_judge", "judge_score minus that one's, by prompt"),
            **_with_interval(
                "judge_accuracy",
                "judge_accuracy",
                "share of held-out pairs that the judge that chose this run's responses orders rightly",
            ),
            **_with_interval(
                "own_accuracy",
                "own_accuracy",
                "share of pairs of the model's own responses that this judge puts in the order of the checks",
            ),
            **_with_interval(
                "vs_main_judge_accuracy",
                "vs_main_judge_accuracy",
                "judge_accuracy minus the main run's, by prompt",
            ),
        },
    ),
}

"""Sample responses that people can rate: as many good as bad ones to each prompt, by its checks.

    .venv/bin/python tools/judge_rows.py data/judge.jsonl rows.jsonl \
        --models results/default/models/sft-0 results/default/models/sft-1

Reads:
    PROMPTS: prompt, checks and, if you like, category; labels with checks (`data/judge.jsonl`) will do.
Writes:
    ROWS (JSON Lines): prompt, category, checks, response, passed (whether all checks pass), model. Only
    prompts to which some finished responses pass all checks and some do not, with equally many of both: so
    the prompt does not tell the label. `data/judge.jsonl` was made so and rated afterwards.

The same checkpoints, settings and machine give the same rows; another build of the engine, or another
processor, may give others.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from alma.errors import NOTHING, InputError, fail_with, problem

Row = dict[str, Any]
OF_A_RESPONSE = ("response", "score")  # columns of data/judge.jsonl that no prompt has


def positive(text: str) -> int:
    """A whole number of at least 1; argparse names the option where it is none."""
    if int(text) < 1:
        raise ValueError(text)
    return int(text)


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Sample responses to rate, as many good as bad ones per prompt, by its checks.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("prompts", type=Path, help="JSONL with prompt, checks and, if you like, category")
    parser.add_argument("rows", type=Path, help="JSONL to write: those columns, response, passed and model")
    parser.add_argument("--models", type=Path, nargs="+", required=True, help="folders of checkpoints")
    parser.add_argument("--samples", type=positive, default=8, help="responses per prompt and model")
    parser.add_argument(
        "--most", type=positive, default=2, help="most good ones, and most bad ones, per prompt"
    )
    parser.add_argument("--all", action="store_true", help="write all responses, balanced or not")
    parser.add_argument("--temperature", type=float, default=0.8, help="of the sampling")
    parser.add_argument("--max-tokens", type=positive, default=80, help="longest response in tokens")
    parser.add_argument(
        "--max-model-len", type=positive, default=768, help="longest prompt and response, tokens"
    )
    parser.add_argument("--threads", type=positive, default=1, help="CPU threads")
    parser.add_argument("--seed", type=int, default=0, help="of the sampling and of the choice")
    return parser.parse_args(given)


def read_prompts(path: Path) -> list[Row]:
    """The first row of each distinct prompt that has checks, without what belongs to one response.

    Raises:
        InputError: names file, line, column, what was found and what is expected, for every fault.
    """
    from alma.seed_formats import read_rows
    from alma.seed_rows import Problems, take_checks, take_optional, take_text

    problems: Problems = []
    rows: dict[str, Row] = {}
    columns = {"prompt", "category", "checks", *OF_A_RESPONSE}
    for row in read_rows(str(path), columns, problems, [("prompt", "checks")]):
        prompt, checks = take_text(row, "prompt", problems), take_checks(row, problems)
        category = take_optional(row, "category", problems)
        if prompt is None or checks is None:
            continue
        if checks == "[]":
            problems.append(problem(row.where, "checks", NOTHING, "at least one check"))
            continue
        made = {"prompt": prompt, "category": category, "checks": json.loads(checks)}
        first = rows.setdefault(prompt, {k: v for k, v in made.items() if v is not None})
        if first["checks"] != made["checks"]:
            problems.append(problem(row.where, "checks", made["checks"], f"the prompt's: {first['checks']}"))
    fail_with(problems, "the prompts cannot be used:")
    return list(rows.values())


def balanced(rows: list[Row], most: int, seed: int) -> list[Row]:
    """Of the responses to one prompt equally many that pass all checks and that do not, `most` at most.

    Responses of equal text count once; which stay is decided by seeded hash. Returned in that order.
    """
    from alma.ids import hashed_int

    texts = {row["response"]: row for row in rows}
    keys = {text: hashed_int(seed, "rated", row["prompt"], text) for text, row in texts.items()}
    ordered = sorted(texts.values(), key=lambda row: keys[row["response"]])
    good = [row for row in ordered if row["passed"]]
    bad = [row for row in ordered if not row["passed"]]
    count = min(len(good), len(bad), most)
    kept = {id(row) for row in good[:count] + bad[:count]}
    return [row for row in ordered if id(row) in kept]


def sampled(model: Path, prompts: list[Row], args: argparse.Namespace) -> list[Row]:
    """`args.samples` finished responses of one checkpoint per prompt, fewer where some were cut off."""
    from alma.chat_template import prompt_ids
    from alma.checks import run_checks
    from alma.engine import Request, open_engine
    from alma.ids import content_id, request_seed
    from alma.tables import user

    engine = {
        "device": "auto",
        "dtype": "auto",
        "max_model_len": args.max_model_len,
        "max_num_seqs": 64,
        "kv_cache_gib": 1,
        "gpu_memory_utilization": 0.85,
        "tensor_parallel_size": 1,
    }
    llm = open_engine(model, engine)
    plan = [(row, i) for row in prompts for i in range(args.samples)]
    requests = [
        Request(
            prompt_ids(llm.tokenizer, user(row["prompt"])),
            request_seed(args.seed, "rated", model.name, content_id("prompt", row["prompt"]), i),
            args.temperature,
            1.0,
            args.max_tokens,
        )
        for row, i in plan
    ]
    done = llm.generate(requests, f"sampling {model.name}")
    rows = []
    for (row, _), completion in zip(plan, done, strict=True):
        text = completion.text.strip()
        if text and completion.finish_reason == "stop":
            passed = all(run_checks(row["checks"], text))
            rows.append(row | {"response": text, "passed": passed, "model": model.name})
    return rows


def main() -> None:
    """Sample, choose, write, and say how many."""
    from alma.workflow.job import limit_threads

    args = arguments()
    prompts = read_prompts(args.prompts)
    for model in args.models:
        if not (model / "config.json").is_file():
            raise InputError(f"--models: found {str(model)!r} without a config.json, expected a checkpoint")
    limit_threads(args.threads)
    rows = [row for model in args.models for row in sampled(model, prompts, args)]
    by_prompt: dict[str, list[Row]] = {row["prompt"]: [] for row in prompts}
    for row in rows:
        by_prompt[row["prompt"]].append(row)
    kept = [
        row
        for group in by_prompt.values()
        for row in (group if args.all else balanced(group, args.most, args.seed))
    ]
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in kept]
    args.rows.write_text("".join(lines), encoding="utf-8")
    passing = sum(row["passed"] for row in rows)
    used = len({row["prompt"] for row in kept})
    print(f"{len(rows)} finished responses, {passing} pass all checks")
    print(f"wrote {len(kept)} responses to {used} of {len(prompts)} prompts: {args.rows}")


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"error: {error}")

"""Answer the prompts of one benchmark with one checkpoint and run the programmatic checks.

Reads:
    models/{checkpoint}/: the checkpoint.
    seeds/eval.parquet: benchmark, prompt_id, prompt, checks (JSON).
    seeds/eval_turns.parquet: messages of the prompts that are conversations.
    seeds/sft.parquet: seed pairs that the base model is shown as earlier turns.
Writes:
    evaluation/responses/{checkpoint}/{benchmark}.parquet: the response columns, benchmark, and
    passed (one bool per check of the prompt, in its order). A prompt that is too long for
    engine.max_model_len is left out, for every checkpoint (`alma.fitting`). Where the benchmark has
    conversations, `response` is the last answer, and messages holds what stood before it (`alma.turns`).
Params:
    seed, engine, checkpoint, benchmark_name, shots (seed pairs in context), temperature,
    max_tokens.
"""

import json
from pathlib import Path
from typing import Any

from alma.checks import run_checks
from alma.ids import content_id, request_seed


def passed_checks(checks: str, response: str) -> list[bool]:
    """Result of each check; an empty response passes none."""
    wanted = json.loads(checks)
    return run_checks(wanted, response) if response else [False] * len(wanted)


def main(
    model: str | Path,
    seeds: str | Path,
    prompts: str | Path,
    turns: str | Path,
    responses: str | Path,
    *,
    seed: int,
    engine: dict[str, Any],
    checkpoint: str,
    benchmark_name: str,
    shots: int,
    temperature: float,
    max_tokens: int,
) -> None:
    """Answer each prompt of the benchmark, turn by turn where it has several, and check the last answer."""
    from alma.asking import TurnLengths, after_examples, ask_in_turns
    from alma.chat_template import prompt_ids
    from alma.engine import Completion, Request, open_engine
    from alma.fitting import answer_examples, that_fit
    from alma.tables import read_table
    from alma.turns import Messages, messages_of, read_turns, write_responses

    llm = open_engine(model, engine)
    limit = llm.max_model_len
    conversations = read_turns(turns)
    lengths = TurnLengths(llm.tokenizer, max_tokens, conversations)
    rows = [row for row in read_table(prompts, "eval") if row["benchmark"] == benchmark_name]
    rows = lengths.fitting(rows, limit)
    examples = answer_examples(llm.tokenizer, read_table(seeds, "sft"), shots, seed, limit)

    def before_it(row: dict[str, Any]) -> list[dict[str, Any]]:
        """As many of the examples as fit before all turns of a prompt."""
        return that_fit(examples, lambda some: lengths.of(row, some), limit) or []

    shown = [before_it(row) for row in rows]
    seeds_of = [request_seed(seed, "evaluation", checkpoint, row["prompt_id"], 0) for row in rows]

    def ask(places: list[int], before: list[Messages], turn: int) -> list[Completion]:
        """Answer the question of some conversations, as long as there is room."""
        requests = []
        for place, messages in zip(places, before, strict=True):
            ids = prompt_ids(llm.tokenizer, after_examples(messages, shown[place]))
            if turn:
                prompt_id = rows[place]["prompt_id"]
                seeds_of[place] = request_seed(seed, f"evaluation, turn {turn}", checkpoint, prompt_id, 0)
            # An answer that is read again may have more tokens than when it was sampled.
            room = min(max_tokens, limit - len(ids))
            requests.append(Request(ids, seeds_of[place], temperature, 1.0, room))
        what = f"answering {benchmark_name} with {checkpoint}" + f", turn {turn + 1}" * (turn > 0)
        possible = [request for request in requests if request.max_tokens > 0]
        done = iter(llm.generate(possible, what))
        return [next(done) if r.max_tokens > 0 else Completion("", "length", 0) for r in requests]

    asked = ask_in_turns([messages_of(row, conversations) for row in rows], ask)
    found = []
    for row, seed_of, (before, completion) in zip(rows, seeds_of, asked, strict=True):
        text = completion.text.strip()
        found.append(
            {
                "prompt_id": row["prompt_id"],
                "response_id": content_id("evaluation", benchmark_name, checkpoint, row["prompt_id"]),
                "checkpoint": checkpoint,
                "sample": 0,
                "seed": seed_of,
                "response": text,
                "finish_reason": completion.finish_reason,
                "tokens": completion.tokens,
                "benchmark": benchmark_name,
                "passed": passed_checks(row["checks"], text),
                "messages": before if row["prompt_id"] in conversations else None,
            }
        )
    write_responses(responses, found)


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(
            Path(snakemake.input.model[0]).parent,
            snakemake.input.seeds,
            snakemake.input.prompts,
            snakemake.input.turns,
            snakemake.output.responses,
            **config,
        )

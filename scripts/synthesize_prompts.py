"""Write new prompts with the base model, from a few seed prompts in context.

Every item has its own seed and one sample, and `per_context` items in a row share a context (3-5 seed
prompts of one group by a seeded hash), which the engine then reads once. So an item depends on its shard and
index and not on how many others there are. The first example that the model writes is kept; bad ones are kept
too and marked, since `unique_prompts` counts them.

Reads:
    model: checkpoint of the base model.
    seeds: `sft` table; the last user message of each row is a seed prompt. Its category, for groups.

Writes:
    prompts: `raw_prompt` table, one row an item in index order: prompt_id (hash of the text),
        prompt (stripped), source ("synthetic"), examples (prompt_ids of the few-shot examples),
        finish_reason ("length" = unfinished), logprob (mean natural log-probability of its tokens under the
        base model, before temperature and nucleus).

Params:
    seed: seed of the run. engine: the config's `engine`. shard: index of this job.
    count: prompts to write. shots: fewest and most seed prompts in context. group: what the seed prompts
        of one context have in common (`alma.seed_groups`). per_context: prompts written after one context.
    temperature, top_p: sampling. max_tokens: longest prompt in tokens.
"""

from pathlib import Path
from typing import Any

from alma.chat_template import text_ids
from alma.engine import Request, open_engine
from alma.errors import InputError
from alma.fewshot import STOP, first_example, item_seed, layout, usable_example
from alma.ids import content_id
from alma.seed_groups import examples_of, group_seeds
from alma.tables import read_table, write_table

Seed = dict[str, Any]


def seed_prompts(rows: list[dict[str, Any]]) -> list[Seed]:
    """prompt_id, prompt (text) and category of the distinct seed prompts that fit the layout, sorted by id.

    Of a conversation it is the user's first message: a later one may make no sense without the turns before
    it. Of several rows with one text the shortest conversation counts, then the first category in the
    alphabet.
    """
    found: dict[str, Seed] = {}
    ordered = sorted(
        rows, key=lambda row: (len(row["prompt"]), row["category"] is None, row["category"], row["prompt_id"])
    )
    for row in ordered:
        text = opening(row["prompt"]).strip()
        seed = {"prompt_id": row["prompt_id"], "prompt": text, "category": row["category"]}
        found.setdefault(text, seed)
    seeds = sorted(found.values(), key=lambda seed: seed["prompt_id"])
    return [seed for seed in seeds if usable_example(seed["prompt"])]


def opening(messages: list[dict[str, str]]) -> str:
    """The user's first message."""
    return next((message["content"] for message in messages if message["role"] == "user"), "")


def short_enough(seeds: list[Seed], tokenizer: Any, budget: int, bounds: tuple[int, int]) -> list[Seed]:
    """Seeds that are short enough for the most examples to fit `budget` tokens together.

    Raises:
        InputError: fewer are left than one context needs.
    """
    # Two tokens of slack per example: merges across the seam of two examples differ.
    limit = budget // bounds[1] - 2
    kept = [row for row in seeds if len(text_ids(tokenizer, layout([row["prompt"]]))) <= limit]
    if len(kept) < len(seeds):
        print(f"left out {len(seeds) - len(kept)} of {len(seeds)} seed prompts: over {limit} tokens")
    if len(kept) < bounds[0]:
        raise InputError(
            f"prompts.shots: found {list(bounds)}, but only {len(kept)} of {len(seeds)} usable seed "
            f"prompts (labels.sft) have at most {limit} tokens, the room that engine.max_model_len and "
            f"prompts.max_tokens leave to each example.\n"
            f"  Raise engine.max_model_len, lower prompts.shots or prompts.max_tokens, or add short seeds."
        )
    return kept


def main(
    model: str | Path,
    seeds: str | Path,
    prompts: str | Path,
    *,
    seed: int,
    engine: dict[str, Any],
    shard: int,
    count: int,
    shots: list[int],
    group: str,
    per_context: int,
    temperature: float,
    top_p: float,
    max_tokens: int,
) -> None:
    """Write one shard of raw prompts; see the module's docstring."""
    bounds = (shots[0], shots[1])
    if bounds[0] > bounds[1]:
        raise InputError(f"prompts.shots: found {shots}, expected the fewest first, then the most")
    loaded = open_engine(model, engine)
    budget = engine["max_model_len"] - max_tokens
    pool = short_enough(seed_prompts(read_table(seeds, "sft")), loaded.tokenizer, budget, bounds)
    groups = group_seeds(pool, group, bounds[0], seed)
    print("groups of seed prompts: " + ", ".join(f"{name} ({len(members)})" for name, members in groups))
    contexts, requests = [], []
    for index in range(count):
        chosen = [pool[i] for i in examples_of(groups, bounds, seed, shard, index // per_context)]
        contexts.append([row["prompt_id"] for row in chosen])
        text = layout([row["prompt"] for row in chosen])
        requests.append(
            Request(
                token_ids=text_ids(loaded.tokenizer, text),
                seed=item_seed(seed, shard, index),
                temperature=temperature,
                top_p=top_p,
                max_tokens=max_tokens,
                stop=STOP,
                logprob=True,
            )
        )
    rows = []
    for context, completion in zip(contexts, loaded.generate(requests, "writing prompts"), strict=True):
        text = first_example(completion.text)
        rows.append(
            {
                "prompt_id": content_id("prompt", text),
                "prompt": text,
                "source": "synthetic",
                "examples": context,
                "finish_reason": completion.finish_reason,
                # Rounded: its last digits may differ with the requests that are computed beside it.
                "logprob": None if completion.logprob is None else round(completion.logprob, 4),
            }
        )
    write_table(prompts, "raw_prompt", rows)


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(
            Path(snakemake.input.model[0]).parent,
            snakemake.input.seeds,
            snakemake.output.prompts,
            **config,
        )

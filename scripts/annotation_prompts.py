"""Take the prompts that are answered for an annotation.

Reads:
    files: by `prompts_from`: prompts/unique/{shard}.parquet and last prompts/deal.parquet (new);
        seeds/judge.parquet and seeds/judge_heldout.parquet (judge); seeds/sft.parquet (sft).
    tokenizer: a file of models/base/; the folder's tokenizer and chat template are read, no weights.
Writes:
    annotation/prompts.parquet: prompt_id, prompt, in a seeded order.
Params:
    seed, prompts_from (new, judge or sft), pool (how many prompts, at most), skip (new: prompts at the start
    of round 2's deal that the judge was trained on itself), max_model_len, max_tokens: a prompt is left out
    where a response to it, or the judge's question about that response, would not fit the engine.
"""

from pathlib import Path

from alma.ids import content_id, hashed_int


def in_seeded_order(prompts: dict[str, str], seed: int) -> list[str]:
    """Ids of the prompts in an order that depends on nothing but them and the seed."""
    return sorted(prompts, key=lambda prompt_id: (hashed_int("annotation pool", seed, prompt_id), prompt_id))


def new_prompts(unique: list[str], deal: str, seed: int, skip: int) -> dict[str, str]:
    """Prompts that the run wrote, those of round 2's deal (one per cluster) first, then of round 3, ..."""
    from alma.dealing import FIRST_ROUND
    from alma.tables import read_table, read_tables

    texts = {row["prompt_id"]: row["prompt"] for row in read_tables(unique, "prompt")}
    skipped: set[str] = set()
    by_round: dict[int, dict[str, str]] = {}
    for row in read_table(deal, "deal"):
        if row["round"] == FIRST_ROUND and row["place"] < skip:
            skipped.add(row["prompt_id"])
        by_round.setdefault(row["round"], {})[row["prompt_id"]] = texts[row["prompt_id"]]
    found: dict[str, str] = {}
    for round_ in sorted(by_round):
        for prompt_id in in_seeded_order(by_round[round_], seed):
            if prompt_id not in skipped:
                found.setdefault(prompt_id, texts[prompt_id])
    return found


def prompts_of(prompts_from: str, files: list[str], seed: int, skip: int) -> dict[str, str]:
    """{prompt_id: text} of all prompts that may be taken, in the order in which they are."""
    from alma.tables import read_table, read_tables

    if prompts_from == "new":
        return new_prompts(files[:-1], files[-1], seed, skip)
    if prompts_from == "judge":
        rows = {row["prompt_id"]: row["prompt"] for row in read_tables(files, "judge")}
    else:
        turns = [row["prompt"] for row in read_table(files[0], "sft")]
        texts = [turn[0]["content"] for turn in turns if len(turn) == 1]
        rows = {content_id("prompt", text): text for text in texts}
    return {prompt_id: rows[prompt_id] for prompt_id in in_seeded_order(rows, seed)}


def main(
    files: list[str],
    tokenizer: str | Path,
    prompts: str | Path,
    *,
    seed: int,
    prompts_from: str,
    pool: int,
    skip: int,
    max_model_len: int,
    max_tokens: int,
) -> None:
    """Choose and write the prompts.

    Raises:
        InputError: there is none that fits.
    """
    from alma.errors import InputError
    from alma.lengths import too_long
    from alma.tables import write_table
    from alma.tokenizer import load_tokenizer

    found = prompts_of(prompts_from, files, seed, skip)
    loaded = load_tokenizer(Path(tokenizer).parent)
    long = too_long(loaded, list(found.values()), max_tokens, max_model_len)
    fitting = [i for i, over in zip(found, long, strict=True) if not over]
    print(
        f"{len(found)} prompts, {len(fitting)} of them fit the engine; {min(pool, len(fitting))} are answered"
    )
    if not fitting:
        raise InputError(
            f"annotation.prompts_from: {prompts_from}: found {len(found)} prompts, none of which fits the "
            f"engine with a response of sampling.max_tokens ({max_tokens}); expected at least one "
            f"(engine.max_model_len is {max_model_len})"
        )
    write_table(prompts, "seed_prompt", [{"prompt_id": i, "prompt": found[i]} for i in fitting[:pool]])


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(
            list(snakemake.input.files),
            snakemake.input.tokenizer[0],
            snakemake.output.prompts,
            **config,
        )

"""Embed prompts with the base model: the mean of its last hidden states.

Reads:
    model: checkpoint of the base model.
    prompts: `prompt` table, all shards' prompts, sorted by prompt_id.

Writes:
    embeddings: `embedding` table of this shard's rows in the same order: prompt_id, embedding
        (list of float32, as long as the model is wide).

Params:
    device: auto, cpu or cuda. shard, shards: this job embeds part `shard` of `shards` even parts.
"""

from pathlib import Path

from alma.clustering import write_embeddings
from alma.engine import use_gpu
from alma.pooling import embed_texts, load_encoder
from alma.progress import Progress
from alma.tables import count_rows, read_range
from alma.workflow.sharding import even_range


def main(
    model: str | Path, prompts: str | Path, embeddings: str | Path, *, device: str, shard: int, shards: int
) -> None:
    """Embed one shard of the prompts; see the module's docstring."""
    rows = read_range(prompts, "prompt", even_range(shard, shards, count_rows(prompts, "prompt")))
    tokenizer, encoder = load_encoder(str(model), "cuda" if use_gpu(device) else "cpu")
    progress = Progress("embedding prompts", len(rows), "prompts")
    vectors = embed_texts(tokenizer, encoder, [row["prompt"] for row in rows], progress.advance)
    write_embeddings(embeddings, [row["prompt_id"] for row in rows], vectors)


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(
            Path(snakemake.input.model[0]).parent,
            snakemake.input.prompts,
            snakemake.output.embeddings,
            **config,
        )

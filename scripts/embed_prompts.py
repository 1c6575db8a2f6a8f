"""Embed prompts with the base model: the mean of its last hidden states.

Reads:
    model: checkpoint of the base model.
    prompts: `prompt` table of the shard, sorted by prompt_id.
    projection: `projection` table, or none: the embeddings then stay as they are.

Writes:
    embeddings: `embedding` table in the same order: prompt_id, embedding
        (fixed-size list of float16, as long as the model is wide, or one number per axis).

Params:
    device: auto, cpu or cuda.
"""

from pathlib import Path

from alma.clustering import read_projection, write_embeddings
from alma.engine import use_gpu
from alma.pooling import embed_texts, load_encoder
from alma.progress import Progress
from alma.tables import read_columns


def main(
    model: str | Path, prompts: str | Path, projection: str | None, embeddings: str | Path, *, device: str
) -> None:
    """Embed one shard of the prompts; see the module's docstring."""
    rows = read_columns(prompts, "prompt", ["prompt_id", "prompt"]).to_pydict()
    tokenizer, encoder = load_encoder(str(model), "cuda" if use_gpu(device) else "cpu")
    progress = Progress("embedding prompts", len(rows["prompt"]), "prompts")
    vectors = embed_texts(tokenizer, encoder, rows["prompt"], progress.advance)
    if projection:
        vectors = read_projection(projection).of(vectors)
    write_embeddings(embeddings, rows["prompt_id"], vectors)


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(
            Path(snakemake.input.model[0]).parent,
            snakemake.input.prompts,
            next(iter(snakemake.input.projection), None),
            snakemake.output.embeddings,
            **config,
        )

"""Find the directions in which embeddings of prompts differ most: their principal components, from a sample.

Every shard is then projected alike. It is a job of its own, since equal inputs do not give equal axes on
another kind of machine, and shards on different axes could not be clustered.

Reads:
    model: checkpoint of the base model.
    prompts: `prompt` table of one shard. Ids are hashes, so its first rows are a random sample.

Writes:
    projection: `projection` table: the mean, then one axis per dimension.

Params:
    device: auto, cpu or cuda. dimensions: how many axes; no more than the model is wide.
"""

from pathlib import Path

from alma.clustering import fit_axes, write_projection
from alma.engine import use_gpu
from alma.errors import InputError
from alma.pooling import embed_texts, load_encoder
from alma.progress import Progress
from alma.tables import iter_columns

SAMPLE = 8192  # prompts


def main(
    model: str | Path, prompts: str | Path, projection: str | Path, *, device: str, dimensions: int
) -> None:
    """Embed a sample and write its axes; see the module's docstring.

    Raises:
        InputError: the sample has fewer prompts than dimensions.
    """
    parts = iter_columns(prompts, "prompt", ["prompt"], rows=SAMPLE)
    texts: list[str] = next((part["prompt"].to_pylist() for part in parts), [])
    if len(texts) <= dimensions:
        raise InputError(
            f"prompts.embedding_dimensions: found {dimensions}, but only {len(texts)} prompts of the first "
            f"shard passed the filters ({prompts}), expected more prompts than dimensions.\n"
            f"  Lower it, raise prompts.raw_per_shard, or leave the embeddings as they are (null)."
        )
    tokenizer, encoder = load_encoder(str(model), "cuda" if use_gpu(device) else "cpu")
    progress = Progress("embedding a sample", len(texts), "prompts")
    found = fit_axes(embed_texts(tokenizer, encoder, texts, progress.advance), dimensions)
    write_projection(projection, found)
    print(f"{len(found.axes)} axes of {len(found.mean)} numbers from {len(texts)} prompts")


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(
            Path(snakemake.input.model[0]).parent,
            snakemake.input.prompts,
            snakemake.output.projection,
            **config,
        )

"""Plot a map of the prompts: their embeddings in two dimensions, colored by cluster.

Reads:
    prompts/embeddings/{shard}.parquet: prompt_id, embedding (float16).
    prompts/clusters.parquet: prompt_id, cluster (int32).
Writes:
    figures/prompts.svg: the first two principal components of at most 2,000 prompts.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

POINTS = 2000
NAMED = 7  # clusters with a color of their own


def principal_plane(embeddings: "np.ndarray") -> tuple["np.ndarray", list[float]]:
    """The first two principal components, and the share of the variance that each holds.

    Args:
        embeddings: float [prompts, dimensions].

    Returns:
        float64 [prompts, 2], signs fixed so that each axis points to its largest loading.
    """
    import numpy as np

    centered = embeddings.astype(np.float64) - embeddings.mean(axis=0, dtype=np.float64)
    _, values, axes = np.linalg.svd(centered, full_matrices=False)
    axes = axes[:2]
    if len(axes) < 2:  # one prompt, or one dimension
        axes = np.vstack([axes, np.zeros((2 - len(axes), centered.shape[1]))])
    largest = np.abs(axes).argmax(axis=1)
    signs = np.sign(axes[[0, 1], largest])
    axes = axes * np.where(signs == 0, 1, signs)[:, None]
    total = float((values**2).sum()) or 1.0
    shares = [float(v**2) / total for v in values[:2]]
    return centered @ axes.T, [*shares, 0.0, 0.0][:2]


def main(embeddings: list[str], clusters: str | Path, figure_path: str | Path) -> None:
    """Draw the map. Ids are hashes, so the first ids are a random sample of the prompts."""
    import numpy as np
    import polars as pl

    from alma.clustering import read_embeddings
    from alma.figures import CYCLE, MARKERS, figure, nothing

    of_prompt = pl.read_parquet(clusters, columns=["prompt_id", "cluster"]).sort("prompt_id")
    shown = of_prompt.head(POINTS)
    ids, vectors = read_embeddings(embeddings, shown["prompt_id"].to_list())
    table = shown.filter(pl.col("prompt_id").is_in(ids))  # in the order of the ids, as the vectors are
    sizes = of_prompt.group_by("cluster").len().sort(["len", "cluster"], descending=[True, False])
    with figure(figure_path, (8.2, 5.0)) as (_, grid):
        axes = grid[0][0]
        if len(table) == 0:
            nothing(axes, "there are no prompts")
            return
        plane, shares = principal_plane(vectors)
        cluster = table["cluster"].to_numpy()
        named = sizes.head(min(NAMED, len(CYCLE)))
        rest = ~np.isin(cluster, named["cluster"].to_numpy())
        axes.scatter(*plane[rest].T, s=10, color="#C4C4C4", linewidths=0, label="other clusters")
        for i, (name, count) in enumerate(named.iter_rows()):
            own = cluster == name
            axes.scatter(
                *plane[own].T,
                s=26,
                color=CYCLE[i],
                marker=MARKERS[i],
                linewidths=0,
                label=f"cluster {name}: {count} prompts",
            )
        axes.set_xlabel(f"principal component 1 ({shares[0]:.0%} of the variance)")
        axes.set_ylabel(f"principal component 2 ({shares[1]:.0%})")
        some = "" if len(of_prompt) <= POINTS else f" ({len(table):,} of {len(of_prompt):,} shown)"
        axes.set_title(f"{len(of_prompt):,} prompts in {len(sizes):,} clusters{some}")
        axes.legend(title="largest clusters", loc="center left", bbox_to_anchor=(1.0, 0.5))


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(
            list(snakemake.input.embeddings),
            snakemake.input.clusters,
            snakemake.output.figure,
            **config,
        )

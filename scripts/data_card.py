"""Write the data card of what the rounds trained on.

Reads:
    rounds/2..R/dataset.parquet and preferences.parquet: how many rows, and which bytes the card is of.
    evaluation/verdict.csv, tables/prompt_filters.csv: the figures.
    templates/cards/data.md.jinja
Writes:
    cards/data.md: Markdown with the metadata of the Hugging Face hub.
Params:
    run, rounds (numbers, in the order of the files), base_model, base_license (or null), labels ({config key:
    source}), labels_license (or null), samples (responses per prompt),
    selection (best, random or checks), recipe ({config key: value}).
"""

from pathlib import Path
from typing import Any

from alma import cards
from alma.csv_tables import read_csv_table
from alma.tables import count_rows

SIZES = {10**3: "n<1K", 10**4: "1K<n<10K", 10**5: "10K<n<100K", 10**6: "100K<n<1M"}  # the hub's names
# Config of the published data set: table that it is made of.
CONFIGS = {"chosen": "dataset", "preferences": "preferences"}
LIMITS = (
    "Prompts and responses were written by models: they hold errors, and what the models had seen before.",
    "How often the choice of the judge is the better response, the table above says.",
    "Prompts that share many words with the labels or the evaluation were dropped; other benchmarks were not "
    "looked at.",
)
CHOICES = {
    "best": "the response that the run's judge rates highest",
    "random": "a response chosen at random",
    "checks": "the response that passes most of the checks that its prompt states",
}


def place(config: str, round_: int) -> str:
    """Path of a round's file in the published data set."""
    return f"{config}/round-{round_}.parquet"


def main(
    chosen: list[str],
    preferences: list[str],
    verdict: str | Path,
    filters: str | Path,
    template: str | Path,
    card: str | Path,
    *,
    run: str,
    rounds: list[int],
    base_model: str,
    base_license: str | None,
    labels: dict[str, str],
    labels_license: str | None,
    samples: int,
    selection: str,
    recipe: dict[str, Any],
) -> None:
    """Write the card; see the module's docstring."""
    from huggingface_hub import DatasetCard, DatasetCardData

    from alma.files import sha256_of, write_text

    tables = {"chosen": dict(zip(rounds, chosen, strict=True))}
    tables["preferences"] = dict(zip(rounds, preferences, strict=True))
    sizes = [
        [f"round {r}", *(count_rows(tables[name][r], table) for name, table in CONFIGS.items())]
        for r in rounds
    ]
    total = sum(count_rows(path, "dataset") for path in chosen)
    scale = next((name for end, name in SIZES.items() if total < end), "n>1M")
    data = DatasetCardData(
        pretty_name=f"{run}: prompts and responses",
        size_categories=scale,
        task_categories="text-generation",
        annotations_creators="machine-generated",
        language_creators="machine-generated",
        tags=["alma", "synthetic"],
        configs=[
            {
                "config_name": name,
                "data_files": [{"split": f"round_{r}", "path": place(name, r)} for r in rounds],
            }
            for name in CONFIGS
        ],
        **cards.license_metadata(labels_license),
    )
    links = read_csv_table(verdict, "verdict")
    dropped = [
        [r["filter"].replace("_", " "), r["removed"], r["kept"]]
        for r in read_csv_table(filters, "prompt_filters")
    ]
    sources = "; ".join(f"`{key}`: {cards.source_text(source)}" for key, source in labels.items())
    made = DatasetCard.from_template(
        data,
        template_path=str(template),
        name=f"{run}: prompts and responses",
        run=run,
        base=cards.source_text(base_model, ""),
        samples=samples,
        choice=CHOICES[selection],
        configs=list(CONFIGS),
        sets=cards.table(["split", *(f"rows of `{name}`" for name in CONFIGS)], sizes),
        made=f"Base model: {cards.source_text(base_model, '')}. Labels (not part of this data): {sources}.",
        recipe=cards.recipe_table(recipe),
        filters=cards.table(["filter of the prompts", "dropped", "left"], dropped),
        overall=links[0]["says"],
        links=cards.links_table(links),
        limits=LIMITS,
        license_text=cards.license_text(
            cards.base_license(base_model, base_license), labels_license, "the rows"
        ),
        files=[
            f"`{place(n, r)}`: SHA-256 `{sha256_of(Path(tables[n][r]))}`" for n in CONFIGS for r in rounds
        ],
    )
    write_text(card, str(made).rstrip() + "\n")


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(
            list(snakemake.input.chosen),
            list(snakemake.input.preferences),
            snakemake.input.verdict,
            snakemake.input.filters,
            snakemake.input.template,
            snakemake.output.card,
            **config,
        )

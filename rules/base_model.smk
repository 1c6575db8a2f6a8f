# The model to align, from a local path, the hub or a package, as one safetensors file with a chat template.
# It waits for the seeds (without depending on their content), so that bad seeds stop everything.

import os


def base_model_files(run):
    """Files of a local base model and of a chat template of the user's, as inputs."""
    source, template = cfg(run, "base_model", "source"), cfg(run, "base_model", "chat_template")
    found = [template] if template else []
    if is_local(source):
        folder = Path(source)
        found += (
            [str(path) for path in sorted(folder.iterdir()) if path.is_file()]
            if folder.is_dir()
            else [source]
        )
    return found


rule base_model:
    input:
        seeds_checked=lambda w: ancient(SHARING.source(f"results/{w.run}/seeds/sft.parquet")),
        files=from_user(lambda w: base_model_files(w.run)),
        # What the script falls back on; named so that an edit is noticed.
        plain_template=from_user(
            lambda w: (
                []
                if cfg(w, "base_model", "chat_template")
                else [os.path.relpath(ROOT / "templates" / "plain.jinja")]
            )
        ),
    output:
        model_outputs("base"),
    log:
        "results/{run}/logs/base_model.log",
    benchmark:
        "results/{run}/benchmarks/base_model.tsv"
    conda:
        CONDA
    threads: 1
    resources:
        # A model of the hub takes its time to come.
        mem_mb=NEEDS.memory(6000),
        runtime=NEEDS.minutes(120),
        disk_mb=NEEDS.disk(1000),
    params:
        spec=spec(
            "base_model",
            source=from_config("base_model", "source"),
            chat_template=from_config("base_model", "chat_template"),
        ),
        uncompared=uncompared(accept_terms=from_config("base_model", "accept_terms")),
    message:
        "Preparing the base model"
    script:
        "../scripts/base_model.py"

"""Stand-in for the base model: weights are the bytes of the file that the config names."""

from pathlib import Path

if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        from alma.training import write_checkpoint

        content = Path(config["source"]).read_text()
        template = config["chat_template"]
        template = Path(template).read_text() if template else ""
        write_checkpoint(Path(snakemake.output[0]).parent, content, template)

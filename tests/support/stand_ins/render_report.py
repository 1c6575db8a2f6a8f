"""Stand-in for Snakemake's report: the names of what it would show."""

if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        from alma.files import sha256_of, write_text

        rows = [f"{path} {sha256_of(path)}\n" for path in snakemake.input.contents]
        write_text(snakemake.output.html, "".join(rows))

# alma: from a base model and a few thousand human labels to an aligned model.
# Data flows in the order of the includes below; every stage is one file in rules/, and the script
# of a rule is scripts/{rule}.py.

from snakemake.utils import min_version

min_version("9.0")


# The demonstration's values never reach a run that brings a config of its own (--configfile, or a profile's).
# Snakemake hands its config files on to every job's process, which so comes to the same answer.
if not workflow.overwrite_configfiles:

    configfile: f"{workflow.basedir}/config.yaml"


report: "report/workflow.rst"


include: "rules/common.smk"


wildcard_constraints:
    run="|".join(RUNS),
    checkpoint=r"base|sft-\d+|judge-seed|judge|round-\d+",
    round=r"[2-9]|[1-9]\d+",  # a later round; round 1 is the SFT
    shard=r"\d+",
    block=r"\d+",
    index=r"\d+",
    benchmark=r"[A-Za-z0-9_]+",
    table=r"[A-Za-z0-9_-]+",
    judge=r"[A-Za-z0-9_-]+",  # an outside judge; a second block beside its rules would undo this one on S3
    writer=r"base|sft-\d+|round-\d+|reference",  # whose responses it looks at


include: "rules/seeds.smk"
include: "rules/base_model.smk"
include: "rules/sft.smk"
include: "rules/prompts.smk"
include: "rules/responses.smk"
include: "rules/judge.smk"
include: "rules/reward_bench.smk"
include: "rules/scores.smk"
include: "rules/selection_quality.smk"
include: "rules/selection.smk"
include: "rules/rounds.smk"
include: "rules/evaluation.smk"
include: "rules/outside_judges.smk"
include: "rules/lm_eval.smk"
include: "rules/report.smk"
include: "rules/annotation.smk"
include: "rules/cards.smk"
include: "rules/ablations.smk"


localrules:
    all,
    prompts,
    judge,
    evaluate,
    variants,
    ablations,


rule all:
    default_target: True
    input:
        f"results/{RUN}/report.html",
        # All that the run needs: as a target, a lost file is made again even where nothing behind it runs.
        lambda w: sorted(SHARING.artifacts(RUN)),
    message:
        "All results are there"


rule prompts:
    input:
        f"results/{RUN}/tables/round_clusters.csv",
        [f"results/{RUN}/rounds/{r}/prompts/{s}.parquet" for r in later_rounds(RUN) for s in shards(RUN)],


rule judge:
    input:
        model_files(RUN, "judge"),
        f"results/{RUN}/evaluation/judge.csv",
        f"results/{RUN}/evaluation/selection.csv",


rule evaluate:
    input:
        f"results/{RUN}/evaluation/summary.csv",
        f"results/{RUN}/evaluation/judge.csv",
        f"results/{RUN}/evaluation/selection.csv",


onstart:
    begin()


onsuccess:
    print_summary("end")

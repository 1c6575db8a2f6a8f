"""See before anything is trained whether a judge of `evaluation.judges` can be asked.

Reads: one question to an endpoint; the files of a reward model but for its weights.
Writes: evaluation/judges/{judge}.txt: one line.
Params: judge (name), kind, model, base_url, body, temperature, max_tokens; not compared: api_key_env,
    max_retries, timeout.
"""

import tempfile
from pathlib import Path
from typing import Any

from alma.api_judge import OPENAI, AnswerCache, Endpoint, ask_all, request_body
from alma.files import write_text
from alma.outside_judges import question_text


def main(
    checked: str | Path,
    *,
    judge: str,
    kind: str,
    model: str,
    base_url: str | None,
    body: dict[str, Any],
    temperature: float | None,
    max_tokens: int | None,
    api_key_env: str | None,
    max_retries: int,
    timeout: float,
) -> None:
    """Ask one question, or look at the reward model's files.

    Raises:
        InputError: the judge cannot be asked.
    """
    name = f"evaluation.judges.{judge}"
    if kind == "api":
        endpoint = Endpoint(name, base_url or OPENAI, api_key_env, max_retries, 1, timeout)
        text = question_text("What is two and two?", None, "Four.", "Five.")
        question = request_body(text, model, temperature, max_tokens, body)
        with (
            tempfile.TemporaryDirectory() as folder
        ):  # an answer from before would say nothing of today's key
            cache = AnswerCache(Path(folder) / "answers.jsonl")
            ask_all(endpoint, [question], cache, 0.0, f"asking {judge}")
    else:
        from alma.reward_model import reward_folder

        reward_folder(model, name)
    write_text(checked, f"{name} ({model}) can be asked\n")


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(snakemake.output.checked, **config)

"""The same work as a distilabel pipeline (1.5.3), with its own cache.

Run: PYTHON benchmarks/ways/distilabel_pipeline.py SETTINGS FOLDER LAST_ROUND [STEP ...]
PYTHON is that of an environment with distilabel (envs/distilabel.sh). One pipeline writes the prompts, and
one for each round samples, judges and keeps the best: a cache is found by the name of the pipeline and by its
steps, and does not depend on the rows that they get. FOLDER/cache holds the caches, and what comes out is
FOLDER/round-{round}/best.jsonl. Each STEP is run without its cache.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

from distilabel.models import vLLM
from distilabel.pipeline import Pipeline
from distilabel.steps import GlobalStep, LoadDataFromDicts, StepInput
from distilabel.steps.tasks import Task

QUIET = {"add_raw_output": False, "add_raw_input": False}


class Engine(vLLM):
    """distilabel's vLLM, which gives `SamplingParams` a list that newer versions of vLLM do not take."""

    def load(self) -> None:
        super().load()
        import vllm

        real = vllm.SamplingParams
        vllm.SamplingParams = lambda logits_processors=None, **options: real(**options)

    def unload(self) -> None:
        """Nothing: the process ends, and vLLM's present engine lacks what distilabel takes apart."""


class WritePrompts(Task):
    """A raw text to complete, from the column `context`."""

    @property
    def inputs(self) -> list[str]:
        return ["context"]

    @property
    def outputs(self) -> list[str]:
        return ["prompt"]

    def format_input(self, input: dict[str, Any]) -> str:
        return input["context"]

    def format_output(self, output: str | None, input: Any = None) -> dict[str, Any]:
        return {"prompt": (output or "").strip()}


class Sample(Task):
    """A response to the column `prompt`; the task does not see which ones were cut off."""

    @property
    def inputs(self) -> list[str]:
        return ["prompt"]

    @property
    def outputs(self) -> list[str]:
        return ["response"]

    def format_input(self, input: dict[str, Any]) -> list[dict[str, str]]:
        return [{"role": "user", "content": input["prompt"]}]

    def format_output(self, output: str | None, input: Any = None) -> dict[str, Any]:
        return {"response": (output or "").strip()}


class Judge(Task):
    """The rating that the judge writes."""

    question: str

    @property
    def inputs(self) -> list[str]:
        return ["prompt", "response"]

    @property
    def outputs(self) -> list[str]:
        return ["score"]

    def format_input(self, input: dict[str, Any]) -> list[dict[str, str]]:
        text = self.question.format(prompt=input["prompt"], response=input["response"])
        return [{"role": "user", "content": text}]

    def format_output(self, output: str | None, input: Any = None) -> dict[str, Any]:
        rating = re.search(r"\[\[(\d+)\]\]", output or "")
        return {"score": float(rating[1]) if rating else None}


class KeepBest(GlobalStep):
    """The best response to each prompt."""

    @property
    def inputs(self) -> list[str]:
        return ["prompt", "response", "score"]

    def process(self, inputs: StepInput) -> Any:
        best: dict[str, dict[str, Any]] = {}
        for row in inputs:
            known = best.get(row["prompt"])
            if row["score"] is not None and (known is None or row["score"] > known["score"]):
                best[row["prompt"]] = row
        yield list(best.values())


def rows_of(pipeline: Pipeline) -> list[dict[str, Any]]:
    """Run a pipeline with its cache; the rows of its last step. Where there are none, so is its data set."""
    found = pipeline.run(use_cache=True)
    return list(found["default"]["train"]) if "default" in found else []


def main(settings: dict[str, Any], folder: Path, last: int, again: list[str]) -> None:
    """Prompts, then round by round."""

    def llm(model: str, **generation: Any) -> Engine:
        generation["max_new_tokens"] = generation.pop("max_tokens")
        return Engine(
            model=settings["models"][model],
            extra_kwargs={name: value for name, value in settings["engine"].items() if name != "dtype"},
            dtype=settings["engine"]["dtype"],
            disable_cuda_device_placement=True,
            generation_kwargs=generation,
        )

    cache = folder / "cache"
    batch = {"batch_size": settings["batch"]}
    with Pipeline(name="prompts", cache_dir=cache) as pipeline:
        load = LoadDataFromDicts(data=[{"context": text} for text in settings["contexts"]], **batch)
        write = WritePrompts(
            name="write",
            input_batch_size=settings["batch"],
            **QUIET,
            llm=llm("base", stop=settings["stop"], **settings["writing"]),
        )
        load >> write
    prompts = list(dict.fromkeys(row["prompt"] for row in rows_of(pipeline) if row["prompt"]))
    size = settings["prompts_per_round"]
    for round_ in range(2, last + 1):
        chosen = prompts[(round_ - 2) * size : (round_ - 1) * size]
        with Pipeline(name=f"round-{round_}", cache_dir=cache) as pipeline:
            load = LoadDataFromDicts(data=[{"prompt": prompt} for prompt in chosen], **batch)
            sample = Sample(
                name="sample",
                input_batch_size=settings["batch"],
                num_generations=settings["samples"],
                llm=llm("sampled", **settings["sampling"]),
                use_cache="sample" not in again,
                **QUIET,
            )
            judge = Judge(
                name="judge",
                input_batch_size=settings["batch"],
                question=settings["question"],
                llm=llm("judge", **settings["judging"]),
                use_cache="judge" not in again,
                **QUIET,
            )
            load >> sample >> judge >> KeepBest(name="best")
        at = folder / f"round-{round_}"
        at.mkdir(parents=True, exist_ok=True)
        rows = rows_of(pipeline)
        (at / "best.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])

"""Tasks of lm-eval's harness on a checkpoint: `python harness.py QUESTION.json ANSWER.json`.

Question: what `main` gets. Answer: {"answer": {"items": [{task, metric, item, value}], "tasks": [name],
"versions": {package: version}}}, or {"problem": text}.
"""

import json
import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any


def load(tasks: list[str], include: str | None) -> tuple[Any, dict[str, Any]]:
    """lm-eval's index, with the tasks of a folder; and the tasks by name, their data loaded or downloaded."""
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=include)
    unknown = [name for name in tasks if name not in manager.all_tasks]
    if unknown:
        raise LookupError(f"found {', '.join(unknown)}, expected names of its tasks, groups or tags")
    return manager, manager.load(tasks)["tasks"]


def main(
    tasks: list[str],
    include: str | None,
    model: str | None,
    device: str,
    shots: int | None,
    limit: int | None,
    batch_size: int,
    chat: bool,
    seed: int,
) -> dict[str, Any]:
    """Load the tasks, and run them where a model is given; see the module's docstring."""
    versions = {name: version(name) for name in ("lm_eval", "transformers")}
    try:
        manager, loaded = load(tasks, include)
    except Exception as error:  # a name, a file of a task, or its data: whatever lm-eval and datasets say
        return {"problem": f"evaluation.harness.tasks: {type(error).__name__}: {error}"}
    if model is None:
        return {"answer": {"items": [], "tasks": sorted(loaded), "versions": versions}}
    import torch
    from lm_eval.evaluator import simple_evaluate

    there = torch.cuda.is_available()
    if device == "cuda" and not there:
        return {"problem": "engine.device: found cuda, but PyTorch sees no GPU; use auto or cpu"}
    found = simple_evaluate(
        model="hf",
        model_args={"pretrained": model, "trust_remote_code": False, "dtype": "auto"},
        tasks=tasks,
        num_fewshot=shots,
        batch_size=batch_size,
        device="cuda:0" if there and device != "cpu" else "cpu",
        limit=limit,
        bootstrap_iters=0,
        apply_chat_template=chat,
        task_manager=manager,
        random_seed=seed,
        numpy_random_seed=seed,
        torch_random_seed=seed,
        fewshot_random_seed=seed,
    )
    items = [
        {
            "task": task,
            "metric": metric if sample["filter"] == "none" else f"{metric},{sample['filter']}",
            "item": sample["doc_id"],
            "value": float(sample[metric]),
        }
        for task, samples in sorted(found["samples"].items())
        for sample in samples
        for metric in sample["metrics"]
        if isinstance(sample[metric], int | float)  # others are no mean over items
    ]
    return {"answer": {"items": items, "tasks": sorted(loaded), "versions": versions}}


if __name__ == "__main__":
    os.environ["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    asked = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    Path(sys.argv[2]).write_text(json.dumps(main(**asked)), encoding="utf-8")

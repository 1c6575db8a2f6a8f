"""Training on several GPUs of one machine: one process each, the weights cut into shards (FSDP2).

The job itself is torchrun's agent: it starts the processes, and ends them all if one fails. The first
process reads the weights and hands each its part; no process holds all of a large model on its GPU. A step
takes the same examples as on one GPU, in the same micro-batches, which are dealt to the processes in turn.
Where an epoch ends with fewer micro-batches than processes, the others get an empty one, which counts for
nothing.

Tests run the same with two processes on a CPU.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

from alma.errors import InputError
from alma.files import atomic_path
from alma.training_data import IGNORED
from alma.workflow.orphan import watch

REFERENCE = "reference.safetensors"  # in the resume state: log-probabilities of the reference model (DPO)


def fsdp_arguments() -> dict[str, Any]:
    """Keyword arguments of TRL's configs that a training on several processes has beside the others."""
    return {
        "fsdp": True,
        "fsdp_config": {
            "version": 2,
            "reshard_after_forward": True,
            "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",  # the layers that the model names itself
            "activation_checkpointing": True,
            "cpu_ram_efficient_loading": True,
            "state_dict_type": "SHARDED_STATE_DICT",  # what a killed training resumes from
        },
        "gradient_checkpointing": False,  # FSDP's own, above, takes its place
    }


def precision(device: str) -> Any:
    """Types of FSDP2's tensors, or None for float32 throughout, which is that of a CPU.

    The weights of the optimizer stay float32. Gradients are summed over the GPUs in float32: a sum in
    bfloat16, which is accelerate's own choice, loses what is small beside the rest. It would also round what
    the model returns, log-probabilities among it; without an `output_dtype` they stay float32.
    """
    if device == "cpu":
        return None
    import torch
    from torch.distributed.fsdp import MixedPrecisionPolicy

    return MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32, output_dtype=None)


# processes


def _start(work: Callable[..., None], device: str, failed: str, arguments: tuple[Any, ...]) -> None:
    """One process of `launch`, up to its end."""
    import torch
    from torch.multiprocessing import _prctl_pr_set_pdeathsig

    _prctl_pr_set_pdeathsig(signal.SIGKILL)  # none outlives the job, which holds the GPUs
    watch()
    # transformers and accelerate look here when the weights are read: only the first process reads them.
    os.environ |= {
        "ACCELERATE_USE_FSDP": "true",
        "FSDP_VERSION": "2",
        "FSDP_CPU_RAM_EFFICIENT_LOADING": "true",
    }
    if device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    backend = "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"
    # The others wait while the first reads or writes a checkpoint, longer than NCCL's own ten minutes.
    torch.distributed.init_process_group(backend, timeout=timedelta(hours=2))
    try:
        work(*arguments)
    except InputError as error:
        Path(failed).write_text(str(error), encoding="utf-8")
        raise SystemExit(1) from None  # `launch` raises it in the job
    torch.distributed.destroy_process_group()


def launch(
    processes: int, work: Callable[..., None], *arguments: Any, device: str, folder: str | Path
) -> None:
    """Run `work(*arguments)` in so many processes of this machine, as torchrun does.

    The processes are spawned, so they hold the job's GPUs with it (`alma.workflow.leases`), and `work` is a
    function that can be imported.

    Args:
        device: "cpu" or "cuda"; process i takes GPU i of CUDA_VISIBLE_DEVICES.
        folder: where a process leaves its message.

    Raises:
        InputError: that of a process.
    """
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    failed = Path(folder) / "failed.txt"
    failed.unlink(missing_ok=True)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=f"alma-{os.getpid()}",
        rdzv_backend="c10d",
        rdzv_endpoint="127.0.0.1:0",
        local_addr="127.0.0.1",
        max_restarts=0,
        start_method="spawn",
    )
    try:
        elastic_launch(config, _start)(work, device, str(failed), arguments)
    except ChildFailedError:
        if failed.is_file():
            raise InputError(failed.read_text(encoding="utf-8")) from None
        raise


def count() -> int:
    """Processes of this training, 1 outside `launch`."""
    import torch.distributed as dist

    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def is_first() -> bool:
    """Whether this is the first process, which writes the files that all share."""
    import torch.distributed as dist

    return count() == 1 or dist.get_rank() == 0


def wait() -> None:
    """Until all processes are here."""
    import torch.distributed as dist

    if count() > 1:
        dist.barrier()


def told_by_first(found: Callable[[], Any]) -> Any:
    """What `found` gives in the first process, which alone has weights before the trainer deals them."""
    import torch.distributed as dist

    if count() == 1:
        return found()
    told = [found() if is_first() else None]
    dist.broadcast_object_list(told, src=0)
    return told[0]


# examples


def micro_batches(order: list[int], size: int, processes: int, rank: int) -> list[list[int]]:
    """Micro-batches of one process: every `processes`-th of those that one process would take.

    Args:
        order: the epoch's examples, in the order of their training.
        size: examples per micro-batch.

    Returns:
        The same number for every rank; an empty list is a micro-batch without examples.
    """
    all_of_them = [order[i : i + size] for i in range(0, len(order), size)]
    missing = -len(all_of_them) % processes
    return [*all_of_them, *([[]] * missing)][rank::processes]


def _loader(examples: Any, order: Callable[[int], list[int]], size: int, collate: Any, pin: bool) -> Any:
    """Loader of this process's micro-batches; `set_epoch` says which epoch follows."""
    import torch.distributed as dist
    from torch.utils.data import DataLoader, Dataset

    class Batches:
        epoch = 0

        def set_epoch(self, epoch: int) -> None:
            self.epoch = epoch

        def __iter__(self) -> Iterator[list[int]]:
            found = micro_batches(order(self.epoch), size, count(), dist.get_rank())
            return iter([batch or [-1] for batch in found])

        def __len__(self) -> int:
            return len(micro_batches(list(range(len(examples))), size, count(), 0))

    class Rows(Dataset):
        def __len__(self) -> int:
            return len(examples)

        def __getitem__(self, i: int) -> Any:
            return None if i < 0 else examples[i] | {"row": i}

    class Loader(DataLoader):
        def set_epoch(self, epoch: int) -> None:
            self.batch_sampler.set_epoch(epoch)

    return Loader(Rows(), batch_sampler=Batches(), collate_fn=collate, pin_memory=pin)


def empty_example(example: dict[str, Any]) -> dict[str, Any]:
    """An example of two tokens that stands in a micro-batch without examples; its loss is not counted."""
    if "prompt_ids" in example:
        ids = example["prompt_ids"][:1]
        return {"prompt_ids": ids, "chosen_ids": ids, "rejected_ids": ids}
    stands = {"input_ids": example["input_ids"][:2], "labels": [IGNORED, IGNORED]}
    if "soft" in example:
        stands["soft"] = []
    if "rated" in example:
        stands["rated"] = {"place": 1, "score": 0.0, "group": -1}
    return stands


# the trainer


def sharded(base: Any, device: str, shuffle: bool = True) -> Any:
    """A TRL trainer class whose model is cut over the processes and whose steps are those of one process.

    Args:
        base: SFTTrainer or DPOTrainer, or a class of ours that is one.
        shuffle: whether each epoch has a seeded order of its own (that of one process).
    """
    import torch
    from accelerate.data_loader import SeedableRandomSampler
    from accelerate.state import AcceleratorState, PartialState
    from accelerate.utils import DistributedType

    class Sharded(base):
        _reference: Any = None  # float32 [2, examples]: of chosen and rejected responses
        _share = 1.0

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.is_fsdp_enabled = True

        def create_accelerator_and_postprocess(self) -> None:
            plugin = self.args.fsdp_plugin_args
            plugin["mixed_precision_policy"] = precision(device)
            super().create_accelerator_and_postprocess()
            if device == "cpu":  # accelerate has FSDP for accelerators alone, and would take DDP here
                from accelerate import FullyShardedDataParallelPlugin

                for state in (AcceleratorState._shared_state, PartialState._shared_state):
                    state["distributed_type"] = DistributedType.FSDP
                AcceleratorState._shared_state["fsdp_plugin"] = FullyShardedDataParallelPlugin(**plugin)
            # Until __init__ ends: DPOTrainer would load a reference model, and shard it as one piece.
            self.is_fsdp_enabled = False

        def _move_model_to_device(self, model: Any, device: Any) -> None:
            pass  # FSDP moves each process's part

        def get_train_dataloader(self) -> Any:
            examples, collator = self.train_dataset, self.data_collator
            sampler = SeedableRandomSampler(examples, data_seed=self.args.data_seed)

            def order(epoch: int) -> list[int]:
                if not shuffle:
                    return list(range(len(examples)))
                sampler.set_epoch(epoch)
                return list(sampler)

            def collate(rows: list[Any]) -> Any:
                empty = rows == [None]
                if empty:
                    rows = [empty_example(examples[0])]
                elif self._reference is not None:
                    rows = [row | self._reference_of(row["row"]) for row in rows]
                if empty and self._reference is not None:
                    rows = [rows[0] | {"ref_chosen_logps": 0.0, "ref_rejected_logps": 0.0}]
                return collator(rows) | {"empty": empty}

            size, pin = self.args.per_device_train_batch_size, self.args.dataloader_pin_memory
            return _loader(examples, order, size, collate, pin)

        def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> Any:
            batches, items = super().get_batch_samples(epoch_iterator, num_batches, device)
            if items is None:  # the loss is the mean over micro-batches: how many of a step hold examples
                filled = torch.tensor(sum(not batch["empty"] for batch in batches), device=self.args.device)
                torch.distributed.all_reduce(filled)
                self._share = count() * len(batches) / int(filled)
            return batches, items

        def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            empty = inputs.pop("empty")
            pairs = hasattr(self, "compute_ref_log_probs")
            with own_metrics(self.accelerator) if pairs else nullcontext():
                loss = super().compute_loss(model, inputs, *args, **kwargs)
            return loss * (0.0 if empty else self._share)

        def _track_num_input_tokens(self, inputs: Any) -> None:
            if inputs["empty"]:
                names = ("input_ids", "attention_mask")
                inputs = {name: inputs[name][:, :0] for name in names if name in inputs}
            super()._track_num_input_tokens(inputs)

        # DPO: the log-probabilities of the reference, which is the model before its first step

        def _precompute_ref_logps(self, dataset: Any, name: str, batch_size: int) -> Any:
            return dataset  # `find_reference` finds them when the model is sharded

        def _reference_of(self, row: int) -> dict[str, float]:
            chosen, rejected = self._reference[:, row].tolist()
            return {"ref_chosen_logps": chosen, "ref_rejected_logps": rejected}

        def find_reference(self) -> None:
            """Take them from the resume state, or compute them and leave them there for all processes."""
            from safetensors.torch import load_file, save_file

            file = Path(self.args.output_dir) / REFERENCE
            if not file.is_file():
                found = self._log_probs()
                if is_first():
                    with atomic_path(file) as temporary:
                        save_file({"log_probs": found}, temporary)
            wait()
            self._reference = load_file(file)["log_probs"]

        def _log_probs(self) -> Any:
            examples, size = self.train_dataset, self.args.per_device_train_batch_size
            found = torch.zeros(2, len(examples), device=self.args.device)
            rank = torch.distributed.get_rank()
            for batch in micro_batches(list(range(len(examples))), size, count(), rank):
                rows = [examples[i] for i in batch] or [empty_example(examples[0])]
                inputs = self._prepare_inputs(self.data_collator(rows))
                both = self.compute_ref_log_probs(self.model_wrapped, inputs)
                if batch:
                    found[:, batch] = torch.stack(both).float()
            torch.distributed.all_reduce(found)
            return found.cpu()

    return Sharded


@contextmanager
def own_metrics(accelerator: Any) -> Iterator[None]:
    """Nothing is gathered: trackers get the metrics of the first process.

    DPOTrainer gathers its metrics pair by pair, and the last micro-batches of an epoch differ in pairs.
    """
    names = ("gather", "gather_for_metrics")
    before = {name: getattr(accelerator, name) for name in names}
    for name in names:
        setattr(accelerator, name, lambda values: values)
    try:
        yield
    finally:
        for name in names:
            setattr(accelerator, name, before[name])


@contextmanager
def without_weights_hash() -> Iterator[None]:
    """DPOTrainer names its cache of reference log-probabilities by a hash of all weights; ours needs none."""
    from trl.trainer import dpo_trainer

    before = dpo_trainer.hash_module
    dpo_trainer.hash_module = lambda module: ""
    try:
        yield
    finally:
        dpo_trainer.hash_module = before


def reference_callback(trainer: Any) -> Any:
    """Trainer callback that has the reference's log-probabilities before the first step."""
    from transformers import TrainerCallback

    class Reference(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            trainer.find_reference()

    return Reference()


def gathered(trainer: Any) -> dict[str, Any]:
    """All weights, on the CPU of the first process, in the type that they are trained in; others get none."""
    return trainer.accelerator.get_state_dict(trainer.model)

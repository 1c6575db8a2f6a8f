"""Which weights a training changes: all, those of the last layers, or LoRA adapters."""

from typing import Any

from alma.errors import InputError


def last_layers(model: Any, count: int, key: str) -> list[Any]:
    """The last `count` transformer layers of a model.

    Raises:
        InputError: the model has fewer, or keeps them in another place than most models.
    """
    decoder = model.get_decoder()
    layers = getattr(decoder, "layers", None)
    if layers is None or not hasattr(decoder, "norm"):
        raise InputError(
            f"{key}.last_layers: found {count}, but {type(model).__name__} has no list of layers with a "
            "norm behind it; use null"
        )
    if count > len(layers):
        raise InputError(
            f"{key}.last_layers: found {count}, expected at most {len(layers)}, the model's layers"
        )
    return list(layers[-count:])


def freeze_below(model: Any, training: dict[str, Any], key: str) -> None:
    """Leave gradients to the last layers and the norm behind them only, where the config says so."""
    if training["last_layers"] is not None:
        layers = last_layers(model, training["last_layers"], key)
        model.requires_grad_(False)
        for part in (*layers, model.get_decoder().norm):
            part.requires_grad_(True)


def lora_config(model: Any, training: dict[str, Any], key: str) -> Any:
    """LoRA on the linear layers (the output layer stays as it is), or None for full fine-tuning."""
    if training["method"] == "full":
        return None
    from peft import LoraConfig
    from torch.nn import Linear

    targets: str | list[str] = "all-linear"
    if training["last_layers"] is not None:
        layers = last_layers(model, training["last_layers"], key)
        inside = {part for layer in layers for part in layer.modules() if isinstance(part, Linear)}
        targets = [name for name, part in model.named_modules() if part in inside]
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=training["lora_rank"],
        lora_alpha=training["lora_alpha"],
        lora_dropout=0.0,
        target_modules=targets,
    )

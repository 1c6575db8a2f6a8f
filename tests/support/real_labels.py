"""Labels that look like those that people have: raw files for a run, made by this program (CC0).

Run: PYTHONPATH=tests/support python tests/support/real_labels.py FOLDER

It writes sft.jsonl (conversations, of one or more turns), alpaca.json (instruction, input, output), judge.csv
(scores from 1 to 5 by several people), pairs.jsonl and eval.jsonl. They hold what real sets hold and tidy
ones do not: HTML, code, the text of special tokens of many model families, ten languages, empty inputs, texts
of 1 to some 5,000 tokens, several turns and system messages, the same row twice, and 1% of rows that nobody
can use. The ordinary rows are those of tests/data/, in whose language the tests' tiny model writes.
"""

import csv
import io
import json
import random
import sys
from pathlib import Path
from typing import Any

DATA = Path(__file__).resolve().parents[1] / "data"
SCALE = [1, 5]
JUNK = 0.01  # share of the rows

# What tokenizers of other models, and perhaps of this one, read as a token.
SPECIAL = [
    *("<s>", "</s>", "<unk>", "<pad>", "<mask>", "[MASK]", "[CLS]", "[SEP]", "[UNK]", "[PAD]"),
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>"),
    *("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|python_tag|>"),
    *("[INST]", "[/INST]", "<<SYS>>", "<</SYS>>", "[TOOL_CALLS]", "[AVAILABLE_TOOLS]"),
    *("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>", "<extra_id_0>", "<0x0A>"),
    *("<｜begin▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>", "<think>", "</think>"),
    *("<|START_OF_TURN_TOKEN|>", "<|CHATBOT_TOKEN|>", "<fim_prefix>", "<|fim_middle|>", "<tool_call>"),
]

# (language, question with a place for a thing, things, answer with a place for it)
LANGUAGES: list[tuple[str, str, list[str], str]] = [
    ("en", "How do I clean a {}?", ["kettle", "rug", "window"], "Use warm water on the {} and let it dry."),
    ("de", "Wie reinige ich {}?", ["einen Kessel", "Teppiche", "Fenster"], "Mit warmem Wasser: {}."),
    ("fr", "Comment nettoyer {} ?", ["une bouilloire", "un tapis", "l'évier"], "Avec de l'eau : {}."),
    ("es", "¿Cómo limpio {}?", ["una tetera", "la alfombra", "el baño"], "Con agua tibia: {}."),
    ("it", "Come pulisco {}?", ["un bollitore", "il tappeto", "la città"], "Con acqua tiepida: {}."),
    ("ru", "Как почистить {}?", ["чайник", "ковёр", "окно"], "Тёплой водой: {}."),
    ("zh", "怎样清洁{}？", ["水壶", "地毯", "窗户"], "用温水清洗{}。"),
    ("ja", "{}の洗い方を教えてください。", ["やかん", "じゅうたん", "窓"], "ぬるま湯で{}を洗います。"),
    ("ar", "كيف أنظف {}؟", ["الغلاية", "السجادة", "النافذة"], "بالماء الدافئ: {}."),
    ("hi", "{} कैसे साफ करें?", ["केतली", "कालीन", "खिड़की"], "गुनगुने पानी से {} साफ करें।"),
]
CODE = [
    "def add(a, b):\n    return a + b  # no check of types\n",
    "for (let i = 0; i < n; i++) {\n\tconsole.log(`${i}: ${rows[i]}`);\n}\n",
    "SELECT name, COUNT(*) FROM users WHERE age >= 18 GROUP BY name;\n",
    "#!/bin/sh\nset -e\nfind . -name '*.tmp' -print0 | xargs -0 rm -f --\n",
]
HTML = [
    '<div class="row"><p>Price: &euro;&nbsp;5 &lt; 6</p><!-- old --></div>',
    "<table><tr><td>1</td><td>2</td></tr></table><script>alert('x')</script>",
    '<a href="https://example.org/?a=1&amp;b=2">link</a><br/>',
]
SHORT = ["Why?", "Hi", "?", "Sum 2 2", "Ok", "Translate: cat"]
TOPICS = ["rivers", "bread", "moths", "steel", "chess", "rain", "maps", "salt", "bees", "clocks"]

Row = dict[str, Any]


def rows_of(name: str) -> list[Row]:
    """The rows of a file of tests/data/."""
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]


def long_text(generator: random.Random, words: int) -> str:
    """A text of so many words, in paragraphs."""
    some = [
        generator.choice([*TOPICS, "and", "the", "of", "are", "old", "in", "many", "ways"])
        for _ in range(words)
    ]
    return "\n\n".join(" ".join(some[i : i + 80]).capitalize() + "." for i in range(0, words, 80))


def odd_pairs(generator: random.Random, mark: str) -> list[tuple[str, str]]:
    """A prompt and an answer of each odd kind; `mark` makes the prompts of one file differ from another's."""
    found = [
        (f"What does {token} mean in a text about {mark}?", f"Here {token} is plain text, as is a{token}b.")
        for token in SPECIAL
    ]
    for _, question, things, answer in LANGUAGES:
        found += [(f"{question.format(thing)} ({mark})", answer.format(thing)) for thing in things]
    found += [(f"What does this do, in {mark}?\n\n```\n{code}```", f"It runs:\n\n{code}") for code in CODE]
    found += [(f"Make this page valid for {mark}:\n{page}", page.replace("&nbsp;", " ")) for page in HTML]
    found += [(f"{text} {mark}", generator.choice(["Yes.", "No", "4", "cat"])) for text in SHORT]
    # Lengths from some tens to some 5,000 tokens, on the side of the prompt and of the answer.
    for words in (40, 120, 300, 700, 1500, 2800):
        found.append(
            (f"Sum up this for {mark}:\n\n{long_text(generator, words)}", "It is about many things.")
        )
        found.append((f"Write {words} words on {mark}.", long_text(generator, words)))
    return found


def with_junk(lines: list[bytes], junk: list[bytes], generator: random.Random) -> tuple[list[bytes], int]:
    """Lines with rows among them that nobody can use: 1% of all, and at least one."""
    count = max(1, round(JUNK * len(lines)))
    made = list(lines)
    for i in range(count):
        made.insert(generator.randrange(len(made) + 1), junk[i % len(junk)])
    return made, count


def conversations(generator: random.Random) -> list[Row]:
    """Rows of sft.jsonl that can be used, the same row twice among them."""
    found = [[("user", row["prompt"]), ("assistant", row["response"])] for row in rows_of("sft.jsonl")]
    found += [[("user", asked), ("assistant", said)] for asked, said in odd_pairs(generator, "school")]
    for topic in TOPICS:
        turns = [("user", f"Tell me of {topic}."), ("assistant", f"{topic.capitalize()} are old.")]
        turns += [("user", "How old?"), ("assistant", f"Nobody knows when {topic} began.")]
        found.append([("system", "You are a kind teacher."), *turns] if len(topic) % 2 else turns)
    found += generator.sample(found, 12)
    generator.shuffle(found)
    return [{"messages": [{"role": role, "content": text} for role, text in turns]} for turns in found]


def write_conversations(path: Path, generator: random.Random) -> dict[str, int]:
    """Write sft.jsonl."""
    rows = conversations(generator)
    lines = [json.dumps(row, ensure_ascii=False).encode() for row in rows]
    junk = [
        lines[0][: len(lines[0]) // 2],
        b'{"messages": "caf\xe9"}',
        json.dumps({"messages": [{"role": "user", "content": "Hello?"}]}).encode(),
        json.dumps(
            {"messages": [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": " "}]}
        ).encode(),
    ]
    made, count = with_junk(lines, junk, generator)
    path.write_bytes(b"\n".join(made) + b"\n")
    return {"rows": len(made), "junk": count, "distinct": len(set(lines))}


def write_instructions(path: Path, generator: random.Random) -> dict[str, int]:
    """Write alpaca.json: an input that is empty in most rows, and rows without an answer."""
    rows: list[Row] = [
        {"instruction": asked, "input": "", "output": said} for asked, said in odd_pairs(generator, "home")
    ]
    rows += [
        {"instruction": "Correct the text.", "input": f"{t} is are good.", "output": f"{t} is good."}
        for t in TOPICS
    ]
    count = max(1, round(JUNK * len(rows)))
    distinct = len(rows)
    rows += [{"instruction": "Say nothing.", "input": "", "output": ""} for _ in range(count)]
    generator.shuffle(rows)
    path.write_text(json.dumps(rows, ensure_ascii=False, indent=1), encoding="utf-8")
    return {"rows": len(rows), "junk": count, "distinct": distinct}


def write_scores(path: Path, generator: random.Random) -> dict[str, int]:
    """Write judge.csv: one row per person who rated a response."""
    rows: list[tuple[str, str, str]] = []
    for row in rows_of("judge.jsonl"):
        rows.append((row["prompt"], row["response"], f"{1 + 0.4 * row['score']:g}"))
    for asked, said in odd_pairs(generator, "work"):
        for response, score in (
            (said, 4),
            (said[: len(said) // 2] or "Hm", 2),
            (f"I do not know. {said[:9]}", 1),
        ):
            for _ in range(generator.choice((1, 1, 2, 3))):
                rows.append((asked, response, str(min(5, max(1, score + generator.choice((-1, 0, 0, 1)))))))
    generator.shuffle(rows)
    junk = [
        ("Who?", "Me.", "n/a"),
        ("Who?", "", "3"),
        ("", "Me.", "3"),
        ("Who?", "Me.", "11"),
        ("Who?", "Me."),
    ]

    def line(cells: tuple[str, ...]) -> bytes:
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerow(cells)
        return out.getvalue().encode()

    made, count = with_junk([line(row) for row in rows], [line(row) for row in junk], generator)
    path.write_bytes(b"prompt,response,score\n" + b"".join(made))
    return {"rows": len(made), "junk": count, "distinct": len({row[:2] for row in rows})}


def write_evaluation(folder: Path, generator: random.Random) -> dict[str, int]:
    """Write eval.jsonl (prompts, some twice, one of them in the labels) and pairs.jsonl."""
    asked = [row["prompt"] for row in rows_of("eval.jsonl")[:24]]
    asked += [prompt for prompt, _ in odd_pairs(generator, "travel")[1::2]]
    asked += asked[:3]
    lines = [json.dumps({"prompt": prompt}, ensure_ascii=False) for prompt in asked]
    lines.append(json.dumps({"prompt": rows_of("sft.jsonl")[0]["prompt"]}))
    (folder / "eval.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    pairs = [
        {"prompt": prompt, "chosen": said, "rejected": f"No. {said[:4]}"}
        for prompt, said in odd_pairs(generator, "sea")[::4]
    ]
    text = "\n".join(json.dumps(pair, ensure_ascii=False) for pair in pairs)
    (folder / "pairs.jsonl").write_text(text + "\n", encoding="utf-8")
    return {"rows": len(lines), "junk": 1, "distinct": len(set(asked)), "pairs": len(pairs)}


def write(folder: Path, seed: int = 0) -> dict[str, dict[str, int]]:
    """Write all files; the same seed gives the same bytes.

    Returns:
        By file: how many rows, how many of them are of no use (junk), and how many that are differ.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return {
        "sft.jsonl": write_conversations(folder / "sft.jsonl", random.Random(seed)),
        "alpaca.json": write_instructions(folder / "alpaca.json", random.Random(seed + 1)),
        "judge.csv": write_scores(folder / "judge.csv", random.Random(seed + 2)),
        "eval.jsonl": write_evaluation(folder, random.Random(seed + 3)),
    }


if __name__ == "__main__":
    for name, counts in write(Path(sys.argv[1])).items():
        print(name, ", ".join(f"{count} {what}" for what, count in counts.items()))

"""Stand-ins for what lm-eval's environment has, in a folder for PYTHONPATH: lm_eval, langdetect and nltk."""

FILES = {
    "lm_eval/__init__.py": "",
    "lm_eval/tasks/__init__.py": "",
    "lm_eval/tasks/ifeval/__init__.py": "",
    "lm_eval/tasks/ifeval/instructions_registry.py": 'INSTRUCTION_DICT = {"has:word": 1, "chance": 1}\n',
    # has:word wants a word; loose looks past asterisks. chance is as lm-eval with a missing argument.
    "lm_eval/tasks/ifeval/utils.py": """
import random


def process_results(doc, results):
    strict, loose = [], []
    for name, arguments in zip(doc["instruction_id_list"], doc["kwargs"]):
        word = arguments["word"] if name == "has:word" else random.choice(["a", "b"])
        strict.append(f" {word} " in f" {results[0]} ")
        loose.append(f" {word} " in f" {results[0].replace('*', '')} ")
    found = {"prompt_level_strict_acc": all(strict), "inst_level_strict_acc": strict}
    return found | {"prompt_level_loose_acc": all(loose), "inst_level_loose_acc": loose}
""",
    "langdetect.py": "class DetectorFactory:\n    seed = None\n",
    "nltk.py": """
import os


class data:
    def find(name):
        if not os.path.exists(os.path.join(os.environ.get("NLTK_DATA", "."), name)):
            raise LookupError(name)
""",
    **{
        f"{name}-{version}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        for name, version in (("lm_eval", "0.9"), ("langdetect", "0.8"), ("nltk", "0.7"))
    },
    "nltk_data/tokenizers/punkt_tab/english/x": "",
}


def write_packages(folder):
    """Write the stand-ins."""
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

"""The script that repeats outside the studio what was done to a data set in it: load, convert, drop, write."""

from __future__ import annotations

import json
from collections.abc import Sequence

_HEAD = '''# /// script
# requires-python = ">=3.10"
# dependencies = ["datasets>=3"]
# ///
"""{title}

Writes cleaned.jsonl: one conversation per line, as {{"messages": [{{"role": …, "content": …}}, …]}}.
"""

import json

from datasets import load_dataset

'''

_LOADERS = {
    "json": 'rows = load_dataset("json", data_files={file}, split="train")',
    "csv": 'rows = load_dataset("csv", data_files={file}, split="train", keep_default_na=False)',
    "parquet": 'rows = load_dataset("parquet", data_files={file}, split="train")',
    "text": 'rows = load_dataset("text", data_files={file}, split="train")',
    "hub": "# The first thousand rows; all of them without .take\n"
    "rows = load_dataset({file}, streaming=True).take(1000)",
}

_ROLES = '{"human": "user", "prompter": "user", "gpt": "assistant", "chatgpt": "assistant", "observation": "tool"}'

_CONVERT = {
    "messages": """
def to_messages(row):
    turns = next(row[name] for name in ("messages", "conversation", "conversations") if row.get(name))
    turns = json.loads(turns) if isinstance(turns, str) else turns
    # Tables give every turn every key; those without a value were not written by anybody.
    return [{key: value for key, value in turn.items() if value is not None} for turn in turns]
""",
    "sharegpt": f"""
ROLES = {_ROLES}


def to_messages(row):
    turns = row.get("conversations") or row.get("messages")
    turns = json.loads(turns) if isinstance(turns, str) else turns
    return [{{"role": ROLES.get(turn["from"], turn["from"]), "content": turn["value"]}} for turn in turns]
""",
    "alpaca": """
def to_messages(row):
    context = (row.get("input") or "").strip()
    question = row["instruction"] + ("\\n\\n" + row["input"] if context and context != "<noinput>" else "")
    return ask(question, row["output"], row.get("system"))
""",
    "dolly": """
def to_messages(row):
    context = row.get("context") or ""
    question = row["instruction"] + ("\\n\\n" + context if context.strip() else "")
    return ask(question, row["response"], row.get("system"))
""",
    "prompt-completion": """
def to_messages(row):
    question = next(row[name] for name in ("prompt", "question", "query", "user", "human", "input") if name in row)
    answers = ("completion", "response", "answer", "output", "assistant")
    answer = next(row[name] for name in answers if name in row)
    return ask(question, answer, row.get("system_prompt") or row.get("system"))
""",
    "inputs-targets": """
def to_messages(row):
    question = next(row[name] for name in ("inputs_pretokenized", "inputs", "input", "source") if name in row)
    return ask(question, next(row[name] for name in ("targets_pretokenized", "targets", "target") if name in row))
""",
    "conversations-list": """
def to_messages(row):
    turns = next(row[name] for name in ("conversations", "conversation", "data", "dialog", "turns") if row.get(name))
    if isinstance(turns[0], dict):
        turns = [text for turn in turns for text in (turn["input"], turn["output"])]
    return [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(turns)]
""",
    "preference": """
def to_messages(row):
    chosen = row["chosen"]
    if isinstance(chosen, str):
        parts = re.split(r"\\n\\n(Human|Assistant): ", chosen)
        roles = {"Human": "user", "Assistant": "assistant"}
        said = zip(parts[1::2], parts[2::2])
        flat = [{"role": roles[who], "content": text.strip()} for who, text in said]
        return flat or ask(row["prompt"], chosen)
    prompt = row.get("prompt")
    if chosen[0]["role"] in ("user", "system") or not prompt:
        return chosen
    return (prompt if isinstance(prompt, list) else [{"role": "user", "content": prompt}]) + chosen
""",
    "text": """
def to_messages(row):
    parts = re.split(r"### (Human|Assistant): ?", row["text"])
    roles = {"Human": "user", "Assistant": "assistant"}
    turns = [{"role": roles[who], "content": text.strip()} for who, text in zip(parts[1::2], parts[2::2])]
    return turns or [{"role": "assistant", "content": row["text"]}]
""",
}
_ASK = """
def ask(question, answer, system=None):
    asked = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return [{"role": "system", "content": system}] * bool(system) + asked

"""
_WRITE = """
kept = 0
with open("cleaned.jsonl", "w", encoding="utf-8") as file:
    for number, row in enumerate(rows, start=1):
        if number not in DROP:
            messages = to_messages({name.strip().lower(): value for name, value in row.items()})
            file.write(json.dumps({"messages": messages}, ensure_ascii=False) + "\\n")
            kept += 1
print(kept, "conversations in cleaned.jsonl")
"""
_LOAD_CLEANED = """# Loads the conversations that were saved from the studio; trl.SFTTrainer takes `dataset` as it is.
dataset = load_dataset("json", data_files="cleaned.jsonl", split="train")
print(dataset)
print(json.dumps(dataset[0]["messages"], ensure_ascii=False, indent=2))
"""


def cleaning_script(title: str, format: str, origin: str, file: str, dropped: Sequence[int]) -> str:
    """A script that runs by itself, with `uv run` or where `datasets` is installed.

    origin:  json, csv, parquet, text or hub
    file:    the name of the file beside the script; of the Hub, the arguments of load_dataset as Python writes them
    dropped: rows of the source, from 1, that are left out

    A tree of messages and a file of no known format have no short conversion: for them, and for files whose rows
    `datasets` counts otherwise, the script loads the saved conversations.
    """
    head = _HEAD.format(title=" ".join(title.replace("\\", " ").replace('"""', "'''").split()) or "A data set")
    if format not in _CONVERT or origin not in _LOADERS:
        return head.replace("Writes", "Reads") + _LOAD_CLEANED
    convert = _CONVERT[format].lstrip("\n")
    ask = _ASK.lstrip("\n") + "\n" if "ask(" in convert else ""
    if "re.split" in convert:
        head = head.replace("import json\n", "import json\nimport re\n", 1)
    numbers = ranges(dropped)
    drop = f"DROP = {numbers}\n" if dropped else "DROP = set()\n"
    load = _LOADERS[origin].format(file=file if origin == "hub" else json.dumps(file, ensure_ascii=False))
    why = "# Rows to leave out, counted from 1, as the studio's checks found them.\n"
    return f"{head}{load}\n{why}{drop}\n\n{ask}{convert}\n{_WRITE}"


def ranges(numbers: Sequence[int], width: int = 100) -> str:
    """A Python expression for a set of numbers, runs written as ranges, in lines of about `width` characters."""
    parts: list[str] = []
    ordered = sorted(set(numbers))
    start = 0
    for place, number in enumerate(ordered):
        if place + 1 == len(ordered) or ordered[place + 1] != number + 1:
            first = ordered[start]
            parts.append(str(first) if place - start < 2 and first == number else f"*range({first}, {number + 1})")
            start = place + 1
    lines, line = [], ""
    for part in parts:
        if len(line) + len(part) > width:
            lines.append(line.rstrip())
            line = ""
        line += f"{part}, "
    body = "\n    ".join([*lines, line.rstrip()])
    return f"{{\n    {body}\n}}" if len(lines) else f"{{{body.rstrip(',')}}}"

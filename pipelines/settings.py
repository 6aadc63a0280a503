"""What a person decides when starting the studio: command line options, each with an environment variable."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

DEVICES = ("auto", "cpu", "cuda", "mps")
_UNITS = {"": 1, "B": 1, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "KB": 10**3, "MB": 10**6, "GB": 10**9}
_TRUE, _FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off", ""}


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of the command line. `memory_budget`: bytes; None is a share of the machine's memory.

    auth: names and passwords, one of which opens the studio; empty leaves it open
    """

    host: str = "127.0.0.1"
    port: int = 7860
    pair: str = "pocket"
    device: str = "auto"
    memory_budget: int | None = None
    runs_dir: Path = Path("runs")
    endpoint: str = ""
    models_dir: Path | None = None
    data_dir: Path | None = None
    allow_any_model: bool = False
    share: bool = False
    present: bool = False
    public: bool = False
    auth: tuple[tuple[str, str], ...] = ()


def parse_bytes(text: str) -> int:
    """'12GiB' → 12884901888. A bare number is bytes. Raises ValueError for anything else, or for zero."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", text)
    if not match or match[2].upper() not in _UNITS or float(match[1]) == 0:
        raise ValueError(f"'{text}' is not a size; write for example 12GiB or 500MiB")
    return int(float(match[1]) * _UNITS[match[2].upper()])


def parse_settings(argv: Sequence[str], environ: Mapping[str, str]) -> Settings:
    """Settings from the command line, else from `STUDIO_…`, else the defaults.

    A wrong value ends the process with one line on standard error and exit status 2.
    """
    parser = _parser()
    # A Space is reached from outside of its container, or not at all, and then by anybody.
    defaults: dict[str, object] = {"host": "0.0.0.0", "public": True} if environ.get("SPACE_ID") else {}
    for field in fields(Settings):
        given = environ.get(f"STUDIO_{field.name.upper()}")
        if given is not None:
            try:
                defaults[field.name] = _CONVERT[field.name](given)
            except ValueError as error:
                parser.error(f"STUDIO_{field.name.upper()}: {error}")
    return Settings(**defaults | vars(parser.parse_args(argv)))  # type: ignore[arg-type]


class _OneLineParser(argparse.ArgumentParser):
    """argparse prints the whole usage before an error; a person who mistyped one value needs the one line."""

    def error(self, message: str) -> None:  # type: ignore[override]
        self.exit(2, f"studio.py: {message} (python studio.py --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _OneLineParser(
        prog="studio.py",
        description="The fine-tuning studio.",
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    for name, (metavar, help_text) in _OPTIONS.items():
        flag = "--" + name.replace("_", "-")
        help_text = f"{help_text} [STUDIO_{name.upper()}]"
        if metavar is None:
            parser.add_argument(flag, dest=name, action="store_true", help=help_text)
        else:
            parser.add_argument(flag, dest=name, metavar=metavar, type=_type(name), help=help_text)
    return parser


def _type(name: str):  # type: ignore[no-untyped-def]
    """argparse hides a ValueError's text but shows an ArgumentTypeError's."""

    def convert(text: str) -> object:
        try:
            return _CONVERT[name](text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert


def _port(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        raise ValueError(f"'{text}' is not a port; use a number from 1 to 65535")
    return int(text)


def _device(text: str) -> str:
    if text not in DEVICES:
        raise ValueError(f"'{text}' is not a device; use one of {', '.join(DEVICES)}")
    return text


def _directory(text: str) -> Path:
    path = Path(text).expanduser()
    if not path.is_dir():
        raise ValueError(f"'{text}' is not a directory that can be read")
    return path


def _runs_dir(text: str) -> Path:
    path = Path(text).expanduser()
    if path.exists() and not path.is_dir():
        raise ValueError(f"'{text}' is a file; name a directory")
    return path


def _url(text: str) -> str:
    if not re.fullmatch(r"https?://[^\s/]+(/\S*)?", text):
        raise ValueError(f"'{text}' is not a URL; write for example http://127.0.0.1:8000/v1")
    return text.rstrip("/")


def _boolean(text: str) -> bool:
    lowered = text.strip().lower()
    if lowered not in _TRUE | _FALSE:
        raise ValueError(f"'{text}' is neither true nor false")
    return lowered in _TRUE


def _auth(text: str) -> tuple[tuple[str, str], ...]:
    """`NAME:PASSWORD`, or the path of a file with such lines. No message repeats what might be a password."""
    if not text.strip():
        return ()
    path = Path(text).expanduser()
    try:
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else [text]
    except OSError as error:
        raise ValueError(f"the file cannot be read ({(error.strerror or 'unreadable').lower()})") from None
    pairs = [line.strip().partition(":") for line in lines if line.strip()]
    if not pairs or not all(name and password for name, _, password in pairs):
        raise ValueError("write NAME:PASSWORD, or name a file with such lines")
    return tuple((name, password) for name, _, password in pairs)


def _text(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty")
    return text.strip()


_CONVERT = {
    "host": _text,
    "port": _port,
    "pair": _text,
    "device": _device,
    "memory_budget": parse_bytes,
    "runs_dir": _runs_dir,
    "endpoint": _url,
    "models_dir": _directory,
    "data_dir": _directory,
    "allow_any_model": _boolean,
    "share": _boolean,
    "present": _boolean,
    "public": _boolean,
    "auth": _auth,
}

_OPTIONS: dict[str, tuple[str | None, str]] = {
    "host": ("ADDRESS", "address to listen on; 0.0.0.0 lets the room in"),
    "port": ("PORT", "port to listen on"),
    "pair": (
        "PAIR",
        "base/instruct pair: a key of the catalogue (pocket, smollm2-135m, …) or BASE,INSTRUCT; @nf4, @int8 quantize",
    ),
    "device": ("DEVICE", "auto, cpu, cuda or mps"),
    "memory_budget": ("SIZE", "bytes that loaded models may take, for example 12GiB"),
    "runs_dir": ("DIR", "where fine-tuning runs are kept"),
    "endpoint": ("URL", "an OpenAI-compatible server that answers instead of local models"),
    "models_dir": ("DIR", "directory whose sub-directories are offered as models"),
    "data_dir": ("DIR", "directory whose files are offered as data sets"),
    "allow_any_model": (None, "let visitors name any Hub id"),
    "share": (None, "open a public Gradio link"),
    "present": (None, "open in the lesson, for a projector"),
    "public": (None, "for a link that anybody may open: strict limits, and each visitor's runs listed for them alone"),
    "auth": ("NAME:PASSWORD", "ask for a name and a password; or the path of a file with such lines"),
}

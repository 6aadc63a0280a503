"""Exact and near duplicates among many rows, in memory that grows by half a kilobyte a row.

Exact: a digest of roles and words, without regard to case and spacing. Near: MinHash over word pairs with
banding (Broder 1997; Leskovec, Rajaraman, Ullman, Mining of Massive Datasets, 3.4). With 20 bands of 6 rows a
pair of similarity 0.75 is found with probability 0.98, one of 0.5 is looked at with probability 0.27 and then
rejected; the similarity itself is estimated from 120 hashes (standard error 0.04). Each row is compared
with the first of its band and with the one before it, so a chain of ever new versions is followed link by link.

Done here in numpy: the libraries for it hash a row at a time in Python (100,000 rows take minutes), or bring a
dependency larger than the studio's own code.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

from pipelines.messages import Message

if TYPE_CHECKING:
    import numpy

THRESHOLD = 0.75
# Shorter texts share pairs by grammar alone ("what is", "is the").
FEWEST_WORDS = 10
_BANDS, _IN_BAND = 20, 6
_HASHES = _BANDS * _IN_BAND
# Scripts without spaces: each character is a word.
_WORDS = re.compile(r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|\w+")
_MOST_WORDS = 4_000
_BATCH_SHINGLES = 1 << 16


@dataclass(frozen=True, slots=True)
class NearDuplicate:
    """Row `row` (position of adding) is about `similarity` the same as the earlier row `of`."""

    row: int
    of: int
    similarity: float


class Duplicates:
    """Fed conversation by conversation; exact ones are told at once, near ones by `near` at the end."""

    def __init__(self) -> None:
        self._first: dict[bytes, int] = {}
        self._same_words: dict[bytes, int] = {}
        self._repeated: list[NearDuplicate] = []
        self._rows: list[int] = []
        self._signatures: list[numpy.ndarray] = []
        self._waiting: list[numpy.ndarray] = []
        self._waiting_rows: list[int] = []
        self._shingles = 0
        self._word_hash = _Hashes()

    def add(self, row: int, messages: Sequence[Message]) -> int | None:
        """The earlier row that says exactly the same, or None. An exact duplicate is not looked at for near ones."""
        said = "\n".join(f"{message.role}:{message.content}" for message in messages).casefold()
        words = _WORDS.findall(said)
        earlier = self._first.setdefault(_digest(said.split()), row)
        if earlier != row:
            return earlier
        earlier = self._same_words.setdefault(_digest(words), row)
        if earlier != row:
            self._repeated.append(NearDuplicate(row, earlier, 1.0))
        elif len(words) >= FEWEST_WORDS + len(messages):
            self._wait(row, words[:_MOST_WORDS])
        return None

    def near(self, threshold: float = THRESHOLD) -> list[NearDuplicate]:
        """Every row that is nearly an earlier one, in row order, with the earliest found.

        A row with the same words and other punctuation is one, however short.
        """
        import numpy

        self._sign()
        if not self._signatures:
            return list(self._repeated)
        signatures = numpy.concatenate(self._signatures)
        rows = numpy.asarray(self._rows)
        best: dict[int, tuple[int, float]] = {}
        multipliers = numpy.random.default_rng(1).integers(1, 2**63, _IN_BAND, dtype=numpy.uint64) | numpy.uint64(1)
        for band in range(_BANDS):
            part = signatures[:, band * _IN_BAND : (band + 1) * _IN_BAND].astype(numpy.uint64)
            keys = (part * multipliers).sum(axis=1)
            order = numpy.argsort(keys, kind="stable")
            ordered = keys[order]
            starts = numpy.flatnonzero(numpy.r_[True, ordered[1:] != ordered[:-1]])
            first: numpy.ndarray = numpy.repeat(order[starts], numpy.diff(numpy.r_[starts, len(order)]))
            before = numpy.r_[order[:1], order[:-1]]
            before = numpy.where(first == order, first, before)
            for others in (first, before):
                pairs = others != order
                later, earlier = order[pairs], others[pairs]
                for start in range(0, len(later), 65_536):
                    some, with_ = later[start : start + 65_536], earlier[start : start + 65_536]
                    same = (signatures[some] == signatures[with_]).mean(axis=1)
                    for position in numpy.flatnonzero(same >= threshold):
                        row, of = int(some[position]), int(with_[position])
                        if row not in best or of < best[row][0]:
                            best[row] = (of, float(same[position]))
        found = [NearDuplicate(int(rows[row]), int(rows[of]), similarity) for row, (of, similarity) in best.items()]
        return sorted([*self._repeated, *found], key=lambda near: near.row)

    def _wait(self, row: int, words: list[str]) -> None:
        import numpy

        known = self._word_hash
        if len(known) > 500_000:
            known.clear()
        hashes = numpy.fromiter(map(known.__getitem__, words), numpy.uint64, len(words))
        self._waiting.append(numpy.unique(_pairs(hashes)))
        self._waiting_rows.append(row)
        self._shingles += len(self._waiting[-1])
        if self._shingles >= _BATCH_SHINGLES:
            self._sign()

    def _sign(self) -> None:
        """MinHash of the waiting rows together: for each hash function, the least value over a row's shingles."""
        import numpy

        if not self._waiting:
            return
        factors, offsets = _hash_functions()
        lengths = numpy.asarray([len(shingles) for shingles in self._waiting])
        starts = numpy.r_[0, numpy.cumsum(lengths)[:-1]]
        shingles = numpy.concatenate(self._waiting)
        signatures: numpy.ndarray = numpy.empty((len(lengths), _HASHES), numpy.uint32)
        for position in range(_HASHES):
            hashed = ((shingles * factors[position] + offsets[position]) >> numpy.uint64(32)).astype(numpy.uint32)
            signatures[:, position] = numpy.minimum.reduceat(hashed, starts)
        self._signatures.append(signatures)
        self._rows += self._waiting_rows
        self._waiting, self._waiting_rows, self._shingles = [], [], 0


def _digest(words: list[str]) -> bytes:
    return blake2b(" ".join(words).encode("utf-8", "replace"), digest_size=16).digest()


class _Hashes(dict[str, int]):
    """32 bits per word, computed once: Python's own hash differs between processes."""

    def __missing__(self, word: str) -> int:
        value = self[word] = zlib.crc32(word.encode("utf-8", "replace"))
        return value


def _pairs(hashes: numpy.ndarray) -> numpy.ndarray:
    """One 64-bit number per two consecutive words, well mixed (the finaliser of splitmix64)."""
    import numpy

    first, second = numpy.uint64(0xBF58476D1CE4E5B9), numpy.uint64(0x94D049BB133111EB)
    mixed = hashes[:-1] * numpy.uint64(0x9E3779B97F4A7C15) + hashes[1:]
    mixed = (mixed ^ (mixed >> numpy.uint64(30))) * first
    mixed = (mixed ^ (mixed >> numpy.uint64(27))) * second
    return mixed ^ (mixed >> numpy.uint64(31))


def _hash_functions() -> tuple[numpy.ndarray, numpy.ndarray]:
    """Multiply-shift hashing (Dietzfelbinger et al. 1997): odd factors and offsets, modulo 2^64."""
    import numpy

    draw = numpy.random.default_rng(20_26)
    factors = draw.integers(0, 2**63, _HASHES, dtype=numpy.uint64) * numpy.uint64(2) + numpy.uint64(1)
    return factors, draw.integers(0, 2**63, _HASHES, dtype=numpy.uint64)

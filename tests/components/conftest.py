"""A studio on the tiny pair, for handlers and endpoints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from components.context import Studio


@pytest.fixture(scope="session")
def tiny_studio(tiny_folders: Any) -> Iterator[Studio]:
    """One studio for the whole session: its models are loaded once."""
    studio = Studio.of(tiny_folders.settings)
    yield studio
    studio.close()

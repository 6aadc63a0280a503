"""A studio on the tiny pair, for handlers and endpoints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from gradio_client import Client

from components import app
from components.context import Studio


@pytest.fixture(scope="session")
def tiny_studio(tiny_folders: Any) -> Iterator[Studio]:
    """One studio for the whole session: its models are loaded once."""
    studio = Studio.of(tiny_folders.settings)
    yield studio
    studio.close()


@pytest.fixture(scope="session")
def client(tiny_studio: Studio) -> Iterator[Client]:
    """A client of that studio, served."""
    page = app.build(tiny_studio)
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, show_error=True)
    yield Client(url, verbose=False)
    page.close()

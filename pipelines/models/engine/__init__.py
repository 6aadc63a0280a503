"""The engine: many people's requests in the same passes. `Lease.ask` is the way in."""

from pipelines.models.engine.engine import Engine
from pipelines.models.engine.request import Request, Ticket, Token

__all__ = ["Engine", "Request", "Ticket", "Token"]

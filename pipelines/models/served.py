"""The models of an endpoint as specs: the running pair, which is asked there, and whatever else the server lists."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pipelines.errors import InputError
from pipelines.models.spec import ModelSpec, Pair
from pipelines.remote import Listed, Server


def at_endpoint(name: str) -> ModelSpec:
    """A model that is known by nothing but the name under which a server lists it."""
    shown = _shown(name)
    title = shown.rpartition("/")[2]
    family = title.split("-")[0].lower()
    return ModelSpec(shown, title, "model", family, 0, shown, "as its model card says", served=name)


def others(server: Server, pair: Pair, known: Mapping[str, ModelSpec]) -> dict[str, ModelSpec]:
    """What the server lists beside the pair, by key; nothing while it cannot be asked.

    known: models and adapters that this studio has facts about, whether or not their weights are on this machine
    """
    try:
        listed = server.listed()
    except InputError:
        return {}
    own = {name: spec for spec in (pair.base, pair.instruct) if (name := _name_of(server, spec))}
    facts = {name: spec for spec in known.values() for name in (spec.key, spec.source)}
    found: dict[str, ModelSpec] = {}
    for each in listed:
        if each.name not in own:
            spec = _spec(each, own, facts.get(each.name))
            found.setdefault(spec.key, spec)
    return found


def _spec(listed: Listed, own: Mapping[str, ModelSpec], known: ModelSpec | None) -> ModelSpec:
    if known is not None:
        # An adapter's folder may be here too; there it needs no weights of this machine.
        return replace(known, served=listed.name, adapter=None)
    spec = at_endpoint(listed.name)
    base = own.get(listed.parent)
    return spec if base is None else replace(spec, role="adapter", family=base.family, base=base)


def _name_of(server: Server, spec: ModelSpec) -> str:
    try:
        return server.name_of(spec.served)
    except InputError:
        return ""


def _shown(name: str) -> str:
    """Where the models of a server lie is nobody's business; its last part says enough."""
    return name.rstrip("/").rpartition("/")[2] if name.startswith("/") else name

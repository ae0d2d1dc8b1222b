"""Reads every DeviceProfile by the DeviceModels and writes what came of it into both statuses.

A reading depends on the profile's immutable spec and on all DeviceModels together, so it is computed once per profile
and set of models, whatever asks for it. A profile whose name is not the hash of its content is deleted: agents on
other nodes would take it for something that they saw.

Who calls what: :func:`reconcile_profile` when a profile came, changed or went, and for every profile when a DeviceModel
did; :func:`reconcile_model` for every DeviceModel when one of them came, changed or went.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache

import structlog

from mdev_api.hashing import profile_name
from mdev_api.kinds.common import dump
from mdev_api.kinds.device_model import DeviceModel, DeviceModelStatus
from mdev_api.kinds.device_profile import DeviceProfile, DeviceProfileSpec, DeviceProfileStatus
from mdev_api.kube.client import ApiError
from mdev_api.kube.requests import Request, apply_status, delete, get
from mdev_api.kube.resources import DEVICE_MODELS, DEVICE_PROFILES
from mdev_api.reading import CompiledModel, Reading, compile_models, read_profile
from mdev_operator.context import FIELD_MANAGER, Context
from mdev_operator.migration.status import with_condition
from mdev_operator.profiles.suspects import is_suspect, seconds_left, with_suspicion

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class _ModelSet:
    """All DeviceModels, equal when no spec changed."""

    versions: tuple[tuple[str, int], ...]
    models: tuple[DeviceModel, ...] = field(compare=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Seen:
    """A profile's spec, which never changes while the uid is the same."""

    uid: str
    spec: DeviceProfileSpec = field(compare=False)


async def reconcile_profile(ctx: Context, name: str) -> None:
    """Write the reading of one profile, or delete a profile that has a wrong name."""
    view = ctx.inventory.profiles.get(name)
    if view is None:
        _settle(ctx, name)
        _recount(ctx)
        return
    profile = view.profile
    if profile_name(dump(profile.spec)) != name and await _deleted_as_misnamed(ctx, name):
        return
    now = datetime.now(UTC)
    if is_suspect(profile) and (left := seconds_left(profile, now)) > 0:
        _settle(ctx, name)
        ctx.queue.add_after(f"profile/{name}", left)
    status = profile_status(profile, _read(_model_set(ctx.inventory.models), profile), now)
    status = with_suspicion(profile, status, ctx.evidence.of(name), now)
    if profile.status is not None and dump(profile.status) == dump(status):
        return
    await _send(ctx, apply_status(DEVICE_PROFILES, name, dump(status), FIELD_MANAGER))
    log.info("read a profile", profile=name, model=status.model, origin=status.origin)
    _recount(ctx)


async def reconcile_model(ctx: Context, name: str) -> None:
    """Write whether one DeviceModel can be used, and how many profiles are of its model by it."""
    model = ctx.inventory.models.get(name)
    if model is None:
        return
    models = _model_set(ctx.inventory.models)
    compiled = next(c for c in _compiled(models) if c.name == name)
    readings = (_read(models, view.profile) for view in ctx.inventory.profiles.values())
    matched = sum(reading.matched_by == name for reading in readings)
    status = model_status(model, compiled, matched, datetime.now(UTC))
    if dump(model.status) == dump(status):
        return
    await _send(ctx, apply_status(DEVICE_MODELS, name, dump(status), FIELD_MANAGER))
    if compiled.problem is not None:
        log.warning("a DeviceModel cannot be used", model=name, reason=compiled.problem.message)


def profile_status(profile: DeviceProfile, reading: Reading, now: datetime) -> DeviceProfileStatus:
    """What the status is to be; conditions of other kinds stay as they are."""
    conditions = with_condition(
        profile.status.conditions if profile.status is not None else (),
        "Resolved",
        reading.resolved,
        reading.reason,
        reading.message,
        generation=profile.metadata.generation,
        now=now,
    )
    return DeviceProfileStatus(
        model=reading.model,
        parameters=reading.parameters,
        origin=reading.origin,
        write_strategy=reading.write_strategy,
        schema_error=reading.schema_error,
        conditions=conditions,
    )


def model_status(model: DeviceModel, compiled: CompiledModel, matched: int, now: datetime) -> DeviceModelStatus:
    """What the status is to be. ``matched``: profiles that are of this model by this object."""
    problem = compiled.problem
    conditions = with_condition(
        model.status.conditions,
        "Valid",
        problem is None,
        problem.reason if problem else "Usable",
        problem.message if problem else "every expression compiles and every literal is of its type",
        generation=model.metadata.generation,
        now=now,
    )
    return DeviceModelStatus(conditions=conditions, matched_profiles=matched)


def _model_set(models: Mapping[str, DeviceModel]) -> _ModelSet:
    ordered = tuple(models[name] for name in sorted(models))
    return _ModelSet(versions=tuple((m.metadata.uid, m.metadata.generation) for m in ordered), models=ordered)


@lru_cache(maxsize=2)
def _compiled(models: _ModelSet) -> tuple[CompiledModel, ...]:
    return compile_models(models.models)


@lru_cache(maxsize=4096)
def _reading(models: _ModelSet, seen: _Seen) -> Reading:
    return read_profile(seen.spec, _compiled(models))


def _read(models: _ModelSet, profile: DeviceProfile) -> Reading:
    return _reading(models, _Seen(uid=profile.metadata.uid, spec=profile.spec))


def _settle(ctx: Context, name: str) -> None:
    """What speaks against the profile is told, or need not be: entries that waited for that may go."""
    for node in ctx.evidence.settle(name):
        ctx.queue.add(f"collect/{node}")


def _recount(ctx: Context) -> None:
    for model in ctx.inventory.models:
        ctx.queue.add(f"model/{model}")


async def _deleted_as_misnamed(ctx: Context, name: str) -> bool:
    """Whether the profile is gone. Its content is taken as the API server stores it, not as this program parsed it."""
    try:
        stored = await ctx.send(get(DEVICE_PROFILES, name))
    except ApiError as error:
        if error.not_found:
            return True
        raise
    right = profile_name(stored["spec"])
    if right == name:
        return False
    await _send(ctx, delete(DEVICE_PROFILES, name, uid=stored["metadata"]["uid"]))
    log.warning("deleted a profile whose name is not the hash of its content", profile=name, hash=right)
    return True


async def _send(ctx: Context, request: Request) -> None:
    """Send a write. An object that is gone, or is another by now, brings us back by its own event."""
    try:
        await ctx.send(request)
    except ApiError as error:
        if not (error.not_found or error.conflict):
            raise

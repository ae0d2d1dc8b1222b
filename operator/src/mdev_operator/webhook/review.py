"""AdmissionReview (admission.k8s.io/v1): what the API server asks, and the answers it understands."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MOST_MESSAGE = 2048
"""Characters of a refusal: it ends up in an Event of whoever created the object, and those take 1,024 or cut."""


class BadReviewError(ValueError):
    """What came is no AdmissionReview of a creation."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Review:
    """One object that is about to be created."""

    uid: str
    namespace: str
    object: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """``refusal``: why the object may not be created; else ``patch`` (JSON patch, may be empty) is applied to it.

    ``warnings`` are shown to whoever creates it.
    """

    refusal: str | None = None
    patch: Sequence[Mapping[str, Any]] = ()
    warnings: Sequence[str] = ()


ALLOWED = Verdict()
"""Let through as it is."""


def read_review(body: bytes) -> Review:
    """The question; raises BadReviewError for anything else than the creation of an object."""
    try:
        review = json.loads(body)
        request = review["request"]
        uid, created = request["uid"], request["object"]
    except (ValueError, KeyError, TypeError) as error:
        raise BadReviewError(f"not an AdmissionReview with a uid and an object: {error!r}") from error
    if not isinstance(uid, str) or not isinstance(created, dict):
        raise BadReviewError("not an AdmissionReview of a creation: request.object is no object")
    return Review(uid=uid, namespace=str(request.get("namespace") or ""), object=created)


def answer(uid: str, verdict: Verdict) -> dict[str, Any]:
    """The AdmissionReview to send back."""
    response: dict[str, Any] = {"uid": uid, "allowed": verdict.refusal is None}
    if verdict.refusal is not None:
        response["status"] = {"code": 422, "reason": "Invalid", "message": verdict.refusal[:MOST_MESSAGE]}
    elif verdict.patch:
        response["patchType"] = "JSONPatch"
        response["patch"] = base64.b64encode(json.dumps(list(verdict.patch)).encode()).decode()
    if verdict.warnings:
        response["warnings"] = list(verdict.warnings)
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}

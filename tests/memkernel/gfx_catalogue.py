"""What the sample driver gfx offers: types, parameters, and what these may be (tests/kernel/driver/README.md)."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tests.memkernel.kstrto import fault

GPU_MODEL = "com.gfx/GPU"
NIC_MODEL = "vendor-a.com/my-nic"
_LARGEST = 2**32 - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Parameter:
    """One parameter of a type. Values are numbers: of a bool and a str the index of the word.

    ``allowed``: inclusive spans. ``runtime`` None: the driver does not say whether an open device takes it.
    """

    name: str
    type: str
    init: int
    allowed: tuple[tuple[int, int], ...]
    words: tuple[str, ...] = ()
    off: int | None = None
    runtime: bool | None = None
    description: str

    def text(self, value: int) -> str:
        """Canonical text."""
        return self.words[value] if self.words else str(value)

    def allowed_text(self) -> str:
        """The text of ``allowed_values``."""
        separator = "\n" if self.type == "str" else " "
        return separator.join(
            self.text(low) if low == high else f"{self.text(low)}-{self.text(high)}" for low, high in self.allowed
        )

    def parse(self, data: bytes) -> int:
        """Text without its newline to an allowed value, or EINVAL. A NUL is as wrong as any other byte."""
        value = self._words_or_digits(data)
        if value is None or not any(low <= value <= high for low, high in self.allowed):
            raise fault(errno.EINVAL)
        return value

    def other(self, value: int) -> int:
        """The first allowed value that is not this one; this one if there is no other."""
        for low, high in self.allowed:
            for candidate in (low, low + 1):
                if candidate != value and candidate <= high:
                    return candidate
        return value

    def _words_or_digits(self, data: bytes) -> int | None:
        if self.words:
            return next((n for n, word in enumerate(self.words) if word.encode() == data), None)
        if not data.isdigit():
            return None
        digits = data.lstrip(b"0") or b"0"
        return int(digits) if len(digits) <= 10 and int(digits) <= _LARGEST else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    """What a type makes. A GPU lives from the pool of its parent, and its first parameter is ``memory``."""

    name: str
    pretty: str
    description: str
    model: str
    parameters: tuple[Parameter, ...]

    @property
    def is_gpu(self) -> bool:
        """Does it take from the pool?"""
        return self.model == GPU_MODEL


def _memory(init: int, *allowed: int) -> Parameter:
    return Parameter(
        name="memory",
        type="int",
        init=init,
        allowed=tuple((value, value) for value in allowed),
        description="graphics memory in MB",
    )


def _gpu(name: str, pretty: str, description: str, memory: Parameter) -> Model:
    return Model(name=name, pretty=pretty, description=description, model=GPU_MODEL, parameters=(memory,))


NIC = Model(
    name="nic",
    pretty="Network interface",
    description="network, 1 to 64 queues",
    model=NIC_MODEL,
    parameters=(
        Parameter(
            name="new-feature",
            type="bool",
            init=1,
            allowed=((0, 0), (1, 1)),
            words=("off", "on"),
            off=0,
            runtime=False,
            description="offload that older cards lack",
        ),
        Parameter(
            name="num-queues", type="int", init=4, allowed=((1, 64),), runtime=False, description="receive queues"
        ),
        Parameter(
            name="rx-mode",
            type="str",
            init=0,
            allowed=((0, 0), (1, 1), (2, 2)),
            words=("normal", "all multicast", "promiscuous"),
            runtime=False,
            description="receive filter",
        ),
        Parameter(
            name="rx-limit",
            type="int",
            init=0,
            allowed=((0, 0), (100, 10000)),
            off=0,
            runtime=True,
            description="receive limit in Mbit/s, 0 is none",
        ),
    ),
)
MODELS = (
    _gpu("4GB", "GPU with 4 GB", "graphics, 4096 MB fixed", _memory(4096, 4096)),
    _gpu("8GB", "GPU with 8 GB", "graphics, 8192 MB fixed", _memory(8192, 8192)),
    _gpu("varGB", "GPU with variable memory", "graphics, 1024 to 8192 MB", _memory(1024, 1024, 2048, 4096, 8192)),
    NIC,
)
PARAMETERS = tuple(dict.fromkeys(parameter.name for model in MODELS for parameter in model.parameters))


def narrowed(
    types: Sequence[str] | None, memory_allowed: Sequence[int] | None, rx_limit_max: int = 10000
) -> tuple[Model, ...]:
    """Module parameters applied; EINVAL for a value that cannot be, or if nothing is left."""
    known = {model.name for model in MODELS}
    if types is not None and not set(types) <= known:
        raise fault(errno.EINVAL)
    offered = [model for model in MODELS if types is None or model.name in types]
    if memory_allowed is not None:
        offered = [_limited(model, memory_allowed) if model.is_gpu else model for model in offered]
        offered = [m for m in offered if not m.is_gpu or m.parameters[0].init in memory_allowed]
    if not 100 <= rx_limit_max <= 10000:
        raise fault(errno.EINVAL)
    offered = [model if model.is_gpu else _slower(model, rx_limit_max) for model in offered]
    if not offered:
        raise fault(errno.EINVAL)
    return tuple(offered)


def _limited(model: Model, memory_allowed: Sequence[int]) -> Model:
    memory = model.parameters[0]
    allowed = tuple(span for span in memory.allowed if span[0] in memory_allowed)
    return replace(model, parameters=(replace(memory, allowed=allowed),))


def _slower(model: Model, rx_limit_max: int) -> Model:
    *others, limit = model.parameters
    return replace(model, parameters=(*others, replace(limit, allowed=((0, 0), (100, rx_limit_max)))))

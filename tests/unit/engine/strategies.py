"""Sources and metadata from a small universe, so that equal names, values and types meet often."""

from __future__ import annotations

from hypothesis import strategies as st

from mdev_api.engine.metadata import Allowed, Metadata, Parameter, Source, SourceParameter, ValueType
from mdev_api.values import allows

NAMES = ("a", "b", "c")
VALUES = {
    ValueType.BOOL: ("on", "off"),
    ValueType.INT: ("0", "1", "2", "3", "10"),
    ValueType.STR: ("", "x", "y", "0", "on"),
}


def allowed_values(value_type: ValueType) -> st.SearchStrategy[Allowed | None]:
    texts = st.frozensets(st.sampled_from(VALUES[value_type]), min_size=1)
    lists = st.builds(Allowed, texts=texts)
    if value_type is ValueType.INT:
        bounds = st.tuples(st.integers(0, 3), st.integers(0, 10)).map(lambda pair: (pair[0], sum(pair)))
        lists |= st.builds(Allowed, texts=texts | st.just(frozenset()), ranges=st.tuples(bounds))
    return st.none() | lists


@st.composite
def sound_parameters(draw: st.DrawFn, name: str) -> Parameter:
    value_type = draw(st.sampled_from(ValueType))
    allowed = draw(allowed_values(value_type))
    inside = [text for text in VALUES[value_type] if allows(allowed, value_type, text)]
    if not inside and allowed is not None:
        inside = [str(allowed.ranges[0][0])]
    return Parameter(
        name=name,
        type=value_type,
        init=draw(st.sampled_from(inside)),
        off=draw(st.none() | st.sampled_from(VALUES[value_type])),
        allowed=allowed,
    )


def faulty_parameters(name: str) -> st.SearchStrategy[Parameter]:
    return st.just(Parameter(name=name, type=None, init=None, fault="broken"))


@st.composite
def metadata(draw: st.DrawFn, faults: bool = True) -> Metadata:
    names = draw(st.permutations(NAMES))[: draw(st.integers(0, len(NAMES)))]
    kinds = [sound_parameters, sound_parameters, sound_parameters, faulty_parameters] if faults else [sound_parameters]
    parameters = tuple(draw(draw(st.sampled_from(kinds))(name)) for name in names)
    model = draw(st.sampled_from(["m", "m", "m", "n", None])) if faults else "m"
    fault = draw(st.sampled_from([None, None, None, "broken"])) if faults else None
    return Metadata(model=model, parameters=parameters, fault=fault)


@st.composite
def sources(draw: st.DrawFn, faults: bool = True) -> Source:
    names = draw(st.permutations(NAMES))[: draw(st.integers(0, len(NAMES)))]
    parameters = []
    for name in names:
        value_type = draw(st.sampled_from(ValueType))
        value = draw(st.sampled_from(VALUES[value_type]))
        off = draw(st.none() | st.sampled_from(VALUES[value_type]))
        state = draw(st.sampled_from(["read", "read", "read", "unreadable", "faulty"])) if faults else "read"
        parameters.append(
            SourceParameter(
                name=name,
                type=value_type,
                value=value if state == "read" else None,
                off=off,
                unreadable="EIO" if state == "unreadable" else None,
                fault="broken" if state == "faulty" else None,
            )
        )
    model = draw(st.sampled_from(["m", "m", "m", "n", None])) if faults else "m"
    return Source(model=model, parameters=tuple(parameters))


@st.composite
def same_model_pairs(draw: st.DrawFn) -> tuple[Source, Metadata]:
    """A source whose parameters mostly agree in type and off value with the destination's."""
    offer = draw(metadata(faults=False))
    parameters = []
    for parameter in offer.parameters:
        if draw(st.integers(0, 5)) == 0:
            continue
        assert parameter.type is not None
        off = parameter.off if draw(st.integers(0, 4)) else draw(st.none() | st.sampled_from(VALUES[parameter.type]))
        value = draw(st.sampled_from(VALUES[parameter.type]))
        parameters.append(SourceParameter(name=parameter.name, type=parameter.type, value=value, off=off))
    return Source(model="m", parameters=tuple(parameters)), offer


@st.composite
def own_instances(draw: st.DrawFn) -> tuple[Source, Metadata]:
    """A source that is an instance of the offer itself, each value one that the offer allows."""
    offer = draw(metadata(faults=False))
    parameters = []
    for parameter in offer.parameters:
        assert parameter.type is not None
        assert parameter.init is not None
        inside = [text for text in VALUES[parameter.type] if allows(parameter.allowed, parameter.type, text)]
        value = draw(st.sampled_from([*inside, parameter.init]))
        parameters.append(SourceParameter(name=parameter.name, type=parameter.type, value=value, off=parameter.off))
    return Source(model="m", parameters=tuple(draw(st.permutations(parameters)))), offer

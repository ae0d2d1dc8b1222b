"""``--serve RESOURCE=TYPE``: what is refused, and which types of a node are meant."""

from __future__ import annotations

import pytest

from mdev_node_agent.kubelet.resources import ServeError, resources_of, types_of
from mdev_node_agent.seeing.observation import Observation, Offer, Parent


def node(**names: str | None) -> Observation:
    """One parent with types, and what their ``name`` file says."""
    offers = tuple(
        Offer(type=t.replace("_", "-"), profile={"type": {"id": t} | ({"name": n} if n else {})}, available=1)
        for t, n in names.items()
    )
    return Observation(boot_id="b", parents=(Parent(name="p", driver="d", offers=offers),))


def test_a_resource_can_stand_for_several_types() -> None:
    found = resources_of(["a.com/x=t-1", "a.com/y=t-3", "a.com/x=t-2", "a.com/x=t-1"])
    assert found == {"a.com/x": ("t-1", "t-2"), "a.com/y": ("t-3",)}


def test_a_type_may_have_blanks_and_equal_signs_in_its_name() -> None:
    assert resources_of(["a.com/x=GRID T4-1Q=1"]) == {"a.com/x": ("GRID T4-1Q=1",)}


@pytest.mark.parametrize("text", ["a.com/x", "a.com/x=", "=t", "a.com/x= "])
def test_half_a_setting_is_refused(text: str) -> None:
    with pytest.raises(ServeError, match="write RESOURCE=TYPE"):
        resources_of([text])


@pytest.mark.parametrize(
    "resource",
    [
        *("gpu", "/gpu", "a.com/", "A.com/x", "a.com/-x", "a.com/x/y", "kubernetes.io/x", "node.kubernetes.io/x"),
        *("requests.a.com/x", "a..com/x", "a.com/" + "x" * 64, ".".join(["a" * 60] * 5) + "/x"),
    ],
)
def test_what_the_kubelet_would_not_register_is_refused(resource: str) -> None:
    with pytest.raises(ServeError, match="no name of an extended resource"):
        resources_of([f"{resource}=t"])


def test_a_type_is_found_by_its_id() -> None:
    assert types_of(["nvidia-222"], node(nvidia_222="GRID T4-1Q", nvidia_223="GRID T4-2Q")) == ("nvidia-222",)


@pytest.mark.parametrize("wanted", ["GRID T4-1Q", "GRID_T4-1Q", " GRID T4-1Q "])
def test_a_type_is_found_by_its_name_as_kubevirt_compares_it(wanted: str) -> None:
    assert types_of([wanted], node(nvidia_222="GRID T4-1Q", nvidia_223="GRID T4-2Q", nameless=None)) == ("nvidia-222",)


def test_a_part_of_a_name_is_no_name() -> None:
    assert types_of(["GRID", "nvidia", ""], node(nvidia_222="GRID T4-1Q", nameless=None)) == ()

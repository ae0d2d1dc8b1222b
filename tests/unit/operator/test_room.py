"""Several offers of one type: models of one type share its instances, plain functions of each profile are their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from mdev_api.kinds.device_profile import DeviceProfile
from mdev_api.kinds.node_devices import NodeDevices
from mdev_api.kinds.node_reservations import Entry, NodeReservations
from mdev_operator.classes.sight import ClassReadings, look
from mdev_operator.inventory.cluster import Cluster, ProfileView
from mdev_operator.offers.openings import Constraints, Place, find
from tests.agent.reservations import entry
from tests.unit.operator.world import PROFILES, cluster, instance, profile, profile_name, reservations

FUNCTION = "0000:65:00.1"
ANYWHERE = Constraints(node_selector={}, node_name=None, exclude_nodes=frozenset(), source_node=None, tried=frozenset())


def of_backend(backend: str, name: str) -> ProfileView:
    """A GPU's profile of that back-end; a plain function is of no type."""
    view = profile(name, 4096, [4096])
    spec = {**view.profile.spec.model_dump(by_alias=True, exclude_none=True), "backend": backend}
    if backend == "vfio-pci":
        del spec["type"]
    document = view.profile.model_dump(by_alias=True, exclude_none=True, mode="json")
    return replace(view, profile=DeviceProfile.model_validate({**document, "spec": spec}))


def world(backend: str, free: Mapping[str, int], entries: Iterable[Entry] = (), **more: object) -> Cluster:
    """Node b: one parent, whose one type has an offer for each of these profiles (the key names them)."""
    profiles = {profile_name(name): of_backend(backend, name) for name in free}
    offers = [{"type": "t", "profile": profile_name(name), "available": number} for name, number in free.items()]
    parents = [{"name": "card", "driver": "gfx", "offers": offers}]
    node = NodeDevices.model_validate(
        {"metadata": {"name": "b"}, "status": {"bootID": "boot-b", "parents": parents, **more}}
    )
    held: list[NodeReservations] = [reservations("b", entries)]
    return replace(cluster(node, reserved=held), profiles={**PROFILES, **profiles})


def in_flight(name: str, entry_id: str = "move-1") -> Entry:
    """A reservation of this profile that nobody has answered."""
    create = {"create": {"parent": "card", "type": "t", "profile": profile_name(name)}}
    return Entry.model_validate(entry(entry_id, boot_id="boot-b", device=create))


def left(where: Cluster, *names: str) -> list[int]:
    """What the openings of these profiles have free."""
    free = {o.profile: o.free for o in find(where, ANYWHERE).openings}
    return [free[profile_name(name)] for name in names]


def test_a_reservation_of_one_model_counts_against_the_type_for_all_its_models() -> None:
    assert left(world("mdev", {"a": 3, "b": 3}, [in_flight("a")]), "a", "b") == [2, 2]


def test_a_reservation_of_a_model_that_is_not_offered_any_more_still_counts_against_the_type() -> None:
    assert left(world("mdev", {"a": 3}, [in_flight("gone")]), "a") == [2]


def test_functions_of_two_profiles_have_each_their_own_number() -> None:
    assert left(world("vfio-pci", {"a": 3, "b": 1}), "a", "b") == [3, 1]


def test_a_function_that_is_promised_is_less_in_its_own_profile_only() -> None:
    assert left(world("vfio-pci", {"a": 3, "b": 1}, [in_flight("a")]), "a", "b") == [2, 1]


def test_more_promised_functions_than_there_are_leave_none() -> None:
    entries = [in_flight("a", "move-1"), in_flight("a", "move-2")]
    assert left(world("vfio-pci", {"a": 1, "b": 1}, entries), "a", "b") == [0, 1]


def test_a_claimed_function_is_counted_once_by_its_agent() -> None:
    claimed = instance("a", FUNCTION, parent="card", managed=True)
    answered = [{"id": "move-1", "state": "Prepared", "instance": FUNCTION}]
    where = world("vfio-pci", {"a": 2, "b": 1}, instances=[claimed | {"type": "t"}])
    where = replace(where, reservations={"b": reservations("b", [in_flight("a")], answered)})
    assert left(where, "a", "b") == [2, 1]


def tried(where: Cluster, *places: Place) -> set[str]:
    """The profiles that are left to be tried on the node."""
    found = find(where, replace(ANYWHERE, tried=frozenset(places)))
    return {o.profile for o in found.openings}


def test_a_failed_profile_leaves_the_other_profiles_of_its_type_to_be_tried() -> None:
    where = world("vfio-pci", {"a": 3, "b": 1})
    failed = Place(node="b", parent="card", type="t", profile=profile_name("a"))
    assert tried(where, failed) == {profile_name("b")}


def test_an_attempt_that_was_recorded_without_a_profile_stands_for_all_of_the_type() -> None:
    assert tried(world("mdev", {"a": 3, "b": 3}), Place(node="b", parent="card", type="t")) == set()


def test_for_classes_models_of_one_type_are_one_row_and_profiles_of_functions_are_rows_of_their_own() -> None:
    rows = {
        backend: look(world(backend, {"a": 3, "b": 1}), "b", ClassReadings()).rows for backend in ("mdev", "vfio-pci")
    }
    assert [len(row) for row in rows["mdev"]] == [2]
    assert sorted(rows["vfio-pci"]) == sorted([((profile_name("a"), 3),), ((profile_name("b"), 1),)])

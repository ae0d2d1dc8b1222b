"""facts.d: what sysfs does not tell, from files on the node into the profiles of the parents that they name."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdev_node_agent.cli import main
from mdev_node_agent.discover_command import as_table
from mdev_node_agent.publishing.inventory import take_stock
from mdev_node_agent.seeing.discovery import observe
from mdev_node_agent.seeing.facts import MAX_BYTES, MAX_FILES, read_facts, with_facts
from mdev_node_agent.seeing.in_use import NoSource
from mdev_node_agent.seeing.observation import Instance, Observation, Offer, Parent
from mdev_node_agent.seeing.sight import Eye, Sight
from tests.memkernel.gfx import Gfx
from tests.memkernel.kernel import MemoryKernel

CARD = "0000:65:00.0"
OTHER = "0000:b3:00.0"
ECC_ON = {"parents": "*", "facts": {"ecc": "on"}}


def profile(device: str = "0x2235") -> dict[str, Any]:
    hardware = {"vendor": "0x10de", "device": device}
    return {"backend": "mdev", "driver": {"name": "nvidia"}, "type": {"id": "nvidia-1"}, "hardware": hardware}


def node() -> Observation:
    """Two cards of different devices, and a mediated device whose profile stands beside it."""
    parents = tuple(
        Parent(name=name, driver="nvidia", offers=(Offer(type="nvidia-1", profile=profile(device), available=1),))
        for name, device in ((CARD, "0x2235"), (OTHER, "0x1eb8"))
    )
    device = Instance(id="i-1", parent=CARD, type="nvidia-1", profile=profile())
    return Observation(boot_id="boot-1", parents=parents, instances=(device,))


def write(directory: Path, name: str, content: Any) -> Path:
    path = directory / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def facts(observation: Observation, parent: str) -> dict[str, str]:
    [offer] = next(p.offers for p in observation.parents if p.name == parent)
    return {fact["name"]: fact["value"] for fact in offer.profile.get("facts", ())}


def stated(directory: Path) -> tuple[dict[str, str], dict[str, str], list[str]]:
    """Facts of the one card and of the other, and everything that is told."""
    seen = with_facts(node(), read_facts(directory))
    return facts(seen, CARD), facts(seen, OTHER), [told.message for told in seen.unreadable]


@pytest.mark.parametrize(
    ("parents", "of_card", "of_other"),
    [
        ("*", True, True),
        (CARD, True, False),
        ([CARD, OTHER], True, True),
        (["0000:01:00.0"], False, False),
        ({"vendor": "0x10de"}, True, True),
        ({"device": "0x1eb8"}, False, True),
        ({"driver": "nvidia", "device": "0x2235"}, True, False),
        ({"vendor": "0x10de", "subsystemVendor": "0x10de"}, False, False),
    ],
)
def test_facts_reach_the_profiles_of_the_parents_that_are_meant(
    tmp_path: Path, parents: Any, of_card: bool, of_other: bool
) -> None:
    write(tmp_path, "a.json", {"parents": parents, "facts": {"ecc": "on"}})

    assert stated(tmp_path) == ({"ecc": "on"} if of_card else {}, {"ecc": "on"} if of_other else {}, [])


def test_an_instance_keeps_the_profile_of_its_offer(tmp_path: Path) -> None:
    write(tmp_path, "a.json", ECC_ON)

    seen = with_facts(node(), read_facts(tmp_path))

    assert seen.offer_of(seen.instances[0]) == seen.parents[0].offers[0]


def test_a_profile_without_facts_stays_as_it_is(tmp_path: Path) -> None:
    assert with_facts(node(), read_facts(tmp_path)) == node()


def test_statements_of_several_files_add_up_in_an_order_that_no_file_name_changes(tmp_path: Path) -> None:
    write(tmp_path, "b.json", [{"parents": CARD, "facts": {"a": "1"}}, {"parents": "*", "facts": {"z": "2"}}])
    write(tmp_path, "a.json", {"parents": "*", "facts": {"m": "3", "a": "1"}})

    of_card, of_other, told = stated(tmp_path)

    assert (list(of_card.items()), told) == ([("a", "1"), ("m", "3"), ("z", "2")], [])
    assert of_other == {"a": "1", "m": "3", "z": "2"}


def test_two_files_that_differ_are_told_and_neither_counts(tmp_path: Path) -> None:
    write(tmp_path, "a.json", {"parents": "*", "facts": {"ecc": "on", "mig": "off"}})
    write(tmp_path, "b.json", {"parents": CARD, "facts": {"ecc": "off"}})

    of_card, of_other, told = stated(tmp_path)

    assert (of_card, of_other) == ({"mig": "off"}, {"ecc": "on", "mig": "off"})
    assert told == [f'{CARD}: its fact "ecc" does not count: it is "on" in a.json and "off" in b.json']


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"parents": "*",\n "facts": {"ecc" "on"}}', "line 2 column 18"),
        ("", "line 1 column 1"),
        ('\ufeff{"parents": "*", "facts": {}}', "byte order mark"),
        ("5", "an object with parents and facts is expected, not 5"),
        ({"facts": {}}, "the member parents is missing"),
        ([ECC_ON, {"parents": "*"}], "statement 2: the member facts is missing"),
        ({**ECC_ON, "fact": 1}, 'the member "fact" is unknown'),
        ({"parents": {"vendors": "0x10de"}, "facts": {}}, 'parents: "vendors" is unknown'),
        ({"parents": {"vendor": 4318}, "facts": {}}, "parents: vendor: 4318: a string is expected"),
        ({"parents": {}, "facts": {}}, "parents: an empty object names nothing"),
        ({"parents": [], "facts": {}}, "parents: a list"),
        ({"parents": ["a", 1], "facts": {}}, "parents: a list"),
        ({"parents": None, "facts": {}}, "parents: null"),
        ({"parents": "*", "facts": []}, "facts: an object of names and texts is expected"),
        ({"parents": "*", "facts": {"ecc": True}}, 'facts: "ecc" is true: a string is expected, so write it in quotes'),
        ({"parents": "*", "facts": {"driver": 550.90}}, 'facts: "driver" is 550.9'),
        ({"parents": "*", "facts": {"": "x"}}, 'facts: the name ""'),
        ({"parents": "*", "facts": {"n" * 256: "x"}}, "1 to 255 characters"),
        ({"parents": "*", "facts": {"ecc": "x" * 1025}}, "1025 characters"),
        ('{"parents": "*", "facts": {"ecc": "\\ud800"}}', "half a character"),
        ('{"parents": "*", "facts": {"ecc": "on", "ecc": "off"}}', 'the key "ecc" occurs twice'),
        ('{"parents": "*", "facts": {}, "x": ' + "[" * 50000 + "]" * 50000 + "}", "more than 65536 bytes"),
        ('{"parents": "*", "facts": {}, "x": ' + "[" * 30000 + "]" * 30000 + "}", "nested too deeply"),
    ],
)
def test_a_file_that_is_wrong_is_told_with_the_place_and_the_others_count(
    tmp_path: Path, content: Any, said: str
) -> None:
    bad = write(tmp_path, "a.json", content)
    write(tmp_path, "b.json", ECC_ON)

    of_card, _, [told] = stated(tmp_path)

    assert of_card == {"ecc": "on"}
    assert told.startswith(f"{bad}: its facts do not count: ")
    assert said in told


def test_names_that_are_no_facts_files_are_left_alone(tmp_path: Path) -> None:
    for name in (".a.json", "a.json.new", "README"):
        write(tmp_path, name, "{")

    assert stated(tmp_path) == ({}, {}, [])


def test_what_is_no_file_holds_nothing_up_and_is_told(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "gone.json").symlink_to("absent")

    told = stated(tmp_path)[2]

    assert [Path(message.split(": ")[0]).name for message in told] == ["folder.json", "gone.json", "pipe.json"]
    assert "no regular file" in told[2]


def test_a_directory_that_is_not_there_is_told(tmp_path: Path) -> None:
    assert "ENOENT" in stated(tmp_path / "absent")[2][0]


def test_sizes_are_bounded(tmp_path: Path) -> None:
    write(tmp_path, "big.json", json.dumps(ECC_ON) + " " * MAX_BYTES)
    for number in range(MAX_FILES):
        write(tmp_path, f"f{number:03}.json", {"parents": "*", "facts": {}})

    told = stated(tmp_path)[2]

    assert [f"{MAX_BYTES} bytes" in told[0], f"only the first {MAX_FILES} count" in told[1]] == [True, True]


def test_more_facts_than_a_profile_holds_are_told_and_none_counts(tmp_path: Path) -> None:
    write(tmp_path, "a.json", {"parents": CARD, "facts": {f"f{number}": "x" for number in range(33)}})

    assert stated(tmp_path)[::2] == ({}, [f"{CARD}: its facts do not count: 33, at most 32 are expected"])


def test_what_is_wrong_stands_in_the_condition_healthy_and_profiles_are_published_all_the_same(tmp_path: Path) -> None:
    bad = write(tmp_path, "a.json", "{")
    write(tmp_path, "b.json", ECC_ON)

    stock = take_stock(Sight(observation=with_facts(node(), read_facts(tmp_path))))

    assert [str(bad) in told for told in stock.told] == [True]
    assert {spec["facts"][0]["value"] for spec in stock.profiles.values()} == {"on"}


def test_a_bad_file_makes_no_device_look_as_if_it_were_there(tmp_path: Path) -> None:
    write(tmp_path, "i-2.json", "{")
    write(tmp_path, "a.json", {"parents": CARD, "facts": {"x": "1"}})
    write(tmp_path, "b.json", {"parents": CARD, "facts": {"x": "2"}})

    sight = Sight(observation=with_facts(node(), read_facts(tmp_path)))

    assert [sight.is_gone(name) for name in ("i-2", CARD, "i-1")] == [True, True, False]


async def test_a_change_counts_at_the_next_look(tmp_path: Path) -> None:
    kernel = MemoryKernel(drivers=[Gfx()])
    eye = Eye(kernel, [], NoSource(), facts=lambda: read_facts(tmp_path))
    first = await eye.look()
    write(tmp_path, "a.json", "{")
    second = await eye.look()

    assert (first.observation.unreadable, len(second.observation.unreadable)) == ((), 1)


def test_without_a_directory_there_are_no_facts() -> None:
    assert observe(MemoryKernel(drivers=[]), []).unreadable == ()


def test_the_table_of_discover_shows_each_fact_once(tmp_path: Path) -> None:
    write(tmp_path, "a.json", {"parents": CARD, "facts": {"firmware": "7"}})

    table = as_table(with_facts(node(), read_facts(tmp_path)), 200)

    assert [line.split() for line in table.splitlines() if "firmware" in line] == [[CARD, "firmware", "7"]]


def test_discover_tells_what_is_wrong_with_the_facts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for place in ("sys/bus", "sys/class", "facts.d"):
        (tmp_path / place).mkdir(parents=True)
    write(tmp_path / "facts.d", "a.json", "{")

    with pytest.raises(SystemExit) as ended:
        main(["discover", "--sysfs", str(tmp_path / "sys"), "--facts-dir", str(tmp_path / "facts.d"), "-o", "json"])

    assert ended.value.code == 0
    assert json.loads(capsys.readouterr().out)["unreadable"][0]["name"] == "a.json"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
STATEMENTS = st.fixed_dictionaries(
    {}, optional={"parents": VALUES | st.just("*"), "facts": VALUES | st.dictionaries(st.text(), st.text())}
)


@given(st.binary(max_size=40) | (VALUES | STATEMENTS | st.lists(STATEMENTS)).map(lambda v: json.dumps(v).encode()))
def test_whatever_a_file_holds_it_counts_or_is_told(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    directory = tmp_path_factory.getbasetemp() / "fuzzed"
    directory.mkdir(exist_ok=True)
    (directory / "a.json").write_bytes(content)

    said = read_facts(directory)

    assert bool(said.told) + bool(said.statements) <= 1
    take_stock(Sight(observation=with_facts(node(), said)))

"""The DeviceModels that are shipped, each on profiles as agents publish them of such hardware."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from mdev_api.engine.metadata import Answer, Verdict
from mdev_api.engine.verdict import compare
from mdev_api.kinds.device_model import DeviceModel
from mdev_api.kinds.device_profile import DeviceProfile, DeviceProfileSpec, DeviceProfileStatus
from mdev_api.kinds.node_devices import NodeInstance
from mdev_api.meaning import metadata_of, source_of
from mdev_api.reading import Reading, compile_models, read_profile
from mdev_node_agent.backends.mdev import MdevBackend
from mdev_node_agent.seeing.discovery import observe
from tests.memkernel.kernel import MemoryKernel
from tests.memkernel.mtty import Mtty

SHIPPED = sorted((Path(__file__).parents[3] / "deploy" / "models").glob("*.yaml"))
Spec = dict[str, Any]

A40 = {"vendor": "0x10de", "device": "0x2235", "subsystemVendor": "0x10de", "subsystemDevice": "0x145a"}
ECC_ON = [{"name": "ecc", "value": "on"}]
WINDOWS = (
    'profile.driver.version.matches("^550[.]") ? "550" : '
    'profile.driver.version.matches("^535[.](161|183)[.]") ? "535.161-183" : profile.driver.version'
)


def shipped() -> list[DeviceModel]:
    return [DeviceModel.model_validate(yaml.safe_load(path.read_text(encoding="utf-8"))) for path in SHIPPED]


def read(spec: Spec, models: list[DeviceModel] | None = None) -> Reading:
    """By all of them together, as an administrator applies them: so none may claim another's hardware."""
    compiled = compile_models(shipped() if models is None else models)
    assert [model.problem for model in compiled] == [None] * len(compiled)
    return read_profile(DeviceProfileSpec.model_validate(spec), compiled)


def values(reading: Reading) -> dict[str, str | None]:
    assert reading.resolved, reading.message
    return {parameter.name: parameter.init_value for parameter in reading.parameters}


def answer(source: Spec, destination: Spec, models: list[DeviceModel] | None = None) -> Answer:
    """Of a device with the one profile and an offer with the other, as the operator compares them."""
    here, there = (_profile(spec, models) for spec in (source, destination))
    body = {"id": "i", "parent": "p", "type": "t", "profile": "p-" + "a" * 26, "inUse": "No", "inUseSource": "None"}
    return compare(source_of(NodeInstance.model_validate(body), here), metadata_of(there))


def _profile(spec: Spec, models: list[DeviceModel] | None) -> DeviceProfile:
    reading = read(spec, models)
    assert reading.resolved, reading.message
    status = DeviceProfileStatus(model=reading.model, parameters=reading.parameters)
    return DeviceProfile(spec=DeviceProfileSpec.model_validate(spec), status=status)


def reasons(found: Answer) -> list[tuple[str, str | None]]:
    return [(reason.code.value, reason.parameter) for reason in found.reasons]


def mdev(name: str = "NVIDIA A40-8Q", number: int = 558, version: str | None = "550.90.05", **members: Any) -> Spec:
    """A vGPU type of a card whose functions are parents of mediated devices."""
    driver = {"name": "nvidia"} | ({"version": version} if version else {})
    about = {"id": f"nvidia-{number}", "name": name, "deviceAPI": "vfio-pci"}
    base = {"backend": "mdev", "driver": driver, "type": about, "hardware": A40, "facts": ECC_ON}
    return base | members


def vf(name: str = "NVIDIA A40-8Q", **members: Any) -> Spec:
    """The same of NVIDIA's vendor VFIO: the id is the name."""
    return mdev(name) | {"backend": "nvidia", "type": {"id": name, "name": name, "deviceAPI": "vfio-pci"}} | members


def mtty_types() -> dict[str, Spec]:
    """What the agent itself publishes of the kernel's sample driver."""
    seen = observe(MemoryKernel(drivers=[Mtty()]), [MdevBackend()])
    return {offer.type: dict(offer.profile) for parent in seen.parents for offer in parent.offers}


def gvt(size: int = 4, low: int = 128, high: int = 512, resolution: str = "1920x1200", **members: Any) -> Spec:
    text = f"low_gm_size: {low}MB\nhigh_gm_size: {high}MB\nfence: 4\nresolution: {resolution}\nweight: {size}"
    return {
        "backend": "mdev",
        "driver": {"name": "i915"},
        "type": {"id": f"i915-GVTg_V5_{size}", "name": f"GVTg_V5_{size}", "deviceAPI": "vfio-pci"},
        "hardware": {"vendor": "0x8086", "device": "0x591d"},
        "attributes": [{"name": "description", "value": text}],
    } | members


def test_there_are_models_and_every_one_of_them_is_usable() -> None:
    assert {path.stem for path in SHIPPED} >= {"nvidia-vgpu", "mtty", "gvt-g"}
    assert [model.problem for model in compile_models(shipped())] == [None] * len(SHIPPED)


@pytest.mark.parametrize(("spec", "framework"), [(mdev(), "mdev"), (vf(), "vendor-vfio")], ids=["mdev", "vf"])
def test_a_vgpu_is_told_by_board_type_host_driver_and_ecc(spec: Spec, framework: str) -> None:
    assert values(read(spec)) == {
        "gpu-model": "0x2235/0x10de:0x145a",
        "vgpu-type": "NVIDIA A40-8Q",
        "host-driver": "550.90.05",
        "ecc": "on",
        "framework": framework,
    }


@pytest.mark.parametrize("spec", [mdev(), vf()], ids=["mdev", "vf"])
def test_an_equal_vgpu_is_compatible_and_nothing_is_written(spec: Spec) -> None:
    found = answer(spec, spec)

    assert (found.verdict, found.writes) == (Verdict.COMPATIBLE, ())


def test_the_number_of_a_type_is_local_to_a_card_and_does_not_matter() -> None:
    assert answer(mdev(), mdev(number=700)).verdict is Verdict.COMPATIBLE


@pytest.mark.parametrize(
    ("other", "parameter"),
    [
        (mdev("NVIDIA A40-12Q"), "vgpu-type"),
        (mdev(version="550.54.16"), "host-driver"),
        (mdev(facts=[{"name": "ecc", "value": "off"}]), "ecc"),
        (mdev(hardware=A40 | {"device": "0x2236"}), "gpu-model"),
        (mdev(hardware=A40 | {"subsystemDevice": "0x1234"}), "gpu-model"),
        (vf(), "framework"),
    ],
    ids=["type", "host driver", "ecc", "device", "board", "framework"],
)
def test_what_differs_is_refused_with_its_name(other: Spec, parameter: str) -> None:
    for found in (answer(mdev(), other), answer(other, mdev())):
        assert (found.verdict, reasons(found)) == (Verdict.INCOMPATIBLE, [("ValueNotAllowed", parameter)])


@pytest.mark.parametrize("spec", [mdev(facts=[]), vf(facts=[])], ids=["mdev", "vf"])
def test_without_the_fact_a_vgpu_is_unknown_and_the_message_says_what_is_missing(spec: Spec) -> None:
    reading = read(spec)

    assert (reading.resolved, reading.reason, reading.model) == (False, "MatchFailed", None)
    assert "parameter ecc" in reading.message


def test_a_fact_that_is_no_bool_is_told() -> None:
    assert read(mdev(facts=[{"name": "ecc", "value": "Enabled"}])).reason == "SchemaError"


def test_a_host_driver_that_sysfs_does_not_tell_may_come_from_the_facts() -> None:
    facts = [*ECC_ON, {"name": "host-driver", "value": "550.90.05"}]

    assert values(read(mdev(version=None, facts=facts)))["host-driver"] == "550.90.05"
    assert read(mdev(version=None)).reason == "MatchFailed"


def test_boards_that_pci_does_not_tell_apart_are_nobodys() -> None:
    assert read(mdev(hardware={})).reason == "NoModel"


def widened() -> list[DeviceModel]:
    """The model as its own comment says how to allow windows of host drivers."""
    path = next(path for path in SHIPPED if path.stem == "nvidia-vgpu")
    text = path.read_text(encoding="utf-8")
    assert " ".join(line.removeprefix("#").strip() for line in text.splitlines()).count(WINDOWS) == 1
    content = yaml.safe_load(text)
    for match in content["spec"]["matches"]:
        [parameter] = [p for p in match["parameters"] if p["name"] == "host-driver"]
        parameter["initValue"] = {"expression": WINDOWS}
    return [DeviceModel.model_validate(content)]


@pytest.mark.parametrize("kind", [mdev, vf])
@pytest.mark.parametrize(
    ("one", "other", "verdict"),
    [
        ("550.54.16", "550.90.05", Verdict.COMPATIBLE),
        ("535.161.05", "535.183.04", Verdict.COMPATIBLE),
        ("535.129.03", "535.183.04", Verdict.INCOMPATIBLE),
        ("550.54.16", "535.183.04", Verdict.INCOMPATIBLE),
        ("5501.0", "550.90.05", Verdict.INCOMPATIBLE),
    ],
)
def test_windows_of_host_drivers_work_as_the_comment_says(kind: Any, one: str, other: str, verdict: Verdict) -> None:
    source, destination = (kind(driver={"name": "nvidia", "version": version}) for version in (one, other))

    assert answer(source, destination, widened()).verdict is verdict
    assert answer(destination, source, widened()).verdict is verdict


@pytest.mark.parametrize(("type_id", "ports"), [("mtty-1", "1"), ("mtty-2", "2")])
def test_an_mtty_card_is_told_by_its_ports(type_id: str, ports: str) -> None:
    assert values(read(mtty_types()[type_id])) == {"ports": ports}


@pytest.mark.parametrize("type_id", ["mtty-1", "mtty-2"])
def test_an_mtty_card_moves_to_its_own_type(type_id: str) -> None:
    assert answer(mtty_types()[type_id], mtty_types()[type_id]).verdict is Verdict.COMPATIBLE


@pytest.mark.parametrize(("source", "destination"), [("mtty-1", "mtty-2"), ("mtty-2", "mtty-1")])
def test_an_mtty_card_is_refused_another_number_of_ports_before_any_stream_is_loaded(
    source: str, destination: str
) -> None:
    found = answer(mtty_types()[source], mtty_types()[destination])

    assert (found.verdict, reasons(found)) == (Verdict.INCOMPATIBLE, [("ValueNotAllowed", "ports")])


def test_a_gvt_g_type_is_told_by_its_description() -> None:
    assert values(read(gvt())) == {
        "gpu": "0x591d",
        "vgpu-type": "i915-GVTg_V5_4",
        "low-memory": "128",
        "high-memory": "512",
        "fences": "4",
        "resolution": "1920x1200",
    }
    assert answer(gvt(), gvt()).verdict is Verdict.COMPATIBLE


def test_what_a_gvt_g_guest_does_not_see_does_not_matter() -> None:
    heavier = gvt()
    heavier["attributes"][0]["value"] = heavier["attributes"][0]["value"].replace("weight: 4", "weight: 8")

    assert answer(gvt(), heavier).verdict is Verdict.COMPATIBLE


@pytest.mark.parametrize(
    ("other", "parameters"),
    [
        (gvt(low=256), ["low-memory"]),
        (gvt(8, 64, 384, "1024x768"), ["high-memory", "low-memory", "resolution", "vgpu-type"]),
        (gvt(hardware={"vendor": "0x8086", "device": "0x5916"}), ["gpu"]),
    ],
)
def test_another_gvt_g_type_or_gpu_is_refused(other: Spec, parameters: list[str]) -> None:
    assert reasons(answer(gvt(), other)) == [("ValueNotAllowed", name) for name in parameters]


@pytest.mark.parametrize("other", [gvt(low=1), gvt(attributes=[])], ids=["odd size", "no description"])
def test_a_gvt_g_type_that_nobody_knows_is_unknown(other: Spec) -> None:
    assert read(other).reason == "MatchFailed"


@pytest.mark.parametrize("driver", ["mdpy", "vfio_ccw"])
def test_other_drivers_are_left_alone(driver: str) -> None:
    assert read(mdev(driver={"name": driver})).reason == "NoModel"

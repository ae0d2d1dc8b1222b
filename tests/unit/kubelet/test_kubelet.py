"""Asking the kubelet: what is kept of its answers, and when it is left alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from mdev_node_agent.kubelet.pod_resources import (
    KEPT_SECONDS,
    PAUSE_SECONDS,
    SOCKET,
    Kubelet,
    KubeletSilentError,
    ask,
)
from mdev_node_agent.kubelet.serving import Allocation, Asked, Pod, View
from tests.kubelet.fake import FakeKubelet

VIEW = View(allocatable={"vendor.com/gpu": ("a",)})


class Scripted:
    """Answers as told, and counts the questions."""

    def __init__(self) -> None:
        self.answer: View | KubeletSilentError = VIEW
        self.asked: list[Path] = []
        self.now = 100.0

    def __call__(self, socket: Path) -> View:
        self.asked.append(socket)
        if isinstance(self.answer, KubeletSilentError):
            raise self.answer
        return self.answer


@pytest.fixture
def script() -> Scripted:
    return Scripted()


@pytest.fixture
def kubelet(script: Scripted) -> Kubelet:
    return Kubelet(Path("/kubelet"), asking=script, clock=lambda: script.now)


def refused(*, slow: bool = False) -> KubeletSilentError:
    return KubeletSilentError("nobody there", slow=slow)


def test_an_answer_is_current(script: Scripted, kubelet: Kubelet) -> None:
    assert kubelet.ask() == Asked(view=VIEW, current=True)
    assert script.asked == [Path("/kubelet") / SOCKET]


def test_a_kubelet_that_was_never_heard_is_a_fault(script: Scripted, kubelet: Kubelet) -> None:
    script.answer = refused()
    assert kubelet.ask() == Asked(fault="nobody there")


def test_the_last_answer_counts_for_a_while_and_is_not_current(script: Scripted, kubelet: Kubelet) -> None:
    kubelet.ask()
    script.answer = refused()
    script.now += KEPT_SECONDS
    assert kubelet.ask() == Asked(view=VIEW)
    script.now += 1
    assert kubelet.ask() == Asked(fault="nobody there")


def test_a_kubelet_that_is_back_is_heard_at_once(script: Scripted, kubelet: Kubelet) -> None:
    script.answer = refused()
    kubelet.ask()
    script.answer = VIEW
    assert kubelet.ask().current


def test_one_that_lets_the_deadline_run_out_is_left_alone_for_a_moment(script: Scripted, kubelet: Kubelet) -> None:
    script.answer = refused(slow=True)
    kubelet.ask()
    assert kubelet.ask() == Asked(fault="nobody there") and len(script.asked) == 1
    script.now += PAUSE_SECONDS
    script.answer = VIEW
    assert kubelet.ask().current


def test_what_the_kubelet_says_comes_over_its_socket(short_path: Path) -> None:
    fake = FakeKubelet(short_path)
    fake.offer("vendor.com/gpu", "b", "a")
    fake.give("ns", "pod", "vendor.com/gpu", "a")
    with fake.running():
        view = ask(fake.socket)
    given = Allocation(pod=Pod(namespace="ns", name="pod"), resource="vendor.com/gpu", devices=("a",))
    assert view == View(allocations=(given,), allocatable={"vendor.com/gpu": ("a", "b")})


def test_a_list_without_the_agents_own_pod_is_no_answer(short_path: Path) -> None:
    fake, own = FakeKubelet(short_path), Pod(namespace="agents", name="agent-x")
    fake.offer("vendor.com/gpu", "a")
    with fake.running():
        with pytest.raises(KubeletSilentError, match=r"does not list pod agents/agent-x.*only just started") as silent:
            ask(fake.socket, own_pod=own)
        fake.give(own.namespace, own.name, "vendor.com/other")
        assert ask(fake.socket, own_pod=own).allocatable == {"vendor.com/gpu": ("a",)}
    assert not silent.value.slow


def test_a_socket_that_nobody_serves_is_told_with_its_path(short_path: Path) -> None:
    with pytest.raises(
        KubeletSilentError, match=r"the kubelet does not answer at .*/none.sock \(UNAVAILABLE"
    ) as silent:
        ask(short_path / "none.sock")
    assert not silent.value.slow


def test_a_kubelet_that_hangs_costs_no_more_than_the_deadline(short_path: Path) -> None:
    fake = FakeKubelet(short_path)
    fake.hangs = True
    with fake.running(), pytest.raises(KubeletSilentError, match="DEADLINE_EXCEEDED") as silent:
        ask(fake.socket, timeout=0.2)
    assert silent.value.slow

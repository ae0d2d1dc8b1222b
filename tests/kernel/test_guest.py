"""What a guest does for the tests that use it: commands, files, network, power, and real mediated devices."""

from __future__ import annotations

import errno
import http.server
import signal
import socketserver
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.kernel.conftest import BootGuest
from tests.kernel.guest.errors import CommandError, CommandTimeoutError, GuestError
from tests.kernel.guest.guest import HOST, Guest
from tests.kernel.guest.prepare import Images
from tests.waiting import wait_until

TYPES = "/sys/class/mdev_bus/mtty/mdev_supported_types"
DEVICES = "/sys/bus/mdev/devices"


@pytest.fixture
def guest(boot_guest: BootGuest) -> Guest:
    return boot_guest("a", ["mtty"])


@pytest.fixture
def device(guest: Guest) -> Iterator[str]:
    """A fresh mtty-2 device; removed afterwards if the test has not done so."""
    made = str(uuid.uuid4())
    guest.write(f"{TYPES}/mtty-2/create", made)
    yield made
    if guest.run(f"test -e {DEVICES}/{made}", check=False).rc == 0:
        guest.write(f"{DEVICES}/{made}/remove", "1")


@pytest.fixture
def port() -> Iterator[int]:
    """A web server on the host's loopback that answers everything with a listing."""
    with socketserver.TCPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_a_command_gives_its_output_and_exit_status(guest: Guest) -> None:
    result = guest.run("echo out; echo err >&2; exit 3", check=False)

    assert (result.rc, result.stdout, result.stderr) == (3, "out\n", "err\n")


def test_a_failing_command_is_an_error_that_says_what_it_said(guest: Guest) -> None:
    with pytest.raises(CommandError, match=r"exit 3.*ended with 3: no luck"):
        guest.run("echo no luck >&2; exit 3")


def test_a_command_ended_by_a_signal_has_its_negative_number(guest: Guest) -> None:
    assert guest.run("kill -TERM $$", check=False).rc == -signal.SIGTERM


def test_a_program_that_does_not_exist_ends_as_in_a_shell(guest: Guest) -> None:
    assert guest.run(["/no/such/program"], check=False).rc == 127


def test_a_list_of_arguments_reaches_the_program_as_it_is(guest: Guest) -> None:
    assert guest.run(["/usr/bin/printf", "%s|", "a b", "", "$x\n"]).stdout == "a b||$x\n|"


def test_a_megabyte_of_output_arrives_whole(guest: Guest) -> None:
    expected = "".join(f"{number:07}\n" for number in range(125_000))

    assert guest.run("seq -w 0000000 0124999").stdout == expected


def test_a_command_that_takes_too_long_is_killed_with_its_children(guest: Guest) -> None:
    with pytest.raises(CommandTimeoutError, match=r"sleep 4711.*more than 0\.5 s"):
        guest.run("sleep 4711 & wait", timeout=0.5)

    wait_until(lambda: "sleep 4711" not in guest.run("ps").stdout, timeout=20, what="the sleeping child to be gone")


def test_commands_of_many_threads_run_side_by_side(guest: Guest) -> None:
    guest.run("mkdir /run/here")
    meet = "touch /run/here/{0}; while [ $(ls /run/here | wc -l) -lt 8 ]; do usleep 20000; done; echo {0}"
    with ThreadPoolExecutor(8) as threads:
        answers = [threads.submit(guest.run, meet.format(number)) for number in range(8)]

        assert [answer.result().stdout for answer in answers] == [f"{number}\n" for number in range(8)]


def test_what_a_command_leaves_behind_is_reaped(guest: Guest) -> None:
    guest.run("(sleep 0.1; exit 7) > /dev/null 2>&1 &")

    wait_until(lambda: " Z " not in guest.run("ps -o stat,comm").stdout, timeout=20, what="no zombie to be left")


def test_a_background_process_lives_until_it_is_killed(guest: Guest) -> None:
    process = guest.start("echo begun; sleep 1000", "background")
    process.wait_for("begun")

    assert process.alive()
    process.kill(signal.SIGTERM)
    assert process.wait(20) == -signal.SIGTERM
    assert not process.alive()


def test_a_process_can_be_killed_the_moment_it_has_begun(guest: Guest) -> None:
    for _ in range(20):
        process = guest.start("sleep 1000", "short-lived")
        process.kill()
        assert process.wait(20) == -signal.SIGKILL


def test_waiting_for_words_that_never_come_ends_with_the_process(guest: Guest) -> None:
    with pytest.raises(CommandError, match=r"ended \(status 5\) without saying 'ready'; its log: broken"):
        guest.start("echo broken; exit 5", "broken").wait_for("ready")


def test_each_process_of_one_name_has_a_log_of_its_own(guest: Guest) -> None:
    first, second = guest.start("echo 1", "twin"), guest.start("echo 2", "twin")

    assert (first.wait(), second.wait()) == (0, 0)
    assert (first.log(), second.log()) == ("1\n", "2\n")


def test_the_share_is_one_directory_on_both_sides(guest: Guest) -> None:
    (guest.share / "from-host").write_text("host")
    guest.run("echo guest > from-guest")

    assert guest.read(f"{guest.guest_share}/from-host") == "host"
    assert (guest.share / "from-guest").read_text() == "guest\n"


def test_nothing_but_the_share_reaches_the_host(guest: Guest, tmp_path: Path) -> None:
    guest.run(f"mkdir -p {tmp_path} && echo x > {tmp_path}/made && cat {tmp_path}/made")

    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("/sys/devices/virtual/mtty/mtty/power/autosuspend_delay_ms", errno.EIO),
        (f"{TYPES}/mtty-2/create", errno.EACCES),
        (f"{TYPES}/mtty-9/name", errno.ENOENT),
    ],
)
def test_a_refused_read_is_an_os_error_with_the_guests_errno(guest: Guest, path: str, number: int) -> None:
    with pytest.raises(OSError) as refused:
        guest.read(path)

    assert (refused.value.errno, refused.value.filename) == (number, path)


def test_a_refused_write_is_an_os_error_with_the_guests_errno(guest: Guest, device: str) -> None:
    with pytest.raises(OSError) as malformed:
        guest.write(f"{TYPES}/mtty-2/create", "not-a-uuid")
    with pytest.raises(OSError) as duplicate:
        guest.write(f"{TYPES}/mtty-1/create", device)

    assert (malformed.value.errno, duplicate.value.errno) == (errno.EINVAL, errno.EEXIST)


def test_modules_load_with_parameters_and_unload(guest: Guest) -> None:
    guest.modprobe("mdpy")
    assert guest.names("/sys/class/mdev_bus") == ["mdpy", "mtty"]

    guest.rmmod("mdpy")
    assert guest.names("/sys/class/mdev_bus") == ["mtty"]


def test_a_module_that_cannot_be_unloaded_or_found_says_so(guest: Guest) -> None:
    with pytest.raises(FileNotFoundError):
        guest.rmmod("mdpy")
    with pytest.raises(ValueError, match=r"no module 'mtyt' for guests, only mtty, mbochs, mdpy"):
        guest.modprobe("mtyt")


def test_a_held_device_blocks_its_remove_until_it_is_let_go(guest: Guest, device: str) -> None:
    holder = guest.hold(device)
    remover = guest.start(f"echo 1 > {DEVICES}/{device}/remove", "remove")
    wait_until(lambda: device not in guest.names(DEVICES), timeout=20, what="the remove to begin")

    with pytest.raises(CommandTimeoutError):
        remover.wait(0.5)
    holder.kill()
    assert remover.wait(20) == 0


def test_a_device_that_cannot_be_held_says_why(guest: Guest) -> None:
    absent = "00000000-0000-4000-8000-00000000dead"

    with pytest.raises(CommandError, match=rf"no IOMMU group of {absent}: No such file or directory"):
        guest.hold(absent)


def test_a_second_holder_is_refused(guest: Guest, device: str) -> None:
    holder = guest.hold(device)
    with pytest.raises(CommandError, match=r"open /dev/vfio/\d+: Device or resource busy"):
        guest.hold(device)
    holder.kill()
    holder.wait(20)


def test_uevents_of_a_new_device_arrive(guest: Guest) -> None:
    events, made = guest.uevents(), str(uuid.uuid4())
    guest.write(f"{TYPES}/mtty-1/create", made)

    events.wait_for(f"bind /devices/virtual/mtty/mtty/{made} ", timeout=20)
    assert f"add /devices/virtual/mtty/mtty/{made} " in events.log()
    events.kill()
    guest.write(f"{DEVICES}/{made}/remove", "1")


def test_the_dump_shows_files_links_and_what_cannot_be_read(guest: Guest, device: str) -> None:
    lines = guest.dump_tree().splitlines()

    assert f"{DEVICES}/{device} -> ../../../devices/virtual/mtty/mtty/{device}" in lines
    assert f"/sys/devices/virtual/mtty/mtty/{device}/remove 200 EACCES" in lines
    types = "/sys/devices/virtual/mtty/mtty/mdev_supported_types"
    assert f"{types}/mtty-2/name 444 'Dual port serial\\n'" in lines


def test_the_python_of_the_checkout_runs_with_its_packages(guest: Guest) -> None:
    imports = "import aiohttp, pydantic, structlog, mdev_node_agent; print(mdev_node_agent.__file__)"
    there = guest.run([sys.executable, "-c", imports], timeout=180).stdout
    here = subprocess.run([sys.executable, "-c", imports], capture_output=True, text=True, check=True).stdout

    assert there == here


def test_the_hosts_loopback_answers_until_the_cable_is_pulled(guest: Guest, port: int) -> None:
    fetch = f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 3 {HOST} {port} | grep -q '200 OK'"
    guest.run(fetch)

    guest.link(up=False)
    cut = guest.run(fetch, check=False)  # the answer to this came by the doorbell
    guest.link(up=True)

    assert cut.rc != 0
    wait_until(lambda: guest.run(fetch, check=False).rc == 0, timeout=20, what="the host to be reached again")


def test_a_guest_has_the_hosts_time_also_after_a_freeze(guest: Guest) -> None:
    def difference() -> float:
        before = time.time()
        return abs(float(guest.run("date -u +%s").stdout) + 0.5 - before)

    assert difference() < 3
    guest.freeze()
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(guest.run, "true")
        with pytest.raises(TimeoutError):
            answer.result(timeout=4)  # frozen: nobody answers
        guest.thaw()
        assert answer.result().rc == 0
    assert difference() < 3


def test_qemu_ends_with_the_process_that_started_it(kernel: Images, tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from tests.kernel.guest.qemu import Machine, Qemu\n"
        "from tests.kernel.guest.prepare import prepare\n"
        "here = Path(sys.argv[1]); (here / 'share').mkdir()\n"
        "qemu = Qemu(Machine(images=prepare(), share=here / 'share', console=here / 'console', memory=256))\n"
        "print(qemu.pid, flush=True); time.sleep(1000)"
    )
    checkout = Path(__file__).resolve().parents[2]
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, cwd=checkout) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        is_qemu = Path(f"/proc/{pid}/comm").read_text
        wait_until(lambda: is_qemu().startswith("qemu"), timeout=20, what="setpriv to become qemu")
        owner.kill()

    def gone() -> bool:
        stat = Path(f"/proc/{pid}/stat")
        return not stat.exists() or stat.read_text().rsplit(")", 1)[1].split()[0] == "Z"

    wait_until(gone, timeout=20, what="qemu to end")


def test_a_reboot_keeps_the_share_and_nothing_else(boot_guest: BootGuest) -> None:
    guest = boot_guest("b", [])
    first = guest.read("/proc/sys/kernel/random/boot_id")
    stale = guest.start("sleep 1000", "stale")
    guest.run("touch kept /var/lost")

    guest.reboot()

    assert guest.read("/proc/sys/kernel/random/boot_id") != first
    assert guest.run("hostname; ls -d kept /var/lost", check=False).stdout == "b\nkept\n"
    assert not stale.alive()


def test_a_panic_is_told_with_the_end_of_the_console(boot_guest: BootGuest) -> None:
    guest = boot_guest("b", [])

    with pytest.raises(GuestError, match=r"(?s)the guest is gone.*Kernel panic - not syncing: sysrq triggered crash"):
        guest.write("/proc/sysrq-trigger", "c")


def test_a_guest_that_is_off_says_so(boot_guest: BootGuest) -> None:
    guest = boot_guest("b", [])
    guest.power_off()

    with pytest.raises(GuestError, match="guest b is powered off"):
        guest.run("true")

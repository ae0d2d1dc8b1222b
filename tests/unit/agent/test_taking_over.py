"""What an agent writes that waits for another one."""

from __future__ import annotations

import json
from typing import Any, cast

from mdev_api.kube.client import Client
from mdev_api.kube.requests import Request
from mdev_node_agent.acting.taking_over import _tell


class Server:
    """Has one NodeDevices, in version 7, and hears what is to become of it."""

    def __init__(self) -> None:
        self.written: list[dict[str, Any]] = []

    async def send(self, request: Request) -> dict[str, Any]:
        if request.method == "GET":
            return {"metadata": {"name": "node", "resourceVersion": "7"}, "status": {"bootID": "this boot"}}
        self.written.append(json.loads(request.body or b"{}"))
        return {}


async def test_it_does_not_write_over_what_the_other_one_writes_meanwhile() -> None:
    server = Server()
    await _tell(cast(Client, server), "node", "another agent has the directory")
    (written,) = server.written
    assert written["metadata"]["resourceVersion"] == "7"
    assert written["status"]["bootID"] == "this boot"
    assert [c["reason"] for c in written["status"]["conditions"] if c["type"] == "Healthy"] == ["Waiting"]

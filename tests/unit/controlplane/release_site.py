"""A release site on loopback that serves small stand-ins for the programs in the layout of the real one."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.controlplane.programs import ETCD_VERSION, KUBERNETES, KUBERNETES_VERSION
from tests.controlplane.releases import architecture

ARCHIVE = f"etcd-v{ETCD_VERSION}-linux-{architecture()}"


@dataclass(kw_only=True)
class ReleaseSite:
    """What is served, by path, and what was asked for."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    cut_short: set[str] = field(default_factory=set)
    """Paths whose answer promises more bytes than come."""

    @property
    def environment(self) -> dict[str, str]:
        """The variables that point here."""
        return {"MDEV_RELEASE_URL": f"{self.url}/release", "MDEV_ETCD_RELEASE_URL": f"{self.url}/etcd"}

    def path(self, program: str) -> str:
        """Where the file with this program is."""
        if program == "etcd":
            return f"/etcd/v{ETCD_VERSION}/{ARCHIVE}.tar.gz"
        return f"/release/v{KUBERNETES_VERSION}/bin/linux/{architecture()}/{program}"

    def alter(self, program: str) -> None:
        """Change the file but not its checksum."""
        self.files[self.path(program)] += b"x"

    def publish(self) -> None:
        """Put every program there."""
        for program in KUBERNETES:
            content = f"the program {program}".encode()
            self.files[self.path(program)] = content
            self.files[self.path(program) + ".sha512"] = hashlib.sha512(content).hexdigest().encode()
            self.files[self.path(program) + ".sha256"] = hashlib.sha256(content).hexdigest().encode()
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            content = b"the program etcd"
            member = tarfile.TarInfo(f"{ARCHIVE}/etcd")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        self.files[self.path("etcd")] = packed.getvalue()
        digest = hashlib.sha256(packed.getvalue()).hexdigest()
        sums = f"{'0' * 64}  other.tar.gz\n{digest}  {ARCHIVE}.tar.gz\n"
        self.files[f"/etcd/v{ETCD_VERSION}/SHA256SUMS"] = sums.encode()


@contextmanager
def serve(site: ReleaseSite) -> Iterator[ReleaseSite]:
    """Serve it until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.asked.append(self.path)
            content = site.files.get(self.path)
            if content is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content) + (self.path in site.cut_short)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        site.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield site
        finally:
            server.shutdown()
            thread.join()

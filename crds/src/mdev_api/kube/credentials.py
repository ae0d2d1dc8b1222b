"""Who we are to which API server: from a kubeconfig, or from the service account that a pod is given.

The first that exists is taken: the path that the caller names, ``$KUBECONFIG`` (several files: the first that names a
thing wins, as for kubectl), the pod's service account, ``~/.kube/config``. A token that stands in a file is read again
whenever the file changes: the kubelet replaces it long before it expires.

What would need another program or would weaken TLS is refused with a sentence, never ignored: exec plugins, auth
providers, passwords, impersonation, proxies, and ``insecure-skip-tls-verify``.
"""

from __future__ import annotations

import base64
import binascii
import os
import ssl
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")

_REFUSED_OF_USER = {
    "exec": "exec plugins are not run",
    "auth-provider": "auth providers are not supported",
    "username": "basic authentication is not supported",
    "as": "impersonation is not supported",
}
_REFUSED_OF_CLUSTER = {
    "insecure-skip-tls-verify": "the API server's certificate is always verified; name its certificate authority",
    "proxy-url": "proxies are not supported",
}


class CredentialsError(Exception):
    """No usable credentials; the message names file, field and what to do."""


class TokenFile:
    """A bearer token in a file, read again when the file is another one than before."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, int, int] | None = None
        self._token = ""

    def read(self) -> str:
        """The token as it is now; CredentialsError if there is none to read."""
        try:
            stat = self.path.stat()
            seen = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
            if seen != self._seen:
                self._token = self.path.read_text(encoding="ascii").strip()
                self._seen = seen
        except (OSError, UnicodeDecodeError) as error:
            raise CredentialsError(f"token file {self.path} cannot be read: {error}") from error
        if not self._token:
            raise CredentialsError(f"token file {self.path} is empty")
        return self._token


@dataclass(frozen=True, kw_only=True, slots=True)
class Credentials:
    """One API server and the identity to use there. Certificates are PEM; ``ca=None`` trusts the system's CAs.

    ``namespace`` is where the identity is at home (the context's, or the pod's). ``origin`` says where this was read.
    """

    server: str
    origin: str
    ca: bytes | None = None
    token: str | TokenFile | None = field(default=None, repr=False)
    client_certificate: bytes | None = None
    client_key: bytes | None = field(default=None, repr=False)
    tls_server_name: str | None = None
    namespace: str = "default"

    def headers(self) -> dict[str, str]:
        """The Authorization header, if there is a token; CredentialsError if its file cannot be read."""
        if self.token is None:
            return {}
        token = self.token.read() if isinstance(self.token, TokenFile) else self.token
        return {"Authorization": f"Bearer {token}"}

    def ssl_context(self) -> ssl.SSLContext | None:
        """TLS settings with the client certificate, None for plain http; CredentialsError if one is unusable."""
        if urlsplit(self.server).scheme == "http":
            return None
        try:
            context = ssl.create_default_context(cadata=None if self.ca is None else self.ca.decode("ascii"))
            # Certificate authorities of older clusters lack extensions that Python 3.13 began to insist on.
            context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
            if self.client_certificate is not None and self.client_key is not None:
                _load_client_certificate(context, self.client_certificate, self.client_key)
        except (ssl.SSLError, ValueError) as error:
            raise CredentialsError(f"{self.origin}: unusable certificate or key: {error}") from error
        return context


def load(kubeconfig: Path | None, environ: Mapping[str, str] = os.environ) -> Credentials:
    """Credentials from the first place that exists (see the module); CredentialsError says what is wrong with it."""
    if kubeconfig is not None:
        return from_kubeconfig([kubeconfig])
    listed = [Path(path) for path in environ.get("KUBECONFIG", "").split(os.pathsep) if path]
    if listed:
        return from_kubeconfig(listed)
    if "KUBERNETES_SERVICE_HOST" in environ:
        return in_cluster(environ)
    usual = Path(environ.get("HOME", "~")).expanduser() / ".kube" / "config"
    if usual.exists():
        return from_kubeconfig([usual])
    raise CredentialsError(f"no API server known: this is no pod; name a kubeconfig, set KUBECONFIG, or write {usual}")


def in_cluster(environ: Mapping[str, str], directory: Path = SERVICE_ACCOUNT) -> Credentials:
    """The service account of the pod that this runs in."""
    host = environ["KUBERNETES_SERVICE_HOST"]
    port = environ.get("KUBERNETES_SERVICE_PORT", "443")
    token = TokenFile(directory / "token")
    token.read()
    return Credentials(
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        origin=str(directory),
        ca=_file(directory / "ca.crt", "the service account's ca.crt"),
        token=token,
        namespace=_file(directory / "namespace", "the service account's namespace").decode().strip(),
    )


def from_kubeconfig(paths: list[Path]) -> Credentials:
    """The current context of a kubeconfig; of several files the first that names a context, cluster or user wins.

    As for kubectl, a file of several may be missing; relative paths in a file are relative to its directory.
    """
    files = {path: _parsed(path) for path in paths if len(paths) == 1 or path.exists()}
    where = ", ".join(str(path) for path in paths)
    current = next((c for content in files.values() if (c := content.get("current-context"))), None)
    if not current:
        raise CredentialsError(f"{where}: no current-context; choose one with `kubectl config use-context NAME`")
    _, context = _named(files, "context", current, where)
    cluster_file, cluster = _named(files, "cluster", context.get("cluster"), where)
    user_file, user = _named(files, "user", context.get("user"), where)
    _refuse(cluster_file, f"cluster {context['cluster']!r}", cluster, _REFUSED_OF_CLUSTER)
    _refuse(user_file, f"user {context['user']!r}", user, _REFUSED_OF_USER)
    server = str(cluster.get("server") or "").rstrip("/")
    if urlsplit(server).scheme not in ("http", "https") or not urlsplit(server).hostname:
        raise CredentialsError(f"{cluster_file}: cluster {context['cluster']!r}: server {server!r} is no http(s) URL")
    certificate = _data_or_file(user_file, user, "client-certificate")
    key = _data_or_file(user_file, user, "client-key")
    if (certificate is None) != (key is None):
        missing = "client-certificate" if certificate is None else "client-key"
        raise CredentialsError(f"{user_file}: user {context['user']!r}: {missing} is missing beside its other half")
    return Credentials(
        server=server,
        origin=str(user_file),
        ca=_data_or_file(cluster_file, cluster, "certificate-authority"),
        token=_token(user_file, user),
        client_certificate=certificate,
        client_key=key,
        tls_server_name=cluster.get("tls-server-name") or None,
        namespace=str(context.get("namespace") or "default"),
    )


def _parsed(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(_file(path, "kubeconfig"))
    except yaml.YAMLError as error:
        raise CredentialsError(f"{path}: not YAML: {error}") from error
    if not isinstance(content, dict):
        raise CredentialsError(f"{path}: not a kubeconfig: it holds no mapping")
    return content


def _named(files: Mapping[Path, dict[str, Any]], what: str, name: object, where: str) -> tuple[Path, dict[str, Any]]:
    for path, content in files.items():
        entries = content.get(f"{what}s") or []
        if not isinstance(entries, list):
            raise CredentialsError(f"{path}: {what}s is no list")
        for entry in entries:
            if isinstance(entry, dict) and entry.get("name") == name and isinstance(entry.get(what), dict):
                return path, entry[what]
    raise CredentialsError(f"{where}: no {what} named {name!r} in {what}s")


def _refuse(path: Path, what: str, entry: Mapping[str, Any], refused: Mapping[str, str]) -> None:
    for name, why in refused.items():
        if entry.get(name):
            raise CredentialsError(f"{path}: {what}: {name}: {why}")


def _token(path: Path, user: Mapping[str, Any]) -> str | TokenFile | None:
    if user.get("tokenFile"):
        return TokenFile(path.parent / str(user["tokenFile"]))
    return str(user["token"]).strip() if user.get("token") else None


def _data_or_file(path: Path, entry: Mapping[str, Any], name: str) -> bytes | None:
    if data := entry.get(f"{name}-data"):
        try:
            return base64.b64decode(str(data), validate=True)
        except binascii.Error as error:
            raise CredentialsError(f"{path}: {name}-data is no base64: {error}") from error
    if file := entry.get(name):
        return _file(path.parent / str(file), f"{name} of {path}")
    return None


def _file(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CredentialsError(f"{what}: {path} cannot be read: {error.strerror}") from error


def _load_client_certificate(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """OpenSSL reads certificate and key from files only; these exist for the moment and only for this user."""
    with ExitStack() as stack:
        names = []
        for content in (certificate, key):
            file = stack.enter_context(tempfile.NamedTemporaryFile())
            file.write(content)
            file.flush()
            names.append(file.name)
        context.load_cert_chain(*names)

from __future__ import annotations

import base64
import os
import ssl
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer

from mdev_api.kube import requests
from mdev_api.kube.client import Client, Unreachable
from mdev_api.kube.credentials import Credentials, CredentialsError, from_kubeconfig, in_cluster, load
from mdev_api.kube.resources import NODES
from tests.controlplane.certificates import Authority, Pair, make_authority


def kubeconfig(
    path: Path, *, name: str = "it", user: dict[str, Any] | None = None, cluster: dict[str, Any] | None = None
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "current-context": name,
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": "home"}}],
        "clusters": [{"name": name, "cluster": {"server": "https://1.2.3.4:6443", **(cluster or {})}}],
        "users": [{"name": name, "user": user or {"token": "t"}}],
    }
    path.write_text(yaml.safe_dump(content))
    return path


def authorization(credentials: Credentials) -> str:
    return credentials.headers()["Authorization"]


def test_the_current_context_names_server_user_and_namespace(tmp_path: Path) -> None:
    credentials = load(kubeconfig(tmp_path / "config"))
    assert (credentials.server, credentials.namespace) == ("https://1.2.3.4:6443", "home")
    assert authorization(credentials) == "Bearer t"


def test_a_named_kubeconfig_beats_the_environment(tmp_path: Path) -> None:
    named = kubeconfig(tmp_path / "a", user={"token": "named"})
    other = kubeconfig(tmp_path / "b", user={"token": "other"})
    assert authorization(load(named, {"KUBECONFIG": str(other)})) == "Bearer named"


def test_the_environment_beats_the_pod(tmp_path: Path) -> None:
    config = kubeconfig(tmp_path / "a")
    environ = {"KUBECONFIG": str(config), "KUBERNETES_SERVICE_HOST": "10.0.0.1"}
    assert load(None, environ).server == "https://1.2.3.4:6443"


def test_the_pod_beats_the_home_directory(tmp_path: Path) -> None:
    kubeconfig(tmp_path / ".kube" / "config")
    with pytest.raises(CredentialsError, match="serviceaccount/token"):
        load(None, {"HOME": str(tmp_path), "KUBERNETES_SERVICE_HOST": "10.0.0.1"})


def test_the_home_directory_is_the_last_place(tmp_path: Path) -> None:
    kubeconfig(tmp_path / ".kube" / "config")
    assert load(None, {"HOME": str(tmp_path)}).server == "https://1.2.3.4:6443"


def test_no_place_at_all_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(CredentialsError, match="name a kubeconfig, set KUBECONFIG, or write"):
        load(None, {"HOME": str(tmp_path)})


def test_of_several_files_the_first_that_names_a_thing_wins_and_one_may_be_missing(tmp_path: Path) -> None:
    first = kubeconfig(tmp_path / "a", user={"token": "first"})
    second = kubeconfig(tmp_path / "b", user={"token": "second"})
    environ = {"KUBECONFIG": os.pathsep.join(map(str, (tmp_path / "missing", first, second)))}
    assert authorization(load(None, environ)) == "Bearer first"


def test_relative_paths_are_relative_to_the_file_that_names_them(tmp_path: Path) -> None:
    path = kubeconfig(
        tmp_path / "deep" / "config", user={"tokenFile": "token"}, cluster={"certificate-authority": "ca"}
    )
    (tmp_path / "deep" / "token").write_text("from-file\n")
    (tmp_path / "deep" / "ca").write_bytes(b"PEM")
    credentials = load(path)
    assert (authorization(credentials), credentials.ca) == ("Bearer from-file", b"PEM")


@pytest.mark.parametrize(
    ("user", "cluster", "told"),
    [
        ({"exec": {"command": "aws"}}, {}, "user 'it': exec: exec plugins are not run"),
        ({"auth-provider": {"name": "gcp"}}, {}, "auth-provider"),
        ({"username": "u", "password": "p"}, {}, "basic authentication"),
        ({"token": "t", "as": "root"}, {}, "impersonation"),
        (None, {"insecure-skip-tls-verify": True}, "cluster 'it': insecure-skip-tls-verify: .*always verified"),
        (None, {"proxy-url": "http://p"}, "proxies"),
        (None, {"server": "1.2.3.4:6443"}, "server '1.2.3.4:6443' is no http"),
        (None, {"certificate-authority-data": "%%"}, "certificate-authority-data is no base64"),
        (None, {"certificate-authority": "nowhere"}, "certificate-authority of .*nowhere cannot be read: No such file"),
        ({"client-certificate-data": "UEVN"}, {}, "client-key is missing"),
    ],
)
def test_what_cannot_be_used_is_refused_with_file_and_field(
    tmp_path: Path, user: dict[str, Any] | None, cluster: dict[str, Any], told: str
) -> None:
    with pytest.raises(CredentialsError, match=told) as caught:
        load(kubeconfig(tmp_path / "config", user=user, cluster=cluster))
    assert str(tmp_path / "config") in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [", "not YAML"),
        ("just words", "holds no mapping"),
        ("{}", "no current-context"),
        ("{current-context: x}", "no context named 'x' in contexts"),
        ("{current-context: x, contexts: [{name: x, context: {cluster: c}}]}", "no cluster named 'c' in clusters"),
        ("{current-context: x, contexts: 7}", "contexts is no list"),
    ],
)
def test_a_broken_kubeconfig_is_refused_with_what_is_missing(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(CredentialsError, match=told) as caught:
        from_kubeconfig([path])
    assert str(path) in str(caught.value)


def test_a_kubeconfig_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CredentialsError, match=f"{tmp_path}/none cannot be read: No such file"):
        load(tmp_path / "none")


def test_a_key_that_is_none_is_told_before_any_request(tmp_path: Path) -> None:
    data = base64.b64encode(b"no PEM").decode()
    credentials = load(kubeconfig(tmp_path / "c", user={"client-certificate-data": data, "client-key-data": data}))
    with pytest.raises(CredentialsError, match="unusable certificate or key"):
        credentials.ssl_context()


def test_secrets_do_not_show_in_logs(tmp_path: Path) -> None:
    assert "hush" not in repr(load(kubeconfig(tmp_path / "c", user={"token": "hush"})))


@pytest.mark.parametrize(
    ("host", "server"), [("10.0.0.1", "https://10.0.0.1:443"), ("fd00::1", "https://[fd00::1]:443")]
)
def test_a_pod_uses_its_service_account(tmp_path: Path, host: str, server: str) -> None:
    for name in ("token", "ca.crt", "namespace"):
        (tmp_path / name).write_text(f"its {name}\n")
    environ = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": "443"}
    credentials = in_cluster(environ, tmp_path)
    assert (credentials.server, credentials.namespace) == (server, "its namespace")
    assert authorization(credentials) == "Bearer its token"


def test_an_empty_token_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("\n")
    with pytest.raises(CredentialsError, match=f"{tmp_path}/token is empty"):
        load(kubeconfig(tmp_path / "c", user={"tokenFile": "token"})).headers()


async def tls_server(tmp_path: Path, served: Pair, clients: Authority) -> TestServer:
    async def who(request: web.Request) -> web.Response:
        certificate = request.transport.get_extra_info("peercert") if request.transport else None
        return web.json_response({"subject": certificate and certificate["subject"][0][0][1]})

    (tmp_path / "served.pem").write_bytes(served.certificate + served.key)
    (tmp_path / "clients.pem").write_bytes(clients.pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "served.pem")
    context.load_verify_locations(tmp_path / "clients.pem")
    context.verify_mode = ssl.CERT_OPTIONAL
    app = web.Application()
    app.router.add_get("/{path:.*}", who)
    server = TestServer(app, scheme="https")
    await server.start_server(ssl=context)
    return server


async def ask(credentials: Credentials) -> dict[str, Any]:
    async with Client(credentials) as client:
        return await client.send(requests.get(NODES, "n"))


async def test_a_client_certificate_proves_who_asks(tmp_path: Path) -> None:
    authority = make_authority("ours")
    server = await tls_server(tmp_path, authority.server("127.0.0.1"), authority)
    pair = authority.user("alice")
    cluster = {
        "server": str(server.make_url("")),
        "certificate-authority-data": base64.b64encode(authority.pem).decode(),
    }
    (tmp_path / "alice.crt").write_bytes(pair.certificate)
    (tmp_path / "alice.key").write_bytes(pair.key)
    user = {"client-certificate": "alice.crt", "client-key": "alice.key"}
    try:
        assert await ask(load(kubeconfig(tmp_path / "config", user=user, cluster=cluster))) == {"subject": "alice"}
    finally:
        await server.close()


async def test_a_server_that_another_authority_vouches_for_gets_no_request(tmp_path: Path) -> None:
    theirs = make_authority("theirs")
    server = await tls_server(tmp_path, theirs.server("127.0.0.1"), theirs)
    credentials = Credentials(server=str(server.make_url("")).rstrip("/"), origin="test", ca=make_authority("ours").pem)
    try:
        with pytest.raises(Unreachable, match="certificate verify failed") as caught:
            await ask(credentials)
    finally:
        await server.close()
    assert not caught.value.may_have_arrived


async def test_a_server_may_be_known_by_another_name_than_its_address(tmp_path: Path) -> None:
    authority = make_authority("ours")
    server = await tls_server(tmp_path, authority.server("kubernetes.default"), authority)
    cluster = {
        "server": str(server.make_url("")),
        "certificate-authority-data": base64.b64encode(authority.pem).decode(),
        "tls-server-name": "kubernetes.default",
    }
    try:
        assert await ask(load(kubeconfig(tmp_path / "config", cluster=cluster))) == {"subject": None}
    finally:
        await server.close()

"""Certificates that a guest with a wrong clock and a strict client accept."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

import pytest
from cryptography import x509

from tests.controlplane.certificates import make_authority, write_private


def test_they_are_valid_since_yesterday() -> None:
    authority = make_authority("ca")
    yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=23)
    for pem in (authority.pem, authority.server("localhost").certificate, authority.user("u").certificate):
        assert x509.load_pem_x509_certificate(pem).not_valid_before_utc < yesterday


def test_a_server_is_certified_for_names_and_addresses() -> None:
    pem = make_authority("ca").server("localhost", "127.0.0.1", "10.0.2.2").certificate
    names = x509.load_pem_x509_certificate(pem).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert names.get_values_for_type(x509.IPAddress) == [
        ipaddress.ip_address("127.0.0.1"),
        ipaddress.ip_address("10.0.2.2"),
    ]


def test_a_user_name_too_long_for_a_certificate_is_refused() -> None:
    with pytest.raises(ValueError, match="64"):
        make_authority("ca").user("u" * 65)


def test_a_private_file_is_never_readable_by_others(tmp_path: Path) -> None:
    assert write_private(tmp_path / "key", b"secret").stat().st_mode & 0o777 == 0o600

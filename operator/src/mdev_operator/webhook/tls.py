"""The server's TLS, with a certificate that can be replaced while it serves.

New connections show the new certificate, open ones go on with theirs: a client checks it once, at the handshake.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path


class UnusableCertificateError(ValueError):
    """The certificate or its key cannot be served by."""


def server_context() -> ssl.SSLContext:
    """A context without a certificate; give it one with ``show`` before it serves."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def show(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """Show this certificate (PEM, with its chain) from the next connection on.

    Raises UnusableCertificateError, and leaves the context as it was, if the two do not fit.
    """
    # OpenSSL wants a file; this one is in memory only, because it holds the key.
    descriptor = os.memfd_create("certificate", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, certificate + b"\n" + key)
        path = f"/proc/self/fd/{descriptor}"
        server_context().load_cert_chain(path)
        context.load_cert_chain(path)
    except ssl.SSLError as error:
        raise UnusableCertificateError(f"certificate and key cannot be served by: {error}") from error
    finally:
        os.close(descriptor)


def read_mounted(directory: Path) -> tuple[bytes, bytes]:
    """``tls.crt`` and ``tls.key`` of a mounted Secret (cert-manager's, for example); raises OSError."""
    return (directory / "tls.crt").read_bytes(), (directory / "tls.key").read_bytes()

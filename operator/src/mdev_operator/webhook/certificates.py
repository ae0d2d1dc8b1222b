"""Self-issued certificates of the webhook server, and when each is replaced, as a pure function of what there is.

For clusters without cert-manager. What matters is the order, because API servers and our replicas learn of a change at
different times: a new authority is published beside the old one first; it issues only after everybody had time to see
it (``settle``); and the old one stays published until it expires, for replicas that still serve what it issued. So at
every moment whatever certificate a replica serves is issued by an authority that every API server trusts.
Nothing is remembered but the certificates: their own times say how old they are.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

BACKDATE = timedelta(minutes=5)
"""How far back a certificate's life begins: the API server's clock may be behind ours."""

_END_OF_KEY = b"-----END PRIVATE KEY-----\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """A certificate and its private key. Equal if the certificate is: it names the key's public half."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(compare=False)

    @property
    def certificate_pem(self) -> bytes:
        """The certificate as PEM."""
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The key as PEM, not encrypted."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """``authorities``: all that are trusted, oldest first. ``serving``: what the server shows; None: nothing yet."""

    authorities: tuple[Pair, ...] = ()
    serving: Pair | None = None

    @property
    def bundle(self) -> bytes:
        """What clients must trust: the authorities as PEM."""
        return b"".join(authority.certificate_pem for authority in self.authorities)


@dataclass(frozen=True, kw_only=True, slots=True)
class Lifetimes:
    """How long certificates live; each is replaced when a third of its life is left.

    ``settle``: how long a new authority is published before it issues anything: longer than any API server or replica
    needs to see a change, and short beside the life of an authority. Raises ValueError where a certificate could
    expire before its successor may be used.
    """

    authority: timedelta = timedelta(days=365)
    serving: timedelta = timedelta(days=90)
    settle: timedelta = timedelta(hours=1)

    def __post_init__(self) -> None:
        if self.settle * 6 > self.authority or self.serving * 2 > self.authority:
            raise ValueError(
                f"settle ({self.settle}) may be a sixth of an authority's life ({self.authority}) at most, "
                f"a serving certificate's ({self.serving}) half of it"
            )


def next_state(
    state: State, *, now: datetime.datetime, published: Collection[bytes], hosts: Sequence[str], lifetimes: Lifetimes
) -> State:
    """What should be at ``now``; equal to ``state`` if nothing is due.

    ``published``: the authorities (PEM) that every webhook configuration already names. ``hosts``: names or addresses
    by which the API server reaches the server.
    """
    authorities = [a for a in state.authorities if a.certificate.not_valid_after_utc > now]
    if not authorities or _wears_out(authorities[-1], now, lifetimes.authority):
        authorities.append(_authority(now, lifetimes.authority))
    issuer = _issuer(authorities, state.serving, now, published, lifetimes.settle)
    serving = state.serving
    if (
        serving is None
        or not _issued(serving, issuer)
        or _wears_out(serving, now, lifetimes.serving)
        or _hosts_of(serving) != set(hosts)
    ):
        serving = _serving(issuer, hosts, now, lifetimes.serving)
    return State(authorities=tuple(authorities), serving=serving)


def dump(state: State) -> dict[str, bytes]:
    """The data of the Secret that keeps the state: bundle and keys in one order, and the serving pair."""
    data = {"ca.crt": state.bundle, "ca.key": b"".join(a.key_pem for a in state.authorities)}
    if state.serving is not None:
        data |= {"tls.crt": state.serving.certificate_pem, "tls.key": state.serving.key_pem}
    return data


def parse(data: dict[str, bytes]) -> State:
    """The state that ``dump`` wrote; raises ValueError for anything else."""
    if not data:
        return State()
    try:
        certificates = x509.load_pem_x509_certificates(data["ca.crt"])
        keys = [k + _END_OF_KEY for k in data["ca.key"].split(_END_OF_KEY) if k.strip()]
        authorities = tuple(_pair(c, k) for c, k in zip(certificates, keys, strict=True))
        serving = _pair(x509.load_pem_x509_certificate(data["tls.crt"]), data["tls.key"])
    except (KeyError, ValueError, TypeError) as error:
        raise ValueError(f"no certificates of ours: {error!r}") from error
    return State(authorities=authorities, serving=serving)


def split_bundle(bundle: bytes) -> frozenset[bytes]:
    """The certificates of a bundle, one PEM each; none if it is not PEM."""
    try:
        return frozenset(c.public_bytes(Encoding.PEM) for c in x509.load_pem_x509_certificates(bundle))
    except ValueError:
        return frozenset()


def _issuer(
    authorities: Sequence[Pair],
    serving: Pair | None,
    now: datetime.datetime,
    published: Collection[bytes],
    settle: timedelta,
) -> Pair:
    """The newest that everybody trusts; before there is one, the one in use, else the newest."""
    settled = [
        a
        for a in authorities
        if a.certificate_pem in published and now >= a.certificate.not_valid_before_utc + BACKDATE + settle
    ]
    if settled:
        return settled[-1]
    in_use = [a for a in authorities if serving is not None and _issued(serving, a)]
    return in_use[-1] if in_use else authorities[-1]


def _issued(serving: Pair, authority: Pair) -> bool:
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    return serving.certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value == identifier


def _wears_out(pair: Pair, now: datetime.datetime, life: timedelta) -> bool:
    return pair.certificate.not_valid_after_utc - now < life / 3


def _hosts_of(pair: Pair) -> set[str]:
    names = pair.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(name.value) for name in names}


def _pair(certificate: x509.Certificate, key_pem: bytes) -> Pair:
    key = load_pem_private_key(key_pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise ValueError(f"the key does not belong to the certificate {certificate.subject.rfc4514_string()}")
    return Pair(certificate=certificate, key=key)


def _authority(now: datetime.datetime, life: timedelta) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    # A name of its own for each: clients look for an issuer by name, and must not take the predecessor.
    subject = _name(f"mdev-operator webhook authority {x509.random_serial_number():x}"[:64])
    builder = _builder(subject, subject, key, now, now + life)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs=False, certifies=True), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    return Pair(certificate=builder.sign(key, hashes.SHA256()), key=key)


def _serving(issuer: Pair, hosts: Sequence[str], now: datetime.datetime, life: timedelta) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    end = min(now + life, issuer.certificate.not_valid_after_utc)
    builder = _builder(_name(hosts[0][:64]), issuer.certificate.subject, key, now, end)
    builder = builder.add_extension(x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(signs=True, certifies=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
    certificate = builder.add_extension(identifier, critical=False).sign(issuer.key, hashes.SHA256())
    return Pair(certificate=certificate, key=key)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    now: datetime.datetime,
    end: datetime.datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(end)
    )


def _usage(*, signs: bool, certifies: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=signs,
        key_cert_sign=certifies,
        crl_sign=certifies,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)

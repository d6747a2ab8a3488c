"""Development certificate: a CA and a server certificate of it, for `fanout serve --tls-dev`. Knows no room.

Amplify always connects with wss, so a machine without a certificate needs one that a client can be told to trust
(for Node: `NODE_EXTRA_CA_CERTS=<ca.pem>`). Not for production: both private keys lie on the disk, readable by their
owner only. The CA outlives the server certificate, so that trust given to it once stays good while hosts change;
it may sign nothing but server certificates.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fanout.errors import ConfigurationError

ALWAYS_NAMED = ("localhost", "127.0.0.1", "::1")
# Apple's platforms refuse server certificates of more than 825 days, and browsers move towards less.
CA_LIFE = timedelta(days=825)
SERVER_LIFE = timedelta(days=90)
RENEW_BEFORE_END = timedelta(days=7)
# A client in a container or virtual machine may have a clock that is a little behind.
CLOCK_TOLERANCE = timedelta(hours=1)

Host = str | IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class DevelopmentCertificate:
    """Where the PEM files are: what clients have to trust (`ca`), and what the server presents (`cert`, `key`)."""

    ca: Path
    cert: Path
    key: Path


@dataclass(frozen=True, slots=True)
class _Pair:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def create_development_certificate(
    directory: Path, hosts: Iterable[str] = (), *, now: datetime | None = None
) -> DevelopmentCertificate:
    """Make the certificate files in `directory`, or keep those that are there and still good.

    What is kept has at least 7 days to live, belongs together and names every host. Processes that call this at
    the same time wait for each other. Takes a few ms; blocks, so call it before the event loop runs.

    Args:
        directory: made with mode 0700 if it is not there.
        hosts: names or addresses in addition to localhost, 127.0.0.1 and ::1. Addresses that only mean "listen
            everywhere" (0.0.0.0, ::) are left out, since nobody connects to them.
        now: the time to judge by; the clock's when None.

    Raises:
        ConfigurationError: a host that cannot be in a certificate, or a directory that cannot be written.
    """
    moment = now or datetime.now(UTC)
    wanted = _parse_hosts((*ALWAYS_NAMED, *hosts))
    files = DevelopmentCertificate(
        ca=directory / "ca.pem", cert=directory / "server.pem", key=directory / "server-key.pem"
    )
    ca_key_file = directory / "ca-key.pem"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (directory / ".lock").open("w") as lock:
            # Released when the file is closed, also by a crash.
            fcntl.flock(lock, fcntl.LOCK_EX)
            authority = _load_pair(files.ca, ca_key_file)
            if authority is None or not _is_valid(authority.certificate, moment):
                authority = _make_authority(moment)
                _write_pair(authority, files.ca, ca_key_file)
            server = _load_pair(files.cert, files.key)
            if server is None or not _is_good_server(server.certificate, authority.certificate, wanted, moment):
                _write_pair(_make_server(authority, wanted, moment), files.cert, files.key)
    except OSError as error:
        raise ConfigurationError(
            f"{error.filename or directory}: cannot keep the development certificate there: {error.strerror}; "
            "name a directory that can be written, or use --tls-cert and --tls-key"
        ) from None
    return files


def _parse_hosts(hosts: Iterable[str]) -> frozenset[Host]:
    parsed: set[Host] = set()
    for host in hosts:
        try:
            address = ip_address(host.removeprefix("[").removesuffix("]"))
        except ValueError:
            parsed.add(_parse_name(host))
        else:
            if not address.is_unspecified:
                parsed.add(address)
    return frozenset(parsed)


def _parse_name(host: str) -> str:
    try:
        name = host.encode("idna").decode("ascii").lower()
        x509.DNSName(name)
    except ValueError:
        name = ""
    if not name or any(character in name for character in " /:\\\0"):
        raise ConfigurationError(
            f"host {host!r} cannot be named in a certificate: give a host name or an IP address without scheme or port"
        )
    return name


def _load_pair(certificate_file: Path, key_file: Path) -> _Pair | None:
    """What the files hold; None if they are missing, damaged or do not belong together."""
    try:
        certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
        key = load_pem_private_key(key_file.read_bytes(), password=None)
    except (FileNotFoundError, ValueError, TypeError):
        return None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        return None
    # Somebody who could read the key may have copied it; a new one costs nothing.
    if key_file.stat().st_mode & 0o077:
        return None
    return _Pair(certificate, key)


def _is_valid(certificate: x509.Certificate, moment: datetime) -> bool:
    return certificate.not_valid_before_utc <= moment <= certificate.not_valid_after_utc - RENEW_BEFORE_END


def _is_good_server(
    certificate: x509.Certificate, authority: x509.Certificate, wanted: frozenset[Host], moment: datetime
) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False
    named: set[object] = {*names.get_values_for_type(x509.DNSName), *names.get_values_for_type(x509.IPAddress)}
    return wanted <= named and _is_valid(certificate, moment)


def _make_authority(moment: datetime) -> _Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Fanout development CA {os.urandom(4).hex()}")])
    usage = _usage(key_cert_sign=True)
    certificate = (
        _start(name, name, key, moment, moment + CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        # Constrains what it signs: trust in it is of no use for code or mail signatures.
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return _Pair(certificate, key)


def _make_server(authority: _Pair, hosts: frozenset[Host], moment: datetime) -> _Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Fanout development server")])
    names = [x509.DNSName(host) if isinstance(host, str) else x509.IPAddress(host) for host in sorted(hosts, key=str)]
    end = min(moment + SERVER_LIFE, authority.certificate.not_valid_after_utc)
    certificate = (
        _start(name, authority.certificate.subject, key, moment, end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        # Python's VERIFY_X509_STRICT (the default from 3.13 on) asks for it.
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    return _Pair(certificate, key)


def _start(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, moment: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment - CLOCK_TOLERANCE)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _write_pair(pair: _Pair, certificate_file: Path, key_file: Path) -> None:
    _write(key_file, pair.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)
    _write(certificate_file, pair.certificate.public_bytes(Encoding.PEM), 0o644)


def _write(path: Path, content: bytes, mode: int) -> None:
    """Replace the file at once: a server that starts meanwhile reads the old or the new one, never a half."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        file.write(content)
    temporary.replace(path)

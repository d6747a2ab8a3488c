"""The development certificate: judged by Python's own TLS in a real handshake, and by what is on the disk."""

from __future__ import annotations

import asyncio
import ssl
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509

from fanout.development_tls import DevelopmentCertificate, create_development_certificate
from fanout.errors import ConfigurationError
from tests.listener import accepting, find_port, listen_on_loopback


def _alternative_names(path: Path) -> set[str]:
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))}


async def _handshake(files: DevelopmentCertificate, server_name: str) -> None:
    identified = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    identified.load_cert_chain(files.cert, files.key)
    trusting = ssl.create_default_context(cafile=str(files.ca))
    # The default from Python 3.13 on, and the strictest judge there is here.
    trusting.verify_flags |= ssl.VERIFY_X509_STRICT

    async def hang_up(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        pass

    listening = listen_on_loopback()
    async with accepting(listening, hang_up, tls=identified):
        port = find_port(listening)
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting, server_hostname=server_name)
        await reader.read()
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1", "chat.test", "10.1.2.3"])
async def test_a_client_that_trusts_the_ca_connects(tmp_path: Path, name: str) -> None:
    await _handshake(create_development_certificate(tmp_path, ["chat.test", "10.1.2.3"]), name)


async def test_other_names_are_refused(tmp_path: Path) -> None:
    files = create_development_certificate(tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError):
        await _handshake(files, "elsewhere.test")


def test_keys_are_for_their_owner_only(tmp_path: Path) -> None:
    directory = tmp_path / "new" / "tls"
    files = create_development_certificate(directory)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    keys = [path for path in directory.iterdir() if b"PRIVATE KEY" in path.read_bytes()]
    assert {path.name for path in keys} == {"ca-key.pem", "server-key.pem"}
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in keys)
    assert b"PRIVATE" not in files.ca.read_bytes() + files.cert.read_bytes()


def _contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.glob("*.pem")}


def test_files_are_reused_until_7_days_before_their_end(tmp_path: Path) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    create_development_certificate(tmp_path, ["a.test"], now=start)
    made = _contents(tmp_path)
    create_development_certificate(tmp_path, ["A.test"], now=start + timedelta(days=82))
    assert _contents(tmp_path) == made

    create_development_certificate(tmp_path, ["a.test"], now=start + timedelta(days=84))
    renewed = _contents(tmp_path)
    assert renewed["server.pem"] != made["server.pem"]
    assert renewed["ca.pem"] == made["ca.pem"], "trust given to the CA has to last"

    create_development_certificate(tmp_path, ["a.test"], now=start + timedelta(days=820))
    assert _contents(tmp_path)["ca.pem"] != made["ca.pem"]


def test_a_server_certificate_never_outlives_its_ca(tmp_path: Path) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    create_development_certificate(tmp_path, now=start)
    files = create_development_certificate(tmp_path, now=start + timedelta(days=800))
    ca, server = (x509.load_pem_x509_certificate(path.read_bytes()) for path in (files.ca, files.cert))
    assert server.not_valid_after_utc == ca.not_valid_after_utc


def test_a_new_host_gets_a_new_certificate_of_the_same_ca(tmp_path: Path) -> None:
    first = create_development_certificate(tmp_path)
    ca = first.ca.read_bytes()
    second = create_development_certificate(tmp_path, ["chat.test"])
    assert _alternative_names(second.cert) == {"localhost", "127.0.0.1", "::1", "chat.test"}
    assert second.ca.read_bytes() == ca


def test_fewer_hosts_keep_the_certificate(tmp_path: Path) -> None:
    kept = create_development_certificate(tmp_path, ["chat.test"]).cert.read_bytes()
    assert create_development_certificate(tmp_path).cert.read_bytes() == kept


@pytest.mark.parametrize("damaged", ["ca.pem", "ca-key.pem", "server.pem", "server-key.pem"])
@pytest.mark.parametrize("damage", ["cut", "gone", "foreign", "readable"])
async def test_damaged_files_are_replaced(tmp_path: Path, damaged: str, damage: str) -> None:
    create_development_certificate(tmp_path / "here")
    create_development_certificate(tmp_path / "there")
    path = tmp_path / "here" / damaged
    match damage:
        case "cut":
            path.write_bytes(path.read_bytes()[:90])
        case "gone":
            path.unlink()
        case "foreign":
            path.write_bytes((tmp_path / "there" / damaged).read_bytes())
        case "readable":
            path.chmod(0o644)
    files = create_development_certificate(tmp_path / "here")
    await _handshake(files, "localhost")
    assert stat.S_IMODE((tmp_path / "here" / "ca-key.pem").stat().st_mode) == 0o600
    assert stat.S_IMODE(files.key.stat().st_mode) == 0o600


def test_listen_everywhere_addresses_are_left_out(tmp_path: Path) -> None:
    files = create_development_certificate(tmp_path, ["0.0.0.0", "::", "[fe80::2]"])
    assert _alternative_names(files.cert) == {"localhost", "127.0.0.1", "::1", str(ip_address("fe80::2"))}


def test_names_beyond_ascii_are_written_as_dns_does(tmp_path: Path) -> None:
    files = create_development_certificate(tmp_path, ["bücher.test"])
    assert "xn--bcher-kva.test" in _alternative_names(files.cert)


@pytest.mark.parametrize("host", ["", "http://localhost", "localhost:8080", "two words", "a" * 300, ".."])
def test_an_impossible_host_is_told(tmp_path: Path, host: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be named in a certificate: give a host name"):
        create_development_certificate(tmp_path, [host])


def test_a_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match=r"file.*cannot keep the development certificate there: .+; name a"):
        create_development_certificate(tmp_path / "file" / "tls")


async def test_processes_that_start_together_agree(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: create_development_certificate(tmp_path), range(16)))
    await _handshake(made[0], "localhost")

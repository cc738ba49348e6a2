"""The lab's own certificate, made once: what its services ask of whoever talks to them.

One self-signed certificate serves as identity and as the only authority, as Flink's documentation advises for mutual TLS
("SSL Setup"). It names 127.0.0.1 and localhost, so that a page that was made to point here by another name is refused too.
It is valid always: the machine's clock may be set.
"""

from __future__ import annotations

import ipaddress
import secrets
import shutil
from datetime import UTC, datetime
from pathlib import Path

from rtap_lab.endpoints import Tls
from rtap_lab.stack.state import State, write_private

_FILES = ("certificate.pem", "key.pem", "store.p12", "trust.p12")
_FROM, _UNTIL = datetime(2000, 1, 1, tzinfo=UTC), datetime(2099, 12, 31, tzinfo=UTC)


def certificate_of(state: State) -> Tls:
    """The lab's certificate; made on first use, in files that only its owner can read."""
    folder = state.folder / "secrets" / "tls"
    if not folder.is_dir():
        with state.lock("certificate"):
            if not folder.is_dir():
                part = folder.with_name(f"tls.{secrets.token_hex(4)}.part")
                part.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                part.mkdir(mode=0o700)
                _make(part)
                part.replace(folder)  # whole, or not at all
                for left in folder.parent.glob("tls.*.part"):  # of one that was killed while it made it
                    shutil.rmtree(left, ignore_errors=True)
    certificate, key, store, trust = (str(folder / name) for name in _FILES)
    return Tls(certificate, key, store, trust, (folder / "password").read_text())


def _make(folder: Path) -> None:
    # they take a moment to import, and are needed once in a lab's life
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import pkcs12
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "rtap_lab")])
    places = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
    uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_FROM)
        .not_valid_after(_UNTIL)
        .add_extension(x509.SubjectAlternativeName(places), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    password = secrets.token_hex(16)
    # One round: Flink's client opens its stores anew for every request, and the usual 20,000 rounds took 0.3 s of a core each
    # time. The password is drawn at random, and stands beside the stores: stretching it protects nothing.
    sealed = (
        serialization.PrivateFormat.PKCS12.encryption_builder()
        .kdf_rounds(1)
        .key_cert_algorithm(pkcs12.PBES.PBESv2SHA256AndAES256CBC)
        .hmac_hash(hashes.SHA256())
        .build(password.encode())
    )
    pem = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    files = {
        "certificate.pem": certificate.public_bytes(pem),
        "key.pem": key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain),
        "store.p12": pkcs12.serialize_key_and_certificates(b"rtap_lab", key, certificate, None, sealed),
        "trust.p12": pkcs12.serialize_java_truststore([pkcs12.PKCS12Certificate(certificate, b"rtap_lab")], sealed),
        "password": password.encode(),
    }
    for each, content in files.items():
        write_private(folder / each, content)

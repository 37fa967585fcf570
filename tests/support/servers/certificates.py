"""Certificates for tests: an authority, and what it signs."""

import datetime
import ipaddress
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_PEM = serialization.Encoding.PEM


class Signed(NamedTuple):
    """A key and its certificate, as files."""

    key: Path
    cert: Path


class Authority:
    """Signs certificates; its own is `ca.pem`."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("authority")
        builder = _builder(self._name, self._name, self._key)
        basic = x509.BasicConstraints(ca=True, path_length=None)
        certificate = builder.add_extension(basic, critical=True).sign(
            self._key, hashes.SHA256()
        )
        self.cert = directory / "ca.pem"
        self.cert.write_bytes(certificate.public_bytes(_PEM))

    def sign(self, name: str) -> Signed:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name(name), self._name, key)
        here = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        names = x509.SubjectAlternativeName([here, x509.DNSName("localhost")])
        signed = builder.add_extension(names, critical=False).sign(
            self._key, hashes.SHA256()
        )
        paths = Signed(self._directory / f"{name}.key", self._directory / f"{name}.pem")
        paths.cert.write_bytes(signed.public_bytes(_PEM))
        secret = serialization.NoEncryption()
        form = serialization.PrivateFormat.PKCS8
        paths.key.write_bytes(key.private_bytes(_PEM, form, secret))
        return paths


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
    )

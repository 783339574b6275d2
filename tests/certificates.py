"""Certificates for loopback, made anew for each run of the tests, good ones and bad ones."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

LOOPBACK = (x509.IPAddress(ip_address("127.0.0.1")), x509.DNSName("localhost"))
ELSEWHERE = (x509.DNSName("es.example.com"),)


@dataclass(frozen=True)
class Authority:
    """Signs certificates; each is a PEM file with its chain and its key, as a server loads it."""

    folder: Path
    name: str = "Loopback authority"

    @cached_property
    def path(self) -> Path:
        """The authority's own certificate, as `ca_certs` takes it."""
        path = self.folder / f"{self.name}.pem"
        path.write_bytes(_pem(self._certificate))
        return path

    @property
    def fingerprint(self) -> str:
        """Its SHA-256, in hexadecimal digits."""
        return self._certificate.fingerprint(hashes.SHA256()).hex()

    def good(self) -> Path:
        """Sign a certificate with nothing wrong about it."""
        return self._signed("good")

    def for_another_host(self) -> Path:
        """Sign a certificate that does not name loopback."""
        return self._signed("another-host", names=ELSEWHERE)

    def expired(self) -> Path:
        """Sign a certificate that ended yesterday."""
        return self._signed("expired", days=-1)

    @cached_property
    def _key(self) -> ec.EllipticCurvePrivateKey:
        return ec.generate_private_key(ec.SECP256R1())

    @cached_property
    def _certificate(self) -> x509.Certificate:
        own = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])
        usage = _usage(digital_signature=True, key_cert_sign=True, crl_sign=True)
        return (
            _begun(own, own, self._key, days=1)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .sign(self._key, hashes.SHA256())
        )

    def _signed(self, name: str, names: tuple[Any, ...] = LOOPBACK, days: int = 1) -> Path:
        key, authority = ec.generate_private_key(ec.SECP256R1()), self._certificate
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        certificate = (
            _begun(subject, authority.subject, key, days)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(issuer_id, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        secret = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        path = self.folder / f"{self.name} {name}.pem"
        path.write_bytes(secret + _pem(certificate) + _pem(authority))
        return path


def _begun(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=7))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(**allowed: bool) -> x509.KeyUsage:
    every = (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
        *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    )
    return x509.KeyUsage(**{use: allowed.get(use, False) for use in every})


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)

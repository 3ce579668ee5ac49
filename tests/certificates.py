"""Keys and certificates for servers on loopback, made anew by each process that imports this.

No private key is in the repository: a scanner of secrets would have to know that it protects
nothing.
"""

import atexit
import os
import shutil
import tempfile
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

BEGIN: Final = datetime(2020, 1, 1, tzinfo=UTC)
END: Final = datetime(2120, 1, 1, tzinfo=UTC)


def self_signed(host, end=END):
    """Make a key, and a certificate that is its own authority, as one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    names: list[x509.GeneralName] = [x509.DNSName(host)]
    if host == "localhost":
        names.append(x509.IPAddress(ip_address("127.0.0.1")))
    public = key.public_key()
    certificate = (
        x509.CertificateBuilder(name, name, public, x509.random_serial_number(), BEGIN, end)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    pem = serialization.Encoding.PEM
    return key.private_bytes(pem, form, plain) + certificate.public_bytes(pem)


def _folder():
    folder, maker = Path(tempfile.mkdtemp(prefix="claude-lite-tls-")), os.getpid()
    (folder / "localhost.pem").write_bytes(self_signed("localhost"))
    (folder / "expired.pem").write_bytes(self_signed("localhost", datetime(2020, 1, 2, tzinfo=UTC)))
    (folder / "other.pem").write_bytes(self_signed("other.invalid"))
    # A forked child that ends must not take the files of its parent away.
    atexit.register(lambda: os.getpid() == maker and shutil.rmtree(folder))
    return folder


TLS: Final = _folder()
PEM: Final = TLS / "localhost.pem"

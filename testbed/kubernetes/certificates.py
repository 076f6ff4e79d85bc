"""The cluster's authority, and the certificate of its API server that it signed.

Left to itself the API server signs its own and forgets the key of the authority; then nobody could give it another
certificate that its clients trust, as an experiment with an expired one has to.
"""

from pathlib import Path
from typing import NamedTuple

from testbed import processes
from testbed.kubernetes import cluster

DAYS = "365"


class Certificates(NamedTuple):
    """PEM files."""

    authority: Path
    authority_key: Path
    served: Path
    served_key: Path


def places(folder: Path | None = None) -> Certificates:
    """Where they are, in the folder of the cluster, whether they are there or not."""
    inside = (folder or cluster.folder()) / "certificates"
    return Certificates(*(inside / name for name in ("ca.crt", "ca.key", "apiserver.crt", "apiserver.key")))


def ensure() -> Certificates:
    """Make what is not there yet."""
    found = places()
    found.authority.parent.mkdir(parents=True, exist_ok=True)
    new = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", DAYS)
    if not found.authority.exists():
        may = ("-addext", "keyUsage=critical,digitalSignature,keyCertSign")
        processes.run([*new, *may, "-subj", "/CN=kt-testbed", "-keyout", found.authority_key, "-out", found.authority])
    if not found.served.exists():
        names = ["localhost", *(f"kubernetes{rest}" for rest in ("", ".default", ".default.svc"))]
        addresses = ["127.0.0.1", cluster.API_ADDRESS, cluster.API_SERVICE]
        told = [f"DNS:{name}" for name in names] + [f"IP:{address}" for address in addresses]
        usage = ("-addext", "basicConstraints=critical,CA:FALSE", "-addext", f"subjectAltName={','.join(told)}")
        by = ("-CA", found.authority, "-CAkey", found.authority_key)
        processes.run(
            [*new, *usage, *by, "-subj", "/CN=kube-apiserver", "-keyout", found.served_key, "-out", found.served]
        )
    return found

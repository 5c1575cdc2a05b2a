"""Valkey as people deploy it, started for a test: with a password, behind TLS, as a cluster of three."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from knowledge.servers.binaries import VALKEY, find

SLOTS = 16384


def free_ports(count: int) -> list[int]:
    """Ports whose neighbours 10,000 above, where the nodes of a cluster talk to each other, exist, too."""
    with ExitStack() as stack:
        ports: list[int] = []
        while len(ports) < count:
            taken = stack.enter_context(socket.socket())
            taken.bind(("127.0.0.1", 0))
            if taken.getsockname()[1] < 55_000:
                ports.append(taken.getsockname()[1])
        return ports


@contextmanager
def valkey(folder: Path, port: int, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """Answers when this is entered."""
    folder.mkdir(exist_ok=True)
    process = subprocess.Popen(
        [str(find(VALKEY, setting="REDIS_URL")), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder), *options],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        until = time.monotonic() + 20
        while time.monotonic() < until:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def valkey_cluster(folder: Path, *options: str, password: str = "") -> Iterator[list[int]]:
    """Three nodes with a third of the slots each; the ports. All slots are served when this is entered."""
    ports = free_ports(3)
    with ExitStack() as stack:
        for port in ports:
            own = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000", *options]
            stack.enter_context(valkey(folder / str(port), port, *own))
        nodes = [redis.Redis(port=port, password=password or None, decode_responses=True) for port in ports]
        for n, node in enumerate(nodes):
            first, last = n * SLOTS // 3, (n + 1) * SLOTS // 3 - 1
            node.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
            node.execute_command("CLUSTER", "SET-CONFIG-EPOCH", n + 1)
        for port in ports[1:]:
            nodes[0].execute_command("CLUSTER", "MEET", "127.0.0.1", port)
        until = time.monotonic() + 60
        while not all(_is_whole(node) for node in nodes):
            assert time.monotonic() < until, "the cluster did not come together"
            time.sleep(0.1)
        for node in nodes:
            node.close()
        yield ports


def _is_whole(node: redis.Redis) -> bool:
    facts = str(node.execute_command("CLUSTER", "INFO"))
    return "cluster_state:ok" in facts and "cluster_known_nodes:3" in facts


def certificates(folder: Path) -> tuple[Path, Path, Path]:
    """Files of a CA of one's own, and a certificate and key for 127.0.0.1 that it signed."""
    now = datetime.datetime.now(datetime.UTC)

    def signed(name: str, key: ec.EllipticCurvePrivateKey, by: str, by_key: ec.EllipticCurvePrivateKey) -> bytes:
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, by)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=name == by, path_length=None), critical=True)
        )
        if name != by:
            address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
            builder = builder.add_extension(address, critical=False)
        return builder.sign(by_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    files = folder / "ca.pem", folder / "server.pem", folder / "server.key"
    files[0].write_bytes(signed("Test CA", ca_key, "Test CA", ca_key))
    files[1].write_bytes(signed("127.0.0.1", key, "Test CA", ca_key))
    files[2].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files


@contextmanager
def tls_in_front_of(port: int, certificate: Path, key: Path) -> Iterator[int]:
    """A port that speaks TLS and hands on to `port` what it says: the Valkey of the wheel is built without TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    listener = socket.create_server(("127.0.0.1", 0))

    def pump(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError, ValueError):
            while data := source.recv(65536):
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)

    def serve() -> None:
        while True:
            try:
                raw, _ = listener.accept()
            except OSError:
                return
            try:
                outside = context.wrap_socket(raw, server_side=True)
            except OSError:
                continue  # the client does not trust us
            inside = socket.create_connection(("127.0.0.1", port))
            for way in ((outside, inside), (inside, outside)):
                threading.Thread(target=pump, args=way, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()

#!/usr/bin/env python3
"""Lets clients that others wrote talk to the stand-ins: `make clients`.

A stand-in and a client written by the same hand agree about mistakes too. Here Microsoft's
own clients (msgraph-sdk, azure-identity, PowerPlatform-Dataverse-Client) and rclone do
their work against the stand-ins, unchanged, over TLS, by the real services' names:

    client --CONNECT graph.microsoft.com:443--> a proxy on loopback
           --TLS, a certificate of a CA made for this run--> nginx --> the stand-in

metabase-api and dbt-metabase talk to the stand-in of Metabase on loopback, by plain HTTP as an
installation's own Metabase is reached.

The proxy opens no connection to anything but that nginx and refuses every other name, so
nothing leaves this machine. No check of a certificate is switched off anywhere.

A line a task: `works`, `FAILED`, or `CANNOT` for what a client or a stand-in does not have.
Exits with 0 when each client did all that is asked of it, 1 when one did not, 2 when they
could not be tried (openssl, nginx or the clients are missing and cannot be installed).
"""

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# nginx lies in /usr/sbin, which is not in everybody's PATH.
PATH = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/usr/local/sbin"


def say(text):
    print(text, flush=True)


class Proxy(threading.Thread):
    """Leads the names of the stand-ins to nginx, and nothing anywhere else."""

    def __init__(self, names, target):
        super().__init__(daemon=True)
        self.names, self.target = names, target
        self.refused, self.led = [], {}
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = "http://127.0.0.1:%d" % self.socket.getsockname()[1]

    def run(self):
        while True:
            client, _ = self.socket.accept()
            threading.Thread(target=self.lead, args=(client,), daemon=True).start()

    def lead(self, client):
        head = b""
        while b"\r\n\r\n" not in head:
            piece = client.recv(4096)
            if not piece:
                return client.close()
            head += piece
        line = head.split(b"\r\n", 1)[0].decode("latin-1")
        method, _, rest = line.partition(" ")
        name, _, port = rest.split(" ")[0].partition(":")
        if method != "CONNECT" or name not in self.names or port != "443":
            self.refused.append(rest.split("?")[0])
            client.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return client.close()
        self.led[name] = self.led.get(name, 0) + 1
        server = socket.create_connection(self.target)
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        back = threading.Thread(target=self.pump, args=(server, client), daemon=True)
        back.start()
        self.pump(client, server)
        back.join()

    @staticmethod
    def pump(source, sink):
        try:
            while piece := source.recv(65536):
                sink.sendall(piece)
        except OSError:
            pass  # The other side hung up, which is how a conversation ends.
        try:
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass


def make_certificates(folder, names):
    """A CA for this run and one certificate for all names; the keys go with the folder."""

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    alternatives = ",".join(f"DNS:{name}" for name in names)
    (folder / "extensions").write_text(
        f"subjectAltName={alternatives}\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n"
    )
    openssl(*"req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj".split(), "/CN=stand-ins",
            "-addext", "keyUsage=critical,keyCertSign", "-addext", "basicConstraints=critical,CA:TRUE")
    openssl(*"req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=stand-ins".split())
    openssl(*"x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem -days 2".split(),
            "-extfile", "extensions")
    return folder / "ca.pem"


def start_nginx(folder, hosts):
    """One port, a server a name; HTTP/2 where a client can."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    servers = "".join(
        f"""
        server {{
            listen 127.0.0.1:{port} ssl http2;
            server_name {name};
            # Without a path here the request line goes on as it came, byte for byte.
            location / {{ proxy_pass http://{place}; proxy_http_version 1.1; proxy_set_header Connection ""; }}
        }}"""
        for name, place in hosts.items()
    )
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        f"""
    {user}
    daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
    events {{ worker_connections 256; }}
    http {{
        access_log off; client_max_body_size 0; proxy_buffering off; large_client_header_buffers 4 64k;
        client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
        uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
        ssl_certificate {folder}/server.pem; ssl_certificate_key {folder}/server.key;
        {servers}
    }}
    """
    )
    process = subprocess.Popen([shutil.which("nginx", path=PATH), "-p", str(folder), "-c", str(folder / "nginx.conf")],
                               stderr=subprocess.DEVNULL)
    for _ in range(100):
        if process.poll() is not None:
            sys.exit(f"nginx did not start:\n{(folder / 'nginx.log').read_text()}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return process, ("127.0.0.1", port)
        except OSError:
            threading.Event().wait(0.05)
    sys.exit("nginx did not open its port")


def venv(folder):
    """A Python with the clients in it; None where they cannot be had."""
    wanted = (HERE / "requirements.txt").read_text()
    python, mark = folder / "bin" / "python", folder / "installed.txt"
    if mark.exists() and mark.read_text() == wanted:
        return python
    say(f"installing the clients into {folder} (some 600 MB, minutes)")
    made = subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)])
    if made.returncode == 0:
        made = subprocess.run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                               "--requirement", str(HERE / "requirements.txt")])
    if made.returncode != 0:
        return None
    mark.write_text(wanted)
    return python


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sandbox", default=str(ROOT / "target/debug/sandbox"), help="the built sandbox")
    parser.add_argument("--keep", type=Path, default=ROOT / "target/third-party-clients", help="where the venv stays")
    parser.add_argument("--only", choices=["graph", "dataverse", "rclone", "metabase"], action="append", help="not all of them")
    parser.add_argument("--fault", action="append", default=[], help="a fault of the stand-ins, as in `sandbox demo`")
    arguments = parser.parse_args()
    for program, package in [("openssl", "openssl"), ("nginx", "nginx")]:
        if not shutil.which(program, path=PATH):
            say(f"`{program}` is missing: install it (Debian: `apt-get install {package}`)")
            return 2
    arguments.keep.mkdir(parents=True, exist_ok=True)
    python = venv(arguments.keep / "venv")
    if python is None:
        say("the clients could not be installed; pip's reason is above")
        return 2
    with tempfile.TemporaryDirectory(dir=arguments.keep) as name:
        folder = Path(name)
        os.chmod(folder, 0o700)
        faults = [part for fault in arguments.fault for part in ("--fault", fault)]
        stand_ins = subprocess.Popen([arguments.sandbox, "stand-ins", "--microsoft-names", *faults],
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        front = None
        try:
            described = stand_ins.stdout.readline()
            if not described:
                sys.exit("the stand-ins did not start; build them with `cargo build --workspace --bins`")
            world = json.loads(described)
            authority = make_certificates(folder, list(world["hosts"]))
            front, place = start_nginx(folder, world["hosts"])
            proxy = Proxy(set(world["hosts"]), place)
            proxy.start()
            environment = {key: value for key, value in os.environ.items() if "proxy" not in key.lower()}
            environment |= {
                "HTTPS_PROXY": proxy.url, "HTTP_PROXY": proxy.url, "NO_PROXY": "",
                "SSL_CERT_FILE": str(authority), "REQUESTS_CA_BUNDLE": str(authority),
                "STAND_INS": described, "SANDBOX": arguments.sandbox, "CLIENT_FOLDER": str(folder), "PYTHONDONTWRITEBYTECODE": "1",
            }
            outcomes = {}
            for client in arguments.only or ["graph", "dataverse", "rclone", "metabase"]:
                say(f"\n{client}")
                done = subprocess.run([str(python), str(HERE / f"{client}_client.py")], env=environment, timeout=600)
                outcomes[client] = min(done.returncode, 1)
            say(f"\nled to the stand-ins: {', '.join(f'{name} {count}' for name, count in sorted(proxy.led.items()))}")
            if proxy.refused:
                say(f"refused, as nothing may leave this machine: {', '.join(sorted(set(proxy.refused)))}")
        finally:
            if front:
                front.terminate()
                front.wait()
            stand_ins.stdin.close()
            stand_ins.wait()
    words = {0: "works", 1: "FAILED"}
    say("; ".join(f"{client}: {words[code]}" for client, code in outcomes.items()))
    return max(outcomes.values())


if __name__ == "__main__":
    sys.exit(main())

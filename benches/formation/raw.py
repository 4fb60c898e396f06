"""The floor, measured inside one host: the calls themselves, without a program around them.

    raw.py worker TOKEN MANAGER ADDRESS     join the Swarm by its API, mount, look
    raw.py look                             one look at the engine, the volume and the mount, side by side

Prints the seconds it took, one `name seconds` for each line; the start of the interpreter is not among them.
"""

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time

MOUNT = "/mnt/shared"


class Docker(http.client.HTTPConnection):
    """The engine's API on its socket."""

    def __init__(self):
        super().__init__("docker", timeout=30)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect("/var/run/docker.sock")

    def call(self, method, path, body=None):
        data = json.dumps(body) if body is not None else None
        self.request(method, path, data, {"Content-Type": "application/json"})
        answer = self.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise SystemExit(f"{method} {path}: {answer.status} {text.decode()}")
        return json.loads(text) if text.strip() else None


def worker(token, manager, address):
    os.makedirs(MOUNT, exist_ok=True)
    began = time.monotonic()
    docker = Docker()
    docker.call("POST", "/swarm/join", {
        "ListenAddr": "0.0.0.0:2377",
        "AdvertiseAddr": address,
        "RemoteAddrs": [manager],
        "JoinToken": token,
    })
    while docker.call("GET", "/info")["Swarm"]["LocalNodeState"] != "active":
        time.sleep(0.005)
    joined = time.monotonic()
    subprocess.run(["mount", "-t", "glusterfs", "h1:/shared", MOUNT], check=True)
    os.statvfs(MOUNT)
    mounted = time.monotonic()
    print("join", joined - began)
    print("mount", mounted - joined)


def look():
    began = time.monotonic()
    threads = [
        threading.Thread(target=lambda: Docker().call("GET", "/info")),
        threading.Thread(target=lambda: subprocess.run(
            ["gluster", "--mode=script", "--xml", "volume", "info"], check=True, stdout=subprocess.DEVNULL)),
    ]
    for thread in threads:
        thread.start()
    os.statvfs(MOUNT)
    for thread in threads:
        thread.join()
    print("look", time.monotonic() - began)


if sys.argv[1] == "worker":
    worker(*sys.argv[2:5])
else:
    look()

"""Who is measured: clusterctl, a careful shell script, Ansible, and the floor by hand.

Each forms a cluster of h1 to h4, takes h5 in as one more worker, and where it can is run again with nothing to do. Each
returns seconds; the harness verifies the end.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

from lab import Failed, run

HERE = Path(__file__).resolve().parent
FORMED = ["h1", "h2", "h3", "h4"]
NEW = "h5"
ANSIBLE = "ansible==9.13.0"


class Clusterctl:
    name = "clusterctl"

    def __init__(self, lab, work):
        self.lab, self.work = lab, work

    def form(self):
        lab, port = self.lab, 7000
        began = time.monotonic()
        # All at the same moment: a controller waits for its Swarm, and a join for its controller.
        address = ["--advertise-addr", lab.address("h1")]
        # Nobody is asked for a token, as there is none before `master init` has ended; all exchanges are on TLS.
        lab.start("h1", "clusterctl", "master", "serve", "--enable-glusterfs", "--admission", "open", *address,
                  log=self.work / "serve.log")
        self.master = f"{lab.address('h1')}:{port}"
        init = ("h1", ["clusterctl", "master", "init", *address])
        lab.at_once([init, *((host, self.join(host)) for host in FORMED)])
        return {"wall": time.monotonic() - began}

    def join(self, host):
        role = ["--role", "manager"] if host == "h1" else []
        return ["clusterctl", "node", "join", "--master", self.master, *role]

    def worker(self):
        done = self.lab.on(NEW, *self.join(NEW))
        return {"wall": done.wall, "cpu": done.cpu}

    def again(self):
        before = self.lab.marks(FORMED)
        done = self.lab.on("h2", *self.join("h2"))
        began = time.monotonic()
        self.lab.at_once([(host, self.join(host)) for host in FORMED])
        everywhere = time.monotonic() - began
        if "nothing to do" not in done.out:
            raise Failed(f"a second join found something to do:\n{done.out}")
        if self.lab.marks(FORMED) != before:
            raise Failed("a second join changed something")
        return {"wall": done.wall, "cpu": done.cpu, "everywhere": everywhere, "mutations": 0}


class Shell:
    name = "shell script"

    def __init__(self, lab, work):
        self.lab = lab

    def form(self):
        return {"wall": run([HERE / "careful.sh", "form", self.lab.enter]).wall}

    def worker(self):
        return {"wall": run([HERE / "careful.sh", "worker", self.lab.enter, NEW]).wall}

    def again(self):
        return None


class Ansible:
    """Ansible at its best: no SSH (each host's Python is entered directly), pipelining, no facts."""

    name = "Ansible"

    def __init__(self, lab, work):
        self.lab, self.work = lab, work
        self.bin = work / "venv" / "bin"
        if not (self.bin / "ansible-playbook").exists():
            run([sys.executable, "-m", "venv", work / "venv"])
            run([self.bin / "pip", "install", "--quiet", ANSIBLE, "docker", "requests"], timeout=1200)

    def inventory(self, hosts):
        lines = ["[all]"]
        for host in hosts:
            python = self.work / "python" / host
            python.parent.mkdir(exist_ok=True)
            python.write_text(f'#!/bin/sh\nexec "{self.lab.enter / host}" "{self.bin / "python"}" "$@"\n')
            python.chmod(0o755)
            lines.append(f"{host} ansible_connection=local ansible_python_interpreter={python} "
                         f"address={self.lab.address(host)}")
        lines += ["[workers]", *hosts[1:], "[bricks]", *hosts[:3], "[new]", NEW if NEW in hosts else ""]
        path = self.work / "inventory.ini"
        path.write_text("\n".join(lines) + "\n")
        return path

    def play(self, book, hosts):
        env = dict(os.environ, ANSIBLE_PIPELINING="True", ANSIBLE_FORKS="10", ANSIBLE_NOCOLOR="1", LC_ALL="C.UTF-8",
                   ANSIBLE_HOME=str(self.work / "ansible"), ANSIBLE_LOCALHOST_WARNING="False")
        return run([self.bin / "ansible-playbook", "-i", self.inventory(hosts), HERE / book], env=env, cwd=HERE)

    def form(self):
        done = self.play("site.yml", FORMED)
        return {"wall": done.wall, "cpu": done.cpu}

    def worker(self):
        done = self.play("worker.yml", [*FORMED, NEW])
        return {"wall": done.wall, "cpu": done.cpu}

    def again(self):
        done = self.play("site.yml", FORMED)
        if any("changed=0" not in line for line in done.out.splitlines() if "unreachable=" in line):
            raise Failed(f"a second run changed something:\n{done.out}")
        return {"wall": done.wall, "cpu": done.cpu}


class Floor:
    """By hand: what cannot be left out, one thing after the other, with the tools themselves. The access list is part of
    it: without one, whoever reaches a brick's port reads and writes everything."""

    name = "floor"

    def __init__(self, lab, work):
        self.lab = lab
        self.raw = (HERE / "raw.py").read_text()

    def gluster(self, *argv):
        return self.lab.on("h1", "gluster", "--mode=script", *argv).wall

    def form(self):
        lab, brick = self.lab, "/data/clusterctl/bricks/shared"
        for host in FORMED:
            lab.on(host, "mkdir", "-p", brick, "/mnt/shared")
        # The Swarm is not on the critical path: it is made beforehand, and not timed.
        lab.on("h1", "docker", "swarm", "init", "--advertise-addr", lab.address("h1"))
        self.token = lab.on("h1", "docker", "swarm", "join-token", "-q", "worker").out.strip()
        manager = f"{lab.address('h1')}:2377"
        lab.at_once([(host, ["docker", "swarm", "join", "--token", self.token, manager]) for host in FORMED[1:]])
        probe = sum(self.gluster("peer", "probe", host) for host in FORMED[1:3])

        def connected():
            return lab.on("h1", "gluster", "--mode=script", "peer", "status").out.count("(Connected)") == 2
        lab.wait_for("peers connected", connected)
        create = self.gluster("volume", "create", "shared", "replica", "3", *[f"{host}:{brick}" for host in FORMED[:3]])
        allow = self.allow(FORMED)
        start = self.gluster("volume", "start", "shared")
        mount = lab.on("h4", "mount", "-t", "glusterfs", "h1:/shared", "/mnt/shared").wall
        lab.at_once([(host, ["mount", "-t", "glusterfs", "h1:/shared", "/mnt/shared"]) for host in FORMED[:3]])
        return {"wall": probe + create + allow + start + mount, "probe": probe, "create": create, "allow": allow,
                "start": start, "mount": mount}

    def allow(self, hosts):
        allowed = ",".join(self.lab.address(host) for host in hosts)
        return self.gluster("volume", "set", "shared", "auth.allow", allowed)

    def measured(self, host, *argv):
        argv = self.lab.argv(host, "python3", "-", *argv)
        done = subprocess.run(argv, input=self.raw.encode(), stdout=subprocess.PIPE, timeout=60, check=True)
        return {name: float(seconds) for name, seconds in (line.split() for line in done.stdout.decode().splitlines())}

    def worker(self):
        allow = self.allow([*FORMED, NEW])
        parts = self.measured(NEW, "worker", self.token, f"{self.lab.address('h1')}:2377", self.lab.address(NEW))
        # The Swarm is joined while the volume's servers are told of the new client.
        return {"wall": max(parts["join"], allow) + parts["mount"], "allow": allow, **parts}

    def again(self):
        return {"wall": self.measured("h2", "look")["look"]}

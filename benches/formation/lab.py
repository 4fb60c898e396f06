"""The lab as the benchmark sees it: bare hosts, entered in the same way by every contender."""

import json
import os
import resource
import subprocess
import time
from pathlib import Path

NAME = "formation"


class Failed(Exception):
    """A program ended with an error; the message has its output."""


class Run:
    """A finished program: seconds, seconds of processor time with its children's, output."""

    def __init__(self, argv, process, out, wall, cpu):
        self.argv, self.code, self.out, self.wall, self.cpu = argv, process.returncode, out, wall, cpu


def run(argv, check=True, timeout=300, env=None, cwd=None):
    """Runs one program to its end and measures it."""
    argv = [str(word) for word in argv]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    process = subprocess.run(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        timeout=timeout, env=env, cwd=cwd)
    wall = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    done = Run(argv, process, process.stdout.decode(errors="replace"), wall, cpu)
    if check and done.code != 0:
        raise Failed(f"{' '.join(argv)}: exit code {done.code}\n{done.out}")
    return done


class Lab:
    """Hosts h1 to hN. `enter` has a program for each host that runs its arguments there, and its address in a file."""

    def __init__(self, binary, work, hosts):
        self.binary = Path(binary).resolve()
        self.hosts = [f"h{number}" for number in range(1, hosts + 1)]
        self.enter = work / "enter"
        self.enter.mkdir(parents=True, exist_ok=True)

    def up(self):
        """Bare hosts, whatever was there before."""
        self.down()
        run([self.binary, "lab", "up", "--name", NAME, "--hosts", len(self.hosts)])
        status = json.loads(run([self.binary, "lab", "status", "--name", NAME, "--output", "json"]).out)
        addresses = {host["host"]: host["ip"] for host in status}
        for host in self.hosts:
            # Two lines, so that no contender pays for more than entering the namespaces.
            wrapper = self.enter / host
            wrapper.write_text(f'#!/bin/sh\nexec nsenter --target {self.first_process(host)} --all -- "$@"\n')
            wrapper.chmod(0o755)
            (self.enter / f"{host}.address").write_text(addresses[host])

    def first_process(self, host):
        """The process of this machine that is number 1 in `host`."""
        inside = run([self.binary, "lab", "exec", host, "--name", NAME, "--", "readlink", "/proc/1/ns/pid"]).out.strip()
        for process in Path("/proc").glob("[0-9]*"):
            try:
                numbers = [line for line in (process / "status").read_text().splitlines() if line.startswith("NSpid:")]
                if os.readlink(process / "ns/pid") == inside and numbers[0].split()[-1] == "1":
                    return process.name
            except (OSError, IndexError):
                # It ended meanwhile.
                continue
        raise Failed(f"{host}: no first process")

    def down(self):
        """Nothing is left."""
        run([self.binary, "lab", "down", "--name", NAME])

    def address(self, host):
        return (self.enter / f"{host}.address").read_text()

    def argv(self, host, *argv):
        """The command line that runs `argv` in `host`."""
        return [str(self.enter / host), *argv]

    def on(self, host, *argv, **options):
        return run(self.argv(host, *argv), **options)

    def start(self, host, *argv, log):
        """Starts a program in `host` that goes on running; the end of the lab ends it."""
        with open(log, "wb") as file:
            return subprocess.Popen(
                self.argv(host, *argv), stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True)

    def at_once(self, commands, timeout=300):
        """Runs `(host, argv)` pairs at the same moment; all must succeed."""
        running = [
            subprocess.Popen(self.argv(host, *argv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT)
            for host, argv in commands
        ]
        for (host, argv), process in zip(commands, running):
            out, _ = process.communicate(timeout=timeout)
            if process.returncode != 0:
                raise Failed(f"{host}: {' '.join(argv)}: exit code {process.returncode}\n{out.decode(errors='replace')}")

    def wait_for(self, what, check, seconds=30):
        """Waits until `check` is true."""
        deadline = time.monotonic() + seconds
        while not check():
            if time.monotonic() > deadline:
                raise Failed(f"{what}: not within {seconds} s")
            time.sleep(0.02)

    def verify(self, hosts):
        """The end that every contender must reach: all ready in one Swarm, three copies, mounted and usable."""
        def ready():
            nodes = self.on("h1", "docker", "node", "ls", "--format", "{{.Hostname}} {{.Status}}").out.split("\n")
            return {f"{host} Ready" for host in hosts} <= {node.strip() for node in nodes}
        self.wait_for("all nodes ready", ready)
        info = self.on("h1", "gluster", "--mode=script", "volume", "info", "shared").out
        for line in ("Type: Replicate", "Status: Started", "Number of Bricks: 1 x 3 = 3", "auth.allow: "):
            if line not in info:
                raise Failed(f"no `{line}` in the volume:\n{info}")
        for host in hosts:
            kind = self.on(host, "findmnt", "--noheadings", "--output", "FSTYPE", "/mnt/shared").out.strip()
            if kind != "fuse.glusterfs":
                raise Failed(f"{host}: /mnt/shared is {kind or 'not mounted'}")
            self.on(host, "sh", "-c", f"echo {host} >/mnt/shared/{host}")
        for host in hosts:
            found = set(self.on(host, "ls", "/mnt/shared").out.split())
            if not set(hosts) <= found:
                raise Failed(f"{host}: sees {sorted(found)}")

    def marks(self, hosts):
        """What a change would leave a mark in: Swarm objects, volume commands, mounts, unit files."""
        marks = {"swarm": self.on(
            "h1", "sh", "-c", "docker node inspect --format '{{.ID}} {{.Spec}} {{.Version.Index}}' $(docker node ls -q)").out}
        reading = (" status", " info", " get ", "pool list", "peer status", " heal ", "list")
        for host in hosts:
            history = self.on(host, "sh", "-c", "cat /var/log/glusterfs/cmd_history.log 2>/dev/null || true").out
            changes = [line for line in history.splitlines() if not any(word in line for word in reading)]
            mounts = self.on(host, "findmnt", "--noheadings", "--output", "ID,SOURCE,TARGET", "/mnt/shared").out
            units = self.on(host, "sh", "-c", "ls -l --time-style=full-iso /etc/systemd/system /etc/fstab").out
            marks[host] = (changes, mounts, units)
        return marks

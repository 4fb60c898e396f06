"""Times the forming of a cluster on bare lab hosts: clusterctl beside a careful shell script, Ansible and the floor.

    python3 benches/formation --binary target/.../clusterctl [--rounds 5] [--only clusterctl --only floor]

Needs root. Rounds are interleaved: every contender once in every round, in turning order, each on hosts that were
started for it. The tables go to standard output, the raw numbers to target/bench/formation.json.
"""

import argparse
import json
import os
import platform
import sys
from datetime import datetime, timezone
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from contenders import FORMED, NEW, Ansible, Clusterctl, Floor, Shell  # noqa: E402
from lab import Failed, Lab, run  # noqa: E402
from report import report  # noqa: E402

CONTENDERS = [Clusterctl, Floor, Shell, Ansible]


def say(text):
    print(f"formation: {text}", file=sys.stderr, flush=True)


def facts():
    docker = run(["dockerd", "--version"]).out.split(",")[0]
    gluster = run(["gluster", "--version"]).out.split("\n")[0]
    when = datetime.now(timezone.utc).strftime("%Y-%m-%d")
    return f"{when}, {os.cpu_count()} processors, Linux {platform.release()}; {docker}; {gluster}."


def one_turn(contender, lab, results):
    kept = results.setdefault(contender.name, {})
    lab.up()
    steps = [("form", contender.form, FORMED), ("again", contender.again, FORMED), ("worker", contender.worker, [*FORMED, NEW])]
    for work, step, hosts in steps:
        measured = step()
        if measured is None:
            continue
        lab.verify(hosts)
        measured["load"] = os.getloadavg()[0]
        kept.setdefault(work, []).append(measured)
        say(f"{contender.name}: {work} {measured['wall']:.3f} s")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", required=True, help="the release build")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", action="append", choices=[one.name for one in CONTENDERS], help="leave out the others")
    parser.add_argument("--work", type=Path, default=Path("target/bench"), help="where everything is kept")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("formation: hosts need namespaces and mounts of their own: run it as root")

    work = arguments.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    lab = Lab(arguments.binary, work, hosts=len(FORMED) + 1)
    contenders = [one(lab, work) for one in CONTENDERS if not arguments.only or one.name in arguments.only]
    results = {}
    try:
        for number in range(arguments.rounds):
            say(f"round {number + 1} of {arguments.rounds}")
            turn = number % len(contenders)
            for contender in contenders[turn:] + contenders[:turn]:
                one_turn(contender, lab, results)
    except Failed as error:
        sys.exit(f"formation: {error}")
    finally:
        lab.down()
        (work / "formation.json").write_text(json.dumps(results, indent=1) + "\n")
    print(report(results, facts()))


main()

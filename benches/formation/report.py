"""The tables, in Markdown."""

from statistics import median

ORDER = ["clusterctl", "floor", "shell script", "Ansible"]


def seconds(value):
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"


def spread(values):
    return f"{seconds(min(values))} to {seconds(max(values))}"


def table(title, results, work, extra=()):
    """One row for each contender: median, spread, and how often ours fits into it, by the rounds' own ratios."""
    ours = results.get("clusterctl", {}).get(work)
    lines = [f"### {title}", "", "| | median | spread | to clusterctl |" + "".join(f" {name} |" for name, _ in extra),
             "|---|---|---|---|" + "---|" * len(extra)]
    for name in ORDER:
        rounds = results.get(name, {}).get(work)
        if not rounds:
            continue
        walls = [one["wall"] for one in rounds]
        ratio = ""
        if ours and name != "clusterctl":
            # Rounds are compared with each other: the machine of one round is not that of the next.
            ratio = f"{median(theirs['wall'] / mine['wall'] for theirs, mine in zip(rounds, ours)):.2f} x"
        cells = [name, seconds(median(walls)), spread(walls), ratio]
        for _, key in extra:
            values = [one[key] for one in rounds if key in one]
            cells.append("" if not values else str(values[0]) if key == "mutations" else seconds(median(values)))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def floor_parts(results, work, names):
    rounds = results.get("floor", {}).get(work) or []
    parts = [f"{name} {seconds(median(one[name] for one in rounds))}" for name in names if rounds]
    return f"Floor: {', '.join(parts)}.\n" if parts else ""


def report(results, facts):
    chapters = [
        f"{facts}\n",
        table("Four bare hosts to a Swarm with a volume of three copies, mounted everywhere (B7)", results, "form"),
        floor_parts(results, "form", ["probe", "create", "allow", "start", "mount"])
        + "The floor is the critical path: probe, create, `auth.allow`, start, mount. The Swarm is made meanwhile.\n",
        table("One more worker with the mount (B6)", results, "worker", [("CPU", "cpu")]),
        floor_parts(results, "worker", ["join", "mount", "allow"])
        + "The floor is the mount after the longer of the join by the engine's API and `auth.allow`.\n",
        table("Again, with nothing to do (B8)", results, "again",
              [("CPU", "cpu"), ("all hosts at once", "everywhere"), ("changes", "mutations")]),
        "clusterctl is run on one host and then on all at once; Ansible on all; the floor is one look at the engine,\n"
        "the volume and the mount of one host.\n",
    ]
    return "\n".join(chapters)

#!/usr/bin/env python3
"""Launches and bytes per token must not grow: counts, not times, so the same on every machine.

Eight requests of SmolLM2-135M, with a rank 16 adapter each on all seven modules, and without. A
smaller figure is a gain: lower the ceiling with it."""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "hosts"))
import support  # noqa: E402

# case: (with adapters, without), per token of eight rows
CEILINGS = {"launches-8-r16": (49.25, 34.25), "bytes-8-r16": (22.5, 12.6)}


def main():
    host, checks = support.start()
    out = os.path.join(host.folder("counts"), "rows.json")
    program = host.program("oclora-bench")
    host.program("oclora-generate")
    for case, ceilings in CEILINGS.items():
        run = subprocess.run([program, "--suite", "system", "--case", case, "--quick", "--json", out,
                              "--work", host.folder("work")], env={**os.environ, **host.env},
                             capture_output=True, text=True)
        if not checks.check(run.returncode == 0, f"{case}: exit {run.returncode}: {run.stderr}"):
            continue
        with open(out, encoding="utf-8") as file:
            (row,) = json.load(file)
        if not checks.check("missing" not in row, f"{case}: {row.get('missing')}"):
            continue
        for name, value, most in zip(("with adapters", "without"), (row["ours"], row["peer"]), ceilings):
            print(f"{case}, {name}: {value:.2f} {row['metric']}, at most {most}")
            checks.check(0 < value <= most + 1e-6, f"{case}, {name}: {value} is above {most}")
    checks.finish()


if __name__ == "__main__":
    main()

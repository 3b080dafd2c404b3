#!/usr/bin/env python3
"""oclora-bench's command line: help, list, what is refused, and a run whose peers are missing."""
import json
import os
import subprocess
import sys
import tempfile

MUSTS = 17  # at least so many cases have a "must"


def main():
    program, failed = sys.argv[1], 0

    def run(*args, **env):
        return subprocess.run([program, *args], capture_output=True, text=True,
                              env={**os.environ, **env})

    def check(ok, what):
        nonlocal failed
        failed += not ok
        print(f"{'ok' if ok else 'FAILED'}: {what}")

    answer = run("--help")
    check(answer.returncode == 0 and "usage: oclora-bench" in answer.stdout, "--help")
    for args in (["--suite", "none"], ["--pin", "x"], ["extra"], ["--unknown"], ["--json"]):
        check(run(*args).returncode == 2, f"usage: {' '.join(args)}")
    lines = run("--list").stdout.splitlines()
    check(sum(" must " in line for line in lines) >= MUSTS, "--list names the musts")
    check(len({line.split()[1] for line in lines}) == len(lines), "case names are unique")
    only = run("--list", "--suite", "system").stdout.splitlines()
    check(only and all(line.startswith("system") for line in only), "--list --suite")
    check(run("--suite", "files", "--case", "no such case").returncode == 2, "no case matches")

    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "rows.json")
        answer = run("--suite", "system", "--strict", "--json", out, "--model", "",
                     "--work", os.path.join(folder, "work"))
        check(answer.returncode == 0 and "not measured" in answer.stdout, "a missing model is counted")
        with open(out, encoding="utf-8") as file:
            rows = json.load(file)
        check(rows and all("missing" in row and row["suite"] == "system" for row in rows), "--json")
        check(any(row.get("target") == 0.9 and row.get("aim") == 0.95 for row in rows), "target, aim")
        keys = {"suite", "case", "metric", "ours", "peer", "peer_name", "ratio", "target", "aim", "met"}
        check(all(keys <= set(row) for row in rows), "every row has every key")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()

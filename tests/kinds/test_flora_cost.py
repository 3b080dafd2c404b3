"""oclora-flora-cost: a small run; its columns follow from its times, and both ways of LoRA agree."""

import json
import subprocess
import sys

PROGRAM = sys.argv[1]
FAILURES = []


def run(*arguments):
    done = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=600,
                          check=False)
    return done.returncode, done.stdout, done.stderr


def check(condition, what):
    if not condition:
        FAILURES.append(what)
        print("FAILED:", what)


def close(a, b):
    return abs(a - b) <= 1e-4 * max(abs(a), abs(b), 1e-9)


def main():
    small = ("--width", "64", "--examples", "3", "--tokens", "5", "--repeats", "2")
    code, out, err = run(*small, "--json")
    if code == 3 and "OCLORA_NO_DEVICE" in err:
        print("skipped: no OpenCL device")
        return 77
    check(code == 0, f"exit {code}: {err}")
    result = json.loads(out)
    check([row["rank"] for row in result["ranks"]] == [1, 2, 4, 8], "ranks 1, 2, 4 and 8")
    width, rows = result["width"], result["examples"] * result["tokens"]
    c2 = result["base_s"] / (rows * width * width)
    for row in result["ranks"]:
        check(row["difference"] < 1e-5 and row["flora_s"] > 0, f"{row}")
        for way in ("segmented", "separate"):
            more = row[way + "_s"] - result["base_s"]
            ratio = max(more, 0) / (2 * width * rows * row["rank"]) / c2
            check(close(row[way + "_c1_c2"], ratio), f"{way} c1/c2: {row}")
            condition = 2 * ratio / width + 1 / row["rank"]
            check(close(row[way + "_condition"], condition), f"{way} condition: {row}")
    code, out, _ = run(*small, "--ranks", "3")
    print(out)
    check(code == 0 and "condition" in out, "the table")
    for wrong in (["--width", "1"], ["--ranks", "1,,2"], ["--ranks", "0"], ["--class", "tpu"], ["x"]):
        check(run(*wrong)[0] == 2, f"usage: {wrong}")
    check(run("--device", "no such device")[0] == 3, "no such device")
    print(f"{len(FAILURES)} failures")
    return 1 if FAILURES else 0


if __name__ == "__main__":
    sys.exit(main())

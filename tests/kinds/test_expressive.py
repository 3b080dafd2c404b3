"""oclora-expressive-power: the threshold of each construction, in f32 on the device, for several
networks; and what must not pass."""

import json
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

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


CASES = [
    (("linear",), 8),
    (("linear", "--width", "33", "--depth", "3", "--seed", "5"), 11),
    (("linear", "--width", "20", "--depth", "1"), 20),
    (("relu",), 16),
    (("relu", "--width", "31", "--depth", "6", "--seed", "3"), 11),
    (("relu", "--width", "24", "--depth", "4", "--target-depth", "1"), 6),
    (("transformer",), 8),
    (("transformer", "--width", "17", "--depth", "3", "--seed", "2"), 9),
]


def thresholds():
    for arguments, threshold in CASES:
        code, out, err = run("--network", *arguments, "--json")
        check(code == 0, f"{arguments}: exit {code}: {err}")
        if code != 0:
            continue
        result = json.loads(out)
        check(result["threshold"] == threshold, f"{arguments}: threshold {result['threshold']}")
        errors = {point["rank"]: point["error"] for point in result["points"]}
        at, below = errors[threshold], errors[threshold - 1]
        print(f"{' '.join(arguments):44} rank {threshold - 1}: {below:.2e}, {threshold}: {at:.2e}")
        check(at < 1e-4 and below > 100 * at, f"{arguments}: {below} then {at}")
        for point in result["points"]:
            if "theory" in point:
                check(abs(point["error"] - point["theory"]) < 1e-4, f"{arguments}: {point}")


def pictures(scratch):
    for network in ("linear", "relu", "transformer"):
        path = os.path.join(scratch, network + ".svg")
        check(run("--network", network, "--svg", path)[0] == 0, f"{network} drawn")
        root = xml.etree.ElementTree.parse(path).getroot()
        drawn = len([e for e in root.iter() if e.tag.endswith("circle")])
        text = " ".join(e.text or "" for e in root.iter() if e.tag.endswith("text"))
        check(drawn >= 9 and "threshold rank" in text, f"{network}: {drawn} points")
        check(("theory" in text) == (network == "linear"), f"{network}: {text}")


def usage():
    check(run("--network", "rnn")[0] == 2 and run("--width", "0")[0] == 2, "usage")
    check(run("--network", "relu", "--depth", "2", "--target-depth", "3")[0] == 2, "too deep")
    check(run("--rank", "40")[0] == 2 and run("more")[0] == 2, "usage")
    code, _, err = run("--device", "no such device")
    check(code == 3 and "no such device" in err, f"no such device: {code}: {err}")
    code, _, _ = run("--svg", os.path.join("no", "such", "folder.svg"))
    check(code == 3, f"a picture that cannot be written: {code}")
    code, out, _ = run("--rank", "3")
    check(code == 0 and "   3  " in out and "   4  " not in out, "one rank")


def main():
    code, _, err = run("--rank", "1")
    if code == 3 and "OCLORA_NO_DEVICE" in err:
        print("skipped: no OpenCL device")
        return 77
    thresholds()
    with tempfile.TemporaryDirectory() as scratch:
        pictures(scratch)
    usage()
    print(f"{len(FAILURES)} failures")
    return 1 if FAILURES else 0


if __name__ == "__main__":
    sys.exit(main())

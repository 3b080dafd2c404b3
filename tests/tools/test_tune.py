#!/usr/bin/env python3
"""oclora-tune: its command line, a killed run that goes on, a file of progress that somebody else wrote,
and a value with wrong results that is never chosen.

Usage: test_tune.py OCLORA_TUNE OCLORA_TUNE_WRONG"""
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

PARAM = "row_span"
FAILED = 0


def check(ok, what):
    global FAILED
    FAILED += not ok
    print(f"{'ok' if ok else 'FAILED'}: {what}", flush=True)
    return ok


def run(program, folder, *args):
    env = {**os.environ, "OCLORA_CACHE_DIR": folder}
    env.pop("OCLORA_TUNE", None)
    return subprocess.run([program, *args], capture_output=True, text=True, env=env)


def lines_of(path):
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().splitlines()
    except FileNotFoundError:
        return []


def check_command_line(program, folder):
    check("usage: oclora-tune" in run(program, folder, "--help").stdout, "--help")
    for args in (["--param", "slices"], ["--class", "npu"], ["extra"], ["--unknown"],
                 ["--param", "row_width", "--class", "cpu"]):
        check(run(program, folder, *args).returncode == 2, f"usage: {' '.join(args)}")
    check(run(program, folder, "--device", "no such device").returncode == 3, "no such device")
    listed = run(program, folder, "--list").stdout
    check("row_span" in listed and "from table" in listed, "--list")
    dry = run(program, folder, "--dry-run", "--param", PARAM)
    check(dry.returncode == 0 and len(dry.stdout.splitlines()) == 5, "--dry-run names five steps")


def check_resume(program, folder):
    """A run is killed after its first step: the next one measures only the others."""
    state = os.path.join(folder, "deeper", "state")
    args = [program, "--param", PARAM, "--quick", "--state", state]
    env = {**os.environ, "OCLORA_CACHE_DIR": folder}
    process = subprocess.Popen(args, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 240
    while len(lines_of(state)) < 2 and process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = lines_of(state)
    if not check(len(before) >= 2, "a step was kept before the run was killed"):
        return
    with open(state, "a", encoding="utf-8") as file:
        file.write('{"param":"row_span","val')  # the step during which it died
    answer = run(program, folder, "--param", PARAM, "--quick", "--state", state, "--json")
    after = lines_of(state)
    check(answer.returncode == 0, f"the next run ends well: {answer.stderr}")
    check(after[:len(before)] == before, "what was measured is not measured again")
    check(answer.stderr.count("measured before") == len(before) - 1, "and it says so")
    result = json.loads(answer.stdout)
    check(result["stored"] and len(result["steps"]) == 5 and PARAM in result["values"], "--json")
    again = run(program, folder, "--param", PARAM, "--quick", "--state", state)
    check(again.stderr.count("measured before") == 5 and lines_of(state) == after, "a third run does nothing")
    anew = run(program, folder, "--param", PARAM, "--quick", "--state", state, "--restart")
    check("measured before" not in anew.stderr and anew.returncode == 0, "--restart")

    # What somebody else wrote: another device, values out of range, or no JSON at all.
    head, step = after[0], json.loads(after[1])
    foreign = json.loads(head)
    foreign["driver"] = "another"
    for bad in ([json.dumps(foreign, separators=(",", ":"))] + after[1:],
                [head, json.dumps({**step, "value": 2 ** 40})],
                [head, json.dumps({**step, "value": 77})],
                [head, json.dumps({**step, "param": "slices"})],
                [head, json.dumps({**step, "verdict": "best"})],
                [head, json.dumps({**step, "more": 1})],
                [head, "nonsense", after[1]], ["\x7fELF"], []):
        with open(state, "w", encoding="utf-8") as file:
            file.write("".join(line + "\n" for line in bad))
        answer = run(program, folder, "--param", PARAM, "--quick", "--state", state)
        check(answer.returncode == 0 and "measured before" not in answer.stderr,
              f"begun anew: {bad[-1][:60] if bad else 'an empty file'}")


def check_found(program, folder):
    """What was found is what the next context uses, until it is reset or damaged."""
    with tempfile.TemporaryDirectory() as own:
        state = os.path.join(own, "state")
        run(program, own, "--param", PARAM, "--quick", "--state", state)
        lines = lines_of(state)
        # As if 4096 had been measured to be the fastest: it is checked again and taken over.
        steps = [json.loads(line) for line in lines[1:]]
        made = []
        for step in steps:
            best = 4096 if any(s["value"] == 4096 for s in made) else 1024
            verdict = "taken" if step["value"] == 4096 else "kept"
            made.append({**step, "against": best, "gain": 2.0 if verdict == "taken" else 0.5,
                         "verdict": verdict})
        with open(state, "w", encoding="utf-8") as file:
            file.write("\n".join([lines[0]] + [json.dumps(s) for s in made]) + "\n")
        answer = run(program, own, "--param", PARAM, "--quick", "--state", state)
        check("4096" in answer.stdout, "rows for the table are printed")
        listed = run(program, own, "--list").stdout
        check(re.search(rf"^{PARAM} +4096 +from record", listed, re.MULTILINE), "the record is used")
        for name in os.listdir(own):
            path = os.path.join(own, name)
            data = open(path, "rb").read() if name.endswith(".bin") else b""
            if b"oclora-tuning 1" in data:
                with open(path, "wb") as file:
                    file.write(data.replace(b"4096", b"8192"))
        listed = run(program, own, "--list").stdout
        check(re.search(rf"^{PARAM} +1024 +from table", listed, re.MULTILINE), "a damaged one is refused")
        check(run(program, own, "--reset").returncode == 0, "--reset")


def check_wrong(program, folder):
    """Four rows with two panels skip their work in this program: fast, and wrong."""
    answer = run(program, folder, "--param", "matmul_panels_four", "--class", "cpu", "--quick", "--json")
    steps = {s["value"]: s["verdict"] for s in json.loads(answer.stdout or '{"steps": []}')["steps"]}
    check(answer.returncode == 1 and steps.get(2) == "wrong" and "wrong" not in
          [v for k, v in steps.items() if k != 2],
          f"the wrong value is found ({answer.returncode}, {steps})")
    listed = run(program, folder, "--list", "--class", "cpu").stdout
    check(not any(line.startswith("matmul_panels_four") and line.split()[1] == "2"
                  for line in listed.splitlines()), "and not used")


def main():
    program, wrong = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        if "oclora-tune: no device" in run(program, folder, "--list").stderr:
            print("skipped: no OpenCL device")
            sys.exit(77)
        check_command_line(program, folder)
        check_resume(program, folder)
        check_found(program, folder)
        check_wrong(wrong, folder)
    sys.exit(1 if FAILED else 0)


if __name__ == "__main__":
    main()

"""oclora-apply over every golden case, with rounded factors, and over cases that must fail."""

import json
import os
import shutil
import subprocess
import sys
import tempfile

PROGRAM, GOLDEN = sys.argv[1:3]
FAILURES = []


def run(*arguments, env=None):
    done = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=300,
                          env={**os.environ, **(env or {})}, check=False)
    return done.returncode, done.stdout, done.stderr


def check(condition, what):
    if not condition:
        FAILURES.append(what)
        print("FAILED:", what)


def apply(case, *options):
    code, out, err = run(os.path.join(GOLDEN, case), "--json", *options)
    if code == 3:
        print(err)
        return code, {}
    return code, json.loads(out)


def all_cases(device):
    with open(os.path.join(GOLDEN, "index.json"), encoding="utf-8") as file:
        index = json.load(file)
    cases = index if isinstance(index, list) else index["cases"]
    names = [case if isinstance(case, str) else case["kind"] for case in cases]
    check(len(names) >= 40, "the index lists all cases")
    for name in names:
        code, report = apply(name, *device)
        worst = max((o["error"] or 0.0 for o in report.get("outputs", [])), default=None)
        print(f"{name:32} {report.get('kind', '-'):20} worst {worst}")
        check(code == 0 and report["within"] and report["outputs"], f"{name}: exit {code}")
        for output in report.get("outputs", []):
            check("reason" not in output, f"{name}: {output.get('reason')}")
            check(output["bound"] <= 1.1e-4, f"{name}: bound {output['bound']}")


def rounded(device):
    for name in ("lora", "cola", "vera", "mixed_batch", "meteora", "expressive_power_relu"):
        for store in ("f32", "f16", "q8_0"):
            code, report = apply(name, "--store", store, *device)
            worst = max((o["error"] or 9.9 for o in report.get("outputs", [])), default=None)
            print(f"{name:32} {store:20} worst {worst}")
            check(code == 0, f"{name} --store {store}: exit {code}")


def spoil(folder, tensor):
    """Changes one value of a tensor of case.safetensors."""
    path = os.path.join(folder, "case.safetensors")
    with open(path, "rb") as file:
        data = bytearray(file.read())
    size = int.from_bytes(data[:8], "little")
    begin = json.loads(data[8:8 + size])[tensor]["data_offsets"][0] + 8 + size
    data[begin + 3] ^= 0x01  # doubles or halves it twice over: an exponent bit
    with open(path, "wb") as file:
        file.write(data)


def must_fail(device, scratch):
    spoiled = os.path.join(scratch, "spoiled")
    shutil.copytree(os.path.join(GOLDEN, "lora"), spoiled)
    spoil(spoiled, "model.layers.3.mlp.down_proj.Y")
    code, out, _ = run(spoiled, *device)
    check(code == 1 and "TOO MUCH" in out, f"a wrong expected output: exit {code}")

    refused = os.path.join(scratch, "refused")
    shutil.copytree(os.path.join(GOLDEN, "lora"), refused)
    with open(os.path.join(refused, "adapter_model.safetensors"), "r+b") as file:
        file.truncate(200)
    code, out, _ = run(refused, *device)
    check(code == 1 and "OCLORA_FILE_" in out, f"a truncated adapter: exit {code}: {out}")

    check(run()[0] == 2, "no argument is a usage error")
    check(run("a", "b")[0] == 2, "two folders are a usage error")
    check(run("--store", "f8", GOLDEN)[0] == 2, "an unknown storage is a usage error")
    check(run("--class", "tpu", GOLDEN)[0] == 2, "an unknown class is a usage error")
    check(run("--help")[0] == 0 and run("--version")[0] == 0, "help and version")
    code, _, err = run(os.path.join(scratch, "nowhere"))
    check(code == 3 and "case.json" in err, f"no such case: exit {code}")
    code, _, err = run(os.path.join(GOLDEN, "lora"), "--device", "no such device")
    check(code == 3 and "no such device" in err, f"no such device: exit {code}: {err}")


def main():
    code, _, err = run(os.path.join(GOLDEN, "lora"))
    if code == 3 and "OCLORA_NO_DEVICE" in err:
        print("skipped: no OpenCL device")
        return 77
    device = []
    all_cases(device)
    rounded(device)
    with tempfile.TemporaryDirectory() as scratch:
        must_fail(device, scratch)
    print(f"{len(FAILURES)} failures")
    return 1 if FAILURES else 0


if __name__ == "__main__":
    sys.exit(main())

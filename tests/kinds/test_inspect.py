"""oclora-inspect: every golden adapter listed, the intruder case audited and repaired."""

import json
import os
import shutil
import subprocess
import sys
import tempfile

PROGRAM, APPLY, GOLDEN = sys.argv[1:4]
FAILURES = []


def run(*arguments, program=PROGRAM):
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=300,
                          check=False)
    return done.returncode, done.stdout, done.stderr


def check(condition, what):
    if not condition:
        FAILURES.append(what)
        print("FAILED:", what)


def floats(path, name):
    import struct
    with open(path, "rb") as file:
        data = file.read()
    size = int.from_bytes(data[:8], "little")
    begin, end = json.loads(data[8:8 + size])[name]["data_offsets"]
    count = (end - begin) // 4
    return struct.unpack_from(f"<{count}f", data, 8 + size + begin)


def list_all():
    for name in sorted(os.listdir(GOLDEN)):
        folder = os.path.join(GOLDEN, name)
        if not os.path.exists(os.path.join(folder, "adapter_model.safetensors")):
            continue
        with open(os.path.join(folder, "adapter_config.json"), encoding="utf-8") as file:
            config = json.load(file)
        task = "#task=0" if config["peft_type"] == "MTL_LORA" else ""
        code, out, err = run(folder + task, "--json")
        check(code == 0, f"{name}: exit {code}: {err}")
        if code != 0:
            continue
        listed = json.loads(out)
        check(listed["bytes"] >= listed["unique_bytes"] > 0, f"{name}: bytes {listed['bytes']}")
        check(len(listed["hash"]) == 64 and listed["modules"], f"{name}: {listed}")
        if name == "sharelora":
            check(listed["unique_bytes"] < listed["bytes"], "ShareLoRA's shared A counts once")
        print(f"{name:32} {listed['kind']:20} {listed['rank_max']:4} {listed['bytes']:8} bytes")


def audit(scratch):
    case = os.path.join(GOLDEN, "intruder")
    tensors = os.path.join(case, "case.safetensors")
    with open(os.path.join(case, "case.json"), encoding="utf-8") as file:
        meta = json.load(file)
    copy = os.path.join(scratch, "intruder")
    shutil.copytree(case, copy)
    shutil.rmtree(os.path.join(copy, "mitigated"))
    code, out, err = run(case, "--base", tensors, "--k", str(meta["top_k"]), "--epsilon",
                         str(meta["epsilon"]), "--lambda", str(meta["mitigation_lambda"]),
                         "--write-mitigated", os.path.join(copy, "mitigated"), "--json")
    check(code == 0, f"audit: exit {code}: {err}")
    if code != 0:
        return
    for module in json.loads(out)["modules"]:
        name = module["name"]
        check(module["intruders"] == meta["intruders"][name], f"{name}: {module['intruders']}")
        expected = floats(tensors, name + ".similarity")
        worst = max(abs(a - b) for a, b in zip(module["similarity"], expected, strict=True))
        print(f"{name}: intruders {module['intruders']}, similarity within {worst:.1e}")
        check(worst < 1e-6, f"{name}: similarity off by {worst}")
    with open(os.path.join(copy, "mitigated", "adapter_config.json"), encoding="utf-8") as file:
        check(json.load(file)["r"] == 4, "the repaired adapter keeps the rank")
    # The repaired outputs, on the device. A recomputed SVD has its own tolerance.
    meta["tolerance_fp32"] = meta["tolerance_recomputed_svd_fp32"]
    with open(os.path.join(copy, "case.json"), "w", encoding="utf-8") as file:
        json.dump(meta, file)
    code, out, err = run(copy, program=APPLY)
    print(out or err)
    check(code in (0, 3), f"repaired outputs: exit {code}: {out}")
    # Nothing is an intruder below 0.2, so the same adapter comes back, cut to its own rank.
    again = os.path.join(scratch, "again")
    shutil.copytree(copy, again)
    code, out, err = run(case, "--base", tensors, "--epsilon", "0.2", "--write-mitigated",
                         os.path.join(again, "mitigated"))
    check(code == 0 and "0 intruder dimensions" in out, f"epsilon 0.2: exit {code}: {out}{err}")
    code, out, err = run(again, program=APPLY)
    check(code in (1, 3), f"an adapter that was not repaired must not pass: exit {code}")


def refusals(scratch):
    lora = os.path.join(GOLDEN, "lora")
    base = os.path.join(lora, "case.safetensors")
    out = os.path.join(scratch, "out")
    for kind, word in (("meteora", "router"), ("flora_r1", "full rank"), ("dora", "full rank")):
        case = os.path.join(GOLDEN, kind)
        code, _, err = run(case, "--base", os.path.join(case, "case.safetensors"),
                           "--write-mitigated", out)
        check(code == 1 and word in err and not os.path.exists(out), f"{kind}: {code}: {err}")
    check(run(os.path.join(GOLDEN, "dora"), "--base",
              os.path.join(GOLDEN, "dora", "case.safetensors"))[0] == 0, "DoRA is audited")
    code, _, err = run(os.path.join(GOLDEN, "expressive_power_linear", "rank_01"), "--base", base)
    check(code == 1 and "MODULE_MISMATCH" in err, f"another base: {code}: {err}")
    check(run(lora, "--base", os.path.join(lora, "none"))[0] == 3, "no such base")
    check(run(os.path.join(lora, "none"))[0] == 3, "no such adapter")
    check(run()[0] == 2 and run(lora, "--k", "0")[0] == 2, "usage")
    check(run(lora, "--write-mitigated", out)[0] == 2, "mitigation needs a base")


def main():
    list_all()
    code, _, err = run(os.path.join(GOLDEN, "lora"), "--base",
                       os.path.join(GOLDEN, "lora", "case.safetensors"))
    with tempfile.TemporaryDirectory() as scratch:
        if code == 1 and "LAPACKE" in err:
            print("built without LAPACKE: the audit is not tested")
        else:
            audit(scratch)
            refusals(scratch)
    print(f"{len(FAILURES)} failures")
    return 1 if FAILURES else 0


if __name__ == "__main__":
    sys.exit(main())

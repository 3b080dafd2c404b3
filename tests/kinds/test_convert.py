"""oclora-convert: every golden adapter to a compact file and back; the device's results stay the same
bit by bit; mutated files are refused and nothing crashes."""

import json
import os
import random
import subprocess
import sys
import tempfile

PROGRAM, INSPECT, APPLY, GOLDEN = sys.argv[1:5]
FAILURES = []
# What PEFT has a class for. BORA's members are plain LoRAs; QALORA is PEFT's use_qalora with an alpha
# that makes up for the other scaling of its pool.
PEFT = {"LORA", "VERA", "HIRA", "IA3", "BORA", "QALORA"}


def run(program, *arguments):
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=300,
                          check=False)
    return done.returncode, done.stdout, done.stderr


def check(condition, what):
    if not condition:
        FAILURES.append(what)
        print("FAILED:", what)


def outputs(case, adapter, field, store="auto"):
    code, out, err = run(APPLY, case, "--adapter", adapter, "--output", field, "--json", "--store",
                         store)
    if code not in (0, 1) or not out:
        return code, err
    report = json.loads(out)
    return code, [(o["module"], o.get("sha256"), o.get("reason")) for o in report["outputs"]]


def adapters():
    """(case folder, adapter path, expected output, peft_type)"""
    for name in sorted(os.listdir(GOLDEN)):
        case = os.path.join(GOLDEN, name)
        config = os.path.join(case, "adapter_config.json")
        if not os.path.exists(config):
            continue
        with open(config, encoding="utf-8") as file:
            peft = json.load(file)["peft_type"]
        if peft == "BORA":
            yield case, case + "#task=1", "Y.task1", peft
        elif peft == "MTL_LORA":
            yield case, case + "#task=1", "Y.task1", peft
        elif name == "intruder":
            yield case, case, "Y.before", peft
        elif os.path.exists(os.path.join(case, "adapter_model.safetensors")):
            yield case, case, "Y", peft


def round_trips(scratch, device):
    kinds = set()
    for number, (case, path, field, peft) in enumerate(adapters()):
        kinds.add(peft)
        name = os.path.basename(case)
        compact = os.path.join(scratch, f"{number}.safetensors")
        folder = os.path.join(scratch, f"{number}.peft")
        code, _, err = run(PROGRAM, path, compact)
        check(code == 0, f"{name} to compact: {code}: {err}")
        code, _, err = run(PROGRAM, compact, folder, "--to", "peft")
        check(code == (0 if peft in PEFT else 1), f"{name} to PEFT: {code}: {err}")
        if code != 0:
            check("NOT_SUPPORTED" in err, f"{name}: {err}")
            check(not os.path.exists(folder), f"{name}: a refused adapter leaves no folder")
        if code == 0:
            again = os.path.join(scratch, f"{number}.again")
            check(run(PROGRAM, folder, again)[0] == 0, f"{name}: PEFT to compact")
        if not device:
            continue
        status, original = outputs(case, path, field)
        check(status == 0, f"{name}: exit {status}: {original}")
        check(outputs(case, compact, field) == (status, original), f"{name}: compact differs")
        if code == 0:
            check(outputs(case, folder, field) == (status, original), f"{name}: PEFT differs")
        print(f"{name:32} compact{' and PEFT' if code == 0 else ''}")
    check(len(kinds) >= 14, f"kinds: {sorted(kinds)}")


def rounded(scratch, device):
    case = os.path.join(GOLDEN, "lora_rank_pattern")
    for store in ("f32", "f16", "q8_0"):
        compact = os.path.join(scratch, store)
        check(run(PROGRAM, case, compact, "--store", store)[0] == 0, f"--store {store}")
        _, out, _ = run(INSPECT, compact, "--json")
        types = {module["type"] for module in json.loads(out)["modules"]}
        check(types == {store}, f"--store {store} gives {types}")
        if device:
            stored, kept = outputs(case, case, "Y", store), outputs(case, compact, "Y")
            check(stored[1] == kept[1] and stored[1][0][1], f"{store}: {stored} {kept}")


def mutations(scratch):
    sources = [("meteora", ""), ("dora", ""), ("vera", ""), ("flora_r4", ""),
               ("mixlora_conditional_cfs", ""), ("mtl_lora", "#task=0")]
    dice = random.Random(7)
    target = os.path.join(scratch, "mutated")
    refused = 0
    for name, task in sources:
        compact = os.path.join(scratch, "good")
        check(run(PROGRAM, os.path.join(GOLDEN, name) + task, compact)[0] == 0, name)
        with open(compact, "rb") as file:
            good = file.read()
        size = int.from_bytes(good[:8], "little")
        for turn in range(25):
            data = bytearray(good)
            if turn == 0:
                data = data[: 8 + size + 100]
            elif turn == 1:
                data = data[: size // 2]
            elif turn < 22:  # a digit or letter of the header
                at = 8 + dice.randrange(size)
                data[at] = dice.choice(b"0123456789abz\"{}[],:")
            else:
                at = 8 + size + dice.randrange(len(data) - 8 - size)
                data[at] ^= 1 << dice.randrange(8)
            with open(target, "wb") as file:
                file.write(data)
            code, _, err = run(INSPECT, target)
            check(code in (0, 1, 3), f"{name}, mutation {turn}: exit {code}: {err}")
            refused += code == 1
    print(f"{refused} mutated files refused")
    check(refused > 60, f"only {refused} mutations refused")


def usage(scratch):
    lora = os.path.join(GOLDEN, "lora")
    out = os.path.join(scratch, "out")
    check(run(PROGRAM)[0] == 2 and run(PROGRAM, lora)[0] == 2, "two paths are needed")
    check(run(PROGRAM, lora, out, "--to", "onnx")[0] == 2, "an unknown form")
    check(run(PROGRAM, os.path.join(scratch, "none"), out)[0] == 3, "no such adapter")
    check(run(PROGRAM, lora, os.path.join(scratch, "no", "such", "place"))[0] == 3, "no such folder")
    code, _, err = run(PROGRAM, os.path.join(lora, "adapter_model.safetensors"), out)
    check(code == 1 and "PEFT folder" in err, f"a bare safetensors file: {code}: {err}")
    check(run(PROGRAM, lora, out)[0] == 0, "for the next")
    code, _, err = run(PROGRAM, out + "#task=1", out + "2")
    check(code == 1 and "task" in err, f"a task of a compact file: {code}: {err}")


def main():
    code, _, err = run(APPLY, os.path.join(GOLDEN, "lora"))
    device = not (code == 3 and "OCLORA_NO_DEVICE" in err)
    if not device:
        print("no OpenCL device: files are tested, results are not")
    with tempfile.TemporaryDirectory() as scratch:
        round_trips(scratch, device)
        rounded(scratch, device)
        mutations(scratch)
        usage(scratch)
    print(f"{len(FAILURES)} failures")
    return 1 if FAILURES else 0


if __name__ == "__main__":
    sys.exit(main())

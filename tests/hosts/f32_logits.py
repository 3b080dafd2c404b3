"""On an F32 copy of the model: logits against stock llama.cpp, each sequence with its own LoRA."""
import os
import subprocess
import sys

import golden
from support import ADAPTERS, NAMES, start

BOUND = 1e-6


def f32_model(host):
    """Made once, into the cache beside the model."""
    folder = os.path.join(os.environ.get("OCLORA_HOME", host.temp.name), "model")
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, "SmolLM2-135M-Instruct.F32.gguf")
    if not os.path.exists(path):
        part = f"{path}.{os.getpid()}"
        subprocess.run([host.program("test_make_f32"), host.model, part], check=True)
        os.replace(part, path)
    return path


def converted(host, model):
    tool = os.path.join(golden.ROOT, "tools", "peft-to-gguf")
    out = {}
    for name in ADAPTERS:
        out[name] = os.path.join(host.temp.name, name + ".gguf")
        subprocess.run([sys.executable, tool, model, golden.adapter_path(name), out[name]], check=True)
    return out


def rows():
    wanted = golden.requests(NAMES, range(2))
    mixed = dict(golden.requests(["base"], [4])[0], id="mixed")
    del mixed["adapter"]
    mixed["adapters"] = [{"name": "pirate", "weight": 0.75}, {"name": "brief", "weight": -0.5},
                         {"name": "json", "weight": 0.25}]
    for request in wanted:
        request["golden"] = golden.case_of(request["id"])["greedy_ids"]
    mixed["golden"] = golden.case_of("base.4")["greedy_ids"]
    return wanted + [mixed]


def compare(host, checks, name, reference, folders, model, options):
    folder = host.folder(name)
    run = golden.run(host.program("oclora-generate"), model, folders, rows(), "--kv", "f32", "--logits",
                     folder, *options, env=host.env)
    if not checks.check(run.status == 0, f"{name}: exit status {run.status}: {run.log[-600:]}"):
        return
    worst = 0.0
    for request in rows():
        files = [os.path.join(place, request["id"] + ".f32") for place in (folder, reference)]
        done = subprocess.run([host.program("test_compare_logits"), *files, str(len(request["golden"])),
                               str(BOUND)], capture_output=True, text=True, check=False)
        checks.check(done.returncode == 0, f"{name}: {request['id']}: NMSE {done.stdout.strip()} "
                     f"{done.stderr.strip()} (bound {BOUND})")
        worst = max(worst, float(done.stdout or "inf"))
    print(f"{name}: worst NMSE of a row of logits {worst:.3g}", flush=True)


def main():
    host, checks = start()
    model = f32_model(host)
    files = converted(host, model)
    reference = host.folder("stock")
    run = golden.run(host.program("oclora-stock"), model, files, rows(), "--kv", "f32", "-fa", "off",
                     "--parallel", 1, "--logits", reference)
    checks.check(run.status == 0, f"stock llama.cpp: exit status {run.status}: {run.log[-600:]}")
    compare(host, checks, "PEFT-folders", reference, host.folders, model, ["-fa", "off"])
    compare(host, checks, "flash-attention", reference, host.folders, model, ["-fa", "on"])
    compare(host, checks, "GGUF-LoRA-files", reference, files, model, ["--order", "interleaved"])
    checks.finish()


main()

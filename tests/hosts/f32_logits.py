"""On an F32 copy of the model: logits against stock llama.cpp, each sequence with its own LoRA.

With flash attention llama.cpp casts keys and values to f16 even where the cache is f32, and its CPU
kernel rounds queries too. So flash attention is compared with the exact result, and its worst row must
be at least as near to it as stock flash attention's worst row."""
import os
import subprocess
import sys

from support import LORA, golden, start

BOUND = 1e-6


def f32_model(host):
    """Made once, into the cache beside the model."""
    folder = os.path.join(os.environ.get("OCLORA_HOME", host.temp.name), "model")
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, "SmolLM2-135M-Instruct.F32.gguf")
    if not os.path.exists(path):
        part = f"{path}.{os.getpid()}"
        subprocess.run([host.program("test_convert_model"), host.model, part], check=True)
        os.replace(part, path)
    return path


def converted(host, model):
    tool = os.path.join(golden.ROOT, "tools", "peft-to-gguf")
    out = {}
    for name in LORA:
        out[name] = os.path.join(host.temp.name, name + ".gguf")
        subprocess.run([sys.executable, tool, model, golden.adapter_path(name), out[name]], check=True)
    return out


def rows():
    wanted = golden.requests([golden.BASE] + LORA, range(2))
    mixed = dict(golden.requests(["base"], [4])[0], id="mixed")
    del mixed["adapter"]
    mixed["adapters"] = [{"name": "pirate", "weight": 0.75}, {"name": "brief", "weight": -0.5},
                         {"name": "json", "weight": 0.25}]
    for request in wanted:
        request["golden"] = golden.case_of(request["id"])["greedy_ids"]
    mixed["golden"] = golden.case_of("base.4")["greedy_ids"]
    return wanted + [mixed]


def nmse(host, one, other, request):
    """Worst NMSE of a row of logits of one request, and what was wrong with the files."""
    files = [os.path.join(place, request["id"] + ".f32") for place in (one, other)]
    done = subprocess.run([host.program("test_compare_logits"), *files, str(len(request["golden"]))],
                          capture_output=True, text=True, check=False)
    return float(done.stdout or "inf"), done.stderr.strip()


def serve(host, checks, name, model, folders, options):
    folder = host.folder(name)
    run = golden.run(host.program("oclora-generate"), model, folders, rows(), "--kv", "f32", "--logits",
                     folder, *options, env=host.env)
    checks.check(run.status == 0, f"{name}: exit status {run.status}: {run.log[-600:]}")
    return folder


def stock(host, checks, model, files, flash):
    folder = host.folder("stock-" + flash)
    run = golden.run(host.program("oclora-stock"), model, files, rows(), "--kv", "f32", "-fa", flash,
                     "--parallel", 1, "--logits", folder)
    checks.check(run.status == 0, f"stock llama.cpp: exit status {run.status}: {run.log[-600:]}")
    return folder


def compare(host, checks, name, folder, reference, bound):
    worst = 0.0
    for request in rows():
        value, problem = nmse(host, folder, reference, request)
        checks.check(value <= bound, f"{name}: {request['id']}: NMSE {value} above {bound} {problem}")
        worst = max(worst, value)
    print(f"{name}: worst NMSE of a row of logits {worst:.3g}", flush=True)


def main():
    host, checks = start()
    model = f32_model(host)
    files = converted(host, model)
    exact = stock(host, checks, model, files, "off")
    rounded = stock(host, checks, model, files, "on")
    folder = serve(host, checks, "peft", model, host.folders, ["-fa", "off"])
    compare(host, checks, "PEFT folders", folder, exact, BOUND)
    folder = serve(host, checks, "gguf", model, files, ["-fa", "off", "--order", "interleaved"])
    compare(host, checks, "GGUF LoRA files", folder, exact, BOUND)
    folder = serve(host, checks, "flash", model, host.folders, ["-fa", "on"])
    bound = max(nmse(host, rounded, exact, request)[0] for request in rows())
    print(f"stock flash attention: worst NMSE of a row of logits {bound:.3g}")
    compare(host, checks, "flash attention", folder, exact, bound)
    checks.finish()


main()

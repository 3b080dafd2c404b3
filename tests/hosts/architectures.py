"""Small random models of every architecture: whole on the device, the numbers of llama.cpp's CPU, each
sequence with adapters of its own.

Three sequences of unequal length (the base, an adapter, a mixture of two), the longest more than a graph
and four sliding windows long, are fed fixed tokens. Logits are compared with llama.cpp's CPU backend with
f32 cache and no flash attention (BOUND). Other caches and flash attention round; there llama.cpp's own
distance from that result under the same settings, doubled, is the bound. Quantised models are compared
with an F32 copy, because llama.cpp's CPU kernels round activations beside quantised weights. Each row's
logits are bitwise the same alone and in company."""
import filecmp
import os
import random
import re
import subprocess
import sys

from support import golden, start

sys.path.insert(0, os.path.join(golden.ROOT, "tests", "support"))

import make_adapters  # noqa: E402  (found through the path above)
import make_models  # noqa: E402

BOUND = 1e-6
EXACT = ("f32", "off")
ALL = [EXACT, ("f16", "on"), ("q8_0", "on")]
MORE = [("f16", "off"), ("f32", "on")]
MORE_MODELS = ("llama3", "gemma3")
QUANTISED = [("llama-256", kind) for kind in
             ("f16", "bf16", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "q4_k", "q5_k", "q6_k")]
QUANTISED += [("phi3", "q8_0"), ("qwen2", "q5_0"), ("mixtral", "q8_0"), ("qwen3moe", "q4_1")]
MIX = [None, [("one", 1.0)], [("one", 0.5), ("two", -0.75)]]


def requests(adapted=True):
    generator = random.Random(3)
    out = []
    for index, (length, mix) in enumerate(zip((70, 41, 7), MIX)):
        ids = [1] + [generator.randrange(3, make_models.N_VOCAB) for _ in range(length - 1)]
        fed = [generator.randrange(3, make_models.N_VOCAB) for _ in range(5)]
        request = {"id": f"row{index}", "ids": ids, "golden": fed, "n": len(fed)}
        if mix and adapted:
            request["adapters"] = [{"name": name, "weight": weight} for name, weight in mix]
        out.append(request)
    return out


def run(host, checks, what, program, model, adapters, options, env=None):
    folder = host.folder(what.replace(" ", "-"))
    done = golden.run(host.program(program), model, adapters, requests(bool(adapters)), "--parallel", 3,
                      "--logits", folder, *options, env=env)
    checks.check(done.status == 0, f"{what}: exit status {done.status}: {done.log[-600:]}")
    return folder, done


def nmse(host, one, other, wanted=None):
    """Of the worst row of all requests."""
    worst = 0.0
    for request in wanted or requests():
        files = [os.path.join(place, request["id"] + ".f32") for place in (one, other)]
        done = subprocess.run([host.program("test_compare_logits"), *files, str(len(request["golden"]))],
                              capture_output=True, text=True, check=False)
        worst = max(worst, float(done.stdout or "inf"))
    return worst


def check_placement(checks, what, log):
    """Nothing but the token embedding may run on the CPU, and the rest is one piece: a second one would
    mean that some weight was left in host memory."""
    splits = re.findall(r"^## SPLIT #(\d+): (\S+) #.*\n((?:node #.*\n)*)", log, re.MULTILINE)
    strange = set()
    for _, backend, nodes in splits:
        ops = re.findall(r"^node #\s*\d+ \(\s*(\S+)\s*\):\s+(\S+)", nodes, re.MULTILINE)
        if backend == "CPU":
            strange |= {f"{op} {name}" for op, name in ops if (op, name) != ("GET_ROWS", "embd")}
    checks.check(any(backend.startswith("OCLORA") for _, backend, _ in splits),
                 f"{what}: no split of any graph is on the device")
    pieces = max((int(number) for number, _, _ in splits), default=0)
    checks.check(pieces <= 1, f"{what}: a graph falls into {pieces + 1} pieces")
    checks.check(not strange, f"{what}: on the CPU: {', '.join(sorted(strange))}")


class Case:
    """One model in the temporary folder, with two adapters in both formats."""

    def __init__(self, host, name):
        self.name, self.model = name, make_models.MODELS[name]
        place = host.folder(name)
        self.path = os.path.join(place, name + ".gguf")
        make_models.make(name, self.path)
        self.peft, self.gguf = {}, {}
        for adapter, seed, rank, alpha in (("one", 1, 4, 6), ("two", 2, 9, 3)):
            self.peft[adapter], self.gguf[adapter] = make_adapters.make(
                self.model, make_models.HEADS, f"{name} {seed}", rank, alpha, place, adapter)


def check_settings(host, checks, case, kv, flash, exact):
    what = f"{case.name} {kv} cache, flash attention {flash}"
    options = ["--kv", kv, "-fa", flash]
    order = ["--order", "interleaved", "--ubatch", 32] if flash == "on" else []
    bound = BOUND
    if (kv, flash) != EXACT:
        own, _ = run(host, checks, what + " stock", "oclora-stock", case.path, case.gguf, options)
        bound = max(BOUND, 2 * nmse(host, own, exact))
    env = dict(host.env, GGML_SCHED_DEBUG="2")
    folder, done = run(host, checks, what, "oclora-generate", case.path, case.peft,
                       options + order + ["--verbose"], env)
    check_placement(checks, what, done.log)
    value = nmse(host, folder, exact)
    checks.check(value <= bound, f"{what}: NMSE {value} above {bound}")
    print(f"{what}: worst NMSE of a row {value:.3g} (at most {bound:.3g})", flush=True)


def check_alone(host, checks, case):
    """Logits of a row are bitwise the same alone and in company, whatever the graph."""
    for flash in ("on", "off"):
        what = f"{case.name} flash attention {flash}"
        runs = [("alone", ["--parallel", 1]), ("in company", ["--order", "interleaved", "--ubatch", 32])]
        folders = [run(host, checks, f"{what} {how}", "oclora-generate", case.path, case.peft,
                       ["-fa", flash] + options, host.env)[0] for how, options in runs]
        for request in requests():
            files = [os.path.join(folder, request["id"] + ".f32") for folder in folders]
            same = all(os.path.exists(path) for path in files) and filecmp.cmp(*files, shallow=False)
            checks.check(same, f"{what}: {request['id']} alone and in company: logits differ")


def check_model(host, checks, name):
    case = Case(host, name)
    exact, _ = run(host, checks, name + " reference", "oclora-stock", case.path, case.gguf,
                   ["--kv", "f32", "-fa", "off"])
    plain, _ = run(host, checks, name + " base", "oclora-stock", case.path, {},
                   ["--kv", "f32", "-fa", "off"])
    for request in requests()[1:]:
        checks.check(nmse(host, plain, exact, [request]) > 0.01,
                     f"{name}: the adapters of {request['id']} change nothing")
    settings = ALL + (MORE if name in MORE_MODELS else [])
    if case.model.chooses():  # rounding may send a token to another expert
        settings = [EXACT]
    for kv, flash in settings:
        check_settings(host, checks, case, kv, flash, exact)
    folder, _ = run(host, checks, name + " GGUF LoRA", "oclora-generate", case.path, case.gguf,
                    ["--kv", "f32", "-fa", "off", "--order", "reversed"], host.env)
    value = nmse(host, folder, exact)
    checks.check(value <= BOUND, f"{name}, adapters as GGUF: NMSE {value} above {BOUND}")
    check_alone(host, checks, case)
    if case.model.experts:
        check_experts(host, checks, case)


def check_experts(host, checks, case):
    """The experts' weights take no adapter; a refusal names the module."""
    place = os.path.dirname(case.path)
    for path, module in make_adapters.make_on_expert(case.model, make_models.FFN, case.model.width,
                                                     make_models.EXPERTS, place):
        done = golden.run(host.program("oclora-generate"), case.path, {"bad": path},
                          [dict(requests()[2], adapters=[{"name": "bad", "weight": 1}])], env=host.env)
        checks.check(done.status == 1 and not done.answers and module in done.log,
                     f"{case.name}: {path} was not refused by its module's name: {done.log[-400:]}")


def check_quantised(host, checks, name, kind):
    case = Case(host, name)
    paths = [f"{case.path}.{kind}", f"{case.path}.{kind}.f32"]
    for source, target, to in ((case.path, paths[0], kind), (paths[0], paths[1], "f32")):
        subprocess.run([host.program("test_convert_model"), source, target, to], check=True)
    options = ["--kv", "f32", "-fa", "off"]
    what = f"{name} {kind}"
    exact, _ = run(host, checks, what + " reference", "oclora-stock", paths[1], case.gguf, options)
    folder, done = run(host, checks, what, "oclora-generate", paths[0], case.peft,
                       options + ["--verbose"], dict(host.env, GGML_SCHED_DEBUG="2"))
    check_placement(checks, what, done.log)
    value = nmse(host, folder, exact)
    checks.check(value <= BOUND, f"{what}: NMSE {value} above {BOUND}")
    print(f"{what}: worst NMSE of a row {value:.3g}", flush=True)


def main():
    host, checks = start()
    for name in make_models.MODELS:
        check_model(host, checks, name)
    for name, kind in QUANTISED:
        check_quantised(host, checks, name, kind)
    checks.finish()


if __name__ == "__main__":
    main()

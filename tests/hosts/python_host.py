"""A stock `pip install llama-cpp-python`: the lines of plugin/ggml/llama-hosts.md load the plugin, and
every sequence of a batch has its own adapter. Golden answers, the same logits alone and in company, and
refusals. Runs under the interpreter of OCLORA_LLAMA_PYTHON, which has the package."""
import ctypes
import json
import os
import re
import subprocess
import sys

from support import NAMES, golden, skip, start

PYTHON = os.environ.get("OCLORA_LLAMA_PYTHON", "")
SLOTS = {str(slot): None if name == golden.BASE else name for slot, name in enumerate(NAMES)}
QUESTIONS = range(4)


def documented_lines():
    with open(os.path.join(golden.ROOT, "plugin", "ggml", "llama-hosts.md"), encoding="utf-8") as file:
        return re.search(r"^## Python.*?^```python\n(.*?)^```", file.read(), re.MULTILINE | re.DOTALL)[1]


def load_cpu(llama_cpp):
    """A stock install has its CPU backend inside; other libraries have it as a file of its own."""
    folder = os.path.join(os.path.dirname(llama_cpp.__file__), "lib")
    ggml = ctypes.CDLL(os.path.join(folder, "libggml.so.0"))
    if not ggml.ggml_backend_dev_count():
        ggml.ggml_backend_load(os.path.join(folder, "libggml-cpu.so").encode())


def open_as_documented(host, lines=slice(None)):
    """Runs those lines with the paths of this machine; the names they define."""
    import llama_cpp
    load_cpu(llama_cpp)
    plugin = os.path.abspath(os.path.join(host.build, "lib", "libggml-oclora.so"))
    text = "".join(documented_lines().splitlines(True)[lines])
    names = {}
    exec(compile(text.replace("PLUGIN", plugin).replace("base.gguf", host.model), "llama-hosts.md", "exec"),
         names)  # pylint: disable=exec-used
    return names


class Decoder:
    """Greedy decoding of request i as sequence seq[i], all in one batch."""

    def __init__(self, names, context):
        import numpy
        self.llama, self.context, self.numpy = names["llama"], context, numpy
        self.size = self.llama.llama_vocab_n_tokens(self.llama.llama_model_get_vocab(names["model"]))
        self.batch = self.llama.llama_batch_init(1024, 0, 1)

    def fill(self, rows):
        """rows: (token, position, sequence, wants logits)."""
        self.batch.n_tokens = len(rows)
        for i, (token, position, sequence, output) in enumerate(rows):
            self.batch.token[i], self.batch.pos[i], self.batch.logits[i] = token, position, output
            self.batch.n_seq_id[i], self.batch.seq_id[i][0] = 1, sequence

    def logits(self, row):
        return self.numpy.ctypeslib.as_array(self.llama.llama_get_logits_ith(self.context, row), (self.size,))

    def decode(self, wanted):
        """wanted: [(sequence, request)]. Answers [(ids, [the bytes of each step's logits])]; None if the
        batch was refused."""
        self.llama.llama_memory_clear(self.llama.llama_get_memory(self.context), True)
        answers = [([], []) for _ in wanted]
        rows, last, live = [], [], list(range(len(wanted)))
        for sequence, request in wanted:
            ids = request["ids"]
            rows += [(token, position, sequence, position == len(ids) - 1)
                     for position, token in enumerate(ids)]
            last.append(len(rows) - 1)
        while live:
            self.fill(rows)
            if self.llama.llama_decode(self.context, self.batch) != 0:
                return None
            rows, still, outputs = [], [], last
            last = []
            for i, row in zip(live, outputs):
                (sequence, request), (ids, steps) = wanted[i], answers[i]
                logits = self.logits(row)
                ids.append(int(logits.argmax()))
                steps.append(logits.tobytes())
                if len(ids) < request["n"]:
                    last.append(len(rows))
                    rows.append((ids[-1], len(request["ids"]) + len(ids) - 1, sequence, True))
                    still.append(i)
            live = still
        return answers


def configure(host, **settings):
    names = [name for name in SLOTS.values() if name]
    os.environ["OCLORA_CONFIG"] = json.dumps({
        "model": host.model, "adapters": {n: golden.adapter_path(n) for n in names}, **settings})


def requests(index):
    return [(int(slot), golden.requests([name or golden.BASE], [index])[0]) for slot, name in SLOTS.items()]


def serves(checks, decoder):
    for index in QUESTIONS:
        wanted = requests(index)
        together = decoder.decode(wanted)
        if not checks.check(together is not None, "llama_decode fails"):
            return
        for (_, request), (ids, _) in zip(wanted, together):
            verdict = golden.judge(request, {"ids": ids}, False)
            checks.check(verdict in ("", "near tie"), f"{request['id']}: {verdict}")
        for pair, (_, steps) in zip(wanted if index == 0 else [], together):
            (_, alone), = decoder.decode([pair])
            checks.check(alone == steps, f"{pair[1]['id']}: alone and in company the logits differ")


def slots(checks, host):
    """The documented lines as they stand, then one stream for all sequences, which is refused."""
    configure(host, slots=SLOTS)
    names = open_as_documented(host)
    llama, context, params = (names[key] for key in ("llama", "context", "params"))
    if not checks.check(context, "a context"):
        return
    serves(checks, Decoder(names, context))
    llama.llama_free(context)
    params.kv_unified = True
    context = llama.llama_init_from_model(names["model"], params)
    if checks.check(context, "a context with a unified cache"):
        answer = Decoder(names, context).decode(requests(0)[:1])
        checks.check(answer is None, "a unified cache is served")
        llama.llama_free(context)


def one_for_all(checks, host):
    """The package's own class has one sequence, which "all" serves."""
    configure(host, all="pirate")
    llama = open_as_documented(host, slice(0, 2))["llama"]
    llm = llama.Llama(host.model, n_gpu_layers=99, verbose=False)
    request = golden.requests(["pirate"], [0])[0]
    ids = []
    for token in llm.generate(request["ids"], temp=0.0):
        ids.append(token)
        if len(ids) == request["n"]:
            break
    verdict = golden.judge(request, {"ids": ids}, False)
    checks.check(verdict in ("", "near tie"), f"llama_cpp.Llama: {verdict}")


def bad_adapter(checks, host):
    configure(host, adapters={"pirate": "/nonexistent"}, slots={"0": "pirate"})
    checks.check(not open_as_documented(host)["context"], "an adapter that is not there: a context")


# Each in a process of its own, because OCLORA_CONFIG is read once: what its log must say.
PARTS = {"slots": (slots, "SINGLE_STREAM"), "one_for_all": (one_for_all, ""),
         "bad_adapter": (bad_adapter, "FILE_NOT_FOUND")}


def main():
    if PYTHON and (os.path.realpath(sys.executable) != os.path.realpath(PYTHON) or
                   sys.prefix == sys.base_prefix):
        os.execv(PYTHON, [PYTHON] + sys.argv)
    try:
        import llama_cpp  # noqa: F401  (only whether it is there)
    except ImportError:
        skip("no llama-cpp-python; set OCLORA_LLAMA_PYTHON to an interpreter that has it")
    part = os.environ.get("OCLORA_TEST_PART", "")
    host, checks = start()
    if part:
        os.environ.update(host.env)
        PARTS[part][0](checks, host)
        checks.finish()
    for name, (_, reason) in PARTS.items():
        done = subprocess.run([sys.executable, *sys.argv], env=dict(os.environ, OCLORA_TEST_PART=name),
                              capture_output=True, text=True, check=False)
        print("".join(line for line in done.stdout.splitlines(True) if "checks" in line or "FAILED" in line))
        checks.check(done.returncode == 0, f"{name}: status {done.returncode}: {done.stderr[-800:]}")
        checks.check(reason in done.stderr, f"{name}: {reason} is not in the log")
    checks.finish()


main()

"""A stock `pip install llama-cpp-python`: the plugin loaded by four lines, a different adapter in every
sequence of one batch. Runs under the interpreter of OCLORA_LLAMA_PYTHON, which has the package."""
import ctypes
import json
import os
import sys

from support import golden, skip, start

PYTHON = os.environ.get("OCLORA_LLAMA_PYTHON", "")
SLOTS = {"0": "pirate", "1": "json", "2": None, "3": "shout"}


def load_plugin(llama_cpp, path):
    folder = os.path.join(os.path.dirname(llama_cpp.__file__), "lib")
    ggml = ctypes.CDLL(os.path.join(folder, "libggml.so.0"))
    ggml.ggml_backend_load.restype = ctypes.c_void_p
    if not ggml.ggml_backend_dev_count():  # not a stock install: its CPU backend is a file of its own
        ggml.ggml_backend_load(os.path.join(folder, "libggml-cpu.so").encode())
    return ggml.ggml_backend_load(path.encode())


def new_context(llama, model, sequences):
    params = llama.llama_context_default_params()
    params.n_ctx, params.n_seq_max, params.kv_unified = 512 * sequences, sequences, False
    return llama.llama_init_from_model(model, params)


def fill(batch, rows):
    """rows: (token, position, sequence, wants logits)."""
    batch.n_tokens = len(rows)
    for i, (token, position, sequence, output) in enumerate(rows):
        batch.token[i], batch.pos[i], batch.logits[i] = token, position, output
        batch.n_seq_id[i], batch.seq_id[i][0] = 1, sequence


def best(llama, context, row, size):
    logits = llama.llama_get_logits_ith(context, row)
    return max(range(size), key=lambda i: logits[i])


def decode(llama, context, size, wanted):
    """Greedy ids of every request, all requests in one batch, request i in sequence i."""
    batch = llama.llama_batch_init(1024, 0, 1)
    rows, last = [], []
    for sequence, request in enumerate(wanted):
        ids = request["ids"]
        rows += [(t, p, sequence, p == len(ids) - 1) for p, t in enumerate(ids)]
        last.append(len(rows) - 1)
    answers = [[] for _ in wanted]
    live = list(range(len(wanted)))
    while live:
        fill(batch, rows)
        if llama.llama_decode(context, batch) != 0:
            raise RuntimeError("llama_decode failed")
        rows, next_last = [], []
        still = []
        for sequence, row in zip(live, last):
            token = best(llama, context, row, size)
            answers[sequence].append(token)
            if len(answers[sequence]) == wanted[sequence]["n"]:
                continue
            position = len(wanted[sequence]["ids"]) + len(answers[sequence]) - 1
            next_last.append(len(rows))
            rows.append((token, position, sequence, True))
            still.append(sequence)
        live, last = still, next_last
    llama.llama_batch_free(batch)
    return answers


def main():
    if PYTHON and os.path.realpath(sys.executable) != os.path.realpath(PYTHON) or \
            PYTHON and sys.prefix == sys.base_prefix:
        os.execv(PYTHON, [PYTHON] + sys.argv)
    try:
        import llama_cpp
    except ImportError:
        skip("no llama-cpp-python; set OCLORA_LLAMA_PYTHON to an interpreter that has it")
    host, checks = start()
    os.environ.update(host.env)
    names = [name for name in SLOTS.values() if name]
    os.environ["OCLORA_CONFIG"] = json.dumps({
        "model": host.model, "slots": SLOTS, "adapters": {n: golden.adapter_path(n) for n in names}})
    plugin = os.path.abspath(os.path.join(host.build, "lib", "libggml-oclora.so"))
    if not checks.check(load_plugin(llama_cpp, plugin), "the plugin loads"):
        checks.finish()
    llama = llama_cpp
    llama.llama_backend_init()
    params = llama.llama_model_default_params()
    params.n_gpu_layers = 99
    model = llama.llama_model_load_from_file(host.model.encode(), params)
    if not checks.check(model, "the model loads"):
        checks.finish()
    size = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(model))
    for index in range(2):
        context = new_context(llama, model, len(SLOTS))
        if not checks.check(context, "a context"):
            break
        wanted = [golden.requests([name or golden.BASE], [index])[0] for name in SLOTS.values()]
        for request, ids in zip(wanted, decode(llama, context, size, wanted)):
            verdict = golden.judge(request, {"ids": ids}, False)
            checks.check(verdict in ("", "near tie"), f"{request['id']}: {verdict}")
        llama.llama_free(context)
    checks.finish()


main()

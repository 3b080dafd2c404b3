"""Two unmodified RPC workers with the plugin, a client without it: the same tokens as in one process."""
import json
import os
import shutil

from bad_input import drop_old, read_safetensors, write_safetensors
from llama_server import SLOTS, Server, Worker, check_alone, check_answers, config, reference
from support import golden, start

QUESTIONS = range(4)


def client(host, checks, name, workers, questions, same):
    addresses = ",".join(f"127.0.0.1:{worker.port}" for worker in workers)
    with Server(host, "--rpc", addresses, plugin=False) as server:
        if checks.check(server.wait(), f"{name}: llama-server starts: {server.log()[-800:]}"):
            check_answers(checks, name, server, SLOTS, questions, same)
            check_alone(checks, name, server, SLOTS, 0)


def serves(host, checks):
    env = {"OCLORA_CONFIG": config(host, SLOTS, partial=True)}
    same = reference(host, checks, SLOTS, QUESTIONS)
    with Worker(host, env) as first, Worker(host, env) as second:
        for worker in (first, second):
            if not checks.check(worker.wait(), f"a worker starts: {worker.log()[-800:]}"):
                return
        client(host, checks, "two workers", [first, second], QUESTIONS, same)
        client(host, checks, "the same workers, a second client", [first, second], [1], same)
        client(host, checks, "the same workers, the other way round", [second, first], [2], same)
        for worker in (first, second):
            checks.check(worker.ended() is None, f"a worker ended: {worker.log()[-800:]}")


def whole_adapters_only(host, checks):
    """Without "partial" a worker is taken for a process that holds the whole model."""
    with Worker(host, {"OCLORA_CONFIG": config(host, SLOTS)}) as worker:
        worker.wait()
        checks.check("WEIGHT_NOT_ON_DEVICE" in worker.log(), f"no refusal: {worker.log()[-400:]}")


def unknown_rows(host, checks):
    """A graph that cannot be served ends the worker, and with it the request: nothing wrong is said."""
    env = {"OCLORA_CONFIG": config(host, SLOTS, partial=True)}
    with Worker(host, env) as worker:
        if not checks.check(worker.wait(), "a worker starts"):
            return
        with Server(host, "--rpc", f"127.0.0.1:{worker.port}", "--kv-unified", "--no-warmup",
                    plugin=False) as server:
            if server.wait():
                answer = server.ask(0, [1, 9690, 198], 4)
                checks.check(isinstance(answer, str), f"unified cache over RPC: answers {answer}")
        checks.check("SINGLE_STREAM" in worker.log(), "unified cache over RPC: no reason in the log")


def of_one_layer(host):
    """The adapter pirate cut to layer 0, which only one of two workers gets."""
    folder = os.path.join(host.folder("cut"), "pirate")
    shutil.copytree(golden.adapter_path("pirate"), folder)
    path = os.path.join(folder, "adapter_model.safetensors")
    header, data = read_safetensors(path)
    write_safetensors(path, *drop_old({key: entry for key, entry in header.items()
                                       if ".layers.0." in key or key == "__metadata__"}, data))
    return folder


def nothing_here(host, checks):
    """An adapter that adapts no layer of a worker is refused there."""
    text = config(host, {"0": "pirate"}, partial=True)
    settings = dict(json.loads(text), adapters={"pirate": of_one_layer(host)})
    env = {"OCLORA_CONFIG": json.dumps(settings)}
    with Worker(host, env) as first, Worker(host, env) as second:
        if not checks.check(first.wait() and second.wait(), "two workers start"):
            return
        with Server(host, "--rpc", f"127.0.0.1:{first.port},127.0.0.1:{second.port}", "--no-warmup",
                    plugin=False, slots=2) as server:
            if server.wait():
                answer = server.ask(0, [1, 9690, 198], 4)
                checks.check(isinstance(answer, str), f"an adapter of one layer: answers {answer}")
        logs = [first.log(), second.log()]
        checks.check(sum("adapts no module" in log for log in logs) == 1,
                     f"an adapter of one layer: not refused by one worker: {[log[-400:] for log in logs]}")


def bad_settings(host, checks):
    """A worker whose settings cannot be used serves nobody."""
    good = config(host, SLOTS, partial=True)
    for name, text, status in (("not JSON", "{", "INVALID_ARGUMENT"),
                               ("no such file", "/nonexistent/oclora.json", "FILE_NOT_FOUND"),
                               ("unknown key", '{"adapterz": {}}', 'unknown key "adapterz"'),
                               ("no OpenCL device", good, "NO_DEVICE")):
        env = {"OCLORA_CONFIG": text}
        if status == "NO_DEVICE":
            env["OCL_ICD_VENDORS"] = "/nonexistent"
        with Worker(host, env) as worker:
            checks.check(not worker.wait(), f"worker, {name}: it serves")
            checks.check(status in worker.log(), f"worker, {name}: {status} is not in the log: "
                                                 f"{worker.log()[-400:]}")


def main():
    host, checks = start()
    serves(host, checks)
    nothing_here(host, checks)
    bad_settings(host, checks)
    whole_adapters_only(host, checks)
    unknown_rows(host, checks)
    checks.finish()


if __name__ == "__main__":
    main()

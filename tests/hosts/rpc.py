"""Two unmodified RPC workers with the plugin, a client without it: the same tokens as in one process."""
from llama_server import SLOTS, Server, Worker, check_alone, check_answers, config, reference
from support import start

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


def main():
    host, checks = start()
    serves(host, checks)
    whole_adapters_only(host, checks)
    unknown_rows(host, checks)
    checks.finish()


main()

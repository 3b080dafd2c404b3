"""An unmodified llama-server with a different adapter in every slot, configured by OCLORA_CONFIG: golden
answers, the texts of oclora-generate, the same numbers alone and in company, and refusals."""
import json

from llama_server import SLOTS, Server, check_alone, check_answers, config, reference
from support import start

QUESTIONS = range(4)


def serves(host, checks):
    same = reference(host, checks, SLOTS, QUESTIONS)
    for name, options in (("flash attention", ["-fa", "on"]), ("no flash attention", ["-fa", "off"])):
        with Server(host, *options, env={"OCLORA_CONFIG": config(host, SLOTS)}) as server:
            if checks.check(server.wait(), f"{name}: llama-server starts: {server.log()[-800:]}"):
                # Texts are compared under the setting that oclora-generate has too: flash attention.
                check_answers(checks, name, server, SLOTS, QUESTIONS, same if "on" in options else None)
                check_alone(checks, name, server, SLOTS, 0)


def one_for_all(host, checks):
    """With a unified cache rows cannot be told apart: one adapter for all is served, ..."""
    settings = json.loads(config(host, {"0": "json"}))
    del settings["slots"]
    settings["all"] = "json"
    with Server(host, "--kv-unified", env={"OCLORA_CONFIG": json.dumps(settings)}) as server:
        if checks.check(server.wait(), f"one for all: starts: {server.log()[-800:]}"):
            check_answers(checks, "one for all", server, {"0": "json", "3": "json"}, [0])


def unified(host, checks):
    """... one for a slot is refused, also for the slots without."""
    with Server(host, "--kv-unified", "--no-warmup",
                env={"OCLORA_CONFIG": config(host, {"0": "json"})}) as server:
        if server.wait():
            for slot in (0, 1):
                answer = server.ask(slot, [1, 9690, 198], 4)
                checks.check(isinstance(answer, str), f"unified cache: slot {slot} answers {answer}")
        checks.check("SINGLE_STREAM" in server.log(), "unified cache: SINGLE_STREAM is not in the log")


def refused(host, checks, name, text, status, *options):
    with Server(host, *options, env={"OCLORA_CONFIG": text}) as server:
        checks.check(not server.wait(), f"{name}: the server serves")
        checks.check(server.ended() not in (None, 0), f"{name}: exit status {server.ended()}")
        checks.check(status in server.log(), f"{name}: {status} is not in the log")


def main():
    host, checks = start()
    serves(host, checks)
    one_for_all(host, checks)
    unified(host, checks)
    good = config(host, SLOTS)
    refused(host, checks, "not JSON", "{", "INVALID_ARGUMENT")
    refused(host, checks, "unknown key", '{"adapterz": {}}', 'unknown key "adapterz"')
    refused(host, checks, "no such file", "/nonexistent/oclora.json", "FILE_NOT_FOUND")
    refused(host, checks, "no such adapter", good.replace("/json", "/nonexistent"), "FILE_NOT_FOUND")
    refused(host, checks, "pool too small", config(host, SLOTS, pool_bytes=4096), "POOL_FULL")
    refused(host, checks, "layers on the CPU", good, "WEIGHT_NOT_ON_DEVICE", "-ngl", 15)
    refused(host, checks, "nothing on the device", good, "WEIGHT_NOT_ON_DEVICE", "-ngl", 0)
    without = dict(host.env, OCL_ICD_VENDORS="/nonexistent")
    host.env = without
    refused(host, checks, "no OpenCL device", good, "NO_DEVICE")
    checks.finish()


main()

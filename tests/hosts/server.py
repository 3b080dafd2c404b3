"""An unmodified llama-server with a different adapter in every slot, configured by OCLORA_CONFIG: golden
answers, the texts of oclora-generate, the same numbers alone and in company, and refusals."""
import json

from llama_server import SLOTS, Server, check_alone, check_answers, config, reference, wanted_of
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


FOUR = {slot: SLOTS[slot] for slot in ("0", "1", "2", "3")}


def second_choice(host, checks):
    """"n": 2 copies a slot's cache to a free one. With another adapter there that slot is refused from
    then on; the others go on."""
    with Server(host, slots=4, env={"OCLORA_CONFIG": config(host, FOUR)}) as server:
        if not checks.check(server.wait(), f"n = 2: starts: {server.log()[-800:]}"):
            return
        slot, request = wanted_of(FOUR, 0)[1]
        answers = [server.ask(number, request["ids"], request["n"]) for number in (slot, slot + 4)]
        checks.check(answers[0]["tokens"] == answers[1]["tokens"], "id_slot is not taken modulo the slots")
        answer = server.ask(2, request["ids"], 8, n=2)
        checks.check(isinstance(answer, str), f"n = 2 over two adapters: answers {answer}")
        answer = server.ask(0, request["ids"], 8)
        checks.check(isinstance(answer, str), f"the slot with another adapter's cache answers {answer}")
        checks.check("ROWS_UNKNOWN" in server.log(), "n = 2: ROWS_UNKNOWN is not in the log")
        check_answers(checks, "after n = 2", server, {key: FOUR[key] for key in ("1", "2", "3")}, [0])


def prompt_cache(host, checks):
    """A state from llama-server's prompt cache, which knows no adapters, is refused."""
    with Server(host, "--cache-ram", 500, slots=4, env={"OCLORA_CONFIG": config(host, FOUR)}) as server:
        if not checks.check(server.wait(), f"prompt cache: starts: {server.log()[-800:]}"):
            return
        ids = wanted_of(FOUR, 0)[0][1]["ids"] * 4
        checks.check(isinstance(server.ask(0, ids, 4, cache_prompt=True), dict), "prompt cache: first prompt")
        other = server.ask(0, [1] + ids[::-1], 4, cache_prompt=True)
        checks.check(isinstance(other, dict), "prompt cache: another prompt")
        again = server.ask(0, ids, 4, cache_prompt=True)
        checks.check(isinstance(again, str), f"prompt cache: a restored state answers {again}")
        checks.check("ROWS_UNKNOWN" in server.log(), "prompt cache: ROWS_UNKNOWN is not in the log")


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
    second_choice(host, checks)
    prompt_cache(host, checks)
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


if __name__ == "__main__":
    main()

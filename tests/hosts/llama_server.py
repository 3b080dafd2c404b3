"""An unmodified llama-server (and its RPC workers) as a test drives it: start, ask, stop."""
import concurrent.futures
import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request

from support import NAMES, golden, skip

START_SECONDS = 120
PROBABILITIES = 100
# The base and every adapter, each in a slot of its own.
SLOTS = {str(slot): None if name == golden.BASE else name for slot, name in enumerate(NAMES)}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def program(name):
    folder = os.environ.get("OCLORA_LLAMA_DIR", "")
    path = os.path.join(folder, "lib", name)
    return path if os.path.exists(path) else skip(f"{name} is not in OCLORA_LLAMA_DIR ({path})")


def config(host, slots, **more):
    """The text of OCLORA_CONFIG."""
    names = {use for use in slots.values() if isinstance(use, str)}
    return json.dumps({"model": host.model, "slots": slots,
                       "adapters": {name: golden.adapter_path(name) for name in sorted(names)}, **more})


class Process:
    """A program with its log in a file, ended when the block ends."""

    def __init__(self, host, name, arguments, env, plugin):
        environment = {**os.environ, **host.env, **env}
        environment.pop("GGML_BACKEND_PATH", None)
        if plugin:
            environment["GGML_BACKEND_PATH"] = os.path.join(host.build, "lib", "libggml-oclora.so")
        self.path = os.path.join(host.temp.name, f"{name}-{free_port()}.log")
        with open(self.path, "w", encoding="utf-8") as log:
            self.process = subprocess.Popen([program(name)] + [str(a) for a in arguments], stdout=log,
                                            stderr=subprocess.STDOUT, env=environment)

    def log(self):
        with open(self.path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def ended(self):
        return self.process.poll()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Server(Process):
    def __init__(self, host, *options, env=None, plugin=True, slots=len(SLOTS)):
        self.port = free_port()
        arguments = ["-m", host.model, "-c", 512 * slots, "-np", slots, "--host", "127.0.0.1", "--port",
                     self.port, "--cache-ram", 0, "--fit", "off", "-ngl", 99, *options]
        super().__init__(host, "llama-server", arguments, env or {}, plugin)

    def wait(self):
        """True once it serves, False if it ended first."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self.ended() is None:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5) as answer:
                    if answer.status == 200:
                        return True
            except (urllib.error.URLError, OSError):
                pass
            time.sleep(0.1)
        return False

    def ask(self, slot, ids, count, **more):
        """The greedy answer of one slot, or the text of the error."""
        body = json.dumps({"prompt": ids, "n_predict": count, "id_slot": slot, "cache_prompt": False,
                           "temperature": 0, "return_tokens": True, **more}).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/completion", body,
                                         {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            return error.read().decode()
        except OSError as error:
            return str(error)

    def ask_all(self, wanted, **more):
        """[(slot, request)] asked at once; answers in order."""
        with concurrent.futures.ThreadPoolExecutor(len(wanted)) as pool:
            jobs = [pool.submit(self.ask, slot, request["ids"], request["n"], **more)
                    for slot, request in wanted]
            return [job.result() for job in jobs]


class Worker(Process):
    def __init__(self, host, env):
        self.port = free_port()
        super().__init__(host, "ggml-rpc-server",
                         ["-H", "127.0.0.1", "-p", self.port, "-d", "OCLORA0"], env, True)

    def wait(self):
        """True once it accepts a client, False if it ended first."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self.ended() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), 5).close()
                return True
            except OSError:
                time.sleep(0.1)
        return False


def wanted_of(slots, index):
    """[(slot, request)]: every slot is asked question `index` of its adapter."""
    return [(int(slot), golden.requests([name or golden.BASE], [index])[0]) for slot, name in slots.items()]


def reference(host, checks, slots, questions):
    """oclora-generate's answers to the same requests, by id."""
    wanted = [request for index in questions for _, request in wanted_of(slots, index)]
    run = golden.run(host.program("oclora-generate"), host.model, host.folders, wanted, "--parallel",
                     len(slots), env=host.env)
    checks.check(run.status == 0, f"oclora-generate: exit status {run.status}: {run.log[-600:]}")
    return run.answers


def check_answers(checks, what, server, slots, questions, same=None):
    """All slots at once. Tokens must be golden, and tokens and text those of `same`, where given."""
    for index in questions:
        wanted = wanted_of(slots, index)
        for (slot, request), answer in zip(wanted, server.ask_all(wanted)):
            if not checks.check(isinstance(answer, dict), f"{what}: slot {slot}: {answer}"):
                continue
            verdict = golden.judge(request, {"ids": answer["tokens"]}, False)
            checks.check(verdict in ("", "near tie"), f"{what}: slot {slot}, {request['id']}: {verdict}")
            if same is None:
                continue
            other = same.get(request["id"], {"ids": [], "text": ""})
            checks.check(answer["tokens"] == other["ids"] and answer["content"] == other["text"],
                         f"{what}: {request['id']}: \"{answer['content']}\", oclora-generate says "
                         f"\"{other['text']}\"")


def numbers(answer):
    """What tells two rows of logits apart: the log probabilities of the best tokens of every step. Each
    depends on all logits of its row, and JSON gives every bit of it."""
    return [(step["id"], step["logprob"], [(top["id"], top["logprob"]) for top in step["top_logprobs"]])
            for step in answer["completion_probabilities"]] if isinstance(answer, dict) else answer


def check_alone(checks, what, server, slots, index):
    """Each slot's numbers are the same bit by bit when it is asked alone and with all others."""
    wanted = wanted_of(slots, index)
    together = server.ask_all(wanted, n_probs=PROBABILITIES)
    for (slot, request), answer in zip(wanted, together):
        alone = numbers(server.ask(slot, request["ids"], request["n"], n_probs=PROBABILITIES))
        full = isinstance(alone, list) and len(alone) > 0 and len(alone[0][2]) == PROBABILITIES
        checks.check(full, f"{what}: slot {slot}: no log probabilities: {str(alone)[:300]}")
        checks.check(alone == numbers(answer), f"{what}: slot {slot}, {request['id']}: alone and in company "
                                               "the log probabilities differ")

"""Load on an unmodified llama-server: 16 clients, hundreds of adapters loaded, mapped and unloaded
while others decode, requests cancelled, clients killed, calls that must be refused.

Every adapter has an answer of its own, taken while it was served alone (the trained ones: their
golden answer). A third of the time chains are compiled meanwhile; then the server ends, starts anew with
the chains that are on disk and answers the same for the rest, in which memory must be flat (a driver's
compiler keeps 10 to 30 MiB of each chain, whenever that comes). At the end of both: no wrong answer, no
refused graph, the pool empty after the last unload. --minutes N (default 3), --adapters N, --json FILE."""
import argparse
import http.client
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import threading
import time

import soak_adapters
from llama_server import Server
from support import ADAPTERS, Checks, Host, golden, skip

SLOTS = 16
LOADED = 64            # adapters loaded at a time, at most
POOL_BYTES = 10 << 20  # less than those need, so that the pool evicts
TOKENS = 10
GROWTH_MIB = 24        # allowed between the first and the last fifth of the time after warm-up
COMPILED, LOADED_ONLY = "chain_build_at=4", "chain_build_at=1073741824"  # of chains
KILLED = """
import socket, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
s.sendall(sys.stdin.buffer.read())
s.recv(1)
print(flush=True)
while s.recv(1 << 16): pass
"""


class Control:
    """One connection to soak_control.c."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.lines = self.socket.makefile("rw", encoding="utf-8", errors="replace")

    def __call__(self, *words):
        self.lines.write(" ".join(str(word) for word in words) + "\n")
        self.lines.flush()
        status, _, text = self.lines.readline().partition(" ")
        return status, text.strip()


class Case:
    """What is asked: a prompt, the adapters with weights, and the answer they must give."""

    def __init__(self, name, uses, prompt, count, request=None):
        self.name, self.uses, self.prompt, self.count = name, uses, prompt, count
        self.request = request  # of a golden answer
        self.answer = None

    def wrong(self, ids):
        if not isinstance(ids, list):
            return f"{self.name}: {str(ids)[:300]}"
        if self.request is None:
            return "" if ids == self.answer else f"{self.name}: {ids}, alone {self.answer}"
        verdict = golden.judge(self.request, {"ids": ids}, False)
        return "" if verdict in ("", "near tie") else f"{self.name}: {verdict}"


def make_cases(folder, count, seed):
    """Random adapters (paths by number), trained ones, mixtures and the base."""
    generator = random.Random(seed)
    words = golden.load(golden.BASE)[0]["prompt_ids"]
    paths = soak_adapters.make(folder, count, seed)
    cases = [Case(f"random {i}", [(i, 1.0)], words[:generator.randrange(6, 20)] + words[-4:], TOKENS)
             for i in range(count)]
    for i in range(max(2, count // 20)):
        pair = generator.sample(range(count), 2)
        uses = [(pair[0], 0.5), (pair[1], 0.75)]
        cases.append(Case(f"mixture {i}", uses, words[:12] + words[-4:], TOKENS))
    for request in golden.requests([golden.BASE] + ADAPTERS, range(2)):
        name = request["adapter"]
        if name is not None and golden.adapter_path(name) not in paths:
            paths.append(golden.adapter_path(name))
        uses = [] if name is None else [(paths.index(golden.adapter_path(name)), 1.0)]
        cases.append(Case(request["id"], uses, request["ids"], request["n"], request))
    return paths, cases


class Names:
    """Which file is loaded under which name. Names are used again for other files."""

    def __init__(self, paths):
        self.lock = threading.Lock()
        self.paths = paths
        self.name_of = {}  # file: name
        self.users = {}    # name: slots that use it
        self.free = [f"n{i}" for i in range(LOADED)]
        self.busy = set()  # files that are being loaded or unloaded
        self.loads = self.unloads = 0

    def take(self, control, files):
        """Loads what is missing; the names, or None if another client is at one of these files."""
        names = []
        for file in files:
            name = self._take(control, file)
            if name is None:
                self.release(names)
                return None
            names.append(name)
        return names

    def _take(self, control, file):
        with self.lock:
            if file in self.busy:
                return None
            if file in self.name_of:
                self.users[self.name_of[file]] += 1
                return self.name_of[file]
            if not self.free:
                return None
            self.busy.add(file)
            name = self.free.pop(random.randrange(len(self.free)))
        status, text = control("load", name, self.paths[file])
        if status != "OCLORA_OK":
            raise RuntimeError(f"load {self.paths[file]}: {status} {text}")
        with self.lock:
            self.busy.discard(file)
            self.name_of[file] = name
            self.users[name] = 1
            self.loads += 1
        return name

    def release(self, names):
        with self.lock:
            for name in names:
                self.users[name] -= 1

    def unload_some(self, control, most, generator):
        """Unloads idle adapters until `most` are left."""
        while True:
            with self.lock:
                idle = [file for file, name in self.name_of.items() if self.users[name] == 0]
                if len(self.name_of) <= most or not idle:
                    return
                file = generator.choice(idle)
                name = self.name_of.pop(file)
                self.busy.add(file)
            status, text = control("unload", name)
            end = time.monotonic() + 30
            while "used by" in text and time.monotonic() < end:  # a graph that began under the old map
                time.sleep(0.01)
                status, text = control("unload", name)
            if status != "OCLORA_OK":
                raise RuntimeError(f"unload: {status} {text}")
            with self.lock:
                self.busy.discard(file)
                del self.users[name]
                self.free.append(name)
                self.unloads += 1


class Soak:
    def __init__(self, host, checks, paths, cases):
        self.host, self.checks, self.cases = host, checks, cases
        self.names = Names(paths)
        self.bad = os.path.join(host.folder("bad"), "bad.gguf")
        with open(self.bad, "wb") as file:
            file.write(b"GGUF\3\0\0\0" + bytes(64))
        self.lock = threading.Lock()
        self.counts = dict.fromkeys(("answers", "tokens", "cancelled", "killed", "refused", "moved",
                                     "full"), 0)
        self.problems = []
        self.samples = []  # (seconds, fields) of the last load
        self.loads = self.uploads = self.evictions = 0
        self.end = self.minutes = self.seconds = 0

    def count(self, what, number=1):
        with self.lock:
            self.counts[what] += number

    def problem(self, text):
        with self.lock:
            self.problems.append(text)

    # --- the server ---

    def start(self, tune):
        self.place = os.path.join(self.host.temp.name, f"control-{time.monotonic_ns()}")
        control = os.path.join(self.host.build, "tests", "soak_control.so")
        if not os.path.exists(control):
            skip("soak_control.so is not built")
        # One arena: else the freed memory of each thread's adapters stays with the thread.
        env = {"OCLORA_TUNE": tune, "LD_PRELOAD": control, "OCLORA_SOAK_SOCKET": self.place,
               "MALLOC_ARENA_MAX": "2",
               "OCLORA_CONFIG": json.dumps({"model": self.host.model, "pool_bytes": POOL_BYTES})}
        self.server = Server(self.host, "-c", 256 * SLOTS, "--log-verbosity", 1, "--no-ui", env=env,
                             slots=SLOTS)
        if not self.server.wait():
            raise RuntimeError("llama-server: " + self.server.log()[-800:])
        self.names = Names(self.names.paths)

    def stop(self):
        self.server.process.terminate()
        try:
            status = self.server.process.wait(60)
        except subprocess.TimeoutExpired:
            self.server.process.kill()
            status = "no end after 60 s"
        self.checks.check(status == 0, f"llama-server ends: {status}: {self.server.log()[-400:]}")

    def body(self, slot, case, stream):
        return json.dumps({"prompt": case.prompt, "n_predict": 200 if stream else case.count,
                           "id_slot": slot, "cache_prompt": False, "temperature": 0,
                           "ignore_eos": stream, "stream": stream, "return_tokens": True}).encode()

    def text_of(self, slot, case):
        body = self.body(slot, case, True)
        return (b"POST /completion HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n" % len(body)) + body

    def ask(self, slot, case):
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=300)
        try:
            connection.request("POST", "/completion", self.body(slot, case, False),
                               {"Content-Type": "application/json"})
            answer = json.loads(connection.getresponse().read())
            return answer.get("tokens", answer)
        except (OSError, ValueError, http.client.HTTPException) as error:
            return f"{type(error).__name__} {error}"
        finally:
            connection.close()

    def wait_idle(self, slot):
        """A slot must not change its adapter while it still decodes what was cancelled."""
        for _ in range(600):
            connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
            connection.request("GET", "/slots")
            busy = json.loads(connection.getresponse().read())[slot]["is_processing"]
            connection.close()
            if not busy:
                return
            time.sleep(0.1)
        self.problem(f"slot {slot} never becomes idle after a cancelled request")

    # --- what clients do ---

    def map(self, control, slot, case, held):
        """Maps the slot to a case's adapters; what it holds now, or None if that cannot be now."""
        names = self.names.take(control, [file for file, _ in case.uses])
        if names is None:
            return None
        words = [word for name, (_, weight) in zip(names, case.uses) for word in (name, weight)]
        status, text = control("map", slot, *words)
        if status == "OCLORA_POOL_FULL":  # what the others have mapped is not evicted
            self.names.release(names)
            self.count("full")
            return None
        if status != "OCLORA_OK":
            raise RuntimeError(f"map: {status} {text}")
        self.names.release(held)
        return names

    def cancel(self, slot, case, generator):
        link = socket.create_connection(("127.0.0.1", self.server.port), 60)
        link.sendall(self.text_of(slot, case))
        link.recv(1 + generator.randrange(4000))
        link.close()
        self.count("cancelled")
        self.wait_idle(slot)

    def kill(self, slot, case):
        child = subprocess.Popen([sys.executable, "-S", "-c", KILLED, str(self.server.port)],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        child.stdin.write(self.text_of(slot, case))
        child.stdin.close()
        child.stdout.readline()
        child.kill()
        child.wait()
        child.stdout.close()
        self.count("killed")
        self.wait_idle(slot)

    def misuse(self, control, held):
        wrong = [(("load", "bad", self.bad), "FILE"), (("load", "bad", "/nonexistent"), "FILE_NOT_FOUND"),
                 (("unload", "nobody"), "ADAPTER_NOT_LOADED"), (("map", 255, "nobody", 1), "NOT_LOADED")]
        if held:
            wrong += [(("unload", held[0]), "ADAPTER_IN_USE"),
                      (("load", held[0], self.names.paths[0]), "ALREADY_EXISTS")]
        for words, wanted in wrong:
            status, text = control(*words)
            if wanted not in status:
                self.problem(f"{words}: {status} {text}, wanted {wanted}")
            self.count("refused")

    def client(self, slot):
        generator = random.Random(slot)
        control = Control(self.place)
        held = []
        turn = 0
        while time.monotonic() < self.end and len(self.problems) < 20:
            case = generator.choice(self.cases)
            names = self.map(control, slot, case, held)
            if names is None:
                time.sleep(0.05)
                continue
            held = names
            self.count("moved")
            # The first turn of each client is one of these, so that a short run has them all.
            chance = generator.random() if turn else (0.0, 0.055, 0.08, 1.0)[slot % 4]
            turn += 1
            if chance < 0.05:
                self.cancel(slot, case, generator)
            elif chance < 0.06:
                self.kill(slot, case)
            elif chance < 0.10:
                self.misuse(control, held)
            ids = self.ask(slot, case)
            problem = case.wrong(ids)
            if problem:
                self.problem(f"slot {slot}: {problem}")
            else:
                self.count("answers")
                self.count("tokens", len(ids))
            self.names.unload_some(control, generator.randrange(LOADED * 3 // 4, LOADED), generator)
        self.map(control, slot, Case("base", [], [], 0), held)

    def run_client(self, slot):
        try:
            self.client(slot)
        except Exception as error:  # a thread has nobody else to tell
            self.problem(f"client {slot}: {type(error).__name__} {error}")

    # --- memory ---

    def sample(self, control):
        fields = {}
        with open(f"/proc/{self.server.process.pid}/status", encoding="ascii") as file:
            for line in file:
                key, _, value = line.partition(":")
                if key in ("RssAnon", "RssFile", "Threads"):
                    fields[key] = int(value.split()[0])
        fields["files"] = len(os.listdir(f"/proc/{self.server.process.pid}/fd"))
        _, text = control("stats")
        numbers = [int(word) for word in text.split()]
        fields.update(zip(("adapters", "resident", "used", "uploads", "evictions", "refusals"), numbers))
        return fields

    def watch(self, start):
        control = Control(self.place)
        said = start
        while time.monotonic() < self.end and len(self.problems) < 20:
            now = time.monotonic()
            self.samples.append((now - start, self.sample(control)))
            if now - said >= 30:
                said = now
                last = self.samples[-1][1]
                print(f"{now - start:.0f} s: {self.counts['answers']} answers, {self.names.loads} loads, "
                      f"{last['evictions']} evictions, {last['RssAnon'] >> 10} MiB", flush=True)
            time.sleep(1)

    def growth(self, key):
        """Between the medians of the first and the last fifth, the first quarter left out."""
        later = [fields[key] for at, fields in self.samples if at > self.minutes * 15]
        fifth = max(1, len(later) // 5)
        return statistics.median(later[-fifth:]) - statistics.median(later[:fifth])

    # --- the parts ---

    def learn(self):
        """Every case's answer, served alone; cases whose answer is not their own are left out."""
        control = Control(self.place)
        generator = random.Random(0)
        held, seen, unique = [], {}, []
        for case in self.cases:
            held = self.map(control, 0, case, held)
            ids = self.ask(0, case)
            if not isinstance(ids, list):
                raise RuntimeError(f"{case.name}: {ids}")
            case.answer = ids
            self.names.unload_some(control, LOADED - 8, generator)
            if case.request is not None:
                self.checks.check(not case.wrong(ids), f"alone: {case.wrong(ids)}")
            elif tuple(ids) in seen:
                continue
            seen[tuple(ids)] = case
            unique.append(case)
        lost = len(self.cases) - len(unique)
        self.checks.check(lost * 3 <= len(self.cases), f"{lost} adapters have another's answer")
        self.map(control, 0, Case("base", [], [], 0), held)
        self.cases = unique
        print(f"{len(unique)} answers learnt with {self.names.loads} loads", flush=True)

    def load(self, minutes):
        start = time.monotonic()
        self.minutes, self.end = minutes, start + minutes * 60
        self.samples.clear()
        threads = [threading.Thread(target=self.run_client, args=(slot,)) for slot in range(SLOTS)]
        threads.append(threading.Thread(target=self.watch, args=(start,)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.seconds += time.monotonic() - start
        for problem in self.problems:
            self.checks.check(False, problem)

    def empty(self):
        """After the last unload nothing is left on the device."""
        control = Control(self.place)
        self.names.unload_some(control, 0, random.Random(0))
        last = self.sample(control)
        for key in ("adapters", "resident", "used", "refusals"):
            self.checks.check(last[key] == 0, f"at the end {key} is {last[key]}")
        self.checks.check(last["evictions"] > 0, "nothing was evicted")
        self.loads += self.names.loads
        self.uploads += last["uploads"]
        self.evictions += last["evictions"]

    def alone(self):
        """Some cases answer as they did before."""
        control = Control(self.place)
        held = []
        for case in self.cases[:6] + self.cases[-16:]:
            held = self.map(control, 3, case, held)
            wrong = case.wrong(self.ask(3, case))
            self.checks.check(not wrong, f"after the restart: {wrong}")
        self.map(control, 3, Case("base", [], [], 0), held)

    def part(self, tune, prepare, minutes):
        self.start(tune)  # which may skip the test
        try:
            prepare()
            self.load(minutes)
            self.empty()
            self.stop()
        finally:
            self.server.__exit__()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--runtime", default="default")
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--adapters", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json")
    args = parser.parse_args()
    host, checks = Host(args.build, args.runtime), Checks()
    paths, cases = make_cases(host.folder("adapters"), args.adapters, args.seed)
    soak = Soak(host, checks, paths, cases)
    soak.part(COMPILED, soak.learn, args.minutes / 3)
    if not soak.problems:
        soak.part(LOADED_ONLY, soak.alone, args.minutes * 2 / 3)
    own = len(soak.cases)
    growth = soak.growth("RssAnon") / 1024
    checks.check(growth <= GROWTH_MIB, f"memory grew by {growth:.1f} MiB")
    # Connections come and go; what leaks a thread or a file for each load or request is far above these.
    checks.check(soak.growth("Threads") <= 4, f"{soak.growth('Threads')} more threads")
    checks.check(soak.growth("files") <= 2 * SLOTS, f"{soak.growth('files')} more open files")
    checks.check(soak.loads >= len(paths), f"{soak.loads} loads of {len(paths)} adapters")
    for what in ("cancelled", "killed", "refused"):
        checks.check(soak.counts[what] > 0, f"nothing was {what}")
    checks.check(soak.counts["answers"] > 10 * args.minutes, f"only {soak.counts['answers']} answers")
    summary = dict(soak.counts, minutes=args.minutes, clients=SLOTS, adapters=len(paths), own_answers=own,
                   loads=soak.loads, evictions=soak.evictions, uploads=soak.uploads,
                   tokens_per_s=round(soak.counts["tokens"] / soak.seconds, 1),
                   answers_per_s=round(soak.counts["answers"] / soak.seconds, 2),
                   memory_mib=soak.samples[-1][1]["RssAnon"] >> 10, growth_mib=round(growth, 1),
                   growth_allowed_mib=GROWTH_MIB, wrong=len(soak.problems))
    print(json.dumps(summary))
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump(dict(summary, samples=soak.samples), file)
    checks.finish()


main()

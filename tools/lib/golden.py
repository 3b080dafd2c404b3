"""Golden answers of the test adapters: requests made from them, answers checked against them."""
import json
import os
import subprocess
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ADAPTERS = os.path.join(ROOT, "tests", "data", "adapters")
BASE = "base"
# Below this distance of the two best logits another token may be chosen.
NEAR_TIE = 0.05


class Failure(Exception):
    pass


def adapter_path(name):
    return os.path.join(ADAPTERS, name)


def load(name):
    with open(os.path.join(ADAPTERS, name, "golden.json"), encoding="utf-8") as file:
        return json.load(file)


def requests(names, questions):
    """One request per adapter and question index, id NAME.INDEX, adapters alternating."""
    cases = {name: load(name) for name in names}
    out = []
    for index in questions:
        for name in names:
            case = cases[name][index]
            out.append({"id": f"{name}.{index}", "ids": case["prompt_ids"],
                        "adapter": None if name == BASE else name, "n": len(case["greedy_ids"])})
    return out


def case_of(request_id):
    """The case of an id NAME.INDEX, or of NAME.INDEX.SHIFT, which begins SHIFT tokens later."""
    name, index, *shift = request_id.split(".")
    case = dict(load(name)[int(index)])
    for key in ("greedy_ids", "margins"):
        case[key] = case[key][int(shift[0]) if shift else 0:]
    return case


class Run:
    """A finished run of oclora-generate or oclora-stock."""

    def __init__(self, status, answers, log):
        self.status, self.answers, self.log = status, answers, log
        self.summary = {}
        for line in log.splitlines():
            if line.startswith('{"device"'):
                self.summary = json.loads(line)


def run(program, model, adapters, wanted, *options, env=None, timeout=900):
    """Serves the requests; answers by id."""
    command = [program, "-m", model, "--json-summary"]
    for name, path in adapters.items():
        command += ["-a", f"{name}={path}"]
    command += [str(option) for option in options]
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as file:
        for request in wanted:
            file.write((request if isinstance(request, str) else json.dumps(request)) + "\n")
        file.flush()
        done = subprocess.run(command + [file.name], capture_output=True, text=True, timeout=timeout,
                              env=dict(os.environ, **(env or {})), check=False)
    answers = {}
    for line in done.stdout.splitlines():
        answer = json.loads(line)
        answers[answer["id"]] = answer
    return Run(done.returncode, answers, done.stderr)


def first_difference(ids, golden):
    for index, token in enumerate(golden):
        if index >= len(ids) or ids[index] != token:
            return index
    return None if len(ids) == len(golden) else len(golden)


def judge(request, answer, forced):
    """"" if the answer is golden, "near tie" if it left golden where that is allowed, else what is
    wrong. A forced answer was fed golden's tokens, so each of its tokens is judged."""
    case = case_of(request["id"])
    golden, margins = case["greedy_ids"], case["margins"]
    if answer is None:
        return "no answer"
    ids = answer["ids"]
    if forced:
        for index, token in enumerate(golden):
            if ids[index] != token and margins[index] >= NEAR_TIE:
                return f"token {index} is {ids[index]}, golden {token} (margin {margins[index]})"
        return ""
    index = first_difference(ids, golden)
    if index is None:
        return ""
    if index < len(golden) and margins[index] < NEAR_TIE:
        return "near tie"
    got = ids[index] if index < len(ids) else "the end"
    return f"token {index} is {got}, golden {(golden + ['the end'])[index]}"


def verify(program, model, adapters, wanted, *options, env=None):
    """Serves the requests and checks every token by the rule of NEAR_TIE: where golden's margin allows
    another token, the request is repeated with golden's tokens fed. Returns (run, problems, number of
    repeated requests)."""
    free = run(program, model, adapters, wanted, *options, env=env)
    verdicts = {r["id"]: judge(r, free.answers.get(r["id"]), False) for r in wanted}
    problems = [f"{key}: {text}" for key, text in verdicts.items() if text not in ("", "near tie")]
    again = [dict(r, golden=case_of(r["id"])["greedy_ids"]) for r in wanted
             if verdicts[r["id"]] == "near tie"]
    if free.status != 0:
        problems.append(f"exit status {free.status}: {free.log.strip()[-600:]}")
    if again and not problems:
        fed = run(program, model, adapters, again, *options, env=env)
        for request in again:
            text = judge(request, fed.answers.get(request["id"]), True)
            if text:
                problems.append(f"{request['id']} (golden fed): {text}")
    return free, problems, len(again)

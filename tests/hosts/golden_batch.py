"""Every adapter's greedy answers in one batch equal golden.json, however the batch is laid out."""
from support import NAMES, golden, start

LAYOUTS = [
    ("all questions, one batch", range(12), ["--parallel", 96]),
    ("reversed, no flash attention", range(2), ["--order", "reversed", "-fa", "off"]),
    ("interleaved, flash attention", range(2), ["--order", "interleaved", "-fa", "on"]),
    ("interleaved, graphs of 16 tokens, f32 cache, no flash attention", range(2),
     ["--order", "interleaved", "--ubatch", 16, "--kv", "f32", "-fa", "off"]),
    ("reversed, graphs of 16 tokens, flash attention", range(2),
     ["--order", "reversed", "--ubatch", 16, "-fa", "on"]),
    ("flash attention, f32 cache", range(2), ["--kv", "f32", "-fa", "on"]),
    ("waves of four", range(2), ["--parallel", 4]),
]


def unequal(questions):
    """Rows whose prompts end at different points of golden's answer, of very different lengths."""
    out = []
    for number, request in enumerate(golden.requests(NAMES, questions)):
        case = golden.case_of(request["id"])
        shift = number * 5 % (len(case["greedy_ids"]) - 1)
        out.append(dict(request, id=f"{request['id']}.{shift}",
                        ids=case["prompt_ids"] + case["greedy_ids"][:shift],
                        n=len(case["greedy_ids"]) - shift))
    return out


def main():
    host, checks = start()
    program = host.program("oclora-generate")
    runs = [(name, golden.requests(NAMES, questions), options) for name, questions, options in LAYOUTS]
    runs.append(("unequal lengths", unequal(range(3)), ["--order", "interleaved", "--ubatch", 48]))
    for name, wanted, options in runs:
        run, problems, ties = golden.verify(program, host.model, host.folders, wanted, *options,
                                            env=host.env)
        checks.check(not problems, f"{name}: " + "; ".join(problems))
        rate = run.summary.get("decode_tokens_per_s", 0)
        print(f"{name}: {len(wanted)} answers, {ties} near ties, {rate:.0f} tokens/s", flush=True)
        for request in wanted:
            answer, case = run.answers.get(request["id"]), golden.case_of(request["id"])
            if answer is None or len(request["ids"]) != len(case["prompt_ids"]):
                continue
            # The first token's logits: an f16 cache moves them by a few thousandths.
            by_id = {top["id"]: top["logit"] for top in answer["top"]}
            for token, logit in zip(case["top8_ids"][:4], case["top8_logits"][:4]):
                checks.check(token in by_id and abs(by_id[token] - logit) < 0.05,
                             f"{name}: {request['id']}: logit of {token} is {by_id.get(token)}, "
                             f"golden {logit}")
    checks.finish()


main()

"""The demo behind tools/demo: answers, golden check, speed beside stock llama.cpp."""
import argparse
import os
import subprocess
import sys
import textwrap

import golden

LORA = ["pirate", "shout", "json", "brief"]  # what stock llama.cpp can serve too
ADAPTERS = LORA + ["robot", "prof", "herald"]  # DoRA, VeRA, FLoRA


def note(text):
    print(f"== {text}", file=sys.stderr, flush=True)


def show_answers(wanted, answers):
    width = max(len(request["id"]) for request in wanted)
    question = None
    for request in wanted:
        case = golden.case_of(request["id"])
        if case["question"] != question:
            question = case["question"]
            print(f"\n{question}")
        answer = answers.get(request["id"])
        text = answer["text"].strip() if answer else "(no answer)"
        name = request["id"].split(".")[0]
        print(textwrap.fill(text, 96, initial_indent=f"  {name:<{width}} ",
                            subsequent_indent=" " * (width + 3)))
    print(flush=True)


def convert(model, cache):
    """GGUF LoRA files for stock llama.cpp."""
    out = {}
    os.makedirs(cache, exist_ok=True)
    tool = os.path.join(golden.ROOT, "tools", "peft-to-gguf")
    for name in LORA:
        out[name] = os.path.join(cache, name + ".gguf")
        subprocess.run([sys.executable, tool, model, golden.adapter_path(name), out[name]], check=True)
    return out


def show_speed(rows):
    print(f"{'':42}{'rows':>5}{'prompt':>11}{'decode':>11}{'all':>9}")
    print(f"{'':42}{'':>5}{'tokens/s':>11}{'tokens/s':>11}{'seconds':>9}")
    for label, summary in rows:
        seconds = (summary["prompt_ms"] + summary["decode_ms"]) / 1e3
        print(f"{label:42}{summary['served']:5}{summary['prompt_tokens_per_s']:11.1f}"
              f"{summary['decode_tokens_per_s']:11.1f}{seconds:9.2f}")
    print(flush=True)


def main():
    parser = argparse.ArgumentParser(prog="tools/demo")
    parser.add_argument("--build", default="build", help=argparse.SUPPRESS)
    parser.add_argument("--device", help="OpenCL device, see OCLORA_DEVICES in the README")
    parser.add_argument("--questions", type=int, default=3, choices=range(1, 13), metavar="1..12")
    parser.add_argument("--no-speed", action="store_true", help="leave the speed table out")
    args = parser.parse_args()

    model = os.environ["OCLORA_MODEL"]
    program = os.path.join(args.build, "bin", "oclora-generate")
    stock = os.path.join(args.build, "bin", "oclora-stock")
    options = ["--device", args.device] if args.device else []
    names = [golden.BASE] + ADAPTERS
    wanted = golden.requests(names, range(args.questions))
    folders = {name: golden.adapter_path(name) for name in ADAPTERS}

    note(f"{len(wanted)} requests, {len(ADAPTERS)} adapters and the base, one batch (the first run compiles kernels)")
    run, problems, ties = golden.verify(program, model, folders, wanted, "--warmup", *options)
    show_answers(wanted, run.answers)
    if problems:
        print("WRONG:", *problems, sep="\n  ")
        return 1
    print(f"All {len(wanted)} answers equal the golden token ids"
          + (f" ({ties} with a near tie, checked with golden tokens fed)." if ties else "."))
    print(f"Device: {run.summary['device']}\n", flush=True)
    if args.no_speed:
        return 0

    lora = [golden.BASE] + LORA
    plain = [golden.BASE]
    files = convert(model, os.path.join(args.build, "demo"))
    few = {name: folders[name] for name in LORA}
    fewer = min(12, args.questions * len(lora))
    table = []
    for label, tool, adapters, requests in (
            ("oclora, 8 kinds of rows in one batch", program, folders, wanted),
            ("oclora, base and 4 LoRA in one batch", program, few, golden.requests(lora, range(args.questions))),
            ("llama.cpp, one adapter after the other", stock, files, golden.requests(lora, range(args.questions))),
            ("oclora, base model for all rows", program, few, golden.requests(plain, range(fewer))),
            ("llama.cpp, base model for all rows", stock, files, golden.requests(plain, range(fewer)))):
        note(f"timing {label}")
        for _ in range(2):  # the first builds kernels, some only when requests have ended
            timed = golden.run(tool, model, adapters, requests, "--warmup", *(options if tool == program else []))
        if timed.status != 0:
            print(f"{label} failed: {timed.log}")
            return 1
        table.append((label, timed.summary))
    show_speed(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())

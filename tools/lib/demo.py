"""The demo behind tools/demo: answers, golden check, speed beside stock llama.cpp."""
import argparse
import os
import subprocess
import sys
import textwrap

import golden

ADAPTERS = ["pirate", "shout", "json", "brief"]


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
    for name in ADAPTERS:
        out[name] = os.path.join(cache, name + ".gguf")
        subprocess.run([sys.executable, tool, model, golden.adapter_path(name), out[name]], check=True)
    return out


def show_speed(rows):
    print(f"{'':42}{'prompt':>12}{'decode':>12}{'all':>9}")
    print(f"{'':42}{'tokens/s':>12}{'tokens/s':>12}{'seconds':>9}")
    for label, summary in rows:
        seconds = (summary["prompt_ms"] + summary["decode_ms"]) / 1e3
        print(f"{label:42}{summary['prompt_tokens_per_s']:12.1f}{summary['decode_tokens_per_s']:12.1f}"
              f"{seconds:9.2f}")
    print(flush=True)


def main():
    parser = argparse.ArgumentParser(prog="tools/demo")
    parser.add_argument("--build", default="build", help=argparse.SUPPRESS)
    parser.add_argument("--device", help="OpenCL device, see OCLORA_DEVICES in the README")
    parser.add_argument("--questions", type=int, default=4, choices=range(1, 13), metavar="1..12")
    parser.add_argument("--no-speed", action="store_true", help="leave the speed table out")
    args = parser.parse_args()

    model = os.environ["OCLORA_MODEL"]
    program = os.path.join(args.build, "bin", "oclora-generate")
    stock = os.path.join(args.build, "bin", "oclora-stock")
    options = ["--device", args.device] if args.device else []
    names = [golden.BASE] + ADAPTERS
    wanted = golden.requests(names, range(args.questions))
    folders = {name: golden.adapter_path(name) for name in ADAPTERS}

    note(f"{len(wanted)} requests, {len(names)} kinds of rows, one batch (the first run compiles kernels)")
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

    note("the same requests on stock llama.cpp, CPU, its own LoRA")
    files = convert(model, os.path.join(args.build, "demo"))
    other = golden.run(stock, model, files, wanted, "--warmup")
    if other.status != 0:
        print(f"stock llama.cpp failed: {other.log}")
        return 1
    show_speed([("oclora, all adapters in one batch", run.summary),
                ("llama.cpp, one adapter after the other", other.summary)])
    return 0


if __name__ == "__main__":
    sys.exit(main())

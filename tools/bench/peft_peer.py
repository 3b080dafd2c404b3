#!/usr/bin/env python3
"""PEFT's mixed batch on the CPU, with the command line of oclora-stock: a peer of oclora-bench.

usage: peft_peer.py -m MODEL.gguf [-a NAME=ADAPTER.gguf]... [-n N] [-t N] [--dtype f32|bf16]
                    [--cache DIR] REQUESTS.jsonl

All requests decode together; each names its adapter, which PEFT gets as `adapter_names` of every
forward pass. The model is read by transformers from the GGUF file (dequantised; with --cache once, and
from that folder later), the adapters' factors are GGUF LoRA files. Prompts are given as "ids", all of one length. Greedy; the
last line on stderr is a JSON summary as oclora-stock prints it, answers are JSON lines.

Needs torch, transformers, peft and gguf: `tools/setup peft` makes an environment that has them.
Exit status: 0 served, 1 it failed, 2 usage."""
import argparse
import json
import os
import re
import sys
import time

MODULES = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
           "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
           "ffn_down": "mlp.down_proj"}
NAME = re.compile(r"blk\.(\d+)\.(\w+)\.weight\.lora_([ab])")


def parse(argv):
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1], add_help=True)
    parser.add_argument("-m", dest="model", required=True)
    parser.add_argument("-a", dest="adapters", action="append", default=[])
    parser.add_argument("-n", dest="tokens", type=int, default=64)
    parser.add_argument("-t", dest="threads", type=int, default=os.cpu_count())
    parser.add_argument("--dtype", choices=("f32", "bf16"), default="f32")
    parser.add_argument("--cache")
    for flag in ("--ignore-eos", "--warmup", "--json-summary"):
        parser.add_argument(flag, action="store_true", help="always so here")
    parser.add_argument("requests")
    return parser.parse_args(argv)


def unpermuted(b, heads):
    """Rows of q and k as PyTorch's model has them: GGUF files hold the halves of a head interleaved."""
    out, rank = b.shape
    return b.reshape(heads, out // heads // 2, 2, rank).swapaxes(1, 2).reshape(out, rank)


def read_adapter(path, config):
    """Rank, alpha, and factors under PEFT's names."""
    import gguf
    import numpy

    file = gguf.GGUFReader(path)
    alpha = float(file.fields["adapter.lora.alpha"].contents())
    state, rank = {}, 0
    for tensor in file.tensors:
        layer, module, side = NAME.fullmatch(tensor.name).groups()
        value = numpy.array(tensor.data, dtype=numpy.float32)
        if side == "b" and module in ("attn_q", "attn_k"):
            value = unpermuted(value, config.num_attention_heads if module == "attn_q"
                               else config.num_key_value_heads)
        if side == "a":
            rank = value.shape[0]
        state[f"base_model.model.model.layers.{layer}.{MODULES[module]}.lora_{side.upper()}.weight"] = value
    return rank, alpha, state


def load_base(options, torch):
    import transformers

    transformers.logging.set_verbosity_error()
    made = options.cache and os.path.join(options.cache, "config.json")
    if made and os.path.exists(made) and os.path.getmtime(made) > os.path.getmtime(options.model):
        return transformers.AutoModelForCausalLM.from_pretrained(options.cache, dtype=torch.float32)
    folder, file = os.path.split(os.path.abspath(options.model))
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, gguf_file=file,
                                                              dtype=torch.float32)
    if made:
        model.hf_quantizer = None  # what it holds now is f32
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config
        model.save_pretrained(options.cache + ".new")
        os.rename(options.cache + ".new", options.cache)
    return model


def load(options, torch):
    """The model with every adapter under its name."""
    import peft

    model = load_base(options, torch)
    wrapped = None
    for pair in options.adapters:
        name, _, path = pair.partition("=")
        rank, alpha, state = read_adapter(path, model.config)
        targets = sorted({key.split(".")[-3] for key in state})
        config = peft.LoraConfig(r=rank, lora_alpha=alpha, target_modules=targets)
        if wrapped is None:
            wrapped = peft.get_peft_model(model, config, adapter_name=name, low_cpu_mem_usage=True)
        else:
            wrapped.add_adapter(name, config, low_cpu_mem_usage=True)
        tensors = {key: torch.from_numpy(value) for key, value in state.items()}
        result = peft.set_peft_model_state_dict(wrapped, tensors, adapter_name=name,
                                                low_cpu_mem_usage=True)
        if getattr(result, "unexpected_keys", None):
            raise ValueError(f"{path}: PEFT does not know {result.unexpected_keys[0]}")
    out = wrapped or model
    if options.dtype == "bf16":
        out = out.to(torch.bfloat16)
    return out.eval()


def decode(model, torch, ids, names, steps):
    """Prompt and `steps` tokens of all requests. @return tokens, seconds of prompt and of decoding."""
    more = {"adapter_names": names} if names else {}
    began = time.perf_counter()
    out = model(input_ids=torch.tensor(ids), use_cache=True, logits_to_keep=1, **more)
    last = out.logits[:, -1].argmax(-1, keepdim=True)
    middle, tokens = time.perf_counter(), [last]
    for _ in range(steps - 1):
        out = model(input_ids=last, past_key_values=out.past_key_values, use_cache=True, **more)
        last = out.logits[:, -1].argmax(-1, keepdim=True)
        tokens.append(last)
    return torch.cat(tokens, 1).tolist(), middle - began, time.perf_counter() - middle


def serve(options):
    import torch

    torch.set_num_threads(options.threads)
    with open(options.requests, encoding="utf-8") as file:
        requests = [json.loads(line) for line in file if line.strip()]
    ids = [request["ids"] for request in requests]
    if not ids or len({len(one) for one in ids}) != 1:
        raise ValueError("the prompts must be of one length")
    model = load(options, torch)
    names = [request.get("adapter", "__base__") for request in requests] if options.adapters else None
    with torch.inference_mode():
        decode(model, torch, ids, names, 2)
        tokens, prompt, seconds = decode(model, torch, ids, names, options.tokens)
    for request, answer in zip(requests, tokens):
        print(json.dumps({"id": request["id"], "adapter": request.get("adapter"), "ids": answer}))
    # The first token of a request comes of its prompt.
    made = len(ids) * (options.tokens - 1)
    prompts = sum(map(len, ids))
    summary = {"device": f"torch {torch.__version__}, {options.dtype}, {options.threads} threads",
               "served": len(ids), "prompt_tokens": prompts, "prompt_ms": prompt * 1e3,
               "prompt_tokens_per_s": prompts / prompt, "new_tokens": made, "decode_ms": seconds * 1e3,
               "decode_steps": options.tokens - 1, "decode_tokens_per_s": made / seconds}
    print(json.dumps(summary), file=sys.stderr)


def main():
    options = parse(sys.argv[1:])
    os.environ.update({"TQDM_DISABLE": "1", "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore"})
    try:
        serve(options)
    except (ImportError, OSError, ValueError, KeyError, RuntimeError) as error:
        print(f"peft_peer.py: {type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()

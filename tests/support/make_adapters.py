"""Random LoRA adapters for the models of make_models.py: a PEFT folder, and the same as GGUF LoRA."""
import array
import json
import math
import os
import random
import struct

import gguf_file


def draw(generator, count, spread):
    raw = array.array("h", generator.randbytes(2 * count))
    return array.array("f", [spread * x / 32768.0 for x in raw])


def halves_apart(values, rank, outputs, heads):
    """Rows of B in Hugging Face's order: of each head first the even rows of GGUF's, then the odd."""
    out, head = array.array("f"), outputs // heads
    for first in range(0, outputs, head):
        for side in range(2):
            for row in range(first + side, first + head, 2):
                out.extend(values[row * rank:(row + 1) * rank])
    return out


def write_safetensors(path, tensors):
    header, data = {}, b""
    for name, shape, values in tensors:
        body = values.tobytes()
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(body)]}
        data += body
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def write_peft(folder, rank, alpha, modules, tensors):
    os.makedirs(folder, exist_ok=True)
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": alpha, "bias": "none",
              "target_modules": sorted(modules), "task_type": "CAUSAL_LM"}
    with open(os.path.join(folder, "adapter_config.json"), "w", encoding="utf-8") as file:
        json.dump(config, file)
    write_safetensors(os.path.join(folder, "adapter_model.safetensors"), tensors)


def write_lora(path, arch, alpha, tensors):
    meta = {"general.type": "adapter", "general.architecture": arch, "adapter.type": "lora",
            "adapter.lora.alpha": float(alpha)}
    gguf_file.write(path, meta, tensors)


def make(model, heads, seed, rank, alpha, place, name):
    """Every linear layer of every block. Returns the PEFT folder and the GGUF file."""
    generator = random.Random(seed)
    peft, gguf, targets = [], [], set()
    for layer in range(model.layers):
        for module, weight, inputs, outputs in model.linears():
            a = draw(generator, rank * inputs, 1.0 / math.sqrt(inputs))
            b = draw(generator, outputs * rank, 1.0 / rank)
            own = f"blk.{layer}.{weight}.weight"
            gguf.append((own + ".lora_a", (inputs, rank), a))
            gguf.append((own + ".lora_b", (rank, outputs), b))
            if model.rotary_pairs and weight in ("attn_q", "attn_k"):
                b = halves_apart(b, rank, outputs, heads if weight == "attn_q" else model.kv_heads)
            key = f"base_model.model.model.layers.{layer}.{module}"
            peft.append((key + ".lora_A.weight", [rank, inputs], a))
            peft.append((key + ".lora_B.weight", [outputs, rank], b))
            targets.add(module.split(".")[-1])
    folder, file = os.path.join(place, name), os.path.join(place, name + ".gguf")
    write_peft(folder, rank, alpha, targets, peft)
    write_lora(file, model.arch, alpha, gguf)
    return folder, file


def make_on_expert(model, width, inputs, experts, place):
    """Adapters on experts, in both formats, with the name that a refusal must show."""
    generator = random.Random(7)
    rank, ffn = 2, width
    a, b = draw(generator, rank * inputs, 0.1), draw(generator, ffn * rank, 0.1)
    key = "base_model.model.model.layers.0.mlp.experts.3.gate_proj"
    folder, file = os.path.join(place, "on-expert"), os.path.join(place, "on-experts.gguf")
    write_peft(folder, rank, 4, ["gate_proj"], [(key + ".lora_A.weight", [rank, inputs], a),
                                                (key + ".lora_B.weight", [ffn, rank], b)])
    own = "blk.0.ffn_gate_exps.weight"
    write_lora(file, model.arch, 4, [
        (own + ".lora_a", (inputs, rank, experts), draw(generator, experts * rank * inputs, 0.1)),
        (own + ".lora_b", (rank, ffn, experts), draw(generator, experts * rank * ffn, 0.1))])
    return [(folder, "model.layers.0.mlp.experts.3.gate_proj"), (file, "blk.0.ffn_gate_exps")]

"""Random adapters for SmolLM2-135M, each strong enough for an answer of its own: LoRA in several
ranks, types and shapes, DoRA and IA3."""
import json
import os
import random
import struct

LAYERS, WIDTH, INNER, KV = 30, 576, 1536, 192
MODULES = {"self_attn.q_proj": (WIDTH, WIDTH), "self_attn.k_proj": (WIDTH, KV),
           "self_attn.v_proj": (WIDTH, KV), "self_attn.o_proj": (WIDTH, WIDTH),
           "mlp.gate_proj": (WIDTH, INNER), "mlp.up_proj": (WIDTH, INNER), "mlp.down_proj": (INNER, WIDTH)}


def halves(generator, count, exponent=11):
    """f16 values of either sign between 2^(exponent - 15) and twice that."""
    mask = int.from_bytes(b"\xff\x83" * count, "little")
    base = int.from_bytes(struct.pack("<H", exponent << 10) * count, "little")
    raw = int.from_bytes(generator.randbytes(2 * count), "little")
    return (raw & mask | base).to_bytes(2 * count, "little")


def singles(values):
    return b"".join(struct.pack("<f", x) for x in values)


def write(folder, config, tensors):
    header, data = {}, b""
    for name, dtype, shape, body in tensors:
        header["base_model.model.model." + name] = {
            "dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(body)]}
        data += body
    text = json.dumps(header).encode()
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "adapter_config.json"), "w", encoding="utf-8") as file:
        json.dump(config, file)
    with open(os.path.join(folder, "adapter_model.safetensors"), "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def lora(generator, folder, number):
    """Some modules in some layers, ranks 1 to 16; with a bias, or as DoRA, now and then."""
    rank = generator.choice([1, 2, 3, 4, 8, 16])
    layers = generator.sample(range(LAYERS), generator.randrange(4, 9))
    modules = generator.sample(sorted(MODULES), generator.randrange(1, 4))
    bias, dora = number % 8 == 3, number % 8 == 5
    tensors = []
    for layer in layers:
        for module in modules:
            inputs, outputs = MODULES[module]
            name = f"layers.{layer}.{module}."
            tensors.append((name + "lora_A.weight", "F16", [rank, inputs],
                            halves(generator, rank * inputs)))
            tensors.append((name + "lora_B.weight", "F16", [outputs, rank],
                            halves(generator, rank * outputs)))
            if bias:
                tensors.append((name + "lora_B.bias", "F16", [outputs], halves(generator, outputs)))
            if dora:
                magnitude = (generator.uniform(0.8, 1.4) for _ in range(outputs))
                tensors.append((name + "lora_magnitude_vector", "F32", [outputs], singles(magnitude)))
    write(folder, {"peft_type": "LORA", "r": rank, "lora_alpha": 10 * rank ** 0.5, "bias": "none",
                   "lora_bias": bias, "use_dora": dora, "layers_to_transform": sorted(layers),
                   "target_modules": [m.split(".")[-1] for m in modules]}, tensors)


def ia3(generator, folder):
    layers = range(0, LAYERS, 2)
    tensors = []
    for layer in layers:
        for module, outputs in (("self_attn.v_proj", KV), ("self_attn.o_proj", WIDTH)):
            factors = (generator.uniform(0.3, 1.9) for _ in range(outputs))
            tensors.append((f"layers.{layer}.{module}.ia3_l", "F32", [outputs, 1], singles(factors)))
    write(folder, {"peft_type": "IA3", "target_modules": ["v_proj", "o_proj"], "feedforward_modules": []},
          tensors)


def make(folder, count, seed):
    """Paths of `count` adapters, the same for the same seed."""
    paths = []
    for number in range(count):
        generator = random.Random(seed * 1000003 + number)
        paths.append(os.path.join(folder, f"a{number}"))
        if number % 8 == 7:
            ia3(generator, paths[-1])
        else:
            lora(generator, paths[-1], number)
    return paths

"""Bad adapters, bad requests and bad machines: a named error, a non-zero exit status, no result for
the row concerned, and the other rows as if nothing had happened."""
import json
import os
import shutil
import struct

from support import golden, start

GOOD = ["base", "brief"]


def read_safetensors(path):
    with open(path, "rb") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        return json.loads(file.read(size)), bytearray(file.read())


def write_safetensors(path, header, data):
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


class Maker:
    """Copies of the adapter `pirate`, each broken in one way."""

    def __init__(self, host):
        self.root = host.folder("broken")
        self.source = golden.adapter_path("pirate")

    def copy(self, name):
        folder = os.path.join(self.root, name)
        shutil.copytree(self.source, folder)
        return folder, os.path.join(folder, "adapter_model.safetensors")

    def config(self, name, change):
        folder, _ = self.copy(name)
        path = os.path.join(folder, "adapter_config.json")
        with open(path, encoding="utf-8") as file:
            text = file.read()
        with open(path, "w", encoding="utf-8") as file:
            file.write(change(text))
        return folder

    def tensors(self, name, change):
        folder, path = self.copy(name)
        header, data = read_safetensors(path)
        header, data = change(header, data)
        write_safetensors(path, header, data)
        return folder

    def truncated(self):
        folder, path = self.copy("truncated")
        os.truncate(path, os.path.getsize(path) - 100)
        return folder


def first(header, end):
    return next(key for key in sorted(header) if key.endswith(end))


def reshape(header, key, shape, data):
    """Gives a tensor another shape and its own new bytes at the end."""
    size = 2
    for n in shape:
        size *= n
    header[key] = dict(header[key], shape=shape, data_offsets=[len(data), len(data) + size])
    # The old bytes stay referenced, or the file would have a hole.
    return header, data + bytes(size)


def drop_old(header, data):
    """Packs the tensors again, so that only one thing is wrong with the file."""
    out, packed = {}, bytearray()
    for key, entry in header.items():
        if key == "__metadata__":
            out[key] = entry
            continue
        begin, end = entry["data_offsets"]
        out[key] = dict(entry, data_offsets=[len(packed), len(packed) + end - begin])
        packed += data[begin:end]
    return out, packed


def rank_mismatch(header, data):
    key = first(header, "q_proj.lora_A.weight")
    rank, inputs = header[key]["shape"]
    return drop_old(*reshape(header, key, [rank - 1, inputs], data))


def wrong_shape(header, data):
    key = first(header, "q_proj.lora_A.weight")
    rank, inputs = header[key]["shape"]
    return drop_old(*reshape(header, key, [rank, inputs - 32], data))


def rename(pattern, replacement, count):
    def change(header, data):
        out, left = {}, count
        for key in sorted(header):
            hit = pattern in key and left > 0
            left -= hit
            out[key.replace(pattern, replacement) if hit else key] = header[key]
        return out, data
    return change


def not_a_number(header, data):
    begin = header[first(header, "v_proj.lora_B.weight")]["data_offsets"][0]
    data[begin:begin + 2] = b"\x00\x7e"
    return header, data


def missing_factor(header, data):
    del header[first(header, "v_proj.lora_B.weight")]
    return drop_old(header, data)


def broken_adapters(host):
    """name: (folder, status, words that must be in the message)"""
    m = Maker(host)
    kind = '"peft_type": "LORA"'
    return {
        "absent": (os.path.join(m.root, "absent"), ["FILE_NOT_FOUND"], ["absent"]),
        "notjson": (m.config("notjson", lambda text: text[:40]), ["FILE_FORMAT"], ["adapter_config.json"]),
        "unknown": (m.config("unknown", lambda text: text.replace(kind, '"peft_type": "NOVELTY"')),
                    ["UNKNOWN_KIND"], ["NOVELTY"]),
        "truncated": (m.truncated(), ["FILE_TRUNCATED"], ["lora_B"]),
        "ranks": (m.tensors("ranks", rank_mismatch), ["RANK_MISMATCH"], ["q_proj"]),
        "shapes": (m.tensors("shapes", wrong_shape), ["SHAPE_MISMATCH"], ["attn_q"]),
        "nothing": (m.tensors("nothing", rename("layers.", "blocks.", 1 << 20)), ["MODULE_MISMATCH"],
                    ["blocks"]),
        "partly": (m.tensors("partly", rename("layers.7.", "layers.77.", 1 << 20)), ["MODULE_MISMATCH"],
                   ["77"]),
        "nan": (m.tensors("nan", not_a_number), ["NOT_FINITE"], ["v_proj"]),
        "factor": (m.tensors("factor", missing_factor), ["MISSING_TENSOR"], ["v_proj"]),
    }


def check_good(checks, what, run):
    for request in golden.requests(GOOD, [0]):
        text = golden.judge(request, run.answers.get(request["id"]), False)
        checks.check(text in ("", "near tie"), f"{what}: {request['id']}: {text}")


def check_refused(checks, what, run, key, statuses, words, exit_status=1):
    lines = [line for line in run.log.splitlines() if f'"{key}"' in line]
    text = "\n".join(lines) if key else run.log
    checks.check(run.status == exit_status, f"{what}: exit status {run.status}: {run.log[-600:]}")
    checks.check(key not in run.answers, f"{what}: a result was printed")
    checks.check(any(status in text for status in statuses), f"{what}: no {statuses} in: {text}")
    for word in words:
        checks.check(word in text, f"{what}: does not name {word}: {text}")
    print(f"{what}: {text.strip()[:300]}", flush=True)


def bad_adapters(host, checks, program):
    broken = broken_adapters(host)
    folders = {"brief": golden.adapter_path("brief")}
    folders.update({name: entry[0] for name, entry in broken.items()})
    wanted = golden.requests(GOOD, [0])
    plain = golden.requests(["base"], [1])[0]
    for name in list(broken) + ["nobody"]:
        wanted.insert(len(wanted) // 2, dict(plain, id=name, adapter=name))
    run = golden.run(program, host.model, folders, wanted, env=host.env)
    check_good(checks, "beside broken adapters", run)
    for name, (_, statuses, words) in broken.items():
        check_refused(checks, name, run, name, statuses, words)
    check_refused(checks, "nobody", run, "nobody", ["ADAPTER_NOT_LOADED"], ["nobody"])


def bad_requests(host, checks, program):
    wanted = golden.requests(GOOD, [0])
    plain = golden.requests(["base"], [1])[0]
    lines = {
        "noprompt": {"id": "noprompt"}, "vocab": dict(plain, id="vocab", ids=[1, 1 << 20]),
        "empty": dict(plain, id="empty", ids=[]), "both": dict(plain, id="both", prompt="x"),
        "weight": dict(plain, id="weight", adapters=[{"name": "brief", "weight": "x"}]),
        "long": dict(plain, id="long", n=4096), "line 9": "{not json",
    }
    wanted += list(lines.values())
    run = golden.run(program, host.model, {"brief": golden.adapter_path("brief")}, wanted, "-c", 96,
                     env=host.env)
    check_good(checks, "beside bad requests", run)
    for key in lines:
        check_refused(checks, f"request {key}", run, key, [""], [])


def one_case(host, checks, program, what, statuses, options, env=None, adapter="pirate", exit_status=1):
    wanted = [dict(golden.requests(["base"], [0])[0], id="row", adapter=adapter)]
    run = golden.run(program, host.model, {"pirate": golden.adapter_path("pirate")}, wanted, *options,
                     env=dict(host.env, **(env or {})))
    check_refused(checks, what, run, "row" if exit_status == 1 else "", statuses, [], exit_status)


def main():
    host, checks = start()
    program = host.program("oclora-generate")
    bad_adapters(host, checks, program)
    bad_requests(host, checks, program)
    one_case(host, checks, program, "pool too small", ["POOL_FULL"], ["--pool", "64K"])
    one_case(host, checks, program, "unified cache", ["SINGLE_STREAM"], ["--kv-unified"])
    one_case(host, checks, program, "layers on the CPU", ["WEIGHT_NOT_ON_DEVICE"], ["-g", 15])
    one_case(host, checks, program, "cache on the CPU", ["WEIGHT_NOT_ON_DEVICE"], ["--no-kv-offload"])
    one_case(host, checks, program, "no OpenCL device", ["NO_DEVICE"], [],
             env={"OCL_ICD_VENDORS": "/nonexistent"}, exit_status=3)
    one_case(host, checks, program, "not enough device memory", ["llama.cpp context"],
             ["-c", 1 << 22], exit_status=3)
    one_case(host, checks, program, "no model", ["FILE_NOT_FOUND"], ["-m", "/nonexistent.gguf"],
             exit_status=3)
    one_case(host, checks, program, "no plugin", ["FILE_NOT_FOUND"], ["--plugin", "/nonexistent.so"],
             exit_status=3)
    checks.finish()


if __name__ == "__main__":
    main()

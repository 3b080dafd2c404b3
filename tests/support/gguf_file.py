"""Writes GGUF files: metadata and tensors of float32, as llama.cpp reads them."""
import struct

ALIGNMENT = 32
U32, I32, F32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9


def text(value):
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def element(kind, value):
    if kind == STRING:
        return text(value)
    return struct.pack({U32: "<I", I32: "<i", F32: "<f", BOOL: "<?"}[kind], value)


def kind_of(value):
    for python, kind in ((bool, BOOL), (int, U32), (float, F32), (str, STRING)):
        if isinstance(value, python):
            return kind
    raise TypeError(f"no GGUF type for {value!r}")


def entry(key, value):
    """One key; a list is an array of its first element's type, (kind, list) of that kind."""
    if isinstance(value, (list, tuple)):
        kind, values = value if isinstance(value, tuple) else (kind_of(value[0]), value)
        body = b"".join(element(kind, one) for one in values)
        return text(key) + struct.pack("<IIQ", ARRAY, kind, len(values)) + body
    kind = kind_of(value)
    return text(key) + struct.pack("<I", kind) + element(kind, value)


def write(path, meta, tensors):
    """`meta`: dict of keys. `tensors`: (name, shape, array of float), the fastest dimension first."""
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(meta))
    head += b"".join(entry(key, value) for key, value in meta.items())
    offset = 0
    for name, shape, values in tensors:
        head += text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, offset)
        offset += -(-4 * len(values) // ALIGNMENT) * ALIGNMENT
    with open(path, "wb") as file:
        file.write(head + b"\0" * (-len(head) % ALIGNMENT))
        for _, _, values in tensors:
            data = values.tobytes()
            file.write(data + b"\0" * (-len(data) % ALIGNMENT))

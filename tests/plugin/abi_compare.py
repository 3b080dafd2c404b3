#!/usr/bin/env python3
"""Whether a new ABI description (abidw's XML) has all that an old one has, where it was.

Usage: abi_compare.py OLD.abi NEW.abi    prints what is missing or moved; exit status 1 if anything is
       abi_compare.py --selftest ABI_DIR  changes the headers in known ways and checks the verdicts

Additions are functions, enumerators, and members at the end of a structure that begins with struct_size.
"""
import os
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree


class Description:
    def __init__(self, path):
        root = ElementTree.parse(path).getroot()
        self.types = {e.get("id"): e for e in root.iter() if e.get("id")}
        self.functions = {e.get("name"): e for e in root.iter("function-decl") if e.get("elf-symbol-id")}


class Comparison:
    def __init__(self, old, new):
        self.old, self.new, self.seen, self.broken = old, new, set(), []

    def need(self, condition, where, what):
        if not condition:
            self.broken.append(f"{where}: {what}")
        return condition

    def run(self):
        for name, function in self.old.functions.items():
            if self.need(name in self.new.functions, name, "is gone"):
                self.function(function, self.new.functions[name], name)
        return self.broken

    def function(self, old, new, where):
        a, b = old.findall("parameter"), new.findall("parameter")
        if self.need(len(a) == len(b), where, f"{len(a)} parameters became {len(b)}"):
            for i, (x, y) in enumerate(zip(a, b)):
                self.type(x.get("type-id"), y.get("type-id"), f"{where}, parameter {i + 1}")
        self.type(old.find("return").get("type-id"), new.find("return").get("type-id"), f"{where}, result")

    def type(self, old_id, new_id, where):
        if (old_id, new_id) in self.seen:
            return
        self.seen.add((old_id, new_id))
        old, new = self.old.types[old_id], self.new.types[new_id]
        if not self.need(old.tag == new.tag, where, f"{old.tag} became {new.tag}"):
            return
        if old.tag in ("typedef-decl", "type-decl", "class-decl", "union-decl"):
            self.need(old.get("name") == new.get("name"), where,
                      f"type {old.get('name')} became {new.get('name')}")
        if old.tag in ("class-decl", "union-decl"):
            self.members(old, new)
        elif old.tag == "function-type":
            self.function(old, new, where)
        elif old.tag == "enum-decl":
            values = {e.get("name"): e.get("value") for e in new.findall("enumerator")}
            for e in old.findall("enumerator"):
                self.need(values.get(e.get("name")) == e.get("value"), e.get("name"), "changed its value")
        else:
            for key in ("size-in-bits", "const", "volatile", "kind", "dimensions"):
                self.need(old.get(key) == new.get(key), where, f"{key} {old.get(key)} became {new.get(key)}")
            if old.get("type-id"):
                self.type(old.get("type-id"), new.get("type-id"), where)

    def members(self, old, new):
        name = old.get("name")
        a, b = old.findall("data-member"), new.findall("data-member")
        self.need(len(b) >= len(a), name, "has lost members")
        for x, y in zip(a, b):
            v, w = x.find("var-decl"), y.find("var-decl")
            where = f"{name}.{v.get('name')}"
            if self.need(v.get("name") == w.get("name"), where, f"is {w.get('name')} now"):
                self.need(x.get("layout-offset-in-bits") == y.get("layout-offset-in-bits"), where, "has moved")
                self.type(v.get("type-id"), w.get("type-id"), where)
        sized = a and a[0].find("var-decl").get("name") == "struct_size"
        grown = len(b) > len(a) or old.get("size-in-bits") != new.get("size-in-bits")
        self.need(sized or not grown, name, "has grown and has no struct_size")


def compare(old, new):
    return Comparison(Description(old), Description(new)).run()


# name, header, pattern, replacement, whether the change is an addition
CHANGES = [
    ("nothing", "oclora.h", r"\A", "", True),
    ("a slot at the end", "oclora.h", r"(event_destroy\)\([^)]*\);)", r"\1 void (*later)(void);", True),
    ("a field at the end", "oclora.h", r"(const uint32_t \*instance;)", r"\1 uint64_t later;", True),
    ("a field inside", "oclora.h", r"(uint64_t y_offset;)", r"\1 uint64_t later;", False),
    ("two slots exchanged", "oclora.h", r"(oclora_status \(\*event_wait\)[^;]*;)(.*?)(oclora_status \(\*event_done\)[^;]*;)",
     r"\3\2\1", False),
    ("a slot removed", "oclora.h", r"void \(\*event_destroy\)[^;]*;", "", False),
    ("another type", "oclora.h", r"uint32_t n_rows;", "float n_rows;", False),
    ("another parameter", "oclora.h", r"(\*adapter_pin\)\(oclora_pool_t \*pool, )oclora_adapter_t", r"\1uint32_t", False),
    ("const dropped", "oclora.h", r"const float \*x;", "float *x;", False),
    ("a struct without size grows", "oclora_ggml.h", r"(float weight;\s*uint32_t reserved;)", r"\1 uint64_t later;",
     False),
    ("an array grows", "oclora.h", r"char name\[128\];", "char name[256];", False),
]


def describe(folder, name):
    subprocess.run(["cc", "-g", "-shared", "-fPIC", f"-I{folder}", "-o", f"{folder}/{name}.so", "-x", "c", "-"],
                   input='#include "oclora.h"\n#include "oclora_ggml.h"\n'
                         "const oclora_api *oclora_get_api(uint32_t m) { return m ? 0 : (void *)1; }\n"
                         "const oclora_ggml_api *get(uint32_t m) { return m ? 0 : (void *)1; }\n",
                   text=True, check=True)
    subprocess.run(["abidw", "--exported-interfaces-only", "--out-file", f"{folder}/{name}.abi",
                    f"{folder}/{name}.so"], check=True)
    return f"{folder}/{name}.abi"


def selftest(abi):
    texts = {h: open(os.path.join(abi, h)).read() for h in ("oclora.h", "oclora_ggml.h", "oclora_types.h")}
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        def put(changed):
            for header, text in changed.items():
                with open(os.path.join(folder, header), "w") as f:
                    f.write(text)
        put(texts)
        first = describe(folder, "first")
        for what, header, pattern, replacement, allowed in CHANGES:
            text, count = re.subn(pattern, replacement, texts[header], count=1, flags=re.S)
            put({**texts, header: text})
            broken = compare(first, describe(folder, "second"))
            if count != 1 or allowed != (not broken):
                print(f"selftest: {what}: {broken or 'nothing found'}")
                wrong += 1
    print(f"{len(CHANGES)} changes of the headers, {wrong} judged wrongly")
    return wrong


def main(args):
    if len(args) == 2 and args[0] == "--selftest":
        return 1 if selftest(args[1]) else 0
    if len(args) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    broken = compare(*args)
    for line in broken:
        print(line)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Rebuilds the schema of the AWS provider from the npm package @cdktn/provider-aws, for the provider of paper
(provider.py). Usage: schema.py PACKAGE.tgz FOLDER-OF-HCL... > schema.json

The package is generated code: one class per resource, with the name, type and nesting of every argument. Only the resources
and data sources that the HCL files name are read. What the package does not say, and so nobody checks here: how many blocks
are allowed, which arguments exclude each other, what a value may be."""

import json
import pathlib
import re
import sys
import tarfile

COMPUTED = re.compile(r"^ +// (\w+) - computed: (\w+), optional: (\w+), required: (\w+)$", re.M)
ENTRY = re.compile(
    r'^ +(\w+): \{\n +value: [^\n]+\n +isBlock: (true|false),\n +type: "(\w+)",\n +storageClassType: "(\w+)",\n +\},$', re.M
)
TYPES = {
    "string": "string", "number": "number", "boolean": "bool", "any": "dynamic",
    "stringList": ["list", "string"], "numberList": ["list", "number"],
    "stringMap": ["map", "string"], "booleanMap": ["map", "bool"], "numberMap": ["map", "number"],
    "anyMap": ["map", "dynamic"], "stringMapList": ["list", ["map", "string"]],
}  # fmt: skip
GETTERS = {
    "String": "string", "Number": "number", "Boolean": "bool", "List": ["list", "string"], "StringMap": ["map", "string"],
}  # fmt: skip
# What the package leaves open, from the documentation of the provider.
RATE = {"limit": "number", "aggregate_key_type": "string", "evaluation_window_sec": "number"}
NESTING = {"list": "list", "set": "set", "struct": "single", "map": "map"}


def attribute(kind, required=False, optional=False, computed=False):
    return {"type": kind, "required": required, "optional": optional, "computed": computed}


def camel(name):
    return re.sub(r"_(\w)", lambda found: found.group(1).upper(), name)


class Source:
    """One file of the package."""

    def __init__(self, text):
        # Without the source map, a line of some megabytes.
        text = "\n".join(line for line in text.split("\n") if len(line) < 2000)
        starts = list(re.finditer(r"^class (\w+) extends cdkt[fn]\.(\w+)", text, re.M))
        ends = [start.start() for start in starts[1:]] + [len(text)]
        self.classes = {start[1]: (start[2], text[start.start() : end]) for start, end in zip(starts, ends)}
        functions = re.finditer(r"^function (\w+)ToHclTerraform\(struct\) \{$", text, re.M)
        self.functions = {found[1]: text[found.end() : text.index("\n}\n", found.end())] for found in functions}

    def read(self):
        """The name in Terraform, and the block."""
        tops = [body for base, body in self.classes.values() if base in ("TerraformResource", "TerraformDataSource")]
        name = re.search(r'tfResourceType = ["\'](\w+)["\']', tops[0])[1]
        return name, self.block(tops[0], tops[0][tops[0].index("synthesizeHclAttributes") :])

    def block(self, body, entries):
        attributes, blocks = {}, {}
        computed = {found[1]: found[2] == "true" for found in COMPUTED.finditer(body)}
        for name, is_block, nesting, storage in ENTRY.findall(entries):
            setter = camel(name)
            # What may be left out can be reset.
            required = re.search(rf"^    reset{setter[0].upper()}{setter[1:]}\(\)", body, re.M) is None
            if is_block == "true":
                nested = self.nested(storage)
                if nested is None:
                    attributes[name] = attribute("dynamic", required, not required)
                else:
                    blocks[name] = {"nesting": NESTING.get(nesting, "list"), "min": int(required), "block": nested}
                continue
            kind = TYPES.get(storage, "dynamic")
            if nesting == "set" and isinstance(kind, list):
                kind = ["set", kind[1]]
            by_aws = computed.get(name, False)
            attributes[name] = attribute(kind, required and not by_aws, by_aws or not required, by_aws)
        for found in COMPUTED.finditer(body):
            name = found[1]
            if found[2] == "true" and name not in attributes and name not in blocks:
                getter = re.search(r"return this\.get(\w+?)Attribute", body[found.end() : found.end() + 300])
                kind = GETTERS.get(getter[1] if getter else "String", "dynamic")
                attributes[name] = attribute(kind, computed=True)
        return {"attributes": attributes, "blocks": blocks}

    def nested(self, storage):
        base = storage.removesuffix("List")
        for name in (base, storage):
            reference = self.classes.get(name + "OutputReference")
            function = self.functions.get(name[0].lower() + name[1:])
            if reference and function is not None:
                return self.block(reference[1], function)
        return None


def wanted(folders):
    """Folders of the package for what the HCL names."""
    names = set()
    for folder in folders:
        for path in pathlib.Path(folder).rglob("*.tf"):
            for kind, name in re.findall(r'^\s*(resource|data)\s+"aws_(\w+)"', path.read_text(), re.M):
                names.add(("data-aws-" if kind == "data" else "") + name.replace("_", "-"))
    return names


def complete_waf(schema):
    """Statements of WAF hold statements: the package has no shape for them."""
    rate = {name: attribute(kind, name == "limit", name != "limit") for name, kind in RATE.items()}
    rate = {"nesting": "list", "min": 0, "block": {"attributes": rate, "blocks": {}}}
    rule = schema["blocks"]["rule"]["block"]
    del rule["attributes"]["statement"]
    rule["blocks"]["statement"] = {
        "nesting": "list", "min": 1, "block": {"attributes": {}, "blocks": {"rate_based_statement": rate}},
    }  # fmt: skip


def main(package, *folders):
    names = wanted(folders)
    out = {"resources": {}, "data": {}}
    with tarfile.open(package) as tar:
        for member in tar:
            found = re.match(r"package/lib/([\w-]+)/index\.js$", member.name)
            if found and found[1] in names:
                names.discard(found[1])
                name, block = Source(tar.extractfile(member).read().decode()).read()
                out["data" if found[1].startswith("data-") else "resources"][name] = block
    if "aws_wafv2_web_acl" in out["resources"]:
        complete_waf(out["resources"]["aws_wafv2_web_acl"])
    if names:
        sys.exit(f"the package does not know {', '.join(sorted(names))}")
    json.dump(out, sys.stdout, sort_keys=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

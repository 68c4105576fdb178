"""The tables of a module's README, made from its code. Usage: readme.py MODULE [--write]; without --write it fails when they
are not what they should be. The form is that of terraform-docs, which is not to be had from PyPI or npm."""

import pathlib
import re
import sys

BEGIN, END = "<!-- BEGIN_TF_DOCS -->", "<!-- END_TF_DOCS -->"


def blocks(text, kind):
    """All blocks of that kind, as (labels, body), by name. The files have the form that `terraform fmt` gives them."""
    found = re.finditer(rf'^{kind} ((?:"[\w-]+" )+)\{{(?:\}}|\n(.*?)^\}})$', text, re.S | re.M)
    return sorted((re.findall(r'"([\w-]+)"', block[1]), block[2] or "") for block in found)


def argument(body, name):
    """An argument of a block as it is written, in one line; None when it is not there."""
    match = re.search(rf"^  {name} += (.*?)\n(?=  \w|\n|\Z)", body, re.S | re.M)
    if match is None:
        return None
    first, *inner = (re.sub(r" {2,}", " ", line.strip()) for line in match[1].splitlines())
    return f"{first} {', '.join(inner[:-1])} {inner[-1]}" if inner else first


def string(text):
    return text[1:-1].replace('\\"', '"')


def cell(text):
    return text.replace("|", "\\|").replace("\n", " ")


def table(head, rows):
    return "\n".join(["| " + " | ".join(row) + " |" for row in [head, [":---"] * len(head), *rows]])


def anchored(kind, name):
    return f'<a name="{kind}_{name}"></a> [{name}](#{kind}_{name})'


def document(module):
    text = "\n".join(path.read_text() for path in sorted(module.glob("*.tf")))
    versions = (module / "versions.tf").read_text()
    terraform = re.search(r'required_version = "([^"]+)"', versions)[1]
    providers = re.findall(r'(\w+) = \{[^}]*?version += "([^"]+)"', versions, re.S)
    out = ["## Requirements\n", table(["Name", "Version"], [["terraform", cell(terraform)], *[[n, cell(v)] for n, v in providers]])]
    resources = [(*labels, "resource") for labels, _ in blocks(text, "resource")]
    resources += [(*labels, "data source") for labels, _ in blocks(text, "data")]
    out += ["\n## Resources\n", table(["Name", "Type"], [[f"{kind}.{name}", what] for kind, name, what in resources])]
    rows = []
    for (name,), body in blocks(text, "variable"):
        default = argument(body, "default")
        rows.append([
            anchored("input", name),
            cell(string(argument(body, "description"))),
            f"`{cell(argument(body, 'type'))}`",
            f"`{cell(default)}`" if default else "n/a",
            "no" if default else "yes",
        ])  # fmt: skip
    out += ["\n## Inputs\n", table(["Name", "Description", "Type", "Default", "Required"], rows)]
    rows = [[anchored("output", name), cell(string(argument(body, "description")))] for (name,), body in blocks(text, "output")]
    out += ["\n## Outputs\n", table(["Name", "Description"], rows)]
    return "\n".join(out)


def main(folder, *options):
    module = pathlib.Path(folder)
    readme = module / "README.md"
    text = readme.read_text()
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        sys.exit(f"{readme} needs the lines {BEGIN} and {END}, once each")
    head, rest = text.split(BEGIN)
    tail = rest.split(END)[1]
    wanted = f"{head}{BEGIN}\n{document(module)}\n{END}{tail}"
    if options == ("--write",):
        readme.write_text(wanted)
    elif wanted != text:
        sys.exit(f"the tables of {readme} are not those of the code: tests/terraform/run --write-readme")
    else:
        print(f"the tables of {readme} are those of the code")


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Plants mistakes, one at a time: a check that does not find each of them checks nothing.
Usage: mistakes.py module MODULE COPY             `terraform validate` must refuse each, and say so
       mistakes.py sources STATES REPOSITORY COPY  sources.py must see each difference"""

import pathlib
import shutil
import subprocess
import sys

# What, file, what stands there, what is put in its place, what Terraform must say.
IN_THE_MODULE = [
    ("a misspelled argument", "main.tf", "memory_size       ", "memory_sise       ", "Unsupported argument"),
    ("a missing argument", "iam.tf", "  role   = aws_iam_role.function.id\n", "", "Missing required argument"),
    ("a value of another type", "queue.tf", "batch_size       = 10", 'batch_size       = "ten"', "Incorrect attribute value type"),
    ("an unknown block", "table.tf", "ttl {", "time_to_live {", "Unsupported block type"),
    ("an unknown resource", "iam.tf", "aws_iam_role.function.id", "aws_iam_role.functions.id", "Reference to undeclared resource"),
    ("an unknown attribute", "outputs.tf", "bridge.function_name", "bridge.function_nam", "Unsupported attribute"),
    ("a type of resource that is not", "http.tf", '"aws_lambda_function_url"', '"aws_lambda_url"', "Invalid resource type"),
]  # fmt: skip

TABLE, ENVIRONMENT, FUNCTION = "adapters/store-dynamodb/src/table.rs", "deploy/lambda/src/environment.rs", "deploy/lambda"
# What, file or folder, what stands there, what is put in its place, what sources.py must say.
IN_THE_SOURCES = [
    ("another key", TABLE, 'partition: "pk"', 'partition: "id"', "keys of the table"),
    ("another index", TABLE, 'name: "owner"', 'name: "owners"', ": indexes"),
    ("another key of an index", TABLE, 'sort: "fs"', 'sort: "fx"', ": indexes"),
    ("another time to live", TABLE, 'TTL: &str = "ttl"', 'TTL: &str = "expires"', "time to live"),
    ("an action more on the table", TABLE, '"dynamodb:Query",', '"dynamodb:Query", "dynamodb:Scan",', "actions on the table"),
    ("an action less on the queue", TABLE, '"sqs:SendMessage",', "", "actions on the outbox"),
    ("another queue", TABLE, '"perMessageGroupId"', '"perQueue"', "FifoThroughputLimit"),
    ("another variable", ENVIRONMENT, '"DEVICE_BRIDGE_TABLE"', '"DEVICE_BRIDGE_TABLES"', "environment variables, over all runs"),
    ("another binary", FUNCTION, 'name = "bootstrap"', 'name = "function"', "what the runtime starts"),
    ("another call to AWS", FUNCTION, "AmazonSSM.GetParameter", "AmazonSSM.GetParameters", "actions to read configuration"),
    ("another form of an event", FUNCTION, "AS payload, topic() AS topic", "AS body, topic() AS topic", "what an IoT rule hands over"),
    ("another answer to a batch", FUNCTION, "batchItemFailures", "failures", "the answer to a batch"),
]  # fmt: skip


def plant(root, name, good, bad):
    """Puts `bad` in the place of `good`, everywhere."""
    place = root / name
    files = [path for path in (place.rglob("*") if place.is_dir() else [place]) if path.suffix in (".tf", ".rs", ".toml")]
    files = [path for path in files if good in path.read_text()]
    if not files:
        sys.exit(f"{name} does not hold {good!r}: write that mistake anew")
    for path in files:
        path.write_text(path.read_text().replace(good, bad))


def must_fail(command, what, message):
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode == 0 or message not in run.stderr:
        sys.exit(f"{what} was not found:\n{run.stdout}{run.stderr}")


def module(source, copy):
    for what, name, good, bad, message in IN_THE_MODULE:
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(source, copy, ignore=shutil.ignore_patterns("tests"))
        plant(pathlib.Path(copy), name, good, bad)
        must_fail(["terraform", f"-chdir={copy}", "validate", "-no-color"], f"{what} in {name}", message)
    return len(IN_THE_MODULE)


def sources(states, repository, copy):
    script = pathlib.Path(__file__).with_name("sources.py")
    for what, name, good, bad, message in IN_THE_SOURCES:
        shutil.rmtree(copy, ignore_errors=True)
        for folder in ("adapters/store-dynamodb", "deploy/lambda"):
            shutil.copytree(pathlib.Path(repository, folder), pathlib.Path(copy, folder))
        plant(pathlib.Path(copy), name, good, bad)
        must_fail([sys.executable, str(script), states, copy], f"{what} in {name}", message)
    return len(IN_THE_SOURCES)


if __name__ == "__main__":
    count = {"module": module, "sources": sources}[sys.argv[1]](*sys.argv[2:])
    print(f"{count} planted mistakes found")

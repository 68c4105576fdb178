"""Holds the states that `terraform test` leaves against the Rust sources: keys, indexes and time to live of the table,
attributes of the queue, IAM actions, environment variables, and what starts the function. Both sides are read, neither is
repeated here. Usage: sources.py STATES REPOSITORY, where STATES is the output of `terraform test -json -verbose`."""

import json
import pathlib
import re
import sys

TABLE = "adapters/store-dynamodb/src/table.rs"
ENVIRONMENT = "deploy/lambda/src/environment.rs"
FUNCTION = "deploy/lambda"
STORE = "adapters/store-dynamodb"
OURS = "DEVICE_BRIDGE_"

# What the FACTS of the store call an attribute, and what Terraform does.
QUEUE_ATTRIBUTES = {
    "FifoQueue": "fifo_queue",
    "ContentBasedDeduplication": "content_based_deduplication",
    "DeduplicationScope": "deduplication_scope",
    "FifoThroughputLimit": "fifo_throughput_limit",
    "MessageRetentionPeriod": "message_retention_seconds",
}
# What Lambda itself does with the function's role; the program does nothing of it.
PLATFORM = {"FailedEvents", "Logs", "Key", "OtherKeys", "Tracing", "Network", "NetworkNotByTheProgram"}

wrong = []


def same(what, hcl, rust):
    if hcl != rust:
        wrong.append(f"{what}\n    HCL:  {hcl}\n    Rust: {rust}")


def found(what, pattern, text, path, flags=re.S):
    match = re.search(pattern, text, flags)
    if match is None:
        sys.exit(f"{path} no longer has {what} where this script looks for it: mend one of them")
    return match


def words(text):
    return re.findall(r'"([^"]+)"', text)


def store(repository):
    """What the store says about table and queue."""
    text = (repository / TABLE).read_text()
    keys = r'Keys \{\s*partition: "(\w+)",\s*sort: "(\w+)",?\s*\}'
    constants = {
        name: (index, (partition, sort))
        for name, index, partition, sort in re.findall(
            rf'const (\w+): Index =\s*Index \{{\s*name: "(\w+)",\s*keys: {keys},?\s*\}};', text
        )
    }
    used = re.findall(r"\w+", found("the list of indexes", r"indexes: \[([A-Z_, \n]+)\]", text, TABLE)[1])
    return {
        "keys": found("the keys", rf"const KEYS: Keys =\s*{keys};", text, TABLE).groups(),
        "indexes": {constants[name][0]: constants[name][1] for name in used},
        "ttl": found("the time to live", r'const TTL: &str = "(\w+)";', text, TABLE)[1],
        "table": sorted(words(found("table_actions", r"table_actions: &\[(.*?)\]", text, TABLE)[1])),
        "queue": sorted(words(found("queue_actions", r"queue_actions: &\[(.*?)\]", text, TABLE)[1])),
        "attributes": dict(
            re.findall(r'\("(\w+)", "(\w+)"\)', found("queue_attributes", r"queue_attributes: &\[(.*?)\n    \]", text, TABLE)[1])
        ),
    }


def environment(repository):
    """All variables, and the compulsory ones."""
    text = (repository / ENVIRONMENT).read_text()
    values = dict(re.findall(r'pub const (\w+): &str =\s*"(\w+)";', text))
    lists = {
        name: {values[item] for item in re.findall(r"\w+", found(name, rf"const {name}: &\[&str\] =\s*&\[(.*?)\]", text, ENVIRONMENT)[1])}
        for name in ("ALL", "COMPULSORY")
    }  # fmt: skip
    same("every variable of environment.rs is in ALL", set(values.values()), lists["ALL"])
    return lists


def function(repository):
    """The program's text without its tests, and the actions of the calls to AWS that it makes besides those of the store."""
    files = sorted((repository / FUNCTION / "src").rglob("*.rs"))
    text = "\n".join(path.read_text().split("#[cfg(test)]")[0] for path in files)
    actions = {f"ssm:{name}" for name in re.findall(r'"AmazonSSM\.(\w+)"', text)}
    actions |= {f"secretsmanager:{name}" for name in re.findall(r'"secretsmanager\.(\w+)"', text)}
    actions |= {f"s3:{name.capitalize()}Object" for name in re.findall(r'"s3",\s*Method::(\w+)', text)}
    clients = set()
    for manifest in (FUNCTION, STORE):
        clients |= set(re.findall(r"^(aws-sdk-\w+)", (repository / manifest / "Cargo.toml").read_text(), re.M))
    same("which clients of AWS there are (others need actions that nobody compares yet)", {"aws-sdk-dynamodb", "aws-sdk-sqs"}, clients)
    return text, actions


def binary(repository):
    manifest = (repository / FUNCTION / "Cargo.toml").read_text()
    return found("its binary", r'\[\[bin\]\]\s*name = "([\w-]+)"', manifest, f"{FUNCTION}/Cargo.toml")[1]


def states(path):
    """For each run that makes something: its resources by address, without indexes of instances."""
    for line in pathlib.Path(path).read_text().splitlines():
        event = json.loads(line)
        # The last events of a file tear down what is there.
        if event["type"] != "test_state":
            continue
        resources = {}
        for resource in event["test_state"]["root_module"]["resources"]:
            if resource["mode"] == "managed":
                resources.setdefault(f"{resource['type']}.{resource['name']}", []).append(resource["values"])
        if resources:
            yield event["@testrun"], resources


def statements(resources):
    policy = json.loads(resources["aws_iam_role_policy.function"][0]["policy"])
    return {statement["Sid"]: statement for statement in policy["Statement"]}


def check_table(run, resources, facts):
    table = resources["aws_dynamodb_table.bridge"][0]
    same(f"{run}: keys of the table", (table["hash_key"], table["range_key"]), facts["keys"])
    indexes = {}
    for index in table["global_secondary_index"]:
        same(f"{run}: index {index['name']} projects keys only", index["projection_type"], "KEYS_ONLY")
        by_type = {key["key_type"]: key["attribute_name"] for key in index["key_schema"]}
        indexes[index["name"]] = (by_type.get("HASH"), by_type.get("RANGE"))
    same(f"{run}: indexes", indexes, facts["indexes"])
    named = {name for keys in [facts["keys"], *facts["indexes"].values()] for name in keys}
    same(f"{run}: attributes, all texts", {(a["name"], a["type"]) for a in table["attribute"]}, {(name, "S") for name in named})
    ttl = table["ttl"][0]
    same(f"{run}: time to live", (ttl["attribute_name"], ttl["enabled"]), (facts["ttl"], True))
    same(f"{run}: billing", table["billing_mode"], "PAY_PER_REQUEST")


def check_queue(run, resources, facts):
    queue = resources["aws_sqs_queue.outbox"][0]
    for name, value in facts["attributes"].items():
        hcl = queue[QUEUE_ATTRIBUTES[name]] if name in QUEUE_ATTRIBUTES else "(unknown to this script)"
        same(f"{run}: {name} of the queue", str(hcl).lower() if isinstance(hcl, bool) else str(hcl), value)


def check_function(run, resources, program, name):
    code = resources["aws_lambda_function.bridge"][0]
    same(f"{run}: what the runtime starts", (code["handler"], code["runtime"]), (name, "provided.al2023"))
    mapping = resources["aws_lambda_event_source_mapping.outbox"][0]
    same(f"{run}: the answer to a batch", "ReportBatchItemFailures" in mapping["function_response_types"], "batchItemFailures" in program)
    for rule in resources.get("aws_iot_topic_rule.hub", []):
        select = rule["sql"].split(" FROM ")[0]
        same(f"{run}: what an IoT rule hands over", select if select in program else "not in the program", select)


def main(path, root):
    repository = pathlib.Path(root)
    missing = [name for name in (TABLE, ENVIRONMENT, f"{FUNCTION}/Cargo.toml") if not (repository / name).exists()]
    if missing:
        sys.exit(f"not compared: {', '.join(missing)} not there")
    facts, variables, name = store(repository), environment(repository), binary(repository)
    program, remote = function(repository)
    runs = list(states(path))
    if not runs:
        sys.exit("terraform test left no state")
    seen_variables, seen_actions, architectures = set(), set(), set()
    for run, resources in runs:
        check_table(run, resources, facts)
        check_queue(run, resources, facts)
        check_function(run, resources, program, name)
        code = resources["aws_lambda_function.bridge"][0]
        architectures |= set(code["architectures"])
        ours = {key for key in code["environment"][0]["variables"] if key.startswith(OURS)}
        seen_variables |= ours
        same(f"{run}: compulsory variables that are not set", variables["COMPULSORY"] - ours, set())
        policy = statements(resources)
        same(f"{run}: actions on the table", sorted(policy.pop("Table")["Action"]), facts["table"])
        same(f"{run}: actions on the outbox", sorted(policy.pop("Outbox")["Action"]), facts["queue"])
        for sid in policy.keys() - PLATFORM:
            same(f"{run}: {sid} allows", policy[sid]["Effect"], "Allow")
            seen_actions |= set(policy[sid]["Action"])
    same("environment variables, over all runs", sorted(seen_variables), sorted(variables["ALL"]))
    same("actions to read configuration and secrets, over all runs", sorted(seen_actions), sorted(remote))
    package = (repository / "deploy/lambda/package").read_text()
    same("what the package is built for, by default", architectures, {"arm64"} if re.search(r"\barm64\b", package) else set())
    if wrong:
        sys.exit("the module and the program disagree:\n- " + "\n- ".join(wrong))
    print(f"{len(runs)} states agree with {TABLE}, {ENVIRONMENT} and {FUNCTION}/src")


if __name__ == "__main__":
    main(*sys.argv[1:])

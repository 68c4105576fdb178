"""A provider of paper: knows the schema of AWS's (schema.py makes it) and nothing else. Terraform checks the HCL against
that. Usage: provider.py schema.json; prints what TF_REATTACH_PROVIDERS must be, and serves until it is ended."""

import concurrent.futures
import json
import os
import sys

import grpc
import tfplugin6_pb2 as messages
import tfplugin6_pb2_grpc as services

NESTING = {"single": 1, "list": 2, "set": 3, "map": 4}
PROVIDER = {
    "attributes": {
        name: {"type": "string", "required": False, "optional": True, "computed": False} for name in ("region", "profile")
    },
    "blocks": {},
}


def block(schema):
    out = messages.Schema.Block()
    for name, attribute in sorted(schema["attributes"].items()):
        out.attributes.add(
            name=name,
            type=json.dumps(attribute["type"]).encode(),
            required=attribute["required"],
            optional=attribute["optional"],
            computed=attribute["computed"],
        )
    for name, nested in sorted(schema["blocks"].items()):
        nesting, least = NESTING[nested["nesting"]], nested["min"]
        out.block_types.add(type_name=name, block=block(nested["block"]), nesting=nesting, min_items=least)
    return out


class Provider(services.ProviderServicer):
    def __init__(self, schema):
        self.answer = messages.SchemaAnswer()
        self.answer.provider.block.CopyFrom(block(PROVIDER))
        for name, resource in schema["resources"].items():
            self.answer.resource_schemas[name].block.CopyFrom(block(resource))
        for name, source in schema["data"].items():
            self.answer.data_source_schemas[name].block.CopyFrom(block(source))

    def GetProviderSchema(self, request, context):
        return self.answer

    def ValidateProviderConfig(self, request, context):
        return messages.ProviderVerdict()

    def ValidateResourceConfig(self, request, context):
        return messages.ResourceVerdict()

    def ValidateDataResourceConfig(self, request, context):
        return messages.ResourceVerdict()

    def StopProvider(self, request, context):
        return messages.Nothing()


def main(path):
    with open(path, encoding="utf-8") as file:
        provider = Provider(json.load(file))
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(8))
    services.add_ProviderServicer_to_server(provider, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    address = {"Network": "tcp", "String": f"127.0.0.1:{port}"}
    entry = {"Protocol": "grpc", "ProtocolVersion": 6, "Pid": os.getpid(), "Test": True, "Addr": address}
    print(json.dumps({"registry.terraform.io/hashicorp/aws": entry}), flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main(sys.argv[1])

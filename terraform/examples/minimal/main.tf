# The least: a configuration, a package, and three values of your own.

terraform {
  required_version = ">= 1.9.0"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 6.42.0, < 7.0.0"
    }
  }
}

provider "aws" {
  region = var.region
}

variable "region" {
  description = "The region of AWS."
  type        = string
  default     = "eu-central-1"
}

variable "package" {
  description = "The zip of deploy/lambda/package."
  type        = string
  default     = "../../../target/lambda/device-bridge-lambda-arm64.zip"
}

module "bridge" {
  source = "../../modules/serverless"

  package       = { path = var.package }
  configuration = file("${path.module}/device-bridge.toml")
  secrets       = ["TTN_SECRET", "HUB_PASSWORD"]
}

output "webhooks" {
  description = "What to paste into each cloud."
  value       = module.bridge.webhooks
}

output "put_secrets_command" {
  description = "How to put the secrets where the function reads them."
  value       = module.bridge.put_secrets_command
}

output "ready_url" {
  description = "Answers 200 when everything is well."
  value       = module.bridge.ready_url
}

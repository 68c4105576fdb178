# Everything that the module can do: a key of your own, a domain, alarms that reach somebody, AWS IoT Core as the hub, a VPC,
# secrets that exist already. Take what you need.

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

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}

locals {
  tags = { Project = "device-bridge", Environment = "production" }
}

module "bridge" {
  source = "../../modules/serverless"

  name         = var.name
  tags         = local.tags
  package      = { s3_bucket = var.package_bucket, s3_key = var.package_key, s3_version = var.package_version }
  architecture = "arm64"
  memory_size  = 512
  timeout      = 30

  configuration     = file("${path.module}/device-bridge.toml")
  refresh           = "5m"
  metrics_namespace = "DeviceBridge/production"
  environment       = { RUST_BACKTRACE = "1" }

  secrets = ["SIGFOX_SECRET", "PARTICLE_SECRET"]
  secret_references = {
    TTN_SECRET     = "secretsmanager:iot/webhooks#ttn"
    OPERATOR_TOKEN = "secretsmanager:iot/webhooks#operator"
    HUB_PASSWORD   = "ssm:/iot/hub/password"
  }
  kms_key_arn = aws_kms_key.bridge.arn

  endpoint = "http_api"
  throttle = { rate = 1000, burst = 2000 }
  waf      = var.waf_rate_limit == null ? null : { rate_limit = var.waf_rate_limit }
  domain = {
    name            = var.domain_name
    certificate_arn = var.certificate_arn
    zone_id         = var.zone_id
    base_path       = var.waf_rate_limit == null ? "bridge" : null
  }
  vpc = { subnet_ids = var.subnet_ids, security_group_ids = [aws_security_group.bridge.id] }

  deletion_protection  = true
  recovery_days        = 35
  max_receive_count    = 1000
  outbox_concurrency   = 20
  reserved_concurrency = 120

  schedule = "rate(1 minute)"
  iot      = { topic_filters = ["devices/+/commands/+", "devices/+/properties/desired"] }

  log_retention_days = 365
  alarms             = { actions = [aws_sns_topic.alarms.arn], outbox_age_seconds = 600 }
  dashboard          = true
  tracing            = true
}

# The hub is on the internet here, so any address, but two ports only.
resource "aws_security_group" "bridge" {
  name        = "${var.name}-function"
  description = "device-bridge: to AWS and to the hub"
  vpc_id      = var.vpc_id
  tags        = local.tags
}

resource "aws_vpc_security_group_egress_rule" "bridge" {
  for_each = { aws = 443, hub = 8883 }

  security_group_id = aws_security_group.bridge.id
  description       = "To ${each.key}"
  ip_protocol       = "tcp"
  from_port         = each.value
  to_port           = each.value
  cidr_ipv4         = "0.0.0.0/0"
}

resource "aws_sns_topic" "alarms" {
  name              = "${var.name}-alarms"
  kms_master_key_id = aws_kms_key.bridge.id
  tags              = local.tags
}

resource "aws_kms_key" "bridge" {
  description         = "device-bridge ${var.name}"
  enable_key_rotation = true
  tags                = local.tags

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "Account"
        Effect    = "Allow"
        Principal = { AWS = "arn:${data.aws_partition.current.partition}:iam::${data.aws_caller_identity.current.account_id}:root" }
        Action    = "kms:*"
        Resource  = "*"
      },
      {
        Sid       = "Logs"
        Effect    = "Allow"
        Principal = { Service = "logs.${var.region}.amazonaws.com" }
        Action    = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"]
        Resource  = "*"
        Condition = {
          ArnLike = {
            "kms:EncryptionContext:aws:logs:arn" = "arn:${data.aws_partition.current.partition}:logs:${var.region}:${data.aws_caller_identity.current.account_id}:*"
          }
        }
      },
      {
        Sid       = "Alarms"
        Effect    = "Allow"
        Principal = { Service = "cloudwatch.amazonaws.com" }
        Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource  = "*"
        Condition = { StringEquals = { "aws:SourceAccount" = data.aws_caller_identity.current.account_id } }
      },
    ]
  })
}

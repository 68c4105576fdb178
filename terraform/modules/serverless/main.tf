# The function, and what its environment says.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  region    = data.aws_region.current.region

  function_name = var.name
  function_arn  = "arn:${local.partition}:lambda:${local.region}:${local.account}:function:${local.function_name}"

  # Names, and the values that are known before anything is made: what exists depends on these only.
  environment = merge(
    var.environment,
    {
      DEVICE_BRIDGE_CONFIG            = coalesce(var.configuration_location, "ssm:${local.parameter_name}")
      DEVICE_BRIDGE_TABLE             = aws_dynamodb_table.bridge.name
      DEVICE_BRIDGE_QUEUE_URL         = aws_sqs_queue.outbox.url
      DEVICE_BRIDGE_METRICS_NAMESPACE = var.metrics_namespace
    },
    var.refresh == null ? {} : { DEVICE_BRIDGE_REFRESH = var.refresh },
    local.base_path == null ? {} : { DEVICE_BRIDGE_BASE_PATH = "/${local.base_path}" },
    local.secret_environment,
  )
}

resource "aws_lambda_function" "bridge" {
  function_name = local.function_name
  description   = "device-bridge: requests, the outbox, what is due, commands from the hub"
  role          = aws_iam_role.function.arn

  # An own runtime starts the file bootstrap, whatever the handler says; it must be said all the same.
  runtime       = "provided.al2023"
  handler       = "bootstrap"
  architectures = [var.architecture]

  filename          = var.package.path
  source_code_hash  = var.package.path == null ? null : filebase64sha256(var.package.path)
  s3_bucket         = var.package.s3_bucket
  s3_key            = var.package.s3_key
  s3_object_version = var.package.s3_version

  memory_size                    = var.memory_size
  timeout                        = var.timeout
  reserved_concurrent_executions = coalesce(var.reserved_concurrency, -1)
  kms_key_arn                    = var.kms_key_arn
  tags                           = var.tags

  environment {
    variables = local.environment
  }

  logging_config {
    log_format       = "JSON"
    log_group        = aws_cloudwatch_log_group.function.name
    system_log_level = "WARN"
  }

  tracing_config {
    mode = var.tracing ? "Active" : "PassThrough"
  }

  dynamic "vpc_config" {
    for_each = var.vpc == null ? [] : [var.vpc]

    content {
      subnet_ids         = vpc_config.value.subnet_ids
      security_group_ids = vpc_config.value.security_group_ids
    }
  }

  lifecycle {
    precondition {
      condition     = length(local.unknown_secrets) == 0
      error_message = "The configuration refers to ${join(", ", local.unknown_secrets)}, which are in none of secrets, secret_references and environment."
    }
    precondition {
      condition     = var.reserved_concurrency == null ? true : var.reserved_concurrency > var.outbox_concurrency
      error_message = "reserved_concurrency must be above outbox_concurrency, or a backlog leaves nothing to requests."
    }
  }

  depends_on = [aws_iam_role_policy.function]
}

# Invocations by the schedule and by IoT rules have no sender who would notice: what failed thrice is kept.
resource "aws_lambda_function_event_invoke_config" "bridge" {
  function_name                = aws_lambda_function.bridge.function_name
  maximum_event_age_in_seconds = 21600
  maximum_retry_attempts       = 2

  destination_config {
    on_failure {
      destination = aws_sqs_queue.failed_events.arn
    }
  }
}

resource "aws_cloudwatch_log_group" "function" {
  name              = "/aws/lambda/${local.function_name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
  tags              = var.tags
}

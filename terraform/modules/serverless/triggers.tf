# What starts the function besides requests and the outbox: the schedule, and rules of AWS IoT Core.

resource "aws_cloudwatch_event_rule" "schedule" {
  name                = "${var.name}-schedule"
  description         = "What is due in the bridge"
  schedule_expression = var.schedule
  tags                = var.tags
}

resource "aws_cloudwatch_event_target" "schedule" {
  rule = aws_cloudwatch_event_rule.schedule.name
  arn  = aws_lambda_function.bridge.arn
}

resource "aws_lambda_permission" "schedule" {
  statement_id   = "schedule"
  action         = "lambda:InvokeFunction"
  function_name  = aws_lambda_function.bridge.function_name
  principal      = "events.amazonaws.com"
  source_arn     = aws_cloudwatch_event_rule.schedule.arn
  source_account = local.account
}

locals {
  iot_prefix = try(var.iot.topic_prefix, "") == "" ? "" : "${var.iot.topic_prefix}/"
  # By their place, as names of rules have no room for a filter.
  iot_filters = var.iot == null ? {} : {
    for place, filter in var.iot.topic_filters : tostring(place) => "${local.iot_prefix}${filter}"
  }
}

resource "aws_iot_topic_rule" "hub" {
  for_each = local.iot_filters

  name        = "${replace(var.name, "-", "_")}_${each.key}"
  description = "From the hub to the bridge"
  enabled     = true
  tags        = var.tags

  # The payload as it is, whatever it is.
  sql         = "SELECT encode(*, 'base64') AS payload, topic() AS topic FROM '${each.value}'"
  sql_version = "2016-03-23"

  lambda {
    function_arn = aws_lambda_function.bridge.arn
  }

  error_action {
    sqs {
      queue_url  = aws_sqs_queue.failed_events.url
      role_arn   = aws_iam_role.iot[0].arn
      use_base64 = false
    }
  }
}

resource "aws_lambda_permission" "iot" {
  for_each = local.iot_filters

  statement_id   = "iot-${each.key}"
  action         = "lambda:InvokeFunction"
  function_name  = aws_lambda_function.bridge.function_name
  principal      = "iot.amazonaws.com"
  source_arn     = aws_iot_topic_rule.hub[each.key].arn
  source_account = local.account
}

resource "aws_iam_role" "iot" {
  count = var.iot == null ? 0 : 1

  name                 = "${var.name}-iot-errors"
  description          = "Lets IoT rules put aside what they could not hand to the bridge"
  permissions_boundary = var.permissions_boundary_arn
  tags                 = var.tags

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "iot.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    }]
  })
}

resource "aws_iam_role_policy" "iot" {
  count = var.iot == null ? 0 : 1

  name = "errors"
  role = aws_iam_role.iot[0].id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [{ Sid = "FailedEvents", Effect = "Allow", Action = ["sqs:SendMessage"], Resource = [aws_sqs_queue.failed_events.arn] }],
      [
        for arn in var.kms_key_arn == null ? [] : [var.kms_key_arn] :
        { Sid = "Key", Effect = "Allow", Action = ["kms:Decrypt", "kms:GenerateDataKey"], Resource = [arn] }
      ],
    )
  })
}

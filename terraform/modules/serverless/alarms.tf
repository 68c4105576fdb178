# Alarms: what a person should be told.

locals {
  queue_depth = "ApproximateNumberOfMessagesVisible"

  alarms = merge(
    {
      errors = {
        description = "The function fails: see its log."
        namespace   = "AWS/Lambda"
        metric      = "Errors"
        statistic   = "Sum"
        dimensions  = { FunctionName = local.function_name }
        threshold   = var.alarms.errors
        periods     = 1
      }
      throttles = {
        description = "Invocations are refused: raise reserved_concurrency, or the account's limit."
        namespace   = "AWS/Lambda"
        metric      = "Throttles"
        statistic   = "Sum"
        dimensions  = { FunctionName = local.function_name }
        threshold   = var.alarms.throttles
        periods     = 1
      }
      outbox-age = {
        description = "Messages wait for the hub: is it away, or too slow?"
        namespace   = "AWS/SQS"
        metric      = "ApproximateAgeOfOldestMessage"
        statistic   = "Maximum"
        dimensions  = { QueueName = aws_sqs_queue.outbox.name }
        threshold   = var.alarms.outbox_age_seconds
        periods     = 1
      }
      dead-letters = {
        description = "Messages were given up after max_receive_count tries. They are kept for 14 days; see the README for how to bring them back."
        namespace   = "AWS/SQS"
        metric      = local.queue_depth
        statistic   = "Maximum"
        dimensions  = { QueueName = aws_sqs_queue.outbox_dead.name }
        threshold   = 1
        periods     = 1
      }
      failed-events = {
        description = "Events of the schedule or of an IoT rule failed every time. They are kept for 14 days."
        namespace   = "AWS/SQS"
        metric      = local.queue_depth
        statistic   = "Maximum"
        dimensions  = { QueueName = aws_sqs_queue.failed_events.name }
        threshold   = 1
        periods     = 1
      }
    },
    local.http_api ? {
      http-5xx = {
        description = "Senders get 5xx, and will send again: see the logs of HTTP API and function."
        namespace   = "AWS/ApiGateway"
        metric      = "5xx"
        statistic   = "Sum"
        dimensions  = { ApiId = aws_apigatewayv2_api.bridge[0].id }
        threshold   = 5
        periods     = 2
      }
    } : {},
  )
}

resource "aws_cloudwatch_metric_alarm" "bridge" {
  for_each = { for name, alarm in local.alarms : name => alarm if var.alarms.enabled }

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.description
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  statistic           = each.value.statistic
  dimensions          = each.value.dimensions
  comparison_operator = "GreaterThanOrEqualToThreshold"
  threshold           = each.value.threshold
  evaluation_periods  = each.value.periods
  period              = 300
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarms.actions
  ok_actions          = var.alarms.actions
  tags                = var.tags
}

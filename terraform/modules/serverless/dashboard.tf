# One page for the question whether it works.

locals {
  dead_letters = [
    ["AWS/SQS", local.queue_depth, "QueueName", aws_sqs_queue.outbox_dead.name],
    ["AWS/SQS", local.queue_depth, "QueueName", aws_sqs_queue.failed_events.name],
  ]

  widgets = concat(
    local.http_api ? [{
      title = "Requests"
      stat  = "Sum"
      metrics = [
        for metric in ["Count", "4xx", "5xx"] : ["AWS/ApiGateway", metric, "ApiId", aws_apigatewayv2_api.bridge[0].id]
      ]
    }] : [],
    [
      {
        title   = "Function: invocations, errors, throttles"
        stat    = "Sum"
        metrics = [for metric in ["Invocations", "Errors", "Throttles"] : ["AWS/Lambda", metric, "FunctionName", local.function_name]]
      },
      {
        title   = "Function: duration, p99"
        stat    = "p99"
        metrics = [["AWS/Lambda", "Duration", "FunctionName", local.function_name]]
      },
      {
        title   = "Function: at once"
        stat    = "Maximum"
        metrics = [["AWS/Lambda", "ConcurrentExecutions", "FunctionName", local.function_name]]
      },
      {
        title   = "Outbox: waiting"
        stat    = "Maximum"
        metrics = [["AWS/SQS", local.queue_depth, "QueueName", aws_sqs_queue.outbox.name]]
      },
      {
        title   = "Outbox: age of the oldest, seconds"
        stat    = "Maximum"
        metrics = [["AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", aws_sqs_queue.outbox.name]]
      },
      {
        title   = "Given up"
        stat    = "Maximum"
        metrics = local.dead_letters
      },
      {
        title = "Table: capacity"
        stat  = "Sum"
        metrics = [
          for metric in ["ConsumedReadCapacityUnits", "ConsumedWriteCapacityUnits"] : ["AWS/DynamoDB", metric, "TableName", aws_dynamodb_table.bridge.name]
        ]
      },
    ],
  )

  dashboard = {
    widgets = concat(
      [
        for place, widget in local.widgets : {
          type   = "metric"
          x      = (place % 3) * 8
          y      = floor(place / 3) * 6
          width  = 8
          height = 6
          properties = {
            title   = widget.title
            region  = local.region
            stat    = widget.stat
            period  = 300
            view    = "timeSeries"
            metrics = widget.metrics
          }
        }
      ],
      [{
        type   = "metric"
        x      = 0
        y      = ceil(length(local.widgets) / 3) * 6
        width  = 24
        height = 6
        properties = {
          title   = "The bridge's own"
          region  = local.region
          view    = "timeSeries"
          period  = 300
          stat    = "Sum"
          metrics = [[{ expression = "SEARCH('{${var.metrics_namespace},FunctionName} FunctionName=\"${local.function_name}\"', 'Sum', 300)", id = "own" }]]
        }
      }],
    )
  }
}

resource "aws_cloudwatch_dashboard" "bridge" {
  count = var.dashboard ? 1 : 0

  dashboard_name = var.name
  dashboard_body = jsonencode(local.dashboard)
}

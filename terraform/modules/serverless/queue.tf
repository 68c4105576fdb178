# The outbox, and where goes what could not be dealt with.

locals {
  # The longest that SQS has: 14 days.
  kept_seconds = 1209600
}

resource "aws_sqs_queue" "outbox" {
  name = "${var.name}-outbox.fifo"
  tags = var.tags

  # A message group is a lane: order per device, and no device waits for another.
  fifo_queue                  = true
  content_based_deduplication = false
  deduplication_scope         = "messageGroup"
  fifo_throughput_limit       = "perMessageGroupId"

  # How long what the hub did not take waits before it is tried again, and its lane with it. Below the function's timeout a
  # message would be handed out twice at once; AWS advises six times that.
  visibility_timeout_seconds = coalesce(var.outbox_retry_seconds, 6 * var.timeout)
  message_retention_seconds  = local.kept_seconds
  receive_wait_time_seconds  = 20

  sqs_managed_sse_enabled           = var.kms_key_arn == null ? true : null
  kms_master_key_id                 = var.kms_key_arn
  kms_data_key_reuse_period_seconds = var.kms_key_arn == null ? null : 3600

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.outbox_dead.arn
    maxReceiveCount     = var.max_receive_count
  })
}

# `aws sqs start-message-move-task` brings back what is in here.
resource "aws_sqs_queue" "outbox_dead" {
  name = "${var.name}-outbox-dead.fifo"
  tags = var.tags

  fifo_queue                  = true
  content_based_deduplication = false
  deduplication_scope         = "messageGroup"
  fifo_throughput_limit       = "perMessageGroupId"
  message_retention_seconds   = local.kept_seconds

  sqs_managed_sse_enabled           = var.kms_key_arn == null ? true : null
  kms_master_key_id                 = var.kms_key_arn
  kms_data_key_reuse_period_seconds = var.kms_key_arn == null ? null : 3600
}

resource "aws_sqs_queue_redrive_allow_policy" "outbox_dead" {
  queue_url = aws_sqs_queue.outbox_dead.id

  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [aws_sqs_queue.outbox.arn]
  })
}

# Events of the schedule and of IoT rules that failed every time. Destinations of a function are no FIFO queues.
resource "aws_sqs_queue" "failed_events" {
  name                      = "${var.name}-failed-events"
  message_retention_seconds = local.kept_seconds
  tags                      = var.tags

  sqs_managed_sse_enabled           = var.kms_key_arn == null ? true : null
  kms_master_key_id                 = var.kms_key_arn
  kms_data_key_reuse_period_seconds = var.kms_key_arn == null ? null : 3600
}

resource "aws_sqs_queue_policy" "tls_only" {
  for_each = {
    outbox        = aws_sqs_queue.outbox
    outbox_dead   = aws_sqs_queue.outbox_dead
    failed_events = aws_sqs_queue.failed_events
  }

  queue_url = each.value.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "OnlyOverTls"
      Effect    = "Deny"
      Principal = "*"
      Action    = "sqs:*"
      Resource  = each.value.arn
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })
}

resource "aws_lambda_event_source_mapping" "outbox" {
  event_source_arn = aws_sqs_queue.outbox.arn
  function_name    = aws_lambda_function.bridge.arn
  batch_size       = 10
  tags             = var.tags

  # Only what failed is handed out again.
  function_response_types = ["ReportBatchItemFailures"]

  scaling_config {
    maximum_concurrency = var.outbox_concurrency
  }
}

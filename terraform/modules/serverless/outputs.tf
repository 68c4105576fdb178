output "url" {
  description = "Where the bridge is reached, without a slash at the end: http.public_url of the configuration."
  value       = local.url
}

output "webhooks" {
  description = "For each [integrations.NAME] of the configuration: the URL to paste into the cloud, and the header (or user and password) that proves its secret; {NAME} stands for the value of that secret. Empty with configuration_location."
  value       = local.webhooks
}

output "device_api_url" {
  description = "Where devices post telemetry, with {device} for their id."
  value       = "${local.url}/v1/devices/{device}/telemetry"
}

output "ready_url" {
  description = "Answers 200 when what is sent now will be kept."
  value       = "${local.url}/readyz"
}

output "put_secrets_command" {
  description = "Puts the secrets where the function reads them: write the JSON object first. Null when the module has no secret of its own."
  value = length(var.secrets) == 0 ? null : join("\n", [
    "# secrets.json: {${join(", ", [for name in var.secrets : "\"${name}\": \"…\""])}}",
    "aws secretsmanager put-secret-value --region ${local.region} --secret-id ${aws_secretsmanager_secret.bridge[0].name} --secret-string file://secrets.json",
  ])
}

output "function_name" {
  description = "The function."
  value       = aws_lambda_function.bridge.function_name
}

output "function_arn" {
  description = "The function's ARN."
  value       = aws_lambda_function.bridge.arn
}

output "role_name" {
  description = "The function's role, for a policy more."
  value       = aws_iam_role.function.name
}

output "table_name" {
  description = "The table, for the service as well."
  value       = aws_dynamodb_table.bridge.name
}

output "table_arn" {
  description = "The table's ARN."
  value       = aws_dynamodb_table.bridge.arn
}

output "queue_url" {
  description = "The outbox."
  value       = aws_sqs_queue.outbox.url
}

output "dead_letter_queue_arn" {
  description = "What was given up: the source of aws sqs start-message-move-task."
  value       = aws_sqs_queue.outbox_dead.arn
}

output "failed_events_queue_url" {
  description = "Events of the schedule and of IoT rules that failed every time."
  value       = aws_sqs_queue.failed_events.url
}

output "log_group_name" {
  description = "The function's log."
  value       = aws_cloudwatch_log_group.function.name
}

output "domain_alias" {
  description = "Where the domain's record has to point to, when zone_id is not given. Null without a domain."
  value       = var.domain == null ? null : local.alias
}

output "service_policy_json" {
  description = "A policy for the role or user that runs device-bridge serve on the same table."
  value       = jsonencode({ Version = "2012-10-17", Statement = concat([local.table_statement], local.own_key_statements) })
}

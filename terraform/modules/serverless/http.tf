# How requests come in: an HTTP API, or the function's own URL. Who may send what is the bridge's to say (a secret for each
# integration, a token for each device), so neither asks for AWS credentials.

locals {
  http_api     = var.endpoint == "http_api"
  function_url = var.endpoint == "function_url"
}

resource "aws_apigatewayv2_api" "bridge" {
  count = local.http_api ? 1 : 0

  name          = var.name
  description   = "Webhooks and devices of ${var.name}"
  protocol_type = "HTTP"
  tags          = var.tags

  # With a domain of its own only that is open.
  disable_execute_api_endpoint = var.domain != null && !local.cloudfront
}

resource "aws_apigatewayv2_integration" "bridge" {
  count = local.http_api ? 1 : 0

  api_id                 = aws_apigatewayv2_api.bridge[0].id
  integration_type       = "AWS_PROXY"
  integration_uri        = aws_lambda_function.bridge.invoke_arn
  integration_method     = "POST"
  payload_format_version = "2.0"
  timeout_milliseconds   = min(30, var.timeout) * 1000
}

resource "aws_apigatewayv2_route" "bridge" {
  count = local.http_api ? 1 : 0

  api_id             = aws_apigatewayv2_api.bridge[0].id
  route_key          = "$default"
  authorization_type = "NONE"
  target             = "integrations/${aws_apigatewayv2_integration.bridge[0].id}"
}

resource "aws_apigatewayv2_stage" "bridge" {
  count = local.http_api ? 1 : 0

  api_id = aws_apigatewayv2_api.bridge[0].id
  # Any other name would stand before every path.
  name        = "$default"
  auto_deploy = true
  tags        = var.tags

  default_route_settings {
    throttling_rate_limit    = var.throttle.rate
    throttling_burst_limit   = var.throttle.burst
    detailed_metrics_enabled = false
  }

  # The path without its query, which may hold a secret.
  access_log_settings {
    destination_arn = aws_cloudwatch_log_group.http_api[0].arn
    format = jsonencode({
      time         = "$context.requestTime"
      request      = "$context.requestId"
      source       = "$context.identity.sourceIp"
      agent        = "$context.identity.userAgent"
      method       = "$context.httpMethod"
      path         = "$context.path"
      status       = "$context.status"
      bytes        = "$context.responseLength"
      milliseconds = "$context.responseLatency"
      error        = "$context.integrationErrorMessage"
    })
  }
}

resource "aws_cloudwatch_log_group" "http_api" {
  count = local.http_api ? 1 : 0

  name              = "/aws/apigateway/${var.name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
  tags              = var.tags
}

resource "aws_lambda_permission" "http_api" {
  count = local.http_api ? 1 : 0

  statement_id  = "http-api"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.bridge.function_name
  principal     = "apigateway.amazonaws.com"
  source_arn    = "${aws_apigatewayv2_api.bridge[0].execution_arn}/*/$default"
}

resource "aws_lambda_function_url" "bridge" {
  count = local.function_url ? 1 : 0

  function_name      = aws_lambda_function.bridge.function_name
  authorization_type = "NONE"
}

# Both are needed since October 2025; the second must not let anybody invoke the function with an event of his own.
resource "aws_lambda_permission" "function_url" {
  count = local.function_url ? 1 : 0

  statement_id           = "function-url"
  action                 = "lambda:InvokeFunctionUrl"
  function_name          = aws_lambda_function.bridge.function_name
  principal              = "*"
  function_url_auth_type = "NONE"
}

resource "aws_lambda_permission" "function_url_invoke" {
  count = local.function_url ? 1 : 0

  statement_id             = "function-url-invoke"
  action                   = "lambda:InvokeFunction"
  function_name            = aws_lambda_function.bridge.function_name
  principal                = "*"
  invoked_via_function_url = true
}

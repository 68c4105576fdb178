# The module as AWS would be told to make it, with a provider that makes everything up (so nothing of AWS itself is tested).
# tests/terraform/sources.py reads the states that these runs leave, too.

mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws", dns_suffix = "amazonaws.com" }
  }
  mock_data "aws_region" {
    defaults = { region = "eu-central-1" }
  }
  mock_resource "aws_sqs_queue" {
    defaults = { arn = "arn:aws:sqs:eu-central-1:123456789012:another" }
  }
  mock_resource "aws_dynamodb_table" {
    defaults = { arn = "arn:aws:dynamodb:eu-central-1:123456789012:table/device-bridge" }
  }
  mock_resource "aws_apigatewayv2_api" {
    defaults = { api_endpoint = "https://abc123.execute-api.eu-central-1.amazonaws.com" }
  }
  mock_resource "aws_lambda_function_url" {
    defaults = { function_url = "https://abc123.lambda-url.eu-central-1.on.aws/" }
  }
  mock_resource "aws_cloudfront_distribution" {
    defaults = { domain_name = "d111.cloudfront.net", hosted_zone_id = "Z2FDTNDATAQYW2" }
  }
  mock_resource "aws_apigatewayv2_domain_name" {
    defaults = { domain_name_configuration = { target_domain_name = "d-1.execute-api.eu-central-1.amazonaws.com", hosted_zone_id = "Z1" } }
  }
  override_resource {
    target = aws_sqs_queue.outbox
    values = {
      arn = "arn:aws:sqs:eu-central-1:123456789012:device-bridge-outbox.fifo"
      url = "https://sqs.eu-central-1.amazonaws.com/123456789012/device-bridge-outbox.fifo"
    }
  }
  override_resource {
    target = aws_sqs_queue.outbox_dead
    values = { arn = "arn:aws:sqs:eu-central-1:123456789012:device-bridge-outbox-dead.fifo" }
  }
  override_resource {
    target = aws_secretsmanager_secret.bridge
    values = { arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:device-bridge/secrets-a1b2c3" }
  }
  override_resource {
    target = aws_ssm_parameter.configuration
    values = { arn = "arn:aws:ssm:eu-central-1:123456789012:parameter/device-bridge/configuration" }
  }
}

variables {
  package       = { path = "tests/package.zip" }
  configuration = <<-TOML
    # env = "IN_A_COMMENT"
    [hub]
    url = "mqtts://hub.example.com:8883"
    password = { env = "HUB_PASSWORD" }

    [integrations.farm]
    connector = "ttn"
    auth = { scheme = "bearer", secrets = [{ env = "TTN_SECRET" }] }

    [integrations."cellar-2"]
    connector = "sigfox"
    auth = { scheme = "header", header = "X-Ours", secrets = [
      { env = "SIGFOX_SECRET" },
    ] }

    [integrations.doors]
    connector = "particle"
    auth = { scheme = "basic", user = "particle", secrets = [{ env = "PARTICLE_SECRET" }] }

    [archive]
    keep = "7d"
  TOML
  secrets       = ["HUB_PASSWORD", "TTN_SECRET", "SIGFOX_SECRET", "PARTICLE_SECRET"]
}

run "minimal" {
  assert {
    condition     = aws_lambda_function.bridge.runtime == "provided.al2023" && aws_lambda_function.bridge.architectures == tolist(["arm64"])
    error_message = "The function must run on provided.al2023, arm64."
  }
  assert {
    condition     = aws_apigatewayv2_stage.bridge[0].name == "$default" && aws_apigatewayv2_integration.bridge[0].payload_format_version == "2.0"
    error_message = "Another stage would stand before every path, another format is not read."
  }
  assert {
    condition     = aws_apigatewayv2_integration.bridge[0].timeout_milliseconds <= 30000
    error_message = "The HTTP API waits for 30 seconds at most."
  }
  assert {
    condition     = length(aws_lambda_function_url.bridge) + length(aws_cloudfront_distribution.bridge) + length(aws_wafv2_web_acl.bridge) + length(aws_iot_topic_rule.hub) + length(aws_route53_record.bridge) == 0
    error_message = "What was not asked for must not be made."
  }
  assert {
    condition     = aws_dynamodb_table.bridge.point_in_time_recovery[0].enabled && aws_dynamodb_table.bridge.server_side_encryption[0].enabled && aws_dynamodb_table.bridge.deletion_protection_enabled
    error_message = "The table must be encrypted, restorable and protected."
  }
  assert {
    condition     = jsondecode(aws_sqs_queue.outbox.redrive_policy) == { deadLetterTargetArn = aws_sqs_queue.outbox_dead.arn, maxReceiveCount = 1000 }
    error_message = "The outbox must give up into its dead-letter queue."
  }
  assert {
    condition     = aws_sqs_queue.outbox_dead.fifo_queue && aws_sqs_queue.outbox_dead.message_retention_seconds == 1209600
    error_message = "The dead-letter queue of a FIFO queue is one, too, and keeps for 14 days."
  }
  assert {
    condition     = aws_sqs_queue.outbox.visibility_timeout_seconds == 180
    error_message = "Six times the function's timeout."
  }
  assert {
    condition     = aws_lambda_event_source_mapping.outbox.function_response_types == toset(["ReportBatchItemFailures"]) && aws_lambda_event_source_mapping.outbox.batch_size == 10
    error_message = "Without partial answers one bad message repeats nine good ones."
  }
  assert {
    condition     = alltrue([for queue in [aws_sqs_queue.outbox, aws_sqs_queue.outbox_dead, aws_sqs_queue.failed_events] : queue.sqs_managed_sse_enabled])
    error_message = "Queues must be encrypted."
  }
  assert {
    condition     = keys(aws_cloudwatch_metric_alarm.bridge) == ["dead-letters", "errors", "failed-events", "http-5xx", "outbox-age", "throttles"]
    error_message = "Alarms are missing."
  }
  assert {
    condition = alltrue([
      for name, queue in { dead-letters = "device-bridge-outbox-dead.fifo", failed-events = "device-bridge-failed-events", outbox-age = "device-bridge-outbox.fifo" } :
      aws_cloudwatch_metric_alarm.bridge[name].dimensions == tomap({ QueueName = queue })
    ])
    error_message = "An alarm looks at the wrong queue."
  }
  assert {
    condition     = length(jsondecode(aws_cloudwatch_dashboard.bridge[0].dashboard_body).widgets) == 9
    error_message = "The dashboard lacks something."
  }
  assert {
    condition = (
      aws_lambda_permission.http_api[0].source_arn == "${aws_apigatewayv2_api.bridge[0].execution_arn}/*/$default" &&
      aws_lambda_permission.schedule.source_arn == aws_cloudwatch_event_rule.schedule.arn
    )
    error_message = "Others could invoke the function."
  }
  # Statements that name no resource, and actions with a wildcard.
  assert {
    condition = alltrue([
      for statement in jsondecode(aws_iam_role_policy.function.policy).Statement :
      !contains(statement.Resource, "*") && alltrue([for action in statement.Action : !strcontains(action, "*")])
    ])
    error_message = "The function may do more than it needs."
  }
  assert {
    condition = {
      for statement in jsondecode(aws_iam_role_policy.function.policy).Statement : statement.Sid => statement.Resource if contains(["Table", "Outbox", "Parameters", "Secrets"], statement.Sid)
      } == {
      Table      = ["arn:aws:dynamodb:eu-central-1:123456789012:table/device-bridge", "arn:aws:dynamodb:eu-central-1:123456789012:table/device-bridge/index/*"]
      Outbox     = ["arn:aws:sqs:eu-central-1:123456789012:device-bridge-outbox.fifo"]
      Parameters = ["arn:aws:ssm:eu-central-1:123456789012:parameter/device-bridge/configuration"]
      Secrets    = ["arn:aws:secretsmanager:eu-central-1:123456789012:secret:device-bridge/secrets-a1b2c3"]
    }
    error_message = "The function may reach the wrong things."
  }
  assert {
    condition     = aws_lambda_function.bridge.environment[0].variables.TTN_SECRET == "secretsmanager:arn:aws:secretsmanager:eu-central-1:123456789012:secret:device-bridge/secrets-a1b2c3#TTN_SECRET"
    error_message = "Secrets are members of the module's secret."
  }
  assert {
    condition     = output.url == "https://abc123.execute-api.eu-central-1.amazonaws.com"
    error_message = "The URL is that of the API."
  }
  assert {
    condition = jsonencode(output.webhooks) == jsonencode({
      farm     = { connector = "ttn", url = "${output.url}/webhooks/farm", headers = { Authorization = "Bearer {TTN_SECRET}" }, user = null, password = null }
      cellar-2 = { connector = "sigfox", url = "${output.url}/webhooks/cellar-2", headers = { X-Ours = "{SIGFOX_SECRET}" }, user = null, password = null }
      doors    = { connector = "particle", url = "${output.url}/webhooks/doors", headers = {}, user = "particle", password = "{PARTICLE_SECRET}" }
    })
    error_message = "What to paste is wrong: ${jsonencode(output.webhooks)}"
  }
}

run "complete" {
  variables {
    configuration     = "[hub]\nurl = \"mqtts://h:8883\"\npassword = { env = \"HUB_PASSWORD\" }\n"
    refresh           = "5m"
    metrics_namespace = "Ours"
    environment       = { RUST_BACKTRACE = "1" }
    secrets           = ["TTN_SECRET"]
    secret_references = {
      HUB_PASSWORD = "ssm:/iot/hub/password"
      OPERATOR     = "secretsmanager:arn:aws:secretsmanager:eu-central-1:123456789012:secret:operator-AbCdEf"
      OTHER_SECRET = "secretsmanager:iot/webhooks#ttn"
    }
    kms_key_arn      = "arn:aws:kms:eu-central-1:123456789012:key/1"
    decrypt_key_arns = ["arn:aws:kms:eu-central-1:123456789012:key/2"]
    domain = {
      name            = "bridge.example.com"
      certificate_arn = "arn:aws:acm:eu-central-1:123456789012:certificate/1"
      zone_id         = "Z0"
      base_path       = "iot"
    }
    vpc                  = { subnet_ids = ["subnet-1"], security_group_ids = ["sg-1"] }
    iot                  = { topic_prefix = "plant" }
    tracing              = true
    timeout              = 60
    outbox_retry_seconds = 60
    outbox_concurrency   = 20
    reserved_concurrency = 120
    alarms               = { actions = ["arn:aws:sns:eu-central-1:123456789012:alarms"] }
  }

  assert {
    condition     = output.url == "https://bridge.example.com/iot" && aws_apigatewayv2_api.bridge[0].disable_execute_api_endpoint && aws_apigatewayv2_api_mapping.bridge[0].api_mapping_key == "iot"
    error_message = "The domain must be the only way in."
  }
  assert {
    condition     = keys(aws_route53_record.bridge) == ["A"] && aws_route53_record.bridge["A"].alias[0].name == "d-1.execute-api.eu-central-1.amazonaws.com"
    error_message = "The record must point to the API's domain."
  }
  assert {
    condition     = [for rule in values(aws_iot_topic_rule.hub) : regex("FROM '(.*)'$", rule.sql)[0]] == ["plant/devices/+/commands/+", "plant/devices/+/properties/desired"]
    error_message = "IoT rules must listen below the prefix."
  }
  assert {
    condition     = alltrue([for place, permission in aws_lambda_permission.iot : permission.source_arn == aws_iot_topic_rule.hub[place].arn && permission.principal == "iot.amazonaws.com"])
    error_message = "Each rule needs its permission, and no other has one."
  }
  assert {
    condition = {
      for statement in jsondecode(aws_iam_role_policy.function.policy).Statement : statement.Sid => statement.Resource if contains(["Parameters", "Secrets", "Key", "OtherKeys"], statement.Sid)
      } == {
      Parameters = ["arn:aws:ssm:eu-central-1:123456789012:parameter/iot/hub/password", "arn:aws:ssm:eu-central-1:123456789012:parameter/device-bridge/configuration"]
      Secrets = [
        "arn:aws:secretsmanager:eu-central-1:123456789012:secret:operator-AbCdEf",
        "arn:aws:secretsmanager:eu-central-1:123456789012:secret:iot/webhooks-??????",
        "arn:aws:secretsmanager:eu-central-1:123456789012:secret:device-bridge/secrets-a1b2c3",
      ]
      Key       = ["arn:aws:kms:eu-central-1:123456789012:key/1"]
      OtherKeys = ["arn:aws:kms:eu-central-1:123456789012:key/2"]
    }
    error_message = "The function may read the wrong things: ${aws_iam_role_policy.function.policy}"
  }
  assert {
    condition = [
      for statement in jsondecode(aws_iam_role_policy.function.policy).Statement : statement.Sid if contains(statement.Resource, "*")
    ] == ["Tracing", "Network", "NetworkNotByTheProgram"]
    error_message = "Only these have no resource of their own."
  }
  assert {
    condition     = alltrue([for queue in [aws_sqs_queue.outbox, aws_sqs_queue.outbox_dead, aws_sqs_queue.failed_events] : queue.kms_master_key_id == var.kms_key_arn]) && aws_dynamodb_table.bridge.server_side_encryption[0].kms_key_arn == var.kms_key_arn
    error_message = "The key must be used everywhere."
  }
  assert {
    condition     = aws_sqs_queue.outbox.visibility_timeout_seconds == 60 && aws_apigatewayv2_integration.bridge[0].timeout_milliseconds == 30000
    error_message = "Timeouts do not fit together."
  }
}

run "behind_cloudfront" {
  variables {
    endpoint = "function_url"
    waf      = { rate_limit = 20000 }
    domain   = { name = "bridge.example.com", certificate_arn = "arn:aws:acm:us-east-1:123456789012:certificate/1", zone_id = "Z0" }
  }

  assert {
    condition     = length(aws_apigatewayv2_api.bridge) == 0 && length(aws_apigatewayv2_domain_name.bridge) == 0
    error_message = "There is no API."
  }
  assert {
    condition     = one(aws_cloudfront_distribution.bridge[0].origin).domain_name == "abc123.lambda-url.eu-central-1.on.aws" && aws_cloudfront_distribution.bridge[0].web_acl_id == aws_wafv2_web_acl.bridge[0].arn
    error_message = "CloudFront must forward to the function URL, and ask the web ACL."
  }
  assert {
    condition     = aws_wafv2_web_acl.bridge[0].region == "us-east-1" && aws_wafv2_web_acl.bridge[0].scope == "CLOUDFRONT"
    error_message = "Web ACLs for CloudFront live in us-east-1."
  }
  assert {
    condition     = aws_lambda_permission.function_url_invoke[0].invoked_via_function_url && aws_lambda_permission.function_url[0].function_url_auth_type == "NONE"
    error_message = "Nobody may invoke the function but by its URL."
  }
  assert {
    condition     = keys(aws_route53_record.bridge) == ["A", "AAAA"] && output.url == "https://bridge.example.com"
    error_message = "The records must point to CloudFront."
  }
  assert {
    condition     = keys(aws_cloudwatch_metric_alarm.bridge) == ["dead-letters", "errors", "failed-events", "outbox-age", "throttles"]
    error_message = "There is no API to watch."
  }
}

run "without_secrets_and_configured_elsewhere" {
  variables {
    configuration          = null
    configuration_location = "s3://our-bucket/device-bridge.toml"
    package                = { s3_bucket = "our-bucket", s3_key = "bootstrap.zip" }
    secrets                = []
    dashboard              = false
    alarms                 = { enabled = false }
  }

  assert {
    condition     = length(aws_secretsmanager_secret.bridge) + length(aws_ssm_parameter.configuration) + length(aws_cloudwatch_dashboard.bridge) + length(aws_cloudwatch_metric_alarm.bridge) == 0
    error_message = "What was not asked for must not be made."
  }
  assert {
    condition     = one([for statement in jsondecode(aws_iam_role_policy.function.policy).Statement : statement.Resource if statement.Sid == "Configuration"]) == ["arn:aws:s3:::our-bucket/device-bridge.toml"]
    error_message = "The function must be able to read its configuration."
  }
  assert {
    condition     = output.put_secrets_command == null && output.webhooks == {}
    error_message = "There is nothing to say."
  }
}

run "a_long_configuration_is_an_advanced_parameter" {
  command = plan
  variables {
    configuration = join("", [for line in range(500) : "# 123456789\n"])
  }
  assert {
    condition     = aws_ssm_parameter.configuration[0].tier == "Advanced"
    error_message = "Above 4 KiB."
  }
}

run "a_longer_one_is_refused" {
  command = plan
  variables {
    configuration = join("", [for line in range(1000) : "# 123456789\n"])
  }
  expect_failures = [var.configuration]
}

run "a_secret_that_nobody_provides" {
  command = plan
  variables {
    secrets = ["TTN_SECRET"]
  }
  expect_failures = [aws_lambda_function.bridge]
}

run "a_backlog_that_leaves_nothing_to_requests" {
  command = plan
  variables {
    outbox_concurrency   = 20
    reserved_concurrency = 20
  }
  expect_failures = [aws_lambda_function.bridge]
}

run "values_that_make_no_sense" {
  command = plan
  variables {
    name                 = "Bridge"
    package              = {}
    architecture         = "arm"
    memory_size          = 64
    timeout              = 5
    reserved_concurrency = 1
    environment          = { DEVICE_BRIDGE_TABLE = "another" }
    refresh              = "soon"
    metrics_namespace    = "AWS/Lambda"
    secrets              = ["DEVICE_BRIDGE_CONFIG"]
    kms_key_arn          = "alias/ours"
    endpoint             = "rest_api"
    throttle             = { rate = 0 }
    waf                  = { rate_limit = 1 }
    vpc                  = { subnet_ids = [], security_group_ids = [] }
    recovery_days        = 36
    max_receive_count    = 1
    outbox_concurrency   = 1
    schedule             = "every minute"
    iot                  = { topic_filters = ["devices/'/#"] }
    log_retention_days   = 2
    alarms               = { errors = 0 }
  }
  expect_failures = [
    var.name, var.package, var.architecture, var.memory_size, var.timeout, var.reserved_concurrency, var.environment, var.refresh,
    var.metrics_namespace, var.secrets, var.kms_key_arn, var.endpoint, var.throttle,
    var.waf, var.vpc, var.recovery_days, var.max_receive_count, var.outbox_concurrency, var.schedule,
    var.iot, var.log_retention_days, var.alarms,
  ]
}

run "a_certificate_that_cloudfront_does_not_take" {
  command = plan
  variables {
    waf    = { rate_limit = 20000 }
    domain = { name = "bridge.example.com", certificate_arn = "arn:aws:acm:eu-central-1:123456789012:certificate/1" }
  }
  expect_failures = [var.domain]
}

run "secrets_themselves_and_tries_at_once" {
  command = plan
  variables {
    secret_references    = { ANOTHER = "the-secret-itself" }
    outbox_retry_seconds = 29
  }
  expect_failures = [var.secret_references, var.outbox_retry_seconds]
}

run "two_configurations" {
  command = plan
  variables {
    configuration_location = "device-bridge.toml"
  }
  expect_failures = [var.configuration_location]
}

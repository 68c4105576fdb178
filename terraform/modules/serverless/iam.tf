# What the function may do: nothing but this. The actions on table and queue are those of adapters/store-dynamodb.

locals {
  table_actions = [
    "dynamodb:BatchGetItem",
    "dynamodb:DeleteItem",
    "dynamodb:DescribeTable",
    "dynamodb:GetItem",
    "dynamodb:PutItem",
    "dynamodb:Query",
    "dynamodb:UpdateItem",
  ]

  queue_actions = [
    "sqs:ChangeMessageVisibility",
    "sqs:DeleteMessage",
    "sqs:GetQueueAttributes",
    "sqs:ReceiveMessage",
    "sqs:SendMessage",
  ]

  # What Lambda does with the function's role, for interfaces in a VPC. Its documentation names these, on every resource.
  network_actions = [
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
  ]

  table_statement = {
    Sid      = "Table"
    Effect   = "Allow"
    Action   = local.table_actions
    Resource = [aws_dynamodb_table.bridge.arn, "${aws_dynamodb_table.bridge.arn}/index/*"]
  }

  via_service = {
    StringLike = { "kms:ViaService" = [
      for service in ["dynamodb", "lambda", "s3", "secretsmanager", "sqs", "ssm"] : "${service}.${local.region}.${data.aws_partition.current.dns_suffix}"
    ] }
  }

  # What DynamoDB's documentation calls the minimum for a key of your own, without kms:CreateGrant: that is Terraform's part.
  own_key_actions = [
    "kms:Decrypt",
    "kms:DescribeKey",
    "kms:Encrypt",
    "kms:GenerateDataKey",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
  ]

  own_key_statements = [
    for arn in var.kms_key_arn == null ? [] : [var.kms_key_arn] :
    { Sid = "Key", Effect = "Allow", Action = local.own_key_actions, Resource = [arn], Condition = local.via_service }
  ]

  key_statements = concat(local.own_key_statements, [
    for arns in [var.decrypt_key_arns] :
    { Sid = "OtherKeys", Effect = "Allow", Action = ["kms:Decrypt"], Resource = sort(arns), Condition = local.via_service } if length(arns) > 0
  ])

  function_statements = concat(
    [
      local.table_statement,
      { Sid = "Outbox", Effect = "Allow", Action = local.queue_actions, Resource = [aws_sqs_queue.outbox.arn] },
      { Sid = "FailedEvents", Effect = "Allow", Action = ["sqs:SendMessage"], Resource = [aws_sqs_queue.failed_events.arn] },
      { Sid = "Logs", Effect = "Allow", Action = ["logs:CreateLogStream", "logs:PutLogEvents"], Resource = ["${aws_cloudwatch_log_group.function.arn}:*"] },
    ],
    [
      for arns in [local.parameter_arns] :
      { Sid = "Parameters", Effect = "Allow", Action = ["ssm:GetParameter"], Resource = arns } if length(arns) > 0
    ],
    [
      for arns in [local.secret_arns] :
      { Sid = "Secrets", Effect = "Allow", Action = ["secretsmanager:GetSecretValue"], Resource = arns } if length(arns) > 0
    ],
    [
      for arns in [local.object_arns] :
      { Sid = "Configuration", Effect = "Allow", Action = ["s3:GetObject"], Resource = arns } if length(arns) > 0
    ],
    local.key_statements,
    [
      for mode in var.tracing ? ["Active"] : [] :
      { Sid = "Tracing", Effect = "Allow", Action = ["xray:PutTelemetryRecords", "xray:PutTraceSegments"], Resource = ["*"] }
    ],
    [
      for vpc in var.vpc == null ? [] : [var.vpc] :
      { Sid = "Network", Effect = "Allow", Action = local.network_actions, Resource = ["*"] }
    ],
    # Lambda may do that, the program may not.
    [
      for vpc in var.vpc == null ? [] : [var.vpc] : {
        Sid       = "NetworkNotByTheProgram"
        Effect    = "Deny"
        Action    = local.network_actions
        Resource  = ["*"]
        Condition = { ArnEquals = { "lambda:SourceFunctionArn" = [local.function_arn] } }
      }
    ],
  )
}

resource "aws_iam_role" "function" {
  name                 = "${var.name}-function"
  description          = "What the function ${local.function_name} may do"
  permissions_boundary = var.permissions_boundary_arn
  tags                 = var.tags

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "lambda.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role_policy" "function" {
  name   = "bridge"
  role   = aws_iam_role.function.id
  policy = jsonencode({ Version = "2012-10-17", Statement = local.function_statements })
}

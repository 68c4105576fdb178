# The configuration, and the place of secrets. No secret passes through Terraform: it makes the place, you put them there.

locals {
  parameter_name = "/${var.name}/configuration"

  secret_environment = merge(
    var.secret_references,
    { for name in var.secrets : name => "secretsmanager:${aws_secretsmanager_secret.bridge[0].arn}#${name}" },
  )

  # The configuration without its comments; empty when it is elsewhere.
  configuration = replace(coalesce(var.configuration, " "), "/(?m)^[ \t]*#.*$/", "")

  unknown_secrets = setsubtract(
    [for found in regexall("\\benv\\s*=\\s*[\"']([^\"']+)[\"']", local.configuration) : found[0]],
    concat(tolist(var.secrets), keys(var.secret_references), keys(var.environment)),
  )

  # What of it exists already, by kind.
  existing        = concat(values(var.secret_references), var.configuration_location == null ? [] : [var.configuration_location])
  existing_plain  = [for reference in local.existing : split("#", reference)[0]]
  parameter_names = [for reference in local.existing_plain : trimprefix(reference, "ssm:") if startswith(reference, "ssm:")]
  secret_names    = [for reference in local.existing_plain : trimprefix(reference, "secretsmanager:") if startswith(reference, "secretsmanager:")]
  object_names    = [for reference in local.existing_plain : trimprefix(reference, "s3://") if startswith(reference, "s3://")]

  parameter_arns = concat(
    [for name in local.parameter_names : "arn:${local.partition}:ssm:${local.region}:${local.account}:parameter${name}"],
    aws_ssm_parameter.configuration[*].arn,
  )
  secret_arns = concat(
    # After a name, Secrets Manager puts a hyphen and six characters.
    [for name in local.secret_names : startswith(name, "arn:") ? name : "arn:${local.partition}:secretsmanager:${local.region}:${local.account}:secret:${name}-??????"],
    aws_secretsmanager_secret.bridge[*].arn,
  )
  object_arns = [for name in local.object_names : "arn:${local.partition}:s3:::${name}"]
}

resource "aws_ssm_parameter" "configuration" {
  count = var.configuration == null ? 0 : 1

  name        = local.parameter_name
  description = "The configuration of ${var.name}"
  type        = "SecureString"
  key_id      = var.kms_key_arn
  tier        = length(base64encode(var.configuration)) > 4096 / 3 * 4 ? "Advanced" : "Standard"
  value       = var.configuration
  tags        = var.tags
}

resource "aws_secretsmanager_secret" "bridge" {
  count = length(var.secrets) == 0 ? 0 : 1

  name        = "${var.name}/secrets"
  description = "A JSON object with the members ${join(", ", var.secrets)}"
  kms_key_id  = var.kms_key_arn
  tags        = var.tags
}

variable "name" {
  description = "Begins the name of everything that is made. One per deployment in an account and region."
  type        = string
  default     = "device-bridge"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,39}$", var.name))
    error_message = "name must have 3 to 40 lower-case letters, digits and hyphens, the first a letter."
  }
}

variable "tags" {
  description = "Tags of everything that can have them."
  type        = map(string)
  default     = {}
  nullable    = false
}

# The program

variable "package" {
  description = "The zip that deploy/lambda/package makes: a path here, or an object in S3 (s3_version when the bucket is versioned)."
  type = object({
    path       = optional(string)
    s3_bucket  = optional(string)
    s3_key     = optional(string)
    s3_version = optional(string)
  })
  nullable = false

  validation {
    condition     = (var.package.path != null) != (var.package.s3_bucket != null)
    error_message = "package needs either path, or s3_bucket and s3_key."
  }
  validation {
    condition     = (var.package.s3_bucket != null) == (var.package.s3_key != null)
    error_message = "package.s3_bucket and package.s3_key belong together."
  }
}

variable "architecture" {
  description = "What the package was built for: arm64 (a fifth cheaper per GB-second) or x86_64."
  type        = string
  default     = "arm64"
  nullable    = false

  validation {
    condition     = contains(["arm64", "x86_64"], var.architecture)
    error_message = "architecture must be arm64 or x86_64."
  }
}

variable "memory_size" {
  description = "Memory of the function, MB; the share of a CPU grows with it."
  type        = number
  default     = 256
  nullable    = false

  validation {
    condition     = var.memory_size >= 128 && var.memory_size <= 10240 && floor(var.memory_size) == var.memory_size
    error_message = "memory_size must be a whole number from 128 to 10240."
  }
}

variable "timeout" {
  description = "How long one invocation may take, seconds. The HTTP API waits for 30 at most. See outbox_retry_seconds."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = var.timeout >= 10 && var.timeout <= 900 && floor(var.timeout) == var.timeout
    error_message = "timeout must be a whole number from 10 to 900: below 10 seconds a slow hub would end invocations in the middle."
  }
}

variable "reserved_concurrency" {
  description = "How many invocations may run at once, and are set aside for this function. Null: the account's unreserved ones."
  type        = number
  default     = null

  validation {
    condition     = var.reserved_concurrency == null ? true : var.reserved_concurrency >= 3
    error_message = "reserved_concurrency must be 3 or more: two for the outbox, one for requests."
  }
}

variable "environment" {
  description = "More environment variables for the function. Those that the module sets itself are refused."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for name in keys(var.environment) : !startswith(name, "DEVICE_BRIDGE_")])
    error_message = "Variables that begin with DEVICE_BRIDGE_ are the module's: use configuration, refresh, metrics_namespace and domain."
  }
}

# Its configuration

variable "configuration" {
  description = "The text of the configuration (device-bridge.toml), as for the service; it becomes a parameter in Parameter Store. It holds no secrets, only their names. At most 8 KiB; a longer one: configuration_location."
  type        = string
  default     = null

  validation {
    # base64 makes 4 characters of 3 bytes.
    condition     = var.configuration == null ? true : length(base64encode(var.configuration)) <= 8192 / 3 * 4 + 4
    error_message = "configuration is longer than 8 KiB, which Parameter Store does not take: put it into the package or into S3, and name it with configuration_location."
  }
}

variable "configuration_location" {
  description = "Where the configuration is, when it is not configuration: a path in the package, ssm:/name, or s3://bucket/key."
  type        = string
  default     = null

  validation {
    condition     = (var.configuration_location == null) != (var.configuration == null)
    error_message = "Give either configuration or configuration_location."
  }
  validation {
    condition     = var.configuration_location == null ? true : can(regex("^(ssm:/[A-Za-z0-9/._-]+|s3://[a-z0-9.-]+/.+|[A-Za-z0-9._][A-Za-z0-9/._-]*)$", var.configuration_location))
    error_message = "configuration_location must be a path in the package (relative), ssm:/name, or s3://bucket/key."
  }
}

variable "refresh" {
  description = "How long the function uses a configuration and secrets before it reads them again, like 5m. Null: the program's default."
  type        = string
  default     = null

  validation {
    condition     = var.refresh == null ? true : can(regex("^[1-9][0-9]*(s|m|h)$", var.refresh))
    error_message = "refresh must be a number with its unit, like 30s, 5m or 1h."
  }
}

variable "metrics_namespace" {
  description = "The namespace of the bridge's own metrics in CloudWatch."
  type        = string
  default     = "DeviceBridge"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_./#-]{1,255}$", var.metrics_namespace)) && !startswith(var.metrics_namespace, "AWS/")
    error_message = "metrics_namespace must have 1 to 255 letters, digits and ._-/#, and not begin with AWS/."
  }
}

# Secrets

variable "secrets" {
  description = "Names of the secrets that the configuration refers to by { env = \"NAME\" } and that the module shall make a place for: members of one JSON object in Secrets Manager. The values are yours to put there (output put_secrets_command); Terraform never sees them."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for name in var.secrets : can(regex("^[A-Z][A-Z0-9_]*$", name)) && !startswith(name, "AWS_") && !startswith(name, "DEVICE_BRIDGE_")])
    error_message = "A secret's name must be that of an environment variable (A-Z, 0-9, _) and not begin with AWS_ or DEVICE_BRIDGE_."
  }
}

variable "secret_references" {
  description = "Secrets that exist: environment variable to ssm:/name or secretsmanager:NAME-OR-ARN, either with #member for a member of a JSON object. The function may read these and no others."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for reference in values(var.secret_references) : can(regex("^(ssm:/[A-Za-z0-9/._-]+|secretsmanager:[A-Za-z0-9/_+=.@:-]+)(#[^#]+)?$", reference))])
    error_message = "A reference must be ssm:/name or secretsmanager:NAME-OR-ARN, with #member or without. A secret itself does not belong here: it would be in Terraform's state."
  }
  validation {
    condition     = length(setintersection(keys(var.secret_references), var.secrets)) == 0
    error_message = "A name is in secrets and in secret_references."
  }
}

variable "kms_key_arn" {
  description = "A customer managed key for table, queues, secret, parameter, logs and environment. Its policy must let logs.REGION.amazonaws.com use it. Null: keys of AWS."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null ? true : can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/.+$", var.kms_key_arn))
    error_message = "kms_key_arn must be the ARN of a key (not of an alias)."
  }
}

variable "decrypt_key_arns" {
  description = "Customer managed keys, besides kms_key_arn, of secrets, parameters and objects that exist."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.decrypt_key_arns : can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/.+$", arn))])
    error_message = "decrypt_key_arns must be ARNs of keys (not of aliases)."
  }
}

# How requests come in

variable "endpoint" {
  description = "http_api: API Gateway with the stage $default, throttled, with an access log. function_url: the function's own URL, cheaper and without both."
  type        = string
  default     = "http_api"
  nullable    = false

  validation {
    condition     = contains(["http_api", "function_url"], var.endpoint)
    error_message = "endpoint must be http_api or function_url."
  }
}

variable "throttle" {
  description = "Requests per second that the HTTP API lets through, all together, and how many at once; what is above gets 429."
  type = object({
    rate  = optional(number, 500)
    burst = optional(number, 1000)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.throttle.rate > 0 && var.throttle.burst >= 1
    error_message = "throttle.rate and throttle.burst must be above 0."
  }
}

variable "domain" {
  description = "A domain name of your own. The certificate is one of ACM: in this region, but in us-east-1 when CloudFront is in front (waf, or endpoint = \"function_url\"). With zone_id the records are made. base_path: a path in front of every route, HTTP API only."
  type = object({
    name            = string
    certificate_arn = string
    zone_id         = optional(string)
    base_path       = optional(string)
  })
  default = null

  validation {
    condition     = var.domain == null ? true : can(regex("^[a-z0-9-]+(\\.[a-z0-9-]+)+$", var.domain.name))
    error_message = "domain.name must be a full domain name in lower case."
  }
  validation {
    condition     = var.domain == null ? true : can(regex("^arn:[a-z-]+:acm:[a-z0-9-]+:[0-9]{12}:certificate/.+$", var.domain.certificate_arn))
    error_message = "domain.certificate_arn must be the ARN of a certificate in ACM."
  }
  validation {
    condition     = try(var.domain.base_path, null) == null ? true : can(regex("^[A-Za-z0-9_-]+$", var.domain.base_path)) && var.endpoint == "http_api" && var.waf == null
    error_message = "domain.base_path is one segment without slashes, and needs endpoint = \"http_api\" without waf."
  }
  validation {
    condition     = var.domain == null || (var.waf == null && var.endpoint == "http_api") ? true : can(regex("^arn:[a-z-]+:acm:us-east-1:", var.domain.certificate_arn))
    error_message = "CloudFront needs a certificate in us-east-1: with waf, or with endpoint = \"function_url\", domain.certificate_arn must be there."
  }
}

variable "waf" {
  description = "Puts CloudFront with a web ACL in front, which refuses a source address above this many requests in five minutes. A cloud sends for all its devices from a few addresses: stay well above their rate."
  type = object({
    rate_limit = number
  })
  default = null

  validation {
    condition     = var.waf == null ? true : var.waf.rate_limit >= 10 && var.waf.rate_limit <= 2000000000
    error_message = "waf.rate_limit must be from 10 to 2000000000."
  }
}

variable "vpc" {
  description = "Runs the function in your VPC, for a hub that is only reachable there. The subnets need a way to DynamoDB, SQS, Secrets Manager and Systems Manager (endpoints or NAT)."
  type = object({
    subnet_ids         = list(string)
    security_group_ids = list(string)
  })
  default = null

  validation {
    condition     = var.vpc == null ? true : length(var.vpc.subnet_ids) > 0 && length(var.vpc.security_group_ids) > 0
    error_message = "vpc needs a subnet and a security group at least."
  }
}

# State

variable "deletion_protection" {
  description = "Whether the table refuses to be deleted."
  type        = bool
  default     = true
  nullable    = false
}

variable "recovery_days" {
  description = "How far back the table can be restored, to the second."
  type        = number
  default     = 35
  nullable    = false

  validation {
    condition     = var.recovery_days >= 1 && var.recovery_days <= 35 && floor(var.recovery_days) == var.recovery_days
    error_message = "recovery_days must be a whole number from 1 to 35."
  }
}

variable "outbox_retry_seconds" {
  description = "How long a message that the hub did not take waits in the outbox before the next try. Null: six times timeout, as AWS advises."
  type        = number
  default     = null

  validation {
    condition     = var.outbox_retry_seconds == null ? true : var.outbox_retry_seconds >= var.timeout && var.outbox_retry_seconds <= 43200
    error_message = "outbox_retry_seconds must be from timeout to 43200: below, a message would be handed out twice at once."
  }
}

variable "max_receive_count" {
  description = "How often the outbox hands a message out before it goes to the dead-letter queue. Times outbox_retry_seconds this is how long a hub may be away: 50 hours with the defaults."
  type        = number
  default     = 1000
  nullable    = false

  validation {
    condition     = var.max_receive_count >= 5 && var.max_receive_count <= 1000 && floor(var.max_receive_count) == var.max_receive_count
    error_message = "max_receive_count must be a whole number from 5 to 1000."
  }
}

variable "outbox_concurrency" {
  description = "How many invocations may empty the outbox at once. Each opens a connection to the hub."
  type        = number
  default     = 10
  nullable    = false

  validation {
    condition     = var.outbox_concurrency >= 2 && var.outbox_concurrency <= 1000
    error_message = "outbox_concurrency must be from 2 to 1000."
  }
}

# What else starts the function

variable "schedule" {
  description = "How often the function does what is due: commands that expire or are to be tried again, and the like."
  type        = string
  default     = "rate(1 minute)"
  nullable    = false

  validation {
    condition     = can(regex("^(rate\\([1-9][0-9]* (minutes?|hours?)\\)|cron\\(.+\\))$", var.schedule))
    error_message = "schedule must be rate(N minutes) or cron(…)."
  }
}

variable "iot" {
  description = "With AWS IoT Core as the hub: topic filters whose messages go to the function (commands, and what is wanted of devices). topic_prefix as in the configuration."
  type = object({
    topic_filters = optional(list(string), ["devices/+/commands/+", "devices/+/properties/desired"])
    topic_prefix  = optional(string, "")
  })
  default = null

  validation {
    condition     = var.iot == null ? true : alltrue([for filter in var.iot.topic_filters : can(regex("^[^'$ ]+$", filter))]) && length(var.iot.topic_filters) > 0
    error_message = "iot.topic_filters must be MQTT topic filters without quotes and spaces, one at least."
  }
  validation {
    condition     = var.iot == null ? true : can(regex("^([^'+#$ /][^'+#$ ]*[^'+#$ /]|[^'+#$ /])?$", var.iot.topic_prefix))
    error_message = "iot.topic_prefix is without a slash at either end and without wildcards."
  }
}

# What is seen

variable "log_retention_days" {
  description = "How long the logs of function and HTTP API are kept, days."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days must be one of the numbers that CloudWatch Logs has: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, …"
  }
}

variable "alarms" {
  description = "Whether alarms are made, whom they tell (ARNs of SNS topics), and from where on: errors and throttles in five minutes, the age of the oldest message in the outbox."
  type = object({
    enabled            = optional(bool, true)
    actions            = optional(list(string), [])
    errors             = optional(number, 1)
    throttles          = optional(number, 1)
    outbox_age_seconds = optional(number, 900)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.alarms.errors >= 1 && var.alarms.throttles >= 1 && var.alarms.outbox_age_seconds >= 60
    error_message = "alarms.errors and alarms.throttles must be 1 or more, alarms.outbox_age_seconds 60 or more."
  }
}

variable "dashboard" {
  description = "Whether a dashboard is made (CloudWatch: three per account are free)."
  type        = bool
  default     = true
  nullable    = false
}

variable "tracing" {
  description = "Whether X-Ray traces invocations. The bridge's own traces do not need it."
  type        = bool
  default     = false
  nullable    = false
}

variable "permissions_boundary_arn" {
  description = "A permissions boundary for the roles, where the account demands one."
  type        = string
  default     = null
}

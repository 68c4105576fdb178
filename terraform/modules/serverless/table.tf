# The state: one table. Keys, indexes and the attribute with the time to live are those of adapters/store-dynamodb.

resource "aws_dynamodb_table" "bridge" {
  name                        = var.name
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "pk"
  range_key                   = "sk"
  deletion_protection_enabled = var.deletion_protection
  tags                        = var.tags

  dynamic "attribute" {
    for_each = toset(["pk", "sk", "tp", "ts", "op", "os", "fp", "fs"])

    content {
      name = attribute.value
      type = "S"
    }
  }

  dynamic "global_secondary_index" {
    for_each = { time = ["tp", "ts"], owner = ["op", "os"], flag = ["fp", "fs"] }

    content {
      name            = global_secondary_index.key
      projection_type = "KEYS_ONLY"

      key_schema {
        attribute_name = global_secondary_index.value[0]
        key_type       = "HASH"
      }
      key_schema {
        attribute_name = global_secondary_index.value[1]
        key_type       = "RANGE"
      }
    }
  }

  ttl {
    attribute_name = "ttl"
    enabled        = true
  }

  point_in_time_recovery {
    enabled                 = true
    recovery_period_in_days = var.recovery_days
  }

  server_side_encryption {
    enabled     = true
    kms_key_arn = var.kms_key_arn
  }
}

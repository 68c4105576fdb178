terraform {
  required_version = ">= 1.9.0"

  required_providers {
    aws = {
      source = "hashicorp/aws"
      # For key_schema of indexes (6.29), and invoked_via_function_url of permissions (in 6.42, perhaps before).
      version = ">= 6.42.0, < 7.0.0"
    }
  }
}

output "webhooks" {
  description = "What to paste into each cloud."
  value       = module.bridge.webhooks
}

output "url" {
  description = "Where the bridge is reached."
  value       = module.bridge.url
}

output "put_secrets_command" {
  description = "How to put the secrets where the function reads them."
  value       = module.bridge.put_secrets_command
}

output "service_policy_json" {
  description = "For device-bridge serve on the same table."
  value       = module.bridge.service_policy_json
}

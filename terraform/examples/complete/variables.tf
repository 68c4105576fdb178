variable "region" {
  description = "The region of AWS."
  type        = string
  default     = "eu-central-1"
}

variable "name" {
  description = "Begins the name of everything."
  type        = string
  default     = "iot-bridge"
}

variable "package_bucket" {
  description = "The bucket with the zip of deploy/lambda/package."
  type        = string
}

variable "package_key" {
  description = "The zip's key."
  type        = string
  default     = "device-bridge-lambda-arm64.zip"
}

variable "package_version" {
  description = "The zip's version: another one is another deployment."
  type        = string
  default     = null
}

variable "domain_name" {
  description = "The domain name."
  type        = string
}

variable "certificate_arn" {
  description = "Its certificate, in the region; in us-east-1 with waf_rate_limit."
  type        = string
}

variable "zone_id" {
  description = "The zone of Route 53 that the records go to."
  type        = string
}

variable "waf_rate_limit" {
  description = "Requests of one source address in five minutes, behind CloudFront. Null: no CloudFront, no web ACL."
  type        = number
  default     = null
}

variable "vpc_id" {
  description = "The VPC."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets with a way out (NAT, or endpoints)."
  type        = list(string)
}

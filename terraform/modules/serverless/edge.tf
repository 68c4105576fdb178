# In front of the endpoint: a domain name, and CloudFront with a web ACL. WAF does not work on an HTTP API or a function URL
# itself, and a function URL takes no domain name: both go through CloudFront then.

locals {
  cloudfront   = var.waf != null || (var.domain != null && local.function_url)
  own_domain   = var.domain != null && !local.cloudfront
  base_path    = local.own_domain ? var.domain.base_path : null
  has_zone     = try(var.domain.zone_id, null) != null
  endpoint_url = local.http_api ? aws_apigatewayv2_api.bridge[0].api_endpoint : trimsuffix(aws_lambda_function_url.bridge[0].function_url, "/")

  url = (
    var.domain != null ? join("/", compact(["https://${var.domain.name}", local.base_path])) :
    local.cloudfront ? "https://${aws_cloudfront_distribution.bridge[0].domain_name}" :
    local.endpoint_url
  )

  # Where the domain's records point to.
  alias = (
    local.own_domain ? {
      name    = aws_apigatewayv2_domain_name.bridge[0].domain_name_configuration[0].target_domain_name
      zone_id = aws_apigatewayv2_domain_name.bridge[0].domain_name_configuration[0].hosted_zone_id
    } :
    local.cloudfront ? {
      name    = aws_cloudfront_distribution.bridge[0].domain_name
      zone_id = aws_cloudfront_distribution.bridge[0].hosted_zone_id
    } : null
  )
}

resource "aws_apigatewayv2_domain_name" "bridge" {
  count = local.own_domain ? 1 : 0

  domain_name = var.domain.name
  tags        = var.tags

  domain_name_configuration {
    certificate_arn = var.domain.certificate_arn
    endpoint_type   = "REGIONAL"
    security_policy = "TLS_1_2"
  }
}

resource "aws_apigatewayv2_api_mapping" "bridge" {
  count = local.own_domain ? 1 : 0

  api_id          = aws_apigatewayv2_api.bridge[0].id
  domain_name     = aws_apigatewayv2_domain_name.bridge[0].id
  stage           = aws_apigatewayv2_stage.bridge[0].id
  api_mapping_key = local.base_path
}

resource "aws_route53_record" "bridge" {
  for_each = local.has_zone ? toset(local.cloudfront ? ["A", "AAAA"] : ["A"]) : toset([])

  zone_id = var.domain.zone_id
  name    = var.domain.name
  type    = each.value

  alias {
    name                   = local.alias.name
    zone_id                = local.alias.zone_id
    evaluate_target_health = false
  }
}

resource "aws_cloudfront_distribution" "bridge" {
  count = local.cloudfront ? 1 : 0

  comment         = var.name
  enabled         = true
  is_ipv6_enabled = true
  http_version    = "http2and3"
  price_class     = "PriceClass_All"
  aliases         = var.domain == null ? null : [var.domain.name]
  web_acl_id      = var.waf == null ? null : aws_wafv2_web_acl.bridge[0].arn
  tags            = var.tags

  origin {
    origin_id   = var.endpoint
    domain_name = trimprefix(local.endpoint_url, "https://")

    custom_origin_config {
      http_port              = 80
      https_port             = 443
      origin_protocol_policy = "https-only"
      origin_ssl_protocols   = ["TLSv1.2"]
      origin_read_timeout    = min(60, var.timeout)
    }
  }

  default_cache_behavior {
    target_origin_id       = var.endpoint
    viewer_protocol_policy = "https-only"
    allowed_methods        = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"]
    cached_methods         = ["GET", "HEAD"]

    # AWS's own policies CachingDisabled, and AllViewerExceptHostHeader.
    cache_policy_id          = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
    origin_request_policy_id = "b689b0a8-53d0-40ab-baf2-68738e2966ac"
  }

  restrictions {
    geo_restriction {
      restriction_type = "none"
    }
  }

  viewer_certificate {
    cloudfront_default_certificate = var.domain == null
    acm_certificate_arn            = try(var.domain.certificate_arn, null)
    minimum_protocol_version       = var.domain == null ? null : "TLSv1.2_2021"
    ssl_support_method             = var.domain == null ? null : "sni-only"
  }
}

resource "aws_wafv2_web_acl" "bridge" {
  count = var.waf == null ? 0 : 1

  # Web ACLs for CloudFront live there.
  region      = "us-east-1"
  name        = var.name
  description = "Requests per source address of ${var.name}"
  scope       = "CLOUDFRONT"
  tags        = var.tags

  default_action {
    allow {}
  }

  rule {
    name     = "rate"
    priority = 1

    action {
      block {
        # As the bridge would say it; the default, 403, makes some clouds give up.
        custom_response {
          response_code = 429
        }
      }
    }

    statement {
      rate_based_statement {
        limit                 = var.waf.rate_limit
        aggregate_key_type    = "IP"
        evaluation_window_sec = 300
      }
    }

    visibility_config {
      cloudwatch_metrics_enabled = true
      metric_name                = "${var.name}-rate"
      sampled_requests_enabled   = true
    }
  }

  visibility_config {
    cloudwatch_metrics_enabled = true
    metric_name                = var.name
    sampled_requests_enabled   = true
  }
}

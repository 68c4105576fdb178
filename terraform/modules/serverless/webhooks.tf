# What to paste into each cloud, read from the configuration. The bridge itself reads that properly; this is for the outputs.

locals {
  # The lines from [integrations.NAME] to the next table.
  integrations = {
    for found in regexall("(?m)^[ \t]*\\[integrations\\.\"?([A-Za-z0-9_-]+)\"?\\][^\n]*\n((?:[ \t]*[^\\[ \t\n][^\n]*\n|[ \t]*\n)*)", "${local.configuration}\n") :
    found[0] => {
      connector = try(regex("(?m)^[ \t]*connector\\s*=\\s*[\"']([^\"']+)[\"']", found[1])[0], null)
      scheme    = try(regex("\\bscheme\\s*=\\s*[\"']([^\"']+)[\"']", found[1])[0], null)
      header    = try(regex("\\bheader\\s*=\\s*[\"']([^\"']+)[\"']", found[1])[0], "X-Bridge-Secret")
      user      = try(regex("\\buser\\s*=\\s*[\"']([^\"']+)[\"']", found[1])[0], null)
      parameter = try(regex("\\bparameter\\s*=\\s*[\"']([^\"']+)[\"']", found[1])[0], "token")
      secret    = format("{%s}", try(regex("\\bsecrets\\s*=\\s*\\[\\s*\\{\\s*env\\s*=\\s*[\"']([^\"']+)[\"']", found[1])[0], "the secret of ${found[0]}"))
    }
  }

  webhooks = {
    for name, integration in local.integrations : name => {
      connector = integration.connector
      url       = join("?", compact(["${local.url}/webhooks/${name}", integration.scheme == "url-token" ? "${integration.parameter}=${integration.secret}" : ""]))
      headers = merge(
        integration.scheme == "header" ? { (integration.header) = integration.secret } : {},
        integration.scheme == "bearer" ? { Authorization = "Bearer ${integration.secret}" } : {},
      )
      user     = integration.scheme == "basic" ? integration.user : null
      password = integration.scheme == "basic" ? integration.secret : null
    }
  }
}

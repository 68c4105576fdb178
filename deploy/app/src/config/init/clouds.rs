//! The three example integrations, and where in each cloud's console their URL and secret go. Not here: files.

use std::path::Path;

use super::local_url;
use crate::config::auth::DEFAULT_HEADER;
use crate::config::secret::Secret;
use crate::config::sheet::quoted;

/// The user name of the integration with Basic authentication.
const BASIC_USER: &str = "particle";

/// An example integration; its connector has the same name.
pub(super) struct Cloud {
    pub(super) name: &'static str,
    title: &'static str,
    proof: Proof,
    /// Lines of the configuration below `auth`.
    more: &'static str,
    /// What to do in the console; `{url}` and `{secret}` stand for themselves.
    steps: &'static str,
}

enum Proof {
    Header,
    Basic,
    Bearer,
}

pub(super) static CLOUDS: [Cloud; 3] = [
    Cloud { name: "sigfox", title: "Sigfox", proof: Proof::Header, more: SIGFOX_MORE, steps: SIGFOX_STEPS },
    Cloud { name: "particle", title: "Particle", proof: Proof::Basic, more: "", steps: PARTICLE_STEPS },
    Cloud { name: "ttn", title: "The Things Stack", proof: Proof::Bearer, more: "", steps: TTN_STEPS },
];

const SIGFOX_MORE: &str = "\
# Sigfox sends from these addresses; they may change. Behind a proxy this needs http.trusted_proxies.
#sources = [\"185.110.96.0/22\"]
";

/// Variables: support.sigfox.com, \"Callbacks\".
const SIGFOX_STEPS: &str = r#"
backend.sigfox.com > Device type > (yours) > Callbacks > New > Custom callback

  Type             DATA, UPLINK
  Channel          URL
  Url pattern      {url}
  Use HTTP method  POST
  Headers          {header} = {secret}
  Content type     application/json
  Body:
{
  "service": "data",
  "device": "{device}",
  "time": "{time}",
  "data": "{data}",
  "seqNumber": "{seqNumber}",
  "deviceTypeId": "{deviceTypeId}",
  "duplicate": "{duplicate}",
  "rssi": "{rssi}",
  "snr": "{snr}",
  "avgSnr": "{avgSnr}",
  "station": "{station}",
  "lat": "{lat}",
  "lng": "{lng}"
}
  Leave out the lines from "duplicate" on that the console says your contract does not have.

A second callback brings positions and link quality, about 25 s after each message: Type SERVICE, DATA_ADVANCED, the
rest as above, with this body (leave out the last two when your contract does not have them; they have no quotes):
{
  "service": "data-advanced",
  "device": "{device}",
  "time": "{time}",
  "data": "{data}",
  "seqNumber": "{seqNumber}",
  "deviceTypeId": "{deviceTypeId}",
  "lqi": "{lqi}",
  "linkQuality": "{linkQuality}",
  "operatorName": "{operatorName}",
  "countryCode": "{countryCode}",
  "fixedLat": "{fixedLat}",
  "fixedLng": "{fixedLng}",
  "duplicates": {duplicates},
  "computedLocation": {computedLocation}
}
  Other services (STATUS, ACKNOWLEDGE, ERROR, ...) work alike: every variable under its own name, and "service" says which.
"#;

/// Variables: docs.particle.io, \"Webhook variable reference\".
const PARTICLE_STEPS: &str = r#"
console.particle.io > (your product, or the sandbox) > Integrations > Add new integration > Webhook

  Event name       what your events begin with (case matters)
  URL              {url}
  Request type     POST
  Request format   Web Form (in a JSON template, event data that holds quotes breaks the request)
  Device           Any
  Advanced settings > Form fields > Custom:
    event            {{{PARTICLE_EVENT_NAME}}}
    data             {{{PARTICLE_EVENT_VALUE}}}
    coreid           {{{PARTICLE_DEVICE_ID}}}
    published_at     {{{PARTICLE_PUBLISHED_AT}}}
    event_id         {{{PARTICLE_EVENT_ID}}}
    product          {{{PRODUCT_ID}}}
    version          {{{PRODUCT_VERSION}}}
  HTTP basic auth
    Username         {user}
    Password         {secret}
  Enforce SSL      Yes

  A second webhook of the same form with the event name spark/status tells when devices go online and offline.
"#;

/// Fields: thethingsindustries.com/docs, \"Webhooks\".
const TTN_STEPS: &str = r#"
(your cluster's console) > Applications > (yours) > Webhooks > Add webhook > Custom webhook

  Webhook ID          device-bridge
  Webhook format      JSON
  Base URL            {url}
  Downlink API key    leave empty
  Additional headers  Authorization = Bearer {secret}
  Filter event data   leave empty
  Enabled event types: all but "normalized uplink" (it repeats "uplink message"), each with the path
                      /{devID}
"#;

impl Cloud {
    /// The section of the configuration.
    pub(super) fn section(&self, secrets: &str) -> String {
        let name = self.name;
        let own = match self.proof {
            Proof::Header => format!("scheme = \"header\", header = {}", quoted(DEFAULT_HEADER)),
            Proof::Basic => format!("scheme = \"basic\", user = {}", quoted(BASIC_USER)),
            Proof::Bearer => "scheme = \"bearer\"".to_owned(),
        };
        format!(
            "\n# {}: its webhooks go to /webhooks/{name}. Remove the section if you have no such devices.\n\
             [integrations.{name}]\n\
             connector = {}\n\
             auth = {{ {own}, secrets = [{{ file = {} }}] }}\n{}",
            self.title,
            quoted(name),
            quoted(&format!("{secrets}/{name}")),
            self.more,
        )
    }
}

/// What to do next, with the secrets.
pub(super) fn instructions(dir: &Path, public_url: Option<&str>, secrets: &[(&Cloud, Secret)]) -> String {
    let base_url = public_url.map_or_else(local_url, str::to_owned);
    let mut text = format!(
        "The secrets below are shown this once. They stay in {} (only you can read it), one file for each\n\
         integration; the bridge never prints them. Whoever has one can post messages in the name of that cloud.\n",
        dir.join(super::SECRETS).display()
    );
    if public_url.is_none() {
        text.push_str(&format!(
            "\nThe URLs begin with {base_url}, which only this machine can reach. Clouds need a public https URL: put a\n\
             proxy or a tunnel in front, set http.public_url, and use that URL instead.\n"
        ));
    }
    for (cloud, secret) in secrets {
        let steps = cloud
            .steps
            .replace("{url}", &format!("{base_url}/webhooks/{}", cloud.name))
            .replace("{header}", DEFAULT_HEADER)
            .replace("{user}", BASIC_USER)
            .replace("{secret}", secret.expose());
        text.push_str(&format!("\n== {} ==\n{steps}", cloud.title));
    }
    text.push_str(&format!(
        "\nThen start the bridge: device-bridge serve -c {}\n",
        dir.join(super::CONFIG_FILE).display()
    ));
    text
}

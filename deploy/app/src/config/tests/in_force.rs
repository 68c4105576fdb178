//! What the template promises: every key is in it, with its default.

use super::*;

/// The template with every key in force.
pub(super) fn everything_in_force(template: &str) -> String {
    let line = |line: &str| match line.strip_prefix('#') {
        Some(rest) if !rest.is_empty() && !rest.starts_with(' ') => format!("{rest}\n"),
        _ => format!("{line}\n"),
    };
    template.lines().map(line).collect()
}

#[test]
fn the_template_means_the_defaults_commented_out_and_in_force() {
    let template = template(&connectors());
    assert_eq!(parse(&template), parse(""));

    let in_force =
        parse(&everything_in_force(&template)).unwrap_or_else(|mistakes| panic!("{mistakes}\n{template}"));
    let mut expected = parse("").unwrap();
    // What has no default stands there as an example.
    expected.http.public_url = Some("https://bridge.example.com".into());
    expected.dynamodb.region = Some("eu-central-1".into());
    expected.dynamodb.stand_in = Some("http://127.0.0.1:5000".into());
    expected.hub.broker = in_force.hub.broker.clone();
    expected.hub.protocol = Hub::PROTOCOL;
    expected.integrations = in_force.integrations.clone();
    expected.codecs = in_force.codecs.clone();
    expected.gateways = in_force.gateways.clone();
    expected.secrets = in_force.secrets.clone();
    expected.devices_api.client_certificates = in_force.devices_api.client_certificates.clone();
    expected.azure_bridge = in_force.azure_bridge.clone();
    expected.coap.dtls = in_force.coap.dtls.clone();
    expected.coap.tcp = in_force.coap.tcp;
    expected.coap.tls = in_force.coap.tls.clone();
    expected.coap.ws = in_force.coap.ws;
    expected.coap.wss = in_force.coap.wss.clone();
    expected.admin.tokens = in_force.admin.tokens.clone();
    expected.devices_api.codec = Some("cayenne".into());
    assert_eq!((in_force.gateways.len(), in_force.gateways[0].rate), (1, None));
    assert_eq!((in_force.codecs.len(), in_force.admin.tokens.len()), (3, 1));
    assert_eq!(in_force, expected);
    assert!(matches!(in_force.hub.broker, Broker::Remote(Remote { tls: Some(_), credentials: Some(_), .. })));
    for (integration, connector) in in_force.integrations.iter().zip(["particle", "sigfox", "ttn"]) {
        // Two keys of the one example that has every key are only examples, too.
        let examples = match connector {
            "sigfox" => {
                "body_limit = \"256KiB\"\ndevices.map = { \"1A2B3C\" = \"tank-7\" }\ncodec = \"cayenne\"\n\
                 profiles = { \"dragino/lht65\" = \"cayenne\" }\ndownlink = { daily_budget = 4 }\n\
                 desired_command = \"set\""
            }
            "particle" => {
                "downlink = { url = \"https://api.example.com\", token = { env = \"MY_PARTICLE_TOKEN\" }, \
                 product = \"bridge\" }"
            }
            _ => "",
        };
        let bare = format!(
            "[integrations.my-{connector}]\nconnector = \"{connector}\"\n{examples}\n\
             auth = {{ scheme = \"header\", secrets = [{{ env = \"MY_{}_SECRET\" }}] }}",
            connector.to_uppercase()
        );
        assert_eq!(*integration, parse(&bare).unwrap().integrations[0]);
    }
}

#[test]
fn every_alternative_of_the_template_parses() {
    let template = template(&connectors());
    let alternatives: Vec<&str> = template.lines().filter_map(|line| line.strip_prefix("# or: ")).collect();
    assert_eq!(alternatives.len(), 4, "{alternatives:?}");
    for alternative in alternatives {
        let text = match alternative.starts_with("embedded") {
            true => format!("[hub]\n{alternative}"),
            false => format!("[integrations.a]\nconnector = \"sigfox\"\n{alternative}"),
        };
        parse(&text).unwrap_or_else(|mistakes| panic!("{alternative}: {mistakes}"));
    }
}

#[test]
fn the_template_explains_every_key_that_is_read() {
    let template = template(&connectors());
    let mut asked = asked_keys(&everything_in_force(&template));
    asked.extend(asked_keys(""));
    let tables: std::collections::BTreeSet<&str> = template
        .lines()
        .filter_map(|line| line.trim_start_matches('#').strip_prefix('[')?.strip_suffix(']'))
        .collect();
    for path in &asked {
        let (_, key) = path.rsplit_once('.').unwrap_or(("", path));
        let is_explained = tables.contains(path.as_str())
            || ["integrations", "codecs", "gateways", "admin.tokens"].contains(&path.as_str())
            // Names of the reader's own stand in these.
            || ["variables", "fields", "profiles"].contains(&path.rsplit('.').nth(1).unwrap_or(""))
            // A connector without settings has no table for them.
            || key == "settings"
            || template.contains(&format!("{key} = "));
        assert!(is_explained, "{path} is not in the template:\n{template}");
    }
    assert!(asked.len() > 50, "{asked:?}");
}

fn asked_keys(text: &str) -> std::collections::BTreeSet<String> {
    let surroundings = Surroundings { base_dir: Path::new("/etc/bridge"), env: &env, file: &file };
    let report = Report::about(text);
    let document = DeTable::parse(text).unwrap();
    Config::read(Section::root(&report, document.get_ref()), &surroundings, &connectors());
    report.asked.into_inner()
}

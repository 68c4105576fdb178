//! Mistakes in `[integrations.NAME.downlink]`, and what is told about them.

use super::*;

#[test]
fn mistakes_in_ways_down_say_what_to_do() {
    let told = |connector: &str, downlink: &str| {
        mistakes(&format!(
            "[integrations.farm]\nconnector = \"{connector}\"\ndownlink = {downlink}\n\
             auth = {{ scheme = \"bearer\", secrets = [{{ env = \"A\" }}] }}"
        ))
    };
    for (downlink, wanted) in [
        ("{}", "downlink.token: is missing"),
        ("{ token = \"in the clear\" }", "a secret does not stand here itself"),
        ("{ token = { env = \"A\" }, url = \"example.com\" }", "downlink.url: must be a URL"),
        ("{ token = { env = \"A\" }, url = \"https://u:p@example.com\" }", "downlink.url: must be a URL"),
        ("{ token = { env = \"A\" }, product = \"x\" }", "downlink.product: is not a product"),
        ("{ token = { env = \"A\" }, zzz = 1 }", "downlink.zzz: is not a known key"),
    ] {
        let told = told("particle", downlink);
        assert!(told.starts_with("1 mistake ") && told.contains(wanted), "{downlink}: {told}");
        assert!(!told.contains("in the clear") && !told.contains("s3cr3t"), "{told}");
    }
    let told_announced = |downlink: &str| {
        mistakes(&format!(
            "[secrets]\nkeys = [{{ env = \"THE_SEAL_KEY\" }}]\n[integrations.farm]\nconnector = \"particle\"\n\
             downlink = {downlink}\nauth = {{ scheme = \"bearer\", secrets = [{{ env = \"A\" }}] }}"
        ))
    };
    for (downlink, wanted) in [
        ("{ announced = [] }", "downlink.announced: must name a host"),
        ("{ announced = [\"a.example/path\"] }", "downlink.announced[0]: must be a host"),
        ("{ announced = [\"*.example\"] }", "downlink.announced[0]: must be a host"),
        ("{ announced = [\"ftp://a.example\"] }", "downlink.announced[0]: must be a host"),
        ("{ announced = [\"a.example\"], token = { env = \"A\" } }", "downlink.token: is announced, too"),
        ("{ announced = [\"a.example\"], url = \"https://a.example\" }", "downlink.url: is announced, too"),
        ("{ announced = [\"a.example\"], product = \"bridge\" }", "downlink.product: is announced, too"),
    ] {
        let told = told_announced(downlink);
        assert!(told.contains(wanted), "{downlink}: {told}");
    }
    let told_without_key = told("particle", "{ announced = [\"a.example\"] }");
    assert!(told_without_key.contains("farm.downlink.announced needs a key"), "{told_without_key}");
    for (downlink, wanted) in [
        ("{ token = { env = \"A\" } }", "downlink.token: nothing is called"),
        ("{ url = \"https://example.com\" }", "downlink.url: nothing is called"),
        ("{ daily_budget = 5 }", "downlink.daily_budget: is not a budget"),
        ("{ zzz = 1 }", "downlink.zzz: is not a known key"),
    ] {
        let told = told("sigfox", downlink);
        assert!(told.starts_with("1 mistake ") && told.contains(wanted), "{downlink}: {told}");
    }
    assert!(told("ttn", "{}").contains("no command can be sent to The Things Stack"));
}

#[test]
fn an_announced_key_has_hosts_where_it_may_go() {
    let config = parse(
        "[secrets]\nkeys = [{ env = \"THE_SEAL_KEY\" }]\n[integrations.farm]\nconnector = \"particle\"\n\
         downlink = { announced = [\"EU1.example\", \"http://127.0.0.1:8080\"] }\n\
         auth = { scheme = \"bearer\", secrets = [{ env = \"A\" }] }",
    )
    .unwrap();
    let api = config.integrations[0].downlink.as_ref().unwrap().api.as_ref().unwrap();
    let origins = ["https://eu1.example", "http://127.0.0.1:8080"].map(str::to_owned);
    assert_eq!(api.access, Access::Announced(origins.to_vec()));
}

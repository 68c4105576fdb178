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

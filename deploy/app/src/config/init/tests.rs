//! What `init` writes and says.

use super::*;
use crate::config::{AuthScheme, Config, ConnectorInfo, Proof};

fn connectors() -> Vec<ConnectorInfo<'static>> {
    let info = |name, scheme| ConnectorInfo {
        name,
        title: name,
        default_prefix: "",
        auth: vec![scheme],
        settings: Vec::new(),
        downlink: None,
        check: None,
    };
    vec![
        info("sigfox", AuthScheme::Header),
        info("particle", AuthScheme::Basic),
        info("ttn", AuthScheme::Bearer),
    ]
}

fn parse(dir: &Path) -> Config {
    let text = std::fs::read_to_string(dir.join(CONFIG_FILE)).unwrap();
    Config::parse(&text, dir, &|_| None, &connectors()).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

#[test]
fn what_is_written_parses_and_what_is_told_fits_it() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("new/folder");
    let output = init(&dir, Some("https://bridge.example.com/")).unwrap();
    let config = parse(&dir);
    assert_eq!(config.http.public_url.as_deref(), Some("https://bridge.example.com"));
    assert_eq!(config.bridge.data_dir, dir.join("device-bridge-data"));
    let [particle, sigfox, ttn] = &config.integrations[..] else { panic!("{:?}", config.integrations) };
    assert_eq!(sigfox.auth.proof, Proof::Header("x-bridge-secret".parse().unwrap()));
    assert_eq!(particle.auth.proof, Proof::Basic { user: "particle".into() });
    assert_eq!(ttn.auth.proof, Proof::Bearer);
    let told = output.instructions();
    for integration in [particle, sigfox, ttn] {
        assert!(told.contains(&format!("https://bridge.example.com/webhooks/{}\n", integration.name)));
        let secret = integration.auth.secrets[0].expose();
        assert_eq!(secret.len(), 43);
        assert_eq!(told.matches(secret).count(), 1);
    }
    assert_ne!(sigfox.auth.secrets, ttn.auth.secrets);
    assert!(
        told.contains("shown this once") && told.contains("PARTICLE_EVENT_ID") && told.contains("/{devID}")
    );
    assert!(!told.contains("{url}") && !told.contains("{secret}") && !told.contains("{user}"));
    assert!(!format!("{output:?}").contains(sigfox.auth.secrets[0].expose()));
}

#[cfg(unix)]
#[test]
fn files_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let output = init(dir.path(), None).unwrap();
    assert_eq!(output.secret_files.len(), 3);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for file in &output.secret_files {
        assert_eq!(mode(file), 0o600, "{}", file.display());
    }
    assert_eq!(mode(&dir.path().join(SECRETS)), 0o700);
}

#[test]
fn without_a_public_url_the_text_says_that_clouds_cannot_reach_it() {
    let dir = tempfile::tempdir().unwrap();
    let output = init(dir.path(), None).unwrap();
    assert!(output.instructions().contains("http://127.0.0.1:8080/webhooks/sigfox"));
    assert!(output.instructions().contains("only this machine can reach"));
    assert_eq!(parse(dir.path()).http.public_url, None);
}

#[test]
fn nothing_is_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let first = init(dir.path(), None).unwrap();
    let before = std::fs::read(&first.secret_files[0]).unwrap();
    let error = init(dir.path(), None).unwrap_err();
    assert!(matches!(&error, InitError::Exists(path) if path.ends_with(CONFIG_FILE)), "{error}");
    std::fs::remove_file(&first.config_file).unwrap();
    let error = init(dir.path(), None).unwrap_err();
    assert!(matches!(&error, InitError::Exists(path) if path.ends_with("secrets/sigfox")), "{error}");
    assert!(!first.config_file.exists());
    assert_eq!(std::fs::read(&first.secret_files[0]).unwrap(), before);
}

#[test]
fn a_folder_that_cannot_be_and_a_url_that_is_none_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "").unwrap();
    assert!(matches!(init(&dir.path().join("file"), None), Err(InitError::Write { .. })));
    assert!(matches!(init(dir.path(), Some("bridge.example.com")), Err(InitError::PublicUrl(_))));
    assert!(!dir.path().join(CONFIG_FILE).exists());
}

#[test]
fn json_bodies_for_sigfox_are_json_once_their_variables_are_filled_in() {
    let dir = tempfile::tempdir().unwrap();
    let output = init(dir.path(), None).unwrap();
    let bodies: Vec<&str> = output
        .instructions()
        .split("\n{\n")
        .skip(1)
        .map(|rest| rest.split("\n}\n").next().unwrap())
        .collect();
    assert_eq!(bodies.len(), 2);
    for body in bodies {
        let filled =
            format!("{{{body}}}").replace(": {duplicates}", ": []").replace(": {computedLocation}", ": {}");
        let value: serde_json::Value = serde_json::from_str(&filled).unwrap();
        assert_eq!(value["device"], "{device}");
    }
}

//! `[admin]`: what can be said, and what is said about mistakes.

use super::*;

#[test]
fn tokens_have_names_and_scopes() {
    let admin = parse(
        r#"
        [admin]
        listen = "0.0.0.0:9000"
        [admin.tokens.dashboard]
        secrets = [{ env = "NEW" }, { file = "secrets/farm" }]
        scopes = ["read"]
        [admin.tokens.on-call]
        secrets = [{ env = "OTHER" }]
        scopes = ["read", "commands", "devices", "replay"]
        "#,
    )
    .unwrap()
    .admin;
    assert_eq!(admin.listen, "0.0.0.0:9000".parse().unwrap());
    let [dashboard, on_call] = &admin.tokens[..] else { panic!("{admin:?}") };
    assert_eq!((dashboard.name.as_str(), dashboard.secrets.len()), ("dashboard", 2));
    assert_eq!(dashboard.scopes, [Scope::Read]);
    assert_eq!(on_call.scopes.len(), Scope::CHOICES.len());
    assert!(parse("").unwrap().admin.listen.ip().is_loopback(), "nobody else by default");
}

#[test]
fn mistakes_in_tokens_say_what_to_do() {
    let good = "secrets = [{ env = \"A\" }]\nscopes = [\"read\"]";
    for (text, wanted) in [
        ("[admin]\nlisten = \"localhost:9000\"".to_owned(), "admin.listen: must be an IP address and a port"),
        (
            "[admin]\nlisten = \"127.0.0.1:8080\"".into(),
            "admin: http.listen and admin.listen cannot be the same",
        ),
        ("[admin]\ntoken = 1".into(), "admin.token: is not a known key; did you mean tokens?"),
        ("[admin.tokens.a]\nscopes = [\"read\"]".into(), "admin.tokens.a.secrets: is missing"),
        (
            "[admin.tokens.a]\nsecrets = [{ env = \"A\" }]".into(),
            "admin.tokens.a.scopes: is missing: what it may do",
        ),
        (
            "[admin.tokens.a]\nscopes = []\nsecrets = [{ env = \"A\" }]".into(),
            "admin.tokens.a.scopes: must name",
        ),
        (
            "[admin.tokens.a]\nscopes = [\"reed\"]\nsecrets = [{ env = \"A\" }]".into(),
            "admin.tokens.a.scopes[0]: \"reed\" is not one of",
        ),
        (
            "[admin.tokens.a]\nscopes = [\"read\"]\nsecrets = [{ env = \"SHORT\" }]".into(),
            "admin.tokens.a.secrets[0]: the secret is shorter",
        ),
        (format!("[admin.tokens.local]\n{good}"), "admin.tokens.local: the token in the data directory"),
        (format!("[admin.tokens.\"a b\"]\n{good}"), "admin.tokens.\"a b\": the name holds"),
        (
            format!("[admin.tokens.a]\n{good}\n[admin.tokens.b]\n{good}"),
            "admin.tokens.b: has a secret of token a",
        ),
    ] {
        let told = mistakes(&text);
        assert!(told.starts_with("1 mistake ") && told.contains(wanted), "{text}: {told}");
    }
}

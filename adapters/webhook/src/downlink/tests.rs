//! What each cloud is sent, and what its answers and reports mean for the command.

use bridge_core::command::{CommandId, CommandIds, CommandName, Manner, ReplaceKey};
use bridge_core::ports::DeviceState;
use bridge_core::{DeviceId, ExternalDevice, ExternalId, IdempotencyKey, IntegrationName, Kind, Timestamp};
use serde_json::{Value, json};
use std::sync::Arc;

use super::*;
use crate::connector::{Settings, WayDown};
use crate::connectors;

fn way(connector: &str, settings: &[(&str, &str)]) -> Arc<dyn Downlink> {
    let settings: Settings =
        settings.iter().map(|(key, value)| ((*key).to_owned(), vec![(*value).to_owned()])).collect();
    let Some(WayDown::Api(way)) = connectors::find(connector).unwrap().downlink() else { panic!() };
    (way.make)("https://cloud", &settings).unwrap()
}

fn device(external: &str) -> DeviceRecord {
    DeviceRecord {
        id: DeviceId::parse("d1").unwrap(),
        integration: IntegrationName::parse("farm").unwrap(),
        external: ExternalId::parse(external).unwrap(),
        scope: Some("app one".into()),
        name: None,
        hub_id: None,
        codec: None,
        tags: Vec::new(),
        state: DeviceState::Active,
        first_seen: Timestamp::EPOCH,
        last_seen: None,
    }
}

fn draft(name: &str, arguments: Value) -> Draft {
    Draft { arguments, ..Draft::new(CommandName::parse(name).unwrap()) }
}

fn command(draft: Draft) -> (Command, AttemptId) {
    let now = Timestamp::from_seconds(1_800_000_000).unwrap();
    let id: CommandId = CommandIds::default().next(now, 7);
    let of = (DeviceId::parse("d1").unwrap(), IntegrationName::parse("farm").unwrap());
    let command = Command::new(id, of, draft, Manner::Push, now, now.plus(Duration::from_hours(2)));
    (command, AttemptId { command: id, number: 1 })
}

fn sent(way: &dyn Downlink, external: &str, draft: Draft) -> (String, Value) {
    way.check(&draft, draft.payload.as_ref()).unwrap();
    let (command, attempt) = command(draft);
    let request = way.request(&device(external), &command, attempt).unwrap();
    assert_eq!(request.method(), "POST");
    assert_eq!(request.headers()["content-type"], "application/json");
    assert!(!request.headers().contains_key("authorization"), "the caller adds it");
    (request.uri().to_string(), serde_json::from_slice(request.body()).unwrap())
}

fn answer(way: &dyn Downlink, status: u16, body: &Value) -> SendOutcome {
    let body = body.to_string();
    way.outcome(&Answered {
        status: StatusCode::from_u16(status).unwrap(),
        headers: &HeaderMap::new(),
        retry_after: Some(Duration::from_secs(9)),
        body: body.as_bytes(),
    })
}

/// What became of the attempt, and whether it may be made again.
fn meaning(outcome: &SendOutcome) -> (&'static str, Option<Again>) {
    match outcome {
        SendOutcome::Accepted { .. } => ("accepted", None),
        SendOutcome::Delivered { .. } => ("delivered", None),
        SendOutcome::Refused { again, .. } => ("refused", Some(*again)),
        SendOutcome::Unknown { .. } => ("unknown", None),
    }
}

const LATER: Option<Again> = Some(Again::Later(Some(Duration::from_secs(9))));

#[test]
fn the_things_stack_is_pushed_to_or_its_queue_replaced() {
    let way = way("ttn", &[("webhook", "bridge")]);
    let mut push = draft("blink", json!({ "on": true }));
    push.payload = Some(Payload { data: vec![1, 170], port: Some(3) });
    push.confirmed = true;
    let (url, body) = sent(&*way, "dev-1", push.clone());
    assert_eq!(url, "https://cloud/api/v3/as/applications/app%20one/webhooks/bridge/devices/dev-1/down/push");
    let (command_, attempt) = command(push);
    assert_eq!(
        body,
        json!({ "downlinks": [{
            "f_port": 3, "priority": "NORMAL", "confirmed": true, "correlation_ids": [attempt.to_string()],
            "frm_payload": "Aao="
        }] })
    );
    let flight = way.flight(&command_);
    assert_eq!((flight.resend, flight.awaits), (Resend::Never, Awaits::Acknowledgement));

    let mut replace = draft("blink", json!({ "on": true }));
    replace.replace = Some(ReplaceKey::parse("light").unwrap());
    replace.options.insert("fPort".into(), json!(9));
    replace.options.insert("classBC".into(), json!({ "absolute_time": "2026-12-01T00:00:00Z" }));
    let (url, body) = sent(&*way, "dev-1", replace.clone());
    assert!(url.ends_with("/down/replace"));
    assert_eq!(body["downlinks"][0]["decoded_payload"], json!({ "on": true }));
    assert_eq!(body["downlinks"][0]["f_port"], 9);
    assert_eq!(body["downlinks"][0]["class_b_c"]["absolute_time"], "2026-12-01T00:00:00Z");
    assert_eq!(way.flight(&command(replace).0).resend, Resend::Safe, "a queue can be replaced twice");

    for (status, want) in [
        (200, ("accepted", None)),
        (400, ("refused", Some(Again::Never))),
        (401, ("refused", LATER)),
        (403, ("refused", LATER)),
        (404, ("refused", Some(Again::Never))),
        (406, ("refused", LATER)),
        (429, ("refused", LATER)),
        (500, ("unknown", None)),
        (502, ("unknown", None)),
        (503, ("refused", LATER)),
    ] {
        assert_eq!(meaning(&answer(&*way, status, &json!({ "message": "why" }))), want, "{status}");
    }
}

#[test]
fn what_does_not_fit_is_refused_with_the_reason() {
    let ttn = way("ttn", &[("webhook", "bridge")]);
    let refused = |way: &dyn Downlink, draft: &Draft| way.check(draft, draft.payload.as_ref()).unwrap_err();
    let mut long = draft("a", Value::Null);
    long.payload = Some(Payload { data: vec![0; 243], port: None });
    assert!(refused(&*ttn, &long).contains("243 bytes"));
    assert!(refused(&*ttn, &draft("a", json!(5))).contains("must be an object"));
    for port in [0, 224, 256] {
        let mut wrong = draft("a", json!({}));
        wrong.options.insert("fPort".into(), json!(port));
        assert!(refused(&*ttn, &wrong).contains("not one for applications"), "{port}");
    }
    let mut option = draft("a", json!({}));
    option.options.insert("fport".into(), json!(1));
    assert!(refused(&*ttn, &option).contains("no option \"fport\""));
    let particle = way("particle", &[]);
    assert!(refused(&*particle, &draft("f", json!("x".repeat(1025)))).contains("1025 bytes"));
    let mut bytes = draft("f", Value::Null);
    bytes.payload = Some(Payload::default());
    assert!(refused(&*particle, &bytes).contains("not bytes"));
    let Some(WayDown::Api(api)) = connectors::find("ttn").unwrap().downlink() else { panic!() };
    assert!((api.make)("https://cloud", &Settings::new()).is_err_and(|errors| errors[0].key == "webhook"));
    let mut nowhere = device("dev-1");
    nowhere.scope = None;
    let (command, attempt) = command(draft("a", json!({})));
    assert!(ttn.request(&nowhere, &command, attempt).is_err_and(|why| why.contains("downlink.application")));
}

#[test]
fn particle_runs_functions() {
    let way = way("particle", &[("product", "my product")]);
    let (url, body) = sent(&*way, "e00fce68", draft("openDoor", json!({ "seconds": 5 })));
    assert_eq!(url, "https://cloud/v1/products/my%20product/devices/e00fce68/openDoor");
    assert_eq!(body, json!({ "arg": "{\"seconds\":5}" }));
    assert_eq!(sent(&*way, "e", draft("f", json!("text"))).1, json!({ "arg": "text" }));
    assert_eq!(sent(&*way, "e", draft("f", Value::Null)).1, json!({ "arg": "" }));
    let done = answer(&*way, 200, &json!({ "id": "e", "connected": true, "return_value": 42 }));
    assert_eq!(done, SendOutcome::Delivered { result: Some(json!(42)) });
    for (status, want) in [
        (400, ("refused", Some(Again::Never))),
        (403, ("refused", LATER)),
        (404, ("refused", Some(Again::WhenReachable))),
        (408, ("unknown", None)),
        (429, ("refused", LATER)),
        (504, ("unknown", None)),
    ] {
        assert_eq!(meaning(&answer(&*way, status, &json!({ "error": "why" }))), want, "{status}");
    }
    let mut online =
        Uplink::new(Some(ExternalDevice::new("e")), Kind::Connection, IdempotencyKey::from_texts(&["1"]));
    online.content.data.insert("online".into(), true.into());
    assert_eq!(way.heard(&online), Some(Heard::Online));
    online.content.data.insert("online".into(), false.into());
    assert_eq!(way.heard(&online), None);
}

#[test]
fn chirpstack_names_the_item_and_reports_on_it() {
    let way = way("chirpstack", &[]);
    let mut item = draft("blink", Value::Null);
    item.payload = Some(Payload { data: vec![1], port: None });
    let (url, body) = sent(&*way, "0102030405060708", item);
    assert_eq!(url, "https://cloud/api/devices/0102030405060708/queue");
    assert_eq!(
        body,
        json!({ "queueItem": { "confirmed": false, "fPort": 1, "data": "AQ==", "expiresAt": "2027-01-15T10:00:00.000Z" } })
    );
    let SendOutcome::Accepted { references } = answer(&*way, 200, &json!({ "id": "item-1" })) else {
        panic!()
    };
    assert_eq!(references[0].as_str(), "item-1");
    assert_eq!(meaning(&answer(&*way, 200, &json!({}))), ("unknown", None));
    for (state, want) in [("sent", true), ("acknowledged", true), ("failed", true), ("odd", false)] {
        let mut uplink =
            Uplink::new(Some(ExternalDevice::new("e")), Kind::Command, IdempotencyKey::from_texts(&["1"]));
        uplink.content.data.insert("state".into(), state.into());
        uplink.content.data.insert("correlationIds".into(), json!(["item-1"]));
        assert_eq!(way.heard(&uplink).is_some(), want, "{state}");
    }
}

#[test]
fn the_things_stack_reports_by_our_own_id() {
    let way = way("ttn", &[("webhook", "bridge")]);
    let (_, attempt) = command(draft("a", json!({})));
    let heard = |state: &str, ids: Value, error: Value| {
        let mut uplink =
            Uplink::new(Some(ExternalDevice::new("e")), Kind::Command, IdempotencyKey::from_texts(&["1"]));
        uplink.content.data.insert("state".into(), state.into());
        uplink.content.data.insert("correlationIds".into(), ids);
        uplink.content.data.insert("error".into(), error);
        way.heard(&uplink)
    };
    let own = || json!(["somebody-else", attempt.to_string()]);
    let report = |report| Some(Heard::Report(Target::Attempt(attempt), report));
    assert_eq!(heard("sent", own(), Value::Null), report(Report::Transmitted));
    assert_eq!(heard("acknowledged", own(), Value::Null), report(Report::Acknowledged { result: None }));
    assert_eq!(heard("queued", own(), Value::Null), None);
    assert_eq!(heard("not-acknowledged", own(), Value::Null), None, "the server tries again by itself");
    assert_eq!(heard("sent", json!(["somebody-else"]), Value::Null), None);
    let failed = |name: &str| match heard("failed", own(), json!({ "name": name })) {
        Some(Heard::Report(_, Report::Failed { again, .. })) => again,
        other => panic!("{other:?}"),
    };
    assert_eq!(failed("application_downlink_too_long"), Again::Never);
    assert_eq!(failed("scheduler_busy"), Again::Later(None));
}

//! Commands as answers to BIDIR callbacks (reference page "webhooks", section 1.4), and what ACKNOWLEDGE says about them
//! (section 1.2). Not here: when a command is handed out ([`bridge_core::commands`]), reading an ACKNOWLEDGE (`upkeep`).

use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bridge_core::command::{
    Again, Awaits, Cause, CauseCode, Command, Draft, Flight, Payload, Report, Resend,
};
use bridge_core::commands::Target;
use bridge_core::{Kind, Uplink};
use serde_json::{Map, Value, json};

use super::message::{self, Origin};
use super::record::Record;
use super::variables::Variable as V;
use crate::connector::{Ask, Letter, MailboxWay, Setting, SettingError, Settings, WayDown, one};
use crate::downlink::{Heard, Mailbox};

const DAILY_BUDGET: &str = "daily_budget";
const ACKNOWLEDGE: &str = "acknowledge";
/// The option of a command that lets short ones be filled up.
const PAD: &str = "pad";
/// What a downlink has, bytes.
const LENGTH: usize = 8;
/// Downlinks a day of the largest contract, and the most that an integration may set.
const CONTRACT: usize = 4;
const MOST: usize = 100;
/// For an ACKNOWLEDGE to come: it is sent within minutes, and repeated for seven more.
const REPORT_WITHIN: Duration = Duration::from_mins(15);

/// See [`Answers`].
pub(super) static WAY_DOWN: WayDown = WayDown::Mailbox(MailboxWay {
    settings: &[
        Setting {
            key: DAILY_BUDGET,
            help: "commands that a device may be given on one day (UTC), 1 to 100; 4 by default, as the largest contract has",
        },
        Setting {
            key: ACKNOWLEDGE,
            help: "whether the device type has a SERVICE/ACKNOWLEDGE callback; true by default. Without one a command is over \
                   when it is handed out",
        },
    ],
    example: "daily_budget = 4",
    make: |settings| Ok(Arc::new(Answers::read(settings)?)),
});

/// The mailbox of one integration.
#[derive(Debug, PartialEq, Eq)]
struct Answers {
    daily_budget: usize,
    acknowledge: bool,
}

impl Answers {
    fn read(settings: &Settings) -> Result<Self, Vec<SettingError>> {
        let mut errors = Vec::new();
        let mut wrong = |key, message: String| errors.push(SettingError { key, message });
        let daily_budget = match one(settings, DAILY_BUDGET).map(str::parse) {
            None => CONTRACT,
            Some(Ok(budget @ 1..=MOST)) => budget,
            Some(_) => {
                wrong(DAILY_BUDGET, format!("must be 1 to {MOST}"));
                CONTRACT
            }
        };
        let acknowledge = match one(settings, ACKNOWLEDGE).map(str::parse) {
            None => true,
            Some(Ok(flag)) => flag,
            Some(Err(_)) => {
                wrong(ACKNOWLEDGE, "must be true or false".into());
                true
            }
        };
        if errors.is_empty() { Ok(Self { daily_budget, acknowledge }) } else { Err(errors) }
    }
}

impl Mailbox for Answers {
    fn fit(&self, draft: &Draft, payload: Option<Payload>) -> Result<Payload, String> {
        if let Some(key) = draft.options.keys().find(|key| *key != PAD) {
            return Err(format!("there is no option {key:?}; there is: {PAD}"));
        }
        let pad = match draft.options.get(PAD) {
            None => false,
            Some(pad) => pad.as_bool().ok_or("the option \"pad\" is true or false")?,
        };
        let Some(Payload { mut data, .. }) = payload else {
            return Err("Sigfox carries 8 bytes: without a codec that encodes, arguments must be \
                        { \"hex\": \"0123456789abcdef\" }"
                .into());
        };
        if pad && data.len() < LENGTH {
            data.resize(LENGTH, 0);
        }
        match data.len() {
            LENGTH => Ok(Payload { data, port: None }),
            length @ 0..LENGTH => Err(format!(
                "{length} bytes are less than the {LENGTH} of Sigfox; the option \"pad\" fills them up with zeros"
            )),
            length => Err(format!("{length} bytes are more than the {LENGTH} of Sigfox")),
        }
    }

    /// A hand-out may have reached the device also when nothing is heard of it.
    fn flight(&self, command: &Command) -> Flight {
        Flight {
            resend: if command.draft.idempotent { Resend::Safe } else { Resend::Never },
            awaits: if self.acknowledge { Awaits::Transmission } else { Awaits::Nothing },
            within: REPORT_WITHIN,
            patience: REPORT_WITHIN,
        }
    }

    fn daily_budget(&self) -> usize {
        self.daily_budget
    }

    /// An ACKNOWLEDGE names no command; one at a time is under way.
    fn heard(&self, uplink: &Uplink) -> Option<Heard> {
        if uplink.kind != Kind::Command {
            return None;
        }
        let code = uplink.content.data.get(V::InfoCode.name())?.as_i64()?;
        Some(Heard::Report(Target::InFlight, report(code)?))
    }
}

/// What an infoCode means for the command (support.sigfox.com, "ACKNOWLEDGE"). The best is that a station sent it.
fn report(code: i64) -> Option<Report> {
    let failed = |code, detail: &str, again| Report::Failed { cause: Cause::new(code, detail), again };
    let next_time = Again::Later(None);
    Some(match code {
        0 => Report::Transmitted,
        1 => failed(CauseCode::Unavailable, "Sigfox had no answer from the bridge in time", next_time),
        2 => failed(CauseCode::Refused, "Sigfox found the payload invalid", Again::Never),
        3 => failed(
            CauseCode::Quota,
            "the downlinks of the device's contract are used up for today",
            Again::Later(Some(Duration::from_hours(1))),
        ),
        4 => failed(CauseCode::Unavailable, "Sigfox could not send it: network error", next_time),
        6 => failed(CauseCode::Refused, "the device's contract has no downlinks", Again::Never),
        7 => failed(
            CauseCode::Quota,
            "too many requests at Sigfox",
            Again::Later(Some(Duration::from_mins(10))),
        ),
        8 => failed(CauseCode::Refused, "the device type has no BIDIR callback with downlinks", Again::Never),
        // 5: it will be decided.
        _ => return None,
    })
}

/// The devices that ask: messages with `ack`, one for each device.
pub(super) fn asks(records: impl Iterator<Item = Record>, origin: &Origin<'_>) -> Vec<Ask> {
    let mut seen = HashSet::new();
    let mut asks = Vec::new();
    for record in records {
        let name = record.text(V::Device).or_else(|| origin.path_device.map(|text| text.trim().to_owned()));
        let (Some(name), Ok(uplink)) = (name, message::uplink(record, origin)) else { continue };
        let wanted = uplink.content.data.get("downlinkRequested") == Some(&Value::Bool(true));
        if let Some(device) = uplink.device.filter(|device| wanted && seen.insert(device.id.clone())) {
            asks.push(Ask { device, name, key: uplink.key });
        }
    }
    asks
}

/// The answer that Sigfox takes.
pub(super) fn answer(letters: &[Letter]) -> String {
    let entry = |letter: &Letter| (letter.name.clone(), json!({ "downlinkData": hex(&letter.data) }));
    Value::Object(letters.iter().map(entry).collect::<Map<_, _>>()).to_string()
}

fn hex(data: &[u8]) -> String {
    data.iter().fold(String::with_capacity(2 * data.len()), |mut text, byte| {
        // Writing into a text does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use bridge_core::command::CommandName;
    use bridge_core::{Timestamp, Verdict};

    use super::*;
    use crate::connector::{Connector, Decode, Reply, Request};
    use crate::connectors::sigfox::Sigfox;

    fn mailbox(settings: &[(&str, &str)]) -> Result<Answers, Vec<SettingError>> {
        let settings =
            settings.iter().map(|(key, value)| ((*key).to_owned(), vec![(*value).to_owned()])).collect();
        Answers::read(&settings)
    }

    fn decoder(pattern: Option<&str>) -> Box<dyn Decode> {
        let pattern = pattern.map(|pattern| ("line_pattern".to_owned(), vec![pattern.to_owned()]));
        Sigfox.configure(&pattern.into_iter().collect()).unwrap()
    }

    fn request<'a>(content_type: &'a str, body: &'a str) -> Request<'a> {
        Request {
            method: &http::Method::POST,
            path_device: None,
            query: "",
            content_type,
            body: body.as_bytes(),
            received_at: Timestamp::from_seconds(1_795_176_000).unwrap(),
        }
    }

    #[test]
    fn a_command_has_eight_bytes() {
        let fit = |length: usize, options: Value| {
            let draft = Draft {
                options: options.as_object().unwrap().clone(),
                ..Draft::new(CommandName::parse("x").unwrap())
            };
            let payload = Some(Payload { data: vec![7; length], port: Some(3) });
            mailbox(&[]).unwrap().fit(&draft, payload).map(|payload| (payload.data, payload.port))
        };
        assert_eq!(fit(8, json!({})), Ok((vec![7; 8], None)));
        assert_eq!(fit(2, json!({ "pad": true })), Ok((vec![7, 7, 0, 0, 0, 0, 0, 0], None)));
        assert_eq!(fit(8, json!({ "pad": true })), Ok((vec![7; 8], None)));
        for (length, options, why) in [
            (7, json!({}), "7 bytes are less"),
            (7, json!({ "pad": false }), "7 bytes are less"),
            (9, json!({ "pad": true }), "9 bytes are more"),
            (8, json!({ "pad": 1 }), "true or false"),
            (8, json!({ "fPort": 1 }), "no option \"fPort\""),
        ] {
            assert!(fit(length, options).is_err_and(|told| told.contains(why)), "{length}: {why}");
        }
        let draft = Draft::new(CommandName::parse("x").unwrap());
        assert!(mailbox(&[]).unwrap().fit(&draft, None).is_err_and(|told| told.contains("hex")));
    }

    #[test]
    fn settings_are_read_or_refused() {
        assert_eq!(mailbox(&[]), Ok(Answers { daily_budget: 4, acknowledge: true }));
        let some = mailbox(&[("daily_budget", "100"), ("acknowledge", "false")]);
        assert_eq!(some, Ok(Answers { daily_budget: 100, acknowledge: false }));
        for (key, value) in [("daily_budget", "0"), ("daily_budget", "101"), ("acknowledge", "maybe")] {
            assert_eq!(mailbox(&[(key, value)]).unwrap_err()[0].key, key, "{value}");
        }
    }

    #[test]
    fn every_info_code_says_something_about_the_command_under_way() {
        let later = |seconds| Some((CauseCode::Quota, Again::Later(Some(Duration::from_secs(seconds)))));
        for (code, wanted) in [
            (1, Some((CauseCode::Unavailable, Again::Later(None)))),
            (2, Some((CauseCode::Refused, Again::Never))),
            (3, later(3600)),
            (4, Some((CauseCode::Unavailable, Again::Later(None)))),
            (5, None),
            (6, Some((CauseCode::Refused, Again::Never))),
            (7, later(600)),
            (8, Some((CauseCode::Refused, Again::Never))),
            (9, None),
        ] {
            let body = json!({ "device": "4D5E6F", "time": 1_795_175_990, "infoCode": code.to_string() });
            let body = body.to_string();
            let mut decoded = decoder(None).decode(&request("application/json", &body)).unwrap();
            let heard = mailbox(&[]).unwrap().heard(&decoded.uplinks.remove(0));
            let got = heard.map(|heard| match heard {
                Heard::Report(Target::InFlight, Report::Failed { cause, again }) => (cause.code, again),
                other => panic!("{code}: {other:?}"),
            });
            assert_eq!(got, wanted, "{code}");
        }
        assert_eq!(report(0), Some(Report::Transmitted));
    }

    #[test]
    fn whoever_asks_is_answered_by_its_name() {
        let json = "application/json";
        let bidir = r#"{"device":"4d5e6f","time":1795175990,"data":"0a","seqNumber":211,"ack":ACK}"#;
        for (ack, asked) in
            [("true", true), ("\"true\"", true), ("1", true), ("false", false), ("null", false)]
        {
            let body = bidir.replace("ACK", ack);
            let request = request(json, &body);
            let asks = decoder(None).asks(&request);
            assert_eq!(asks.len(), usize::from(asked), "{ack}");
            for ask in asks {
                let uplink = decoder(None).decode(&request).unwrap().uplinks.remove(0);
                assert_eq!((ask.key, ask.name.as_str()), (uplink.key, "4d5e6f"));
                assert_eq!(ask.device.id, "4D5E6F");
            }
        }
        let status = r#"{"device":"4D5E6F","time":1795175990,"batt":"3.1","temp":"20","seqNumber":3}"#;
        assert!(decoder(None).asks(&request(json, status)).is_empty());
        assert!(decoder(None).asks(&request(json, "{")).is_empty());
    }

    #[test]
    fn a_batch_has_one_entry_for_each_device() {
        let lines = "1A;1795175990;0a;1;true\n2B;1795175991;0b;2;false\n3C;1795175992;0c;3;true\n1A;1795175993;0d;4;true\n";
        let decoder = decoder(Some("{device};{time};{data};{seqNumber};{ack}"));
        let request = request("text/plain", lines);
        let names: Vec<_> = decoder.asks(&request).into_iter().map(|ask| ask.name).collect();
        assert_eq!(names, ["1A", "3C"]);
        let letter = |name: &str, data| Letter { name: name.into(), data };
        let letters =
            [letter("1A", vec![0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef]), letter("3C", vec![0; 8])];
        let Reply::Json(told) = decoder.reply(&request, &[Verdict::Stored], &letters) else { panic!() };
        let wanted = r#"{"1A":{"downlinkData":"0123456789abcdef"},"3C":{"downlinkData":"0000000000000000"}}"#;
        assert_eq!(told, wanted);
        assert_eq!(decoder.reply(&request, &[Verdict::Stored], &[]), Reply::NoContent);
    }
}

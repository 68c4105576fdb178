//! What The Things Stack announces with its webhooks when the webhook has a `downlink_api_key`: the key, and where downlinks
//! go (reference page "webhooks", section 3.4). None of it is signed. Not here: whether it is believed (whoever configures
//! the bridge names the hosts).

use http::{HeaderMap, HeaderName, Uri};

use crate::connector::{Announcement, Settings};

const KEY: HeaderName = HeaderName::from_static("x-downlink-apikey");
const PUSH: HeaderName = HeaderName::from_static("x-downlink-push");
const REPLACE: HeaderName = HeaderName::from_static("x-downlink-replace");

/// The longest key; those of today have about 100 characters.
const LONGEST_KEY: usize = 512;
/// The longest id of an application, webhook or device.
const LONGEST_ID: usize = 36;

/// What a request announces; none when it announces nothing.
///
/// # Errors
/// What is wrong with it, without any of it.
pub(super) fn read(headers: &HeaderMap) -> Option<Result<Announcement, &'static str>> {
    headers.contains_key(KEY).then(|| parse(headers))
}

fn parse(headers: &HeaderMap) -> Result<Announcement, &'static str> {
    let key = only(headers, &KEY).ok_or("the key is there twice, or is not text")?;
    if key.is_empty() || key.len() > LONGEST_KEY || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("the key is no API key");
    }
    let push = only(headers, &PUSH).ok_or("there is not one X-Downlink-Push")?;
    let push = push.strip_suffix("/push").ok_or("X-Downlink-Push has another form")?;
    if headers.contains_key(REPLACE) {
        let replace = only(headers, &REPLACE).and_then(|replace| replace.strip_suffix("/replace"));
        if replace != Some(push) {
            return Err("X-Downlink-Push and X-Downlink-Replace do not belong together");
        }
    }
    let (url, application, webhook) = place(push).ok_or("X-Downlink-Push has another form")?;
    Ok(Announcement {
        scope: application.to_owned(),
        url,
        settings: Settings::from([("webhook".to_owned(), vec![webhook.to_owned()])]),
        token: key.to_owned(),
    })
}

/// Scheme and authority, application, webhook of
/// `https://HOST/api/v3/as/applications/APPLICATION/webhooks/WEBHOOK/devices/DEVICE/down`.
fn place(url: &str) -> Option<(String, &str, &str)> {
    let parsed: Uri = url.parse().ok()?;
    let (scheme, authority) = (parsed.scheme_str()?, parsed.authority()?);
    if parsed.query().is_some() || authority.as_str().contains('@') {
        return None;
    }
    // The path of the text itself: an Uri's would not live long enough.
    let path = url.split_once("://")?.1.split_once('/')?.1;
    let segments: Vec<&str> = path.split('/').collect();
    let ["api", "v3", "as", "applications", application, "webhooks", webhook, "devices", device, "down"] =
        segments[..]
    else {
        return None;
    };
    let is_id = |text: &str| {
        (1..=LONGEST_ID).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    let origin = format!("{scheme}://{authority}").to_ascii_lowercase();
    [application, webhook, device].into_iter().all(is_id).then_some((origin, application, webhook))
}

fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOWN: &str =
        "https://eu1.cloud.thethings.network/api/v3/as/applications/app1/webhooks/wh-1/devices/dev1/down";

    fn headers(pairs: &[(&HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_key_is_announced_for_an_application() {
        let (push, replace) = (format!("{DOWN}/push"), format!("{DOWN}/replace"));
        let all = headers(&[(&KEY, "NNSXS.KEY"), (&PUSH, &push), (&REPLACE, &replace)]);
        let announcement = read(&all).unwrap().unwrap();
        assert_eq!(announcement.scope, "app1");
        assert_eq!(announcement.url, "https://eu1.cloud.thethings.network");
        assert_eq!(announcement.settings["webhook"], ["wh-1"]);
        assert_eq!(announcement.token, "NNSXS.KEY");
        assert!(!format!("{announcement:?}").contains("NNSXS"));
        assert!(read(&headers(&[(&KEY, "NNSXS.KEY"), (&PUSH, &push)])).unwrap().is_ok());
        assert!(read(&headers(&[(&PUSH, &push), (&REPLACE, &replace)])).is_none());
    }

    #[test]
    fn what_is_no_announcement_is_told_apart() {
        let push = format!("{DOWN}/push");
        let long = "k".repeat(LONGEST_KEY + 1);
        for bad in [
            headers(&[(&KEY, "k")]),
            headers(&[(&KEY, ""), (&PUSH, &push)]),
            headers(&[(&KEY, "k k"), (&PUSH, &push)]),
            headers(&[(&KEY, &long), (&PUSH, &push)]),
            headers(&[(&KEY, "k"), (&KEY, "k"), (&PUSH, &push)]),
            headers(&[(&KEY, "k"), (&PUSH, &push), (&PUSH, &push)]),
            headers(&[(&KEY, "k"), (&PUSH, &push), (&REPLACE, "https://elsewhere.example/replace")]),
        ] {
            assert!(read(&bad).unwrap().is_err(), "{bad:?}");
        }
        for url in [
            "",
            "/api/v3/as/applications/a/webhooks/w/devices/d/down/push",
            "https://h/api/v3/as/applications/a/webhooks/w/devices/d/push",
            "https://h/x/api/v3/as/applications/a/webhooks/w/devices/d/down/push",
            "https://h/api/v3/as/applications/../webhooks/w/devices/d/down/push",
            "https://h/api/v3/as/applications/a/webhooks/w%2f/devices/d/down/push",
            "https://h/api/v3/as/applications/a/webhooks//devices/d/down/push",
            "https://u@h/api/v3/as/applications/a/webhooks/w/devices/d/down/push",
            "https://h/api/v3/as/applications/a/webhooks/w/devices/d/down?x/push",
        ] {
            assert!(read(&headers(&[(&KEY, "k"), (&PUSH, url)])).unwrap().is_err(), "{url}");
        }
    }
}

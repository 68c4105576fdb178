//! Texts kept in AWS: parameters of SSM Parameter Store, secrets of Secrets Manager, objects of S3. Each is one signed
//! request (Signature Version 4) with the credentials of the function. Not here: what the texts mean
//! ([`crate::configuration`]).

use std::time::{Duration, SystemTime};

use aws_credential_types::provider::ProvideCredentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use http_caller::{Allow, BreakerConfig, Call, Caller, CallerConfig};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use store_dynamodb::Aws;

/// The largest configuration, with room for the JSON around it.
const MAX_TEXT: usize = 17 * 1024 * 1024;
const TIMEOUT: Duration = Duration::from_secs(3);
/// What stands in the path of an object's URL as it is.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// Where a text is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reference {
    /// `ssm:/name`, `ssm:/name#member`.
    Parameter(String, Option<String>),
    /// `secretsmanager:name-or-arn`, with `#member` for one of a JSON object.
    Secret(String, Option<String>),
    /// `s3://bucket/key`.
    Object(String, String),
}

impl Reference {
    /// Reads a reference; none when the text is none.
    pub fn parse(text: &str) -> Option<Self> {
        let member = |rest: &str| match rest.split_once('#') {
            Some((name, member)) => (name.to_owned(), Some(member.to_owned())),
            None => (rest.to_owned(), None),
        };
        if let Some(rest) = text.strip_prefix("ssm:") {
            let (name, member) = member(rest);
            return Some(Self::Parameter(name, member));
        }
        if let Some(rest) = text.strip_prefix("secretsmanager:") {
            let (name, member) = member(rest);
            return Some(Self::Secret(name, member));
        }
        let (bucket, key) = text.strip_prefix("s3://")?.split_once('/')?;
        Some(Self::Object(bucket.to_owned(), key.to_owned()))
    }
}

/// For people: a reference is no secret.
impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Parameter(name, _) => write!(f, "the parameter {name}"),
            Self::Secret(name, _) => write!(f, "the secret {name}"),
            Self::Object(bucket, key) => write!(f, "the object {key} of the bucket {bucket}"),
        }
    }
}

/// Reads texts. Cheap to share.
pub struct Remote {
    aws: Aws,
    caller: Caller,
}

impl Remote {
    /// Over this connection to AWS.
    ///
    /// # Errors
    /// When there is no TLS.
    pub fn new(aws: Aws) -> anyhow::Result<Self> {
        let config = CallerConfig {
            timeout: TIMEOUT,
            max_answer: MAX_TEXT,
            // The end points of a VPC have private addresses.
            allow: Allow::All,
            breaker: BreakerConfig::default(),
        };
        Ok(Self { aws, caller: Caller::new(config)? })
    }

    /// Reads one text.
    ///
    /// # Errors
    /// What failed, and whose fault it is; never with the text.
    pub async fn read(&self, reference: &Reference) -> Result<String, String> {
        let (text, member) = match reference {
            Reference::Parameter(name, member) => {
                let ask = json!({ "Name": name, "WithDecryption": true });
                let answer = self.json("ssm", "AmazonSSM.GetParameter", &ask, reference).await?;
                (answer.pointer("/Parameter/Value").and_then(Value::as_str).map(str::to_owned), member)
            }
            Reference::Secret(name, member) => {
                let ask = json!({ "SecretId": name });
                let answer =
                    self.json("secretsmanager", "secretsmanager.GetSecretValue", &ask, reference).await?;
                (answer.get("SecretString").and_then(Value::as_str).map(str::to_owned), member)
            }
            Reference::Object(bucket, key) => {
                let path = format!("/{bucket}/{}", utf8_percent_encode(key, ENCODED));
                let answer =
                    self.call("s3", Method::GET, &path, HeaderMap::new(), Bytes::new(), reference).await?;
                (String::from_utf8(answer.into()).ok(), &None)
            }
        };
        let text = text.ok_or_else(|| format!("{reference} is not text"))?;
        let Some(member) = member else { return Ok(text) };
        let object: Value = serde_json::from_str(&text)
            .map_err(|_| format!("{reference} is no JSON, and #{member} asks for a member"))?;
        let value = object.get(member).and_then(Value::as_str).map(str::to_owned);
        value.ok_or_else(|| format!("{reference} has no text {member:?} in its JSON"))
    }

    /// One request of the protocol "AWS JSON 1.1".
    async fn json(
        &self,
        service: &'static str,
        target: &'static str,
        ask: &Value,
        what: &Reference,
    ) -> Result<Value, String> {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/x-amz-json-1.1"));
        headers.insert("x-amz-target", HeaderValue::from_static(target));
        let answer = self.call(service, Method::POST, "/", headers, ask.to_string().into(), what).await?;
        serde_json::from_slice(&answer).map_err(|_| format!("AWS said about {what} what is no JSON"))
    }

    async fn call(
        &self,
        service: &'static str,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
        what: &Reference,
    ) -> Result<Bytes, String> {
        let request = self.signed(service, method, path, headers, body).await;
        let (parts, body) = request.map_err(|why| format!("{what} cannot be asked for: {why}"))?.into_parts();
        let call = Call { method: parts.method, url: parts.uri, headers: parts.headers, body };
        let answer =
            self.caller.call(call).await.map_err(|error| format!("{what} cannot be read: {error}"))?;
        if answer.status.is_success() {
            return Ok(answer.body);
        }
        let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let kind = said.get("__type").and_then(Value::as_str).unwrap_or("no more is said");
        Err(format!("AWS refuses {what}: {} ({kind})", answer.status))
    }

    async fn signed(
        &self,
        service: &'static str,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Request<Bytes>, String> {
        let config = self.aws.sdk_config();
        let region = self.aws.region().ok_or("no region is configured")?;
        let provider = config.credentials_provider().ok_or("there are no credentials")?;
        let credentials = provider.provide_credentials().await.map_err(|error| error.to_string())?;
        let address = match config.endpoint_url() {
            Some(endpoint) => endpoint.trim_end_matches('/').to_owned(),
            None if region.starts_with("cn-") => format!("https://{service}.{region}.amazonaws.com.cn"),
            None => format!("https://{service}.{region}.amazonaws.com"),
        };
        let uri: Uri = format!("{address}{path}").parse().map_err(|_| "its address is none")?;
        let mut request = Request::new(body);
        (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (method, uri, headers);
        let identity = credentials.into();
        let mut settings = SigningSettings::default();
        if service == "s3" {
            settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
            settings.percent_encoding_mode = PercentEncodingMode::Single;
            settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        }
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(region)
            .name(service)
            .time(SystemTime::now())
            .settings(settings)
            .build()
            .map_err(|error| error.to_string())?
            .into();
        let signable = {
            let headers = request.headers().iter();
            let headers = headers.filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
            let uri = request.uri().to_string();
            SignableRequest::new(request.method().as_str(), uri, headers, SignableBody::Bytes(request.body()))
                .and_then(|signable| sign(signable, &params))
                .map_err(|error| error.to_string())?
        };
        signable.into_parts().0.apply_to_request_http1x(&mut request);
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read() {
        let some = |text: &str| Some(text.to_owned());
        for (text, want) in [
            ("ssm:/bridge/config", Some(Reference::Parameter("/bridge/config".into(), None))),
            ("ssm:/b#ttn", Some(Reference::Parameter("/b".into(), some("ttn")))),
            (
                "secretsmanager:arn:aws:secretsmanager:eu-central-1:1:secret:b#k",
                Some(Reference::Secret("arn:aws:secretsmanager:eu-central-1:1:secret:b".into(), some("k"))),
            ),
            ("s3://bucket/a/b.toml", Some(Reference::Object("bucket".into(), "a/b.toml".into()))),
            ("s3://bucket", None),
            ("device-bridge.toml", None),
            ("a-plain-secret", None),
        ] {
            assert_eq!(Reference::parse(text), want, "{text}");
        }
    }
}

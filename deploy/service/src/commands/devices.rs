//! `device-bridge devices`: list, import, approve, remove; works on the store, also while the service runs. One of
//! them, and its state, is asked of the service.

use std::path::{Path, PathBuf};

use crate::terminal::say;
use anyhow::{Context, bail};
use app::config::Config;
use bridge_core::ports::{
    Credentials, DeviceFilter, DeviceRecord, DeviceState, Insert, Registry, Subscriptions, Twins,
};
use bridge_core::subscription::SubscriptionKind;
use bridge_core::{DeviceId, ExternalId, IntegrationName, Timestamp};
use serde::{Deserialize, Serialize};

use crate::operator::Operator;

use super::tokens::{self, Tokens};

/// What to do with devices.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Devices {
    /// List devices, one a line (id, integration, external id, state, last seen, name, tags), or as JSON lines.
    List {
        /// Only of this integration.
        #[arg(long)]
        integration: Option<String>,
        /// Only with this tag.
        #[arg(long)]
        tag: Option<String>,
        /// Only those that wait for approval.
        #[arg(long)]
        parked: bool,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Add or update devices from a CSV file (with a header line) or a JSON file (an array of objects). Columns:
    /// integration ("http" for devices that speak HTTP themselves), external_id, and optionally id, name, tags (separated by ';'), codec, hub_id.
    Import {
        /// The file; `.json` is JSON, all else CSV.
        file: PathBuf,
        /// Say what would happen, change nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Let the messages of parked devices through. Their dead letters can be replayed then.
    Approve {
        /// Device ids.
        #[arg(required = true)]
        ids: Vec<String>,
    },
    /// Tokens of devices that speak HTTP.
    #[command(subcommand)]
    Token(Tokens),
    /// Show a device: its state, when it was last heard, and where else to look. The service must run.
    Show {
        /// Its id.
        id: String,
    },
    /// Show what a device reported and what is wanted of it, and change the latter. The service must run.
    State {
        /// Its id.
        id: String,
        /// A merge patch in JSON: members of what is wanted, null for what is not wanted any more.
        #[arg(long)]
        desired: Option<String>,
    },
    /// Forget devices, their tokens, their state and their callbacks. A device that is heard again registers again by its integration's rule.
    Remove {
        /// Device ids.
        #[arg(required = true)]
        ids: Vec<String>,
    },
}

/// Runs it. False when a part of it failed.
pub(crate) async fn run(
    command: Devices,
    registry: &dyn Registry,
    credentials: &dyn Credentials,
    (twins, callbacks): (&dyn Twins, &dyn Subscriptions),
    config: &Config,
) -> anyhow::Result<bool> {
    match command {
        Devices::List { integration, tag, parked, json } => {
            let filter = DeviceFilter {
                integration: integration.as_deref().map(IntegrationName::parse).transpose()?,
                tag,
                state: parked.then_some(DeviceState::Parked),
            };
            list(registry, &filter, json).await?;
            Ok(true)
        }
        Devices::Import { file, dry_run } => import(registry, config, &file, dry_run).await,
        Devices::Approve { ids } => {
            for_each(&ids, async |id| {
                let Some(mut record) = registry.get(id).await? else { return Ok(false) };
                record.state = DeviceState::Active;
                Ok(registry.update(&record).await?)
            })
            .await
        }
        Devices::Token(command) => tokens::run(command, registry, credentials, config, now()?).await,
        Devices::Show { id } => {
            let id = DeviceId::parse(&id).with_context(|| format!("{id:?} is not a device id"))?;
            say!("{:#}", Operator::new(config)?.get(&format!("devices/{id}")).await?);
            Ok(true)
        }
        Devices::State { id, desired } => {
            state(config, &id, desired.as_deref()).await?;
            Ok(true)
        }
        Devices::Remove { ids } => {
            for_each(&ids, async |id| {
                credentials.remove_all(id).await?;
                twins.remove(id).await?;
                for kind in SubscriptionKind::ALL {
                    callbacks.remove(id, kind).await?;
                }
                Ok(registry.remove(id).await?)
            })
            .await
        }
    }
}

async fn state(config: &Config, id: &str, desired: Option<&str>) -> anyhow::Result<()> {
    let id = DeviceId::parse(id).with_context(|| format!("{id:?} is not a device id"))?;
    let (operator, path) = (Operator::new(config)?, format!("devices/{id}/state"));
    let state = match desired {
        None => operator.get(&path).await?,
        Some(text) => {
            let desired: serde_json::Value = serde_json::from_str(text).context("--desired is not JSON")?;
            operator.patch(&path, &serde_json::json!({ "desired": desired })).await?
        }
    };
    say!("{state:#}");
    Ok(())
}

async fn for_each(
    ids: &[String],
    action: impl AsyncFn(&DeviceId) -> anyhow::Result<bool>,
) -> anyhow::Result<bool> {
    let mut all = true;
    for text in ids {
        let id = DeviceId::parse(text).with_context(|| format!("{text:?} is not a device id"))?;
        let done = action(&id).await?;
        say!("{id}: {}", if done { "done" } else { "no such device" });
        all &= done;
    }
    Ok(all)
}

async fn list(registry: &dyn Registry, filter: &DeviceFilter, json: bool) -> anyhow::Result<()> {
    let mut after: Option<DeviceId> = None;
    loop {
        let page = registry.list(filter, after.as_ref(), 500).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.id.clone());
        for record in &page {
            if json {
                say!("{}", serde_json::to_string(&Row::of(record))?);
            } else {
                let seen = record.last_seen.map_or_else(|| "never".into(), |at| at.to_string());
                say!(
                    "{}\t{}\t{}\t{}\t{}\t{}\t{}",
                    record.id,
                    record.integration,
                    record.external,
                    record.state.as_str(),
                    seen,
                    record.name.as_deref().unwrap_or("-"),
                    if record.tags.is_empty() { "-".into() } else { record.tags.join(";") }
                );
            }
        }
    }
}

/// A device in files and listings.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    integration: String,
    external_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tags: Option<Tags>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    codec: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hub_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first_seen: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_seen: Option<String>,
}

/// `a;b` in CSV, an array in JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Tags {
    List(Vec<String>),
    Text(String),
}

impl Row {
    fn of(record: &DeviceRecord) -> Self {
        Self {
            integration: record.integration.to_string(),
            external_id: record.external.to_string(),
            id: Some(record.id.to_string()),
            name: record.name.clone(),
            tags: Some(Tags::List(record.tags.clone())),
            codec: record.codec.clone(),
            hub_id: record.hub_id.clone(),
            state: Some(record.state.as_str().into()),
            scope: record.scope.clone(),
            first_seen: Some(record.first_seen.to_string()),
            last_seen: record.last_seen.map(|at| at.to_string()),
        }
    }

    fn into_record(self, config: &Config, now: Timestamp) -> anyhow::Result<DeviceRecord> {
        let integration = IntegrationName::parse(&self.integration).context("integration")?;
        let Some(naming) = config.naming(&integration) else {
            bail!("integration {integration} is not configured");
        };
        let external = ExternalId::parse(&self.external_id).context("external_id")?;
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        let id = match given(self.id) {
            Some(id) => DeviceId::parse(&id).context("id")?,
            None => naming.device_id(external.as_str()).context("id made of external_id")?,
        };
        if integration.as_str() == http_api::INTEGRATION && id.as_str() != external.as_str() {
            bail!(
                "a device of integration {integration} has one id: external_id {external} and id {id} differ"
            );
        }
        let tags = match self.tags {
            None => Vec::new(),
            Some(Tags::List(tags)) => tags,
            Some(Tags::Text(text)) => {
                text.split(';').map(str::trim).filter(|tag| !tag.is_empty()).map(str::to_owned).collect()
            }
        };
        let state = match given(self.state).as_deref() {
            None | Some("active") => DeviceState::Active,
            Some("parked") => DeviceState::Parked,
            Some(other) => bail!("state {other:?} is neither \"active\" nor \"parked\""),
        };
        Ok(DeviceRecord {
            id,
            integration,
            external,
            scope: given(self.scope),
            name: given(self.name),
            hub_id: given(self.hub_id),
            codec: given(self.codec),
            tags,
            state,
            first_seen: self.first_seen.and_then(|at| Timestamp::parse_rfc3339(&at)).unwrap_or(now),
            last_seen: self.last_seen.and_then(|at| Timestamp::parse_rfc3339(&at)),
        })
    }
}

async fn import(
    registry: &dyn Registry,
    config: &Config,
    file: &Path,
    dry_run: bool,
) -> anyhow::Result<bool> {
    let text = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let rows: Vec<anyhow::Result<Row>> =
        if file.extension().is_some_and(|ext| ext.eq_ignore_ascii_case("json")) {
            let values: Vec<serde_json::Value> = serde_json::from_slice(&text).context("not a JSON array")?;
            values.into_iter().map(|value| Ok(serde_json::from_value(value)?)).collect()
        } else {
            let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(&text[..]);
            reader.deserialize().map(|row| Ok(row?)).collect()
        };
    let now = now()?;
    let (mut created, mut updated, mut failed) = (0, 0, 0);
    for (number, row) in rows.into_iter().enumerate() {
        let outcome = match row.and_then(|row| row.into_record(config, now)) {
            Ok(record) => import_one(registry, record, dry_run).await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(true) => created += 1,
            Ok(false) => updated += 1,
            Err(error) => {
                failed += 1;
                say!("row {}: {error:#}", number + 1);
            }
        }
    }
    let would = if dry_run { "would be " } else { "" };
    say!("{would}created {created}, {would}updated {updated}, failed {failed}");
    Ok(failed == 0)
}

fn now() -> anyhow::Result<Timestamp> {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    Ok(Timestamp::from_millis(since_epoch.as_millis().try_into()?).unwrap_or(Timestamp::EPOCH))
}

/// What the row leaves out stays as it was.
fn merged(row: DeviceRecord, known: DeviceRecord) -> DeviceRecord {
    DeviceRecord {
        name: row.name.or(known.name),
        hub_id: row.hub_id.or(known.hub_id),
        codec: row.codec.or(known.codec),
        tags: if row.tags.is_empty() { known.tags } else { row.tags },
        ..row
    }
}

/// True when it is new, false when it was there.
async fn import_one(registry: &dyn Registry, record: DeviceRecord, dry_run: bool) -> anyhow::Result<bool> {
    let known = registry.find(&record.integration, &record.external).await?;
    let taken = |other: &DeviceRecord| {
        anyhow::anyhow!("{} belongs to {} of {}", other.id, other.external, other.integration)
    };
    match known {
        Some(known) if known.id != record.id => bail!("it is registered as {} already", known.id),
        Some(_) if dry_run => Ok(false),
        Some(known) => Ok(!registry.update(&merged(record, known)).await?),
        None if dry_run => match registry.get(&record.id).await? {
            Some(other) => Err(taken(&other)),
            None => Ok(true),
        },
        None => match registry.insert(&record).await? {
            Insert::Created => Ok(true),
            Insert::Exists(_) => Ok(false),
            Insert::IdTaken(other) => Err(taken(&other)),
        },
    }
}

//! API keys that clouds announce with their webhooks: which are believed, and where they are kept, sealed. Not here: reading
//! an announcement (`webhook`), calling the API ([`super::ways`]).

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, ensure};
use bridge_core::IntegrationName;
use bridge_core::pipeline::Integration;
use bridge_core::ports::{BoxFuture, Vault};
use bridge_core::seal::{SealKeys, Sealed};
use serde::{Deserialize, Serialize};
use webhook::connector::{Announcement, Settings};
use webhook::receiver::Announcements;

use crate::config::{Access, Config};

/// What was announced and is believed. One for the life of the process.
pub(crate) struct Announced {
    vault: Arc<dyn Vault>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    keys: Option<Arc<SealKeys>>,
    /// Where an integration's announcements may lead: scheme and authority.
    believed: HashMap<IntegrationName, Vec<String>>,
    known: HashMap<Place, Arc<Announcement>>,
    /// What was logged as not believed; each once.
    told: HashSet<(IntegrationName, String)>,
}

/// Integration and scope.
type Place = (IntegrationName, String);

/// What is before the names in the vault.
const PREFIX: &str = "announced/";
/// Scopes of all integrations that are known at once.
const MOST: usize = 10_000;
/// Lines in the log about hosts that are not believed.
const MOST_TOLD: usize = 100;

/// What is sealed.
#[derive(Serialize, Deserialize)]
struct Kept {
    url: String,
    settings: Settings,
    token: String,
}

impl Announced {
    pub(crate) fn new(vault: Arc<dyn Vault>) -> Self {
        Self { vault, state: Mutex::default() }
    }

    /// Takes over what a configuration believes.
    pub(crate) fn replace(&self, config: &Config) {
        let mut state = self.state();
        state.keys = config.secrets.seal_keys();
        state.believed = config
            .integrations
            .iter()
            .filter_map(|integration| match &integration.downlink.as_ref()?.api.as_ref()?.access {
                Access::Announced(origins) => Some((integration.name.clone(), origins.clone())),
                Access::Token(_) => None,
            })
            .collect();
    }

    /// Reads what was kept. What cannot be opened is left: it will be announced again.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn load(&self) -> anyhow::Result<()> {
        let Some(keys) = self.state().keys.clone() else { return Ok(()) };
        for (name, sealed) in self.vault.kept(PREFIX, MOST).await? {
            let opened = open(&keys, &name, &sealed);
            let (place, announcement) = match opened {
                Ok(opened) => opened,
                Err(error) => {
                    tracing::warn!(%error, name, "an announced API key cannot be used; it will be announced again");
                    continue;
                }
            };
            if !keys.is_current(&sealed) {
                let sealed = seal(&keys, &name, &announcement)?;
                self.vault.keep(&name, &sealed).await?;
            }
            self.state().known.insert(place, Arc::new(announcement));
        }
        Ok(())
    }

    /// What an integration's cloud has announced for a scope, and still may lead there.
    pub(crate) fn find(&self, integration: &IntegrationName, scope: &str) -> Option<Arc<Announcement>> {
        let state = self.state();
        let known = state.known.get(&(integration.clone(), scope.to_owned()))?;
        state.believes(integration, &known.url).then(|| known.clone())
    }

    async fn hear(&self, integration: &Integration, announcement: Announcement) -> anyhow::Result<()> {
        let name = &integration.name;
        let place = (name.clone(), announcement.scope.clone());
        let keys = {
            let mut state = self.state();
            if !state.believed.contains_key(name) {
                // The key comes from the configuration, or no command goes down: nothing is to be taken.
                return Ok(());
            }
            if !state.believes(name, &announcement.url) {
                integration.counters.announcements_ignored.add(1);
                if state.told.len() < MOST_TOLD && state.told.insert((name.clone(), announcement.url.clone()))
                {
                    tracing::warn!(
                        integration = %name, url = announcement.url,
                        "an API key was announced for a host that is not in downlink.announced; it is ignored"
                    );
                }
                return Ok(());
            }
            let known = state.known.get(&place);
            if known.is_some_and(|known| **known == announcement) {
                return Ok(());
            }
            ensure!(known.is_some() || state.known.len() < MOST, "there are {MOST} announced keys already");
            state.keys.clone().context("the configuration has no [secrets] keys")?
        };
        let vault_name = vault_name(&place);
        let sealed = seal(&keys, &vault_name, &announcement)?;
        self.vault.keep(&vault_name, &sealed).await?;
        tracing::info!(integration = %name, application = place.1, url = announcement.url, "took the announced API key");
        self.state().known.insert(place, Arc::new(announcement));
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn believes(&self, integration: &IntegrationName, url: &str) -> bool {
        self.believed.get(integration).is_some_and(|origins| origins.iter().any(|origin| origin == url))
    }
}

impl Announcements for Announced {
    fn take<'a>(
        &'a self,
        integration: &'a Integration,
        announcement: Result<Announcement, &'static str>,
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let taken = match announcement {
                Ok(announcement) => self.hear(integration, announcement).await,
                Err(why) => Err(anyhow::anyhow!(why)),
            };
            let Err(error) = taken else { return };
            integration.counters.announcements_ignored.add(1);
            let what = error.to_string();
            let mut state = self.state();
            if state.told.len() < MOST_TOLD && state.told.insert((integration.name.clone(), what.clone())) {
                tracing::warn!(integration = %integration.name, error = what, "an announced API key was not taken");
            }
        })
    }
}

fn vault_name((integration, scope): &Place) -> String {
    format!("{PREFIX}{integration}/{scope}")
}

fn seal(keys: &SealKeys, name: &str, announcement: &Announcement) -> anyhow::Result<Sealed> {
    let Announcement { url, settings, token, scope: _ } = announcement.clone();
    crate::seal::seal(keys, &serde_json::to_vec(&Kept { url, settings, token })?, name)
}

fn open(keys: &SealKeys, name: &str, sealed: &Sealed) -> anyhow::Result<(Place, Announcement)> {
    let place = name.strip_prefix(PREFIX).and_then(|place| place.split_once('/'));
    let (integration, scope) = place.context("its name has another form")?;
    let opened = keys.open(sealed, name)?;
    // What serde says could hold a part of it.
    let kept: Result<Kept, _> = serde_json::from_slice(&opened);
    let Kept { url, settings, token } = kept.map_err(|_| anyhow::anyhow!("it has another form"))?;
    let announcement = Announcement { scope: scope.to_owned(), url, settings, token };
    Ok(((IntegrationName::parse(integration)?, scope.to_owned()), announcement))
}

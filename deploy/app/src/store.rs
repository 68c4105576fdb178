//! The store that the configuration names, as one value with every port. Not here: what is kept in it.

use std::sync::Arc;

use bridge_core::ports::{
    Archive, Commands, Credentials, DeadLetters, Dedup, Outbox, Registry, Subscriptions, Twins, Vault,
};
use store_embedded::{EmbeddedStore, Mode};

use crate::assemble::dedup_config;
use crate::config::{Config, StoreKind};

/// Every port of the store.
pub trait Store:
    Archive + Commands + Credentials + DeadLetters + Dedup + Outbox + Registry + Subscriptions + Twins + Vault
{
}

impl<S> Store for S where
    S: Archive
        + Commands
        + Credentials
        + DeadLetters
        + Dedup
        + Outbox
        + Registry
        + Subscriptions
        + Twins
        + Vault
{
}

/// The store for the bridge itself, which is its only owner from then on.
pub(crate) async fn open_store(config: &Config) -> anyhow::Result<Arc<dyn Store>> {
    match config.bridge.store {
        StoreKind::Embedded => {
            let max_bytes = config.delivery.outbox.max_bytes;
            let store = EmbeddedStore::open(&config.bridge.data_dir, Mode::Service, max_bytes)?;
            Ok(Arc::new(store.beside_ids_in_memory(dedup_config(config).newest_in_memory())))
        }
        StoreKind::DynamoDb => {
            std::fs::create_dir_all(&config.bridge.data_dir)?;
            open_dynamodb(config, true).await
        }
    }
}

/// The store for a tool beside a running service.
///
/// # Errors
/// When it cannot be opened, or there is none yet.
pub async fn open_tool_store(config: &Config) -> anyhow::Result<Arc<dyn Store>> {
    match config.bridge.store {
        StoreKind::Embedded => {
            let directory = &config.bridge.data_dir;
            let path = directory.join(store_embedded::FILE);
            anyhow::ensure!(
                path.exists(),
                "there is no store at {}; has the service been started?",
                path.display()
            );
            let max_bytes = config.delivery.outbox.max_bytes;
            Ok(Arc::new(EmbeddedStore::open(directory, Mode::Tool, max_bytes)?))
        }
        StoreKind::DynamoDb => open_dynamodb(config, false).await,
    }
}

#[cfg(feature = "dynamodb")]
async fn open_dynamodb(config: &Config, is_owner: bool) -> anyhow::Result<Arc<dyn Store>> {
    use store_dynamodb::{Aws, DynamoStore, Settings};

    let of = &config.dynamodb;
    let aws = match &of.stand_in {
        Some(address) => Aws::stand_in(address, of.region.as_deref().unwrap_or("eu-central-1")),
        None => Aws::from_environment(of.region.clone()).await,
    };
    anyhow::ensure!(
        aws.region().is_some(),
        "no region of AWS is configured: set dynamodb.region or AWS_REGION"
    );
    let usual = Settings::new(&of.table);
    // An id has to be there at least as long as it is asked for.
    let remember = usual.remember.max(config.dedup.window * 2);
    let store = DynamoStore::new(&aws, Settings { remember, ..usual });
    store.check_table().await?;
    if is_owner {
        store.claim_outbox().await?;
    }
    Ok(Arc::new(store))
}

#[cfg(not(feature = "dynamodb"))]
async fn open_dynamodb(_config: &Config, _is_owner: bool) -> anyhow::Result<Arc<dyn Store>> {
    anyhow::bail!("this build has no DynamoDB (feature dynamodb): set bridge.store to \"embedded\"")
}

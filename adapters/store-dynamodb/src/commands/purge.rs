//! Removing commands that are over, with everything that names them.

use bridge_core::Timestamp;
use bridge_core::command::Command;
use bridge_core::ports::StoreResult;

use super::{ENDED, OVER, command, key, reference_key, request_key};
use crate::DynamoStore;
use crate::item::{number, text};
use crate::keys::moment;
use crate::numbers::count;
use crate::table::TIME;
use crate::walk::Range;
use crate::write::Write;

impl DynamoStore {
    pub(super) async fn purge_commands(
        &self,
        before: Timestamp,
        keep: u64,
        limit: usize,
    ) -> StoreResult<u64> {
        let mut excess = self.counted(OVER).await?.saturating_sub(keep);
        let mut walk = self.walk(Some(TIME), ENDED, Range::All, limit.max(1));
        let before = moment(before);
        let mut gone = 0;
        while gone < limit as u64
            && let Some(hit) = walk.next().await?
        {
            if excess == 0 && hit.place(Some(TIME)) >= before.as_str() {
                break;
            }
            let Some(item) = self.read(&hit.key()?).await? else { continue };
            let over = command(&item)?;
            if over.is_done() {
                excess = excess.saturating_sub(1);
                gone += u64::from(over.published >= over.changes() && self.remove_command(&over).await?);
            }
        }
        Ok(gone)
    }

    /// Whether it was as it was read, and is gone.
    async fn remove_command(&self, over: &Command) -> StoreResult<bool> {
        let mut writes = vec![
            Write::delete(key(over.id)).when("#version = :known").value("known", number(over.version)),
            count(OVER, over.device.as_str(), -1),
        ];
        if let Some(key) = &over.draft.key {
            let pointer = request_key(&over.device, key.as_str());
            let is_own = "attribute_not_exists(#pk) OR #id = :id";
            writes.push(Write::delete(pointer).when(is_own).value("id", text(over.id.to_string())));
        }
        let references = over.references().map(|(name, _)| reference_key(&over.device, name, over.id));
        writes.extend(references.map(Write::delete));
        Ok(self.write(writes).await?.is_done())
    }
}

//! `[bridge]`: what the bridge is called and where its data is.

use std::path::{Path, PathBuf};

use bridge_core::IntegrationName;

use super::choice::choices;
use super::reader::Section;
use super::sheet::{Sheet, quoted, words};

choices! {
    /// What keeps everything.
    StoreKind {
        /// A database in the folder `data_dir`.
        Embedded = "embedded",
        /// A table on AWS.
        DynamoDb = "dynamodb",
    }
}

/// `[bridge]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    /// In the topic of its own state, and in its client ids: 1 to 64 of `A-Z a-z 0-9 - _`.
    pub name: String,
    /// What keeps everything.
    pub store: StoreKind,
    /// Where the embedded store and the operator's token are. Made when it is absent.
    pub data_dir: PathBuf,
}

impl Default for Bridge {
    fn default() -> Self {
        Self { name: "bridge".into(), store: StoreKind::Embedded, data_dir: "device-bridge-data".into() }
    }
}

impl Bridge {
    pub(super) fn read(section: Section<'_>, base_dir: &Path) -> Self {
        let default = Self::default();
        let directory = |text: &str| match text.is_empty() || text.contains('\0') {
            true => Err("must be the path of a directory"),
            false => Ok(PathBuf::from(text)),
        };
        // The name has the same form as that of an integration.
        let name = section.or("name", default.name, |field| {
            field.parse(|text| IntegrationName::parse(text).map(|_| text.to_owned()))
        });
        let store = section.or("store", default.store, |field| field.one_of(StoreKind::CHOICES));
        let data_dir = section.or("data_dir", default.data_dir, |field| field.parse(directory));
        section.finish();
        Self { name, store, data_dir: base_dir.join(data_dir) }
    }

    pub(super) fn describe(sheet: &mut Sheet) {
        let default = Self::default();
        sheet.table("bridge", "The bridge itself.");
        sheet.explained(
            "name",
            &quoted(&default.name),
            "Its name in the hub, in the topic of its own state. Two bridges on one hub need two names. \
             1 to 64 letters, digits, - and _.",
        );
        sheet.explained(
            "store",
            &quoted(default.store.as_str()),
            &format!(
                "What keeps messages, devices and dead letters: {}: a database in data_dir, or a table on AWS.",
                words(StoreKind::CHOICES)
            ),
        );
        sheet.explained(
            "data_dir",
            &quoted(&default.data_dir.to_string_lossy()),
            "Where the database and the token of the operator are. Relative to the folder of this file.",
        );
    }
}

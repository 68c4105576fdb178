//! `[dynamodb]`: the table that keeps everything with `bridge.store = "dynamodb"`. Not here: credentials, which are found as
//! every AWS program finds them.

use super::http::parse_public_url;
use super::reader::Section;
use super::sheet::{Sheet, quoted};

/// `[dynamodb]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DynamoDb {
    /// The name of the table.
    pub table: String,
    /// The region; none for that of the environment.
    pub region: Option<String>,
    /// Where a stand-in for AWS is, which takes any credentials.
    pub stand_in: Option<String>,
}

impl Default for DynamoDb {
    fn default() -> Self {
        Self { table: "device-bridge".into(), region: None, stand_in: None }
    }
}

impl DynamoDb {
    pub(super) fn read(section: Section<'_>) -> Self {
        let default = Self::default();
        let dynamodb = Self {
            table: section.or("table", default.table, |field| field.parse(table)),
            region: section.optional("region", |field| field.parse(region)),
            stand_in: section.optional("stand_in", |field| field.parse(parse_public_url)),
        };
        section.finish();
        dynamodb
    }

    pub(super) fn describe(sheet: &mut Sheet) {
        sheet.table(
            "dynamodb",
            "The table on AWS, with bridge.store = \"dynamodb\". Credentials are found as usual: environment, profile, \
             container, instance.",
        );
        sheet.explained("table", &quoted(&Self::default().table), "Its name. Terraform makes it.");
        sheet.explained("region", &quoted("eu-central-1"), "No default: that of the environment.");
        sheet.explained(
            "stand_in",
            &quoted("http://127.0.0.1:5000"),
            "A server to be used instead of AWS, for tests. No default.",
        );
    }
}

/// DynamoDB's rule for names of tables.
fn table(text: &str) -> Result<String, &'static str> {
    let allows = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    match (3..=255).contains(&text.len()) && text.chars().all(allows) {
        true => Ok(text.to_owned()),
        false => Err("must have 3 to 255 letters, digits, -, _ and ."),
    }
}

fn region(text: &str) -> Result<String, &'static str> {
    let allows = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    match (1..=32).contains(&text.len()) && text.chars().all(allows) {
        true => Ok(text.to_owned()),
        false => Err("must be a region of AWS, such as \"eu-central-1\""),
    }
}

//! The rule that makes a device id of an external id. Pure; not here: who owns the id ([`crate::registrar`]).

use std::collections::BTreeMap;

use crate::id::{DeviceId, IdError};

/// How an integration names its devices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NamingRule {
    /// Stands before every id that is not in the table.
    pub prefix: String,
    /// What happens to letters.
    pub case: Case,
    /// External id to device id; wins over the rest.
    pub table: BTreeMap<String, DeviceId>,
}

/// What happens to the letters of an external id.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Case {
    /// They stay.
    Keep,
    /// They become lower case.
    #[default]
    Lower,
    /// They become upper case.
    Upper,
}

impl NamingRule {
    /// The device id for an external id. Characters that a device id cannot hold become `-`; that two devices may come
    /// to share an id so is found when the second one registers.
    ///
    /// # Errors
    /// When the result is empty or too long.
    pub fn device_id(&self, external: &str) -> Result<DeviceId, IdError> {
        if let Some(id) = self.table.get(external) {
            return Ok(id.clone());
        }
        let cased = match self.case {
            Case::Keep => external.to_owned(),
            Case::Lower => external.to_lowercase(),
            Case::Upper => external.to_uppercase(),
        };
        if cased.is_empty() {
            return Err(IdError::Empty);
        }
        let allowed = cased.chars().map(|c| if DeviceId::allows(c) { c } else { '-' });
        DeviceId::parse(&self.prefix.chars().chain(allowed).collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_wins_and_the_rest_is_made_to_fit() {
        let rule = NamingRule {
            prefix: "sigfox-".into(),
            case: Case::Lower,
            table: [("1A2B".to_owned(), DeviceId::parse("tank-7").unwrap())].into(),
        };
        for (external, id) in [
            ("1A2B", "tank-7"),
            ("1A2C", "sigfox-1a2c"),
            ("KWH - 32", "sigfox-kwh---32"),
            ("Tür", "sigfox-t-r"),
        ] {
            assert_eq!(rule.device_id(external).unwrap().as_str(), id);
        }
        assert_eq!(rule.device_id(""), Err(IdError::Empty));
        assert!(rule.device_id(&"x".repeat(200)).is_err());
    }
}

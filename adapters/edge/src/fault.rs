//! What is wrong with a body, and where. Not here: the answer (the edges).

/// What is wrong with a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The body does not parse at all; else it parses and does not say what it must.
    pub is_syntax: bool,
    /// Where: a JSON pointer (RFC 6901), empty for the whole body.
    pub pointer: String,
    /// A sentence for the sender, without subject when the pointer names one.
    pub detail: String,
}

impl Fault {
    /// It does not parse.
    pub fn syntax(detail: impl Into<String>) -> Self {
        Self { is_syntax: true, pointer: String::new(), detail: detail.into() }
    }

    /// It parses, and something is wrong at that place.
    pub fn at(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { is_syntax: false, pointer: pointer.into(), detail: detail.into() }
    }
}

/// A pointer to a member of what the pointer names.
pub fn member(pointer: &str, name: &str) -> String {
    format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped() {
        assert_eq!(member("/0", "a/b~c"), "/0/a~1b~0c");
    }
}

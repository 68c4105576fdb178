//! What is wrong with a body, and where. Not here: the answer ([`crate::answer`]).

/// What is wrong with a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The body does not parse at all; else it parses and does not say what it must.
    pub(crate) is_syntax: bool,
    /// Where: a JSON pointer (RFC 6901), empty for the whole body.
    pub(crate) pointer: String,
    /// A sentence for the sender, without subject when the pointer names one.
    pub(crate) detail: String,
}

impl Fault {
    pub(crate) fn syntax(detail: impl Into<String>) -> Self {
        Self { is_syntax: true, pointer: String::new(), detail: detail.into() }
    }

    pub(crate) fn at(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { is_syntax: false, pointer: pointer.into(), detail: detail.into() }
    }
}

/// A pointer to a member of what the pointer names.
pub(crate) fn member(pointer: &str, name: &str) -> String {
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

//! What can go wrong with a script, for people and for programs. Not here: finding the place ([`super::position`]).

use std::fmt;

/// Why a script gave no answer. Its text names the codec and, where known, line and column.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScriptError {
    /// The source is not JavaScript, or larger than 256 KiB.
    #[error("{0}")]
    Syntax(Fault),
    /// The script has no such function.
    #[error("{0}")]
    Missing(Fault),
    /// The script threw.
    #[error("{0}")]
    Thrown(Fault),
    /// The call took longer than its deadline.
    #[error("{0}")]
    TimedOut(Fault),
    /// The call needed more memory than an engine may have.
    #[error("{0}")]
    OutOfMemory(Fault),
    /// Functions called each other too deep.
    #[error("{0}")]
    StackOverflow(Fault),
    /// The function returned something that is not an answer.
    #[error("{0}")]
    StrangeReturn(Fault),
    /// Too much is waiting, of this script or in all. Worth a retry.
    #[error("{0}")]
    HostBusy(Fault),
    /// The script hung where the engine cannot be interrupted, now or earlier. It stays refused until a restart.
    #[error("{0}")]
    Abandoned(Fault),
}

/// What happened, in which script and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Name of the script.
    pub codec: String,
    /// What happened, at most 500 characters; the script's own words where it threw.
    pub message: String,
    /// From 1, in the script's source.
    pub line: Option<u32>,
    /// From 1.
    pub column: Option<u32>,
}

impl ScriptError {
    /// What happened and where.
    pub fn fault(&self) -> &Fault {
        match self {
            Self::Syntax(fault)
            | Self::Missing(fault)
            | Self::Thrown(fault)
            | Self::TimedOut(fault)
            | Self::OutOfMemory(fault)
            | Self::StackOverflow(fault)
            | Self::StrangeReturn(fault)
            | Self::HostBusy(fault)
            | Self::Abandoned(fault) => fault,
        }
    }

    /// Whether the same call can succeed later. Everything else is for the script's author.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::HostBusy(_))
    }
}

impl Fault {
    pub(super) fn new(codec: &str, message: impl Into<String>) -> Self {
        Self { codec: codec.to_owned(), message: message.into(), line: None, column: None }
    }

    pub(super) fn at(mut self, place: Option<(u32, u32)>) -> Self {
        self.line = place.map(|(line, _)| line);
        self.column = place.map(|(_, column)| column);
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "codec \"{}\"", self.codec)?;
        if let Some(line) = self.line {
            write!(f, " line {line}")?;
            if let Some(column) = self.column {
                write!(f, ", column {column}")?;
            }
        }
        write!(f, ": {}", self.message)
    }
}

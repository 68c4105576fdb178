//! Lines for the terminal. A reader that has gone (`device-bridge devices list | head`) ends the program quietly. Not
//! here: the log.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};

/// Prints a line to standard output.
macro_rules! say {
    ($($arguments:tt)*) => { $crate::terminal::line(format_args!($($arguments)*)) };
}
pub(crate) use say;

/// See [`say!`].
pub(crate) fn line(text: Arguments<'_>) {
    match writeln!(std::io::stdout().lock(), "{text}") {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => {
            // Nobody can read it, but the exit code says it.
            let _ = writeln!(std::io::stderr(), "device-bridge: cannot print: {error}");
            std::process::exit(1);
        }
    }
}

//! Reads server-sent events (WHATWG HTML, section 9.2) as the bridge writes them: one `event` and one `data` line each,
//! comments between. Not here: what is in them.

/// Takes bytes as they come, gives events.
#[derive(Debug, Default)]
pub(crate) struct EventReader(Vec<u8>);

/// One event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) data: String,
}

/// What may wait for the end of its event, bytes.
const MOST: usize = 1024 * 1024;

impl EventReader {
    /// More bytes.
    ///
    /// # Errors
    /// When an event is longer than anything that the bridge writes.
    pub(crate) fn put(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        anyhow::ensure!(self.0.len() + bytes.len() <= MOST, "an event of the service is too long");
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    /// The next event that is whole.
    pub(crate) fn next(&mut self) -> Option<Event> {
        loop {
            let end = self.0.windows(2).position(|two| two == b"\n\n")?;
            let block: Vec<u8> = self.0.drain(..end + 2).collect();
            let block = String::from_utf8_lossy(&block);
            let field =
                |name: &str| block.lines().find_map(|line| Some(line.strip_prefix(name)?.trim_start()));
            if let (Some(name), Some(data)) = (field("event:"), field("data:")) {
                return Some(Event { name: name.to_owned(), data: data.to_owned() });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_however_they_are_cut() {
        let text = ": listening\n\nevent: message\nid: 7\ndata: {\"a\":\"é: b\"}\n\n: heartbeat\n\nevent: missed\ndata: {}\n\n";
        let event = |name: &str, data: &str| Event { name: name.into(), data: data.into() };
        let expected = [event("message", "{\"a\":\"é: b\"}"), event("missed", "{}")];
        for size in 1..=text.len() {
            let (mut reader, mut read) = (EventReader::default(), Vec::new());
            for piece in text.as_bytes().chunks(size) {
                reader.put(piece).unwrap();
                read.extend(std::iter::from_fn(|| reader.next()));
            }
            assert_eq!(read, expected, "{size}");
        }
        assert!(EventReader::default().put(&vec![b'x'; MOST + 1]).is_err());
    }
}

//! The page that the template is written on: prose, keys with their real defaults, alternatives. Keys are commented out as
//! `#key = value`, prose as `# text`, so that a key comes into force by removing one character. Not here: which keys.

/// Columns of prose.
const WIDTH: usize = 100;

/// A page under way.
#[derive(Default)]
pub(super) struct Sheet(String);

impl Sheet {
    /// Begins a table. Its header is in force, so that a key comes into force under it; an empty table is the default.
    pub(super) fn table(&mut self, header: &str, about: &str) {
        self.0.push('\n');
        self.prose(about);
        self.0.push_str(&format!("[{header}]\n"));
    }

    /// Begins a table that is only an example: its header is commented out, too.
    pub(super) fn example(&mut self, header: &str, about: &str) {
        self.0.push('\n');
        self.prose(about);
        self.0.push_str(&format!("#[{header}]\n"));
    }

    /// Explains.
    pub(super) fn prose(&mut self, text: &str) {
        for paragraph in text.lines() {
            let mut line = String::from("#");
            for word in paragraph.split_whitespace() {
                if line.len() > 1 && line.len() + 1 + word.len() > WIDTH {
                    self.0.push_str(&line);
                    self.0.push('\n');
                    line.truncate(1);
                }
                line.push(' ');
                line.push_str(word);
            }
            self.0.push_str(&line);
            self.0.push('\n');
        }
    }

    /// A key with its value, in TOML.
    pub(super) fn key(&mut self, key: &str, value: &str) {
        self.0.push_str(&format!("#{key} = {value}\n"));
    }

    /// What a key does, and the key.
    pub(super) fn explained(&mut self, key: &str, value: &str, about: &str) {
        self.prose(about);
        self.key(key, value);
    }

    /// Another value of the key before; never wrapped.
    pub(super) fn alternative(&mut self, key: &str, value: &str) {
        self.0.push_str(&format!("# or: {key} = {value}\n"));
    }

    /// The page.
    pub(super) fn finish(self) -> String {
        self.0
    }
}

/// A text as TOML writes it.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// The words of a choice for prose: `"json", "flat", "senml"`.
pub(super) fn words<T>(choices: &[(&'static str, T)]) -> String {
    choices.iter().map(|(word, _)| quoted(word)).collect::<Vec<_>>().join(", ")
}

/// A number as TOML and people read it: `10_000`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 2);
    for (index, digit) in digits.char_indices() {
        if index != 0 && (digits.len() - index).is_multiple_of(3) && digits.len() > 4 {
            text.push('_');
        }
        text.push(digit);
    }
    text
}

//! Line patterns: how a BATCH_URL callback or a text/plain template writes one message as text. Not here: what the
//! variables mean.

/// `{device};{time};{data};` as its parts. No two variables stand side by side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LinePattern(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    Variable(String),
}

/// Why a text is not a line pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum PatternError {
    /// It would find nothing.
    #[error(
        "names no variable; write it as in the Sigfox backend: \"{{device}};{{time}};{{data}};{{seqNumber}};\""
    )]
    NoVariable,
    /// A brace without its partner, or nothing between them.
    #[error("has a brace without a partner or without a name")]
    Braces,
    /// Nothing could tell where the first ends.
    #[error("has two variables side by side; put a separator such as `;` between them")]
    SideBySide,
    /// Lines end at a line break.
    #[error("has a line break; a pattern is one line")]
    LineBreak,
}

/// What stands before the names of the user's own variables.
pub(super) const CUSTOM: &str = "customData#";

/// One line: its variables by name, or that it does not match the pattern.
pub(super) type Line = Result<Vec<(String, String)>, NoMatch>;

/// A line that is not written like the pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoMatch;

impl LinePattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// When no line could be read by it.
    pub(super) fn parse(text: &str) -> Result<Self, PatternError> {
        if text.contains(['\n', '\r']) {
            return Err(PatternError::LineBreak);
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            if let Some(inner) = rest.strip_prefix('{') {
                let (name, after) = inner.split_once('}').ok_or(PatternError::Braces)?;
                if name.is_empty() || name == CUSTOM || name.contains('{') {
                    return Err(PatternError::Braces);
                }
                if matches!(parts.last(), Some(Part::Variable(_))) {
                    return Err(PatternError::SideBySide);
                }
                parts.push(Part::Variable(name.to_owned()));
                rest = after;
            } else {
                let end = rest.find('{').unwrap_or(rest.len());
                if rest[..end].contains('}') {
                    return Err(PatternError::Braces);
                }
                parts.push(Part::Literal(rest[..end].to_owned()));
                rest = &rest[end..];
            }
        }
        match parts.iter().any(|part| matches!(part, Part::Variable(_))) {
            true => Ok(Self(parts)),
            false => Err(PatternError::NoVariable),
        }
    }

    /// Whether the first line of the text is written like this.
    pub(super) fn matches_start(&self, text: &str) -> bool {
        text.lines().find(|line| !line.trim().is_empty()).is_some_and(|line| self.take(line.trim()).is_some())
    }

    /// Splits a text into its lines: at line breaks when there are any between lines, otherwise by counting the
    /// variables of the pattern (what stands between the lines of a batch is not documented).
    pub(super) fn lines(&self, text: &str) -> Vec<Line> {
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        match lines.as_slice() {
            [] => Vec::new(),
            [one] => self.by_counting(one),
            _ => lines.iter().map(|line| self.whole(line)).collect(),
        }
    }

    fn whole(&self, line: &str) -> Line {
        match self.take(line) {
            Some((values, "")) => Ok(values),
            _ => Err(NoMatch),
        }
    }

    fn by_counting(&self, text: &str) -> Vec<Line> {
        let mut lines = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let Some((values, after)) = self.take(rest).filter(|(_, after)| after.len() < rest.len()) else {
                lines.push(Err(NoMatch));
                break;
            };
            lines.push(Ok(values));
            rest = after.trim_start();
        }
        lines
    }

    /// Takes one line off the front. The last separator may be missing at the very end.
    fn take<'a>(&self, text: &'a str) -> Option<(Vec<(String, String)>, &'a str)> {
        let mut values = Vec::new();
        let mut rest = text;
        for (index, part) in self.0.iter().enumerate() {
            match part {
                Part::Literal(literal) => match rest.strip_prefix(literal.as_str()) {
                    Some(after) => rest = after,
                    None if rest.is_empty() && index > 0 && index + 1 == self.0.len() => {}
                    None => return None,
                },
                Part::Variable(name) => {
                    let end = match self.0.get(index + 1) {
                        Some(Part::Literal(next)) => match rest.find(next.as_str()) {
                            Some(end) => end,
                            None if index + 2 == self.0.len() => rest.len(),
                            None => return None,
                        },
                        _ => rest.len(),
                    };
                    values.push((name.clone(), rest[..end].to_owned()));
                    rest = &rest[end..];
                }
            }
        }
        Some((values, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(line: &Line) -> Vec<&str> {
        line.as_ref().unwrap().iter().map(|(_, value)| value.as_str()).collect()
    }

    #[test]
    fn patterns_that_cannot_work_are_refused() {
        for (text, error) in [
            ("", PatternError::NoVariable),
            (";;", PatternError::NoVariable),
            ("{device", PatternError::Braces),
            ("device}", PatternError::Braces),
            ("{};", PatternError::Braces),
            ("{customData#};", PatternError::Braces),
            ("{a}{b}", PatternError::SideBySide),
            ("{a}\n", PatternError::LineBreak),
        ] {
            assert_eq!(LinePattern::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn lines_end_at_breaks_or_by_count() {
        let pattern = LinePattern::parse("{device};{data};{customData#t};").unwrap();
        for text in ["1A;00;3;\n2B;;4;\n", "1A;00;3;\r\n2B;;4", "1A;00;3;2B;;4;", "1A;00;3; 2B;;4;"] {
            let lines = pattern.lines(text);
            assert_eq!(lines.len(), 2, "{text:?}");
            assert_eq!(values(&lines[0]), ["1A", "00", "3"], "{text:?}");
            assert_eq!(values(&lines[1]), ["2B", "", "4"], "{text:?}");
        }
        assert_eq!(pattern.lines("1A;00;3;").remove(0).unwrap()[2].0, "customData#t");
        assert_eq!(pattern.lines(" \n"), []);
    }

    #[test]
    fn a_bad_line_does_not_take_its_neighbours_along() {
        let pattern = LinePattern::parse("{device};{data};").unwrap();
        let lines = pattern.lines("1A;00;\n2B;00;extra;\n3C;01;");
        assert!(lines[0].is_ok() && lines[1].is_err() && lines[2].is_ok());
        let counted = pattern.lines("1A;00;2B");
        assert!(counted[0].is_ok() && counted[1].is_err() && counted.len() == 2);
    }
}

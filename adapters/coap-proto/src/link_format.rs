//! `/.well-known/core`: links as text (RFC 6690) and the filters of its queries. Not here: which resources there are.

use std::fmt::Write;

/// The content format of links.
pub const LINK_FORMAT: u16 = 40;

/// A link to a resource, with what its attributes say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Link {
    /// The path, with its slash.
    pub target: String,
    /// Resource types.
    pub rt: Vec<String>,
    /// Interface descriptions.
    pub interfaces: Vec<String>,
    /// Content formats.
    pub ct: Vec<u16>,
    /// An estimate of the largest representation, in bytes.
    pub sz: Option<u64>,
    /// A title for humans.
    pub title: Option<String>,
    /// Whether the resource can be observed (RFC 7641 section 6).
    pub observable: bool,
}

impl Link {
    /// A link without attributes.
    pub fn new(target: impl Into<String>) -> Link {
        Link { target: target.into(), ..Link::default() }
    }

    /// Whether a filter such as `rt=sensor` or `href=/a*` takes this link (RFC 6690 section 4.1). A link without the
    /// attribute is not taken; nor is any by a filter that is no `name=value`.
    pub fn matches(&self, filter: &str) -> bool {
        let Some((name, value)) = filter.split_once('=') else { return false };
        let value = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
        let (value, prefix) = match value.strip_suffix('*') {
            Some(start) => (start, true),
            None => (value, false),
        };
        let matches = |found: &str| if prefix { found.starts_with(value) } else { found == value };
        match name {
            "href" => matches(&self.target),
            "rt" => self.rt.iter().any(|found| matches(found)),
            "if" => self.interfaces.iter().any(|found| matches(found)),
            "ct" => self.ct.iter().any(|found| matches(&found.to_string())),
            "sz" => self.sz.is_some_and(|found| matches(&found.to_string())),
            "title" => self.title.as_deref().is_some_and(matches),
            "obs" => self.observable && value.is_empty(),
            _ => false,
        }
    }

    fn render(&self, out: &mut String) {
        // Writing to a string does not fail.
        let _ = write!(out, "<{}>", self.target);
        quoted(out, "rt", &self.rt);
        quoted(out, "if", &self.interfaces);
        match self.ct[..] {
            [] => {}
            [one] => {
                let _ = write!(out, ";ct={one}");
            }
            _ => quoted(out, "ct", &self.ct.iter().map(u16::to_string).collect::<Vec<_>>()),
        }
        if let Some(sz) = self.sz {
            let _ = write!(out, ";sz={sz}");
        }
        if let Some(title) = &self.title {
            quoted(out, "title", std::slice::from_ref(title));
        }
        if self.observable {
            out.push_str(";obs");
        }
    }
}

/// The links that all filters take, as text.
pub fn render<'a>(links: &[Link], filters: impl IntoIterator<Item = &'a str>) -> String {
    let filters: Vec<&str> = filters.into_iter().collect();
    let mut out = String::new();
    for link in links.iter().filter(|link| filters.iter().all(|filter| link.matches(filter))) {
        if !out.is_empty() {
            out.push(',');
        }
        link.render(&mut out);
    }
    out
}

fn quoted(out: &mut String, name: &str, values: &[String]) {
    if values.is_empty() {
        return;
    }
    let _ = write!(out, ";{name}=\"");
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            out.push(' ');
        }
        for char in value.chars() {
            if matches!(char, '"' | '\\') {
                out.push('\\');
            }
            out.push(char);
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_written_and_filtered() {
        let links = [
            Link {
                rt: vec!["temperature-c".into(), "light".into()],
                interfaces: vec!["sensor".into()],
                ct: vec![0, 60],
                sz: Some(100),
                title: Some("a \"b\"".into()),
                observable: true,
                ..Link::new("/sensors/temp")
            },
            Link { ct: vec![40], rt: vec!["x".into()], ..Link::new("/sensors") },
        ];
        let first =
            r#"</sensors/temp>;rt="temperature-c light";if="sensor";ct="0 60";sz=100;title="a \"b\"";obs"#;
        let second = r#"</sensors>;rt="x";ct=40"#;
        let check = |filters: &[&str]| render(&links, filters.iter().copied());
        assert_eq!(check(&[]), format!("{first},{second}"));
        for filter in
            ["rt=light", "rt=temp*", "if=sensor", "sz=1*", "ct=60", "obs=", "href=/sensors/*", "title=a*"]
        {
            assert_eq!(check(&[filter]), first, "{filter}");
        }
        for filter in ["href=/sensors", "rt=\"x\"", "ct=40"] {
            assert_eq!(check(&[filter]), second, "{filter}");
        }
        assert_eq!(check(&["rt=*"]), format!("{first},{second}"));
        assert_eq!(check(&["href=/sensors*", "if=*"]), first);
        for filter in ["rt=none", "rt", "what=*", ""] {
            assert_eq!(check(&[filter]), "", "{filter}");
        }
    }
}

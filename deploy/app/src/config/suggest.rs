//! "Did you mean": the known word nearest to an unknown one. Not here: the messages.

/// Longer words are not compared: nobody mistypes those, and comparing takes the product of the lengths.
const LONGEST: usize = 64;

/// The candidate that was probably meant: the same but for case and dashes, or at most two edits away
/// (Damerau-Levenshtein), or one of which the other is the beginning.
pub(super) fn suggest<'a>(given: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if given.is_empty() || given.len() > LONGEST {
        return None;
    }
    let plain = |word: &str| word.to_lowercase().replace('-', "_");
    let given = plain(given);
    let ranked = candidates.into_iter().filter_map(|candidate| {
        let word = plain(candidate);
        let edits = strsim::damerau_levenshtein(&given, &word);
        let shorter = given.len().min(word.len());
        let is_near = edits <= 2 && edits * 2 <= shorter;
        let is_beginning = shorter >= 3 && (word.starts_with(&given) || given.starts_with(&word));
        (is_near || is_beginning).then_some((edits, candidate))
    });
    ranked.min_by_key(|(edits, _)| *edits).map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let words = ["listen", "max_connections", "header_timeout", "body_timeout", "url"];
        for (given, found) in [
            ("lisen", Some("listen")),
            ("lsiten", Some("listen")),
            ("Listen", Some("listen")),
            ("max-connections", Some("max_connections")),
            ("header", Some("header_timeout")),
            ("urls", Some("url")),
            ("port", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(suggest(given, words), found, "{given}");
        }
        assert_eq!(suggest(&"listen".repeat(20), words), None);
    }
}

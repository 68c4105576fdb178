//! Files of bounded size, and folders full of them. Not here: what is in them.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The largest script, bytes; as in the configuration.
const MAX_SCRIPT: u64 = 256 * 1024;
/// The largest file with vectors, bytes.
const MAX_VECTORS: u64 = 4 * 1024 * 1024;

/// A script.
///
/// # Errors
/// A sentence: it is not there, too large, or not text.
pub(super) fn script(path: &Path) -> Result<String, String> {
    text(path, MAX_SCRIPT)
}

/// A file with vectors.
///
/// # Errors
/// A sentence: it is not there, too large, or not text.
pub(super) fn vectors(path: &Path) -> Result<String, String> {
    text(path, MAX_VECTORS)
}

/// Whether the name is one of a file with vectors.
pub(super) fn may_hold_vectors(path: &Path) -> bool {
    is_json(path) || ends_with(path, "yaml") || ends_with(path, "yml")
}

pub(super) fn is_json(path: &Path) -> bool {
    ends_with(path, "json")
}

pub(super) fn is_script(path: &Path) -> bool {
    ["js", "mjs", "cjs"].iter().any(|extension| ends_with(path, extension))
}

/// The file itself, or the files with vectors in the folder and the folders below, in order of their paths. Links to
/// folders are not followed.
///
/// # Errors
/// The operating system's.
pub(super) fn below(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !path.metadata()?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let (mut folders, mut files) = (vec![path.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let (path, kind) = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)))?;
            if kind.is_dir() {
                folders.push(path);
            } else if may_hold_vectors(&path) && path.is_file() {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

fn ends_with(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found.eq_ignore_ascii_case(extension))
}

fn text(path: &Path, limit: u64) -> Result<String, String> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes));
    match read {
        Err(error) => Err(format!("{} cannot be read: {error}", path.display())),
        Ok(_) if bytes.len() as u64 > limit => {
            Err(format!("{} is larger than {} KiB", path.display(), limit / 1024))
        }
        Ok(_) => String::from_utf8(bytes).map_err(|_| format!("{} is not UTF-8", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_searched_in_order_and_files_are_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(at("b/c")).unwrap();
        for name in ["b/c/z.yml", "a.JSON", "b/x.yaml", "b/x.js", "notes.txt"] {
            std::fs::write(at(name), "x").unwrap();
        }
        assert_eq!(below(folder.path()).unwrap(), [at("a.JSON"), at("b/c/z.yml"), at("b/x.yaml")]);
        assert_eq!(below(&at("b/x.js")).unwrap(), [at("b/x.js")]);
        assert!(below(&at("nowhere")).is_err());
        assert_eq!(script(&at("b/x.js")).unwrap(), "x");
        std::fs::write(at("big.js"), vec![b' '; 256 * 1024 + 1]).unwrap();
        std::fs::write(at("bytes.js"), [0xFF]).unwrap();
        assert!(script(&at("big.js")).unwrap_err().ends_with("larger than 256 KiB"));
        assert!(script(&at("bytes.js")).unwrap_err().ends_with("not UTF-8"));
        assert!(vectors(&at("big.js")).is_ok());
        assert!(script(&at("none.js")).unwrap_err().contains("cannot be read"));
    }
}

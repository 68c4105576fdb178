//! `device-bridge codec test`: golden vectors from files. Not here: what vectors mean ([`codec::golden`]).

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bridge_core::Timestamp;
use codec::golden::{self, Example, Expected, Subject, Verdict};
use codec::js::{JsHost, Script};

use super::{files, misused, now, script_host, well_or_not, yaml};
use crate::terminal::say;

/// So many differences of one example are printed.
const SHOWN: usize = 20;

/// Which vectors.
#[derive(Debug, clap::Args)]
pub(crate) struct TestArgs {
    /// A file (.json, .yaml, .yml), or a folder with such files in it or below it.
    path: PathBuf,
    /// Run this script in place of those that the vectors name.
    #[arg(long = "codec", value_name = "FILE")]
    script: Option<PathBuf>,
    /// Compare what normalizeUplink gives too, where the vectors have a normalizedOutput. The bridge tells a script
    /// nothing of hardware versions, on which some of those depend.
    #[arg(long)]
    normalized: bool,
}

/// Runs them all. The exit code is 0 only when there is one at least and all passed.
pub(super) async fn run(args: &TestArgs) -> anyhow::Result<ExitCode> {
    let paths = match files::below(&args.path) {
        Ok(paths) => paths,
        Err(error) => return Ok(misused(&format!("{} cannot be read: {error}", args.path.display()))),
    };
    let host = script_host()?;
    let forced = match args.script.as_deref().map(|path| (path, files::script(path))) {
        None => None,
        Some((_, Err(why))) => return Ok(misused(&why)),
        Some((path, Ok(source))) => Some(host.compile(&path.to_string_lossy(), &source)?),
    };
    let bench = Bench { host: &host, forced, normalized: args.normalized, now: now()? };
    let mut tally = Tally::default();
    for path in &paths {
        bench.file(path, &mut tally).await;
    }
    if tally.without_examples > 0 {
        eprintln!("{} other files hold no examples", tally.without_examples);
    }
    let Tally { passed, failed, not_run, .. } = tally;
    if passed + failed + not_run == 0 {
        eprintln!("there are no examples in {}", args.path.display());
    }
    if tally.without_script > 0 {
        eprintln!("{} examples have no script; give one by --codec", tally.without_script);
    }
    say!("{passed} passed, {failed} failed, {not_run} not run");
    Ok(well_or_not(passed > 0 && failed + not_run == 0))
}

#[derive(Debug, Default)]
struct Tally {
    passed: usize,
    failed: usize,
    not_run: usize,
    without_examples: usize,
    /// Of those that were not run.
    without_script: usize,
}

struct Bench<'a> {
    host: &'a JsHost,
    /// In place of every script.
    forced: Option<Script>,
    normalized: bool,
    now: Timestamp,
}

/// Why a script cannot be run.
#[derive(Debug, Clone, PartialEq)]
enum NoScript {
    Absent(String),
    Broken(String),
}

impl Bench<'_> {
    async fn file(&self, path: &Path, tally: &mut Tally) {
        let shown = path.display();
        let mut examples = match read(path) {
            Ok(Some(examples)) => examples,
            Ok(None) => return tally.without_examples += 1,
            Err(why) => {
                tally.not_run += 1;
                return say!("not run {shown}: {why}");
            }
        };
        if !self.normalized {
            examples.iter_mut().for_each(forget_normalized);
        }
        let folder = path.parent().unwrap_or(Path::new(""));
        let mut scripts: HashMap<&str, Result<Script, NoScript>> = HashMap::new();
        let mut absent: Vec<(String, usize)> = Vec::new();
        for example in &examples {
            let verdict = match &example.subject {
                Subject::Script(name) => {
                    let name = name.as_deref().unwrap_or_default();
                    let script = scripts.entry(name).or_insert_with(|| self.script(folder, name));
                    match script {
                        Ok(script) => example.check(self.host, script, self.now).await,
                        Err(NoScript::Broken(why)) => Verdict::Failed(why.clone()),
                        Err(NoScript::Absent(why)) => {
                            tally.not_run += 1;
                            tally.without_script += 1;
                            match absent.iter_mut().find(|(known, _)| known == why) {
                                Some((_, count)) => *count += 1,
                                None => absent.push((why.clone(), 1)),
                            }
                            continue;
                        }
                    }
                }
                Subject::Cayenne | Subject::Grammar(_) => example.check_native(self.now),
            };
            report(path, example, &verdict, tally);
        }
        for (why, count) in absent {
            say!("not run {shown}: {count} of {} examples, {why}", examples.len());
        }
    }

    fn script(&self, folder: &Path, name: &str) -> Result<Script, NoScript> {
        if let Some(forced) = &self.forced {
            return Ok(forced.clone());
        }
        if name.is_empty() {
            return Err(NoScript::Absent("no script is named".into()));
        }
        let path = folder.join(name);
        if !path.is_file() {
            let why = format!("there is no script {}", path.display());
            return Err(NoScript::Absent(why));
        }
        let source = files::script(&path).map_err(NoScript::Broken)?;
        self.host.compile(name, &source).map_err(|error| NoScript::Broken(error.to_string()))
    }
}

fn read(path: &Path) -> Result<Option<Vec<Example>>, String> {
    let text = files::vectors(path)?;
    let document = if files::is_json(path) {
        serde_json::from_str(&text).map_err(|error| error.to_string())?
    } else {
        yaml::parse(&text)?
    };
    golden::read(&document)
}

fn forget_normalized(example: &mut Example) {
    if let Expected::Output { normalized, .. } = &mut example.expected {
        *normalized = None;
    }
}

fn report(path: &Path, example: &Example, verdict: &Verdict, tally: &mut Tally) {
    let place = format!("failed {}: {}", path.display(), example.title);
    match verdict {
        Verdict::Passed => {
            tally.passed += 1;
            return;
        }
        Verdict::Failed(why) => say!("{place}\n  {why}"),
        Verdict::Different(differences) => {
            say!("{place}");
            differences.iter().take(SHOWN).for_each(|difference| say!("  {difference}"));
            if differences.len() > SHOWN {
                say!("  and {} more", differences.len() - SHOWN);
            }
        }
    }
    tally.failed += 1;
}

//! moto_server, the stand-in for DynamoDB and SQS: one per test program. Not here: tables and queues.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

/// Runs the stand-in until its standard input ends, which is when this program does.
const KEEPER: &str = "import subprocess, sys\n\
    server = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)\n\
    try:\n    sys.stdin.read()\nfinally:\n    server.kill()";

static SERVER: OnceLock<(String, Child)> = OnceLock::new();

/// Its address.
pub fn endpoint() -> &'static str {
    &SERVER.get_or_init(start).0
}

fn start() -> (String, Child) {
    let program = program();
    let mut keeper = Command::new(program.with_file_name("python"))
        .args(["-c", KEEPER])
        .arg(&program)
        .args(["-H", "127.0.0.1", "-p", "0"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    let mut lines = BufReader::new(keeper.stderr.take().unwrap()).lines();
    let mut said = Vec::new();
    let address = loop {
        let line = lines.next().unwrap_or_else(|| panic!("moto_server ended: {said:?}")).unwrap();
        if let Some((_, address)) = line.split_once("Running on ") {
            break address.trim().to_owned();
        }
        said.push(line);
    };
    // It writes a line for every request, and stops when nobody reads them.
    std::thread::spawn(move || lines.for_each(drop));
    (address, keeper)
}

fn program() -> PathBuf {
    let named = std::env::var_os("MOTO_SERVER").map(PathBuf::from);
    let program = named.filter(|path| path.exists());
    program.expect(
        "MOTO_SERVER does not name a moto_server: export MOTO_SERVER=\"$(tests/moto)\", which installs it from PyPI",
    )
}

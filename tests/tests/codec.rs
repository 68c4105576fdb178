//! `device-bridge codec` as a stranger uses it: the real binary on fixtures of our own.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tests::world::{Collector, World, post, program, wait_until};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/codec")
}

/// Exit code, standard output, standard error, in a folder without a configuration.
fn codec(arguments: &[&str]) -> (i32, String, String) {
    codec_in(&fixtures(), arguments)
}

fn codec_in(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(program()).arg("codec").args(arguments).current_dir(folder).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn json_of(arguments: &[&str]) -> (i32, Value) {
    let (code, out, err) = codec(&[arguments, &["--json"]].concat());
    (code, serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{err}")))
}

#[test]
fn a_script_is_shown_step_by_step() {
    let (code, out, err) = codec(&["run", "soil/soil.js", "--bytes", "00d2 09 01", "--port", "2"]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    for part in
        ["decoded\n", "normalised\n", "  pump = \"On\"\n", "message {\"measurements\":", "warning: dry\n"]
    {
        assert!(out.contains(part), "{part} is missing in {out}");
    }
    let (code, answer) = json_of(&[
        "run",
        "soil/soil.js",
        "--base64",
        "ANIJAQ==",
        "--port",
        "2",
        "--variable",
        "site=roof",
        "--tag",
        "bed=3",
        "--device",
        "probe",
        "--time",
        "2026-11-21T08:46:00Z",
    ]);
    assert_eq!(code, 0);
    let message = &answer["messages"][0]["measurements"];
    assert_eq!((&message["site"], &message["bed"]), (&json!("roof"), &json!("3")), "{answer}");
    assert_eq!((&answer["codec"], &answer["errors"]), (&json!("soil.js"), &json!([])));
}

#[test]
fn errors_of_a_script_end_with_one_and_name_their_place() {
    let (code, out, _) = codec(&["run", "soil/soil.js", "--bytes", "00", "--port", "2"]);
    assert_eq!(code, 1);
    assert!(
        out.contains("error: codec \"soil.js\" line 4, column ") && out.contains("short payload"),
        "{out}"
    );
    let (code, answer) = json_of(&["run", "soil/soil.js", "--bytes", "00", "--port", "9"]);
    assert_eq!((code, &answer["errors"]), (1, &json!(["unknown FPort"])));
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("bad.js"), "function decodeUplink(input) {\n  return {{;\n}").unwrap();
    let (code, out, _) = codec_in(folder.path(), &["run", "bad.js", "--bytes", "00"]);
    assert!(code == 1 && out.contains("line 2, column "), "{code} {out}");
}

#[test]
fn names_grammars_and_standard_input() {
    let (code, answer) = json_of(&["run", "cayenne", "--bytes", "0167ffd7"]);
    assert_eq!((code, &answer["steps"][0]["samples"][0]["measurements"]["temperature_1"]), (0, &json!(-4.1)));
    let (code, answer) = json_of(&["run", "--grammar", "temp::int:16", "--bytes", "ffd7"]);
    assert_eq!((code, &answer["messages"][0]["measurements"]["temp"]), (0, &json!(-41)));
    let (code, answer) = json_of(&["run", "json", "--text", "{\"a\":1}"]);
    assert_eq!((code, &answer["messages"][0]["measurements"]["a"]), (0, &json!(1)));
    let mut command = Command::new(program());
    command.args(["codec", "run", "text", "--stdin"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.current_dir(fixtures()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"21.5").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("21.5"));
}

#[test]
fn a_codec_of_the_configuration_is_run_with_its_mapping() {
    let folder = tempfile::tempdir().unwrap();
    let template =
        Command::new(program()).args(["config", "template"]).current_dir(folder.path()).output().unwrap();
    let described = "\n[codecs.soil]\nformat = \"sigfox\"\ngrammar = \"t::int:16 m::uint:8\"\n\
                     map = [{ from = \"t\", to = \"temperature\", scale = 0.1, unit = \"Cel\" }]\n\
                     downlinks = { pump = { template = \"01 on::bool:0 seconds:2:uint:16\", port = 3 } }\n";
    let text = String::from_utf8(template.stdout).unwrap() + described;
    std::fs::write(folder.path().join("my.toml"), text).unwrap();
    let (code, out, err) = codec_in(folder.path(), &["run", "soil", "--bytes", "00d209", "-c", "my.toml"]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(
        out.contains("  t = 210\n") && out.contains("mapped\n  temperature = 21") && out.contains(" Cel"),
        "{out}"
    );
    let pump = |arguments: &str| {
        let run = ["run", "soil", "--encode", arguments, "--command", "pump", "-c", "my.toml"];
        codec_in(folder.path(), &run)
    };
    let (code, out, _) = pump(r#"{"on":true,"seconds":300}"#);
    assert_eq!((code, out.as_str()), (0, "bytes 0101012c\nport 3\n"));
    let (code, out, _) = pump(r#"{"on":true}"#);
    assert_eq!((code, out.as_str()), (1, "error: seconds is missing\n"));
    std::fs::write(folder.path().join("my.toml"), "nonsense").unwrap();
    assert_eq!(codec_in(folder.path(), &["run", "soil", "--bytes", "00", "-c", "my.toml"]).0, 78);
    let script = fixtures().join("soil/soil.js");
    let arguments = ["run", script.to_str().unwrap(), "--bytes", "00d20901", "--port", "2", "-c", "my.toml"];
    assert_eq!(codec_in(folder.path(), &arguments).0, 0, "a script asks for no configuration");
}

#[test]
fn downlinks_are_encoded_and_decoded() {
    let (code, out, _) = codec(&["run", "soil/soil.js", "--encode", r#"{"pump":"On"}"#]);
    assert_eq!((code, out.as_str()), (0, "bytes 01ff\nport 3\n"));
    let (code, answer) = json_of(&["run", "soil/soil.js", "--encode", r#"{"pump":"On"}"#]);
    assert_eq!((code, &answer["bytes"], &answer["fPort"]), (0, &json!("01ff"), &json!(3)));
    let (code, out, _) = codec(&["run", "soil/soil.js", "--encode", r#"{"pump":1}"#]);
    assert_eq!((code, out.as_str()), (1, "error: pump is neither On nor NO\n"));
    let (code, out, _) =
        codec(&["run", "soil/soil.js", "--decode-downlink", "--bytes", "01ff", "--port", "3"]);
    assert_eq!((code, out.as_str()), (0, "pump = \"On\"\n"));
    let (code, out, _) = codec(&["run", "cayenne", "--encode", r#"{"value_1":1}"#]);
    assert_eq!((code, out.as_str()), (0, "bytes 010064ff\nport not said\n"));
    let script = "function decodeUplink(i) { return { data: {} } }";
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("up.js"), script).unwrap();
    let (code, out, _) = codec_in(folder.path(), &["run", "up.js", "--encode", "{}"]);
    assert!(code == 1 && out.contains("encodeDownlink"), "{out}");
}

#[test]
fn wrong_use_ends_with_two() {
    for wrong in [
        &["run", "soil/soil.js"][..],
        &["run", "--bytes", "00"],
        &["run", "cayenne", "--bytes", "0"],
        &["run", "cayenne", "--bytes", "00", "--text", "a"],
        &["run", "cayenne", "--grammar", "a::uint:8", "--bytes", "00"],
        &["run", "cayenne", "--bytes", "00", "--time", "noon"],
        &["run", "cayenne", "--bytes", "00", "--variable", "a=b"],
        &["run", "text", "--encode", "{}"],
        &["run", "cayenne", "--encode", "{}", "--decode-downlink"],
        &["run", "nowhere.js", "--bytes", "00"],
        &["test", "nowhere"],
        &["test", "soil", "--codec", "nowhere.js"],
    ] {
        let (code, out, err) = codec(wrong);
        assert!(code == 2 && out.is_empty() && err.starts_with("error: "), "{wrong:?} {code} {out}{err}");
    }
    assert!(codec(&["run", "nowhere.js", "--bytes", "00"]).2.contains("cayenne"), "it says what there is");
}

#[test]
fn golden_vectors_of_a_folder_pass() {
    let (code, out, err) = codec(&["test", "."]);
    assert_eq!((code, out.as_str()), (0, "9 passed, 0 failed, 0 not run\n"), "{err}");
    assert_eq!(err, "1 other files hold no examples\n");
    assert_eq!(codec(&["test", "soil/soil-codec.yaml", "--normalized"]).1, "6 passed, 0 failed, 0 not run\n");
    let (code, out, err) = codec(&["test", "soil/index.yaml"]);
    assert!(
        code == 1 && out == "0 passed, 0 failed, 0 not run\n" && err.contains("no examples"),
        "{out}{err}"
    );
}

#[test]
fn differences_and_missing_scripts_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let vectors = json!({ "codec": "probe.js", "examples": [
        { "type": "uplinkDecode", "description": "Dry", "input": { "fPort": 2, "bytes": [0, 210, 9, 1] },
          "output": { "data": { "temperature": 21.5, "moisture": 9, "pump": "On", "more": 1 } } },
        { "type": "downlinkEncode", "input": { "data": { "pump": "NO" } }, "output": { "bytes": [1, 0], "fPort": 3 } },
        { "kind": "uplinkDecode", "input": { "fPort": 2, "bytes": [0, 0, 30, 0] },
          "output": { "data": { "temperature": 0, "moisture": 30, "pump": "NO" } },
          "normalizedOutput": { "data": { "soil": { "temperature": 1, "moisture": 30 } } } },
    ] });
    std::fs::write(folder.path().join("vectors.json"), vectors.to_string()).unwrap();
    std::fs::write(folder.path().join("half.yml"), "uplinkDecoder: [\n").unwrap();
    let (code, out, err) = codec_in(folder.path(), &["test", "."]);
    assert!(code == 1 && err == "3 examples have no script; give one by --codec\n", "{err}");
    assert!(out.contains("not run ./half.yml: line "), "{out}");
    assert!(
        out.contains("not run ./vectors.json: 3 of 3 examples, there is no script ./probe.js\n"),
        "{out}"
    );
    assert!(out.ends_with("0 passed, 0 failed, 4 not run\n"), "{out}");
    let script = fixtures().join("soil/soil.js");
    let given = ["test", "vectors.json", "--codec", script.to_str().unwrap()];
    let (code, out, _) = codec_in(folder.path(), &given);
    assert_eq!(
        (code, out.as_str()),
        (
            1,
            "failed vectors.json: decodeUplink 1 Dry\n  data.more: expected 1, found nothing\n  \
             data.temperature: expected 21.5, found 21\n  warnings[0]: expected nothing, found \"dry\"\n\
             2 passed, 1 failed, 0 not run\n"
        )
    );
    let (_, out, _) = codec_in(folder.path(), &[&given[..], &["--normalized"]].concat());
    assert!(out.contains("normalizedOutput.data[0].soil.temperature: expected 1, found 0\n"), "{out}");
    std::fs::write(folder.path().join("probe.js"), "function decodeUplink(").unwrap();
    let (code, out, _) = codec_in(folder.path(), &["test", "vectors.json"]);
    assert!(code == 1 && out.ends_with("0 passed, 3 failed, 0 not run\n"), "{out}");
}

/// The service with a codec and an archive, and what the hub sees of `d1` after a correction.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_corrected_codec_runs_over_the_past_of_a_running_service() {
    let world = World::new("5");
    let _broker = world.start_broker().await;
    let collector = Collector::start(world.mqtt).await;
    let path = world.folder.path().join("bridge.toml");
    let script = world.folder.path().join("probe.js");
    let config = std::fs::read_to_string(&path).unwrap()
        + "codec = \"probe\"\n[archive]\nkeep = \"1h\"\n[codecs.probe]\nformat = \"javascript\"\nfile = \"probe.js\"\n";
    std::fs::write(&path, config).unwrap();
    std::fs::write(&script, "function decodeUplink(input) { return { errors: ['not yet'] } }").unwrap();
    let bridge = world.start_bridge().await;
    for counter in 1..=3 {
        assert!(matches!(post(world.http, "d1", counter).await, Some(200..300)));
    }
    wait_until("the hub has them", async || collector.seen().get("d1").is_some_and(|seen| seen.len() == 3))
        .await;

    std::fs::write(&script, "function decodeUplink(input) { return { data: { byte: input.bytes[0] } } }")
        .unwrap();
    bridge.signal("HUP");
    let replay = |more: &[&str]| {
        let mut command = world.bridge_command();
        command.args(["codec", "replay", "--device", "d1", "--from", "2026-01-01T00:00:00Z"]).args(more);
        let output = command.output().unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr),
        )
    };
    let mut told = String::new();
    wait_until("the service has the new codec and the payloads", async || {
        told = replay(&["--dry-run"]).1;
        told.contains("3 payloads: 3 would be sent again")
    })
    .await;
    assert!(told.contains("d1: {\"byte\":1}") || told.contains("\"byte\":1"), "{told}");
    assert_eq!(collector.seen()["d1"].len(), 3, "a dry run sends nothing");
    let (code, told) = replay(&[]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("3 payloads: 3 sent again, 0 had been before"), "{told}");
    wait_until("the hub has the corrections", async || collector.seen()["d1"] == [1, 2, 3, 1, 2, 3]).await;
    assert!(replay(&[]).1.contains("3 payloads: 0 sent again, 3 had been before"));
}

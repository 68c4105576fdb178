//! The laws over chance: random bytes, random scripts of sensible steps, the committed corpora and changed copies of them.
//! `WRITE_CORPUS=1 cargo test -p dtls the_corpora` writes the seeds anew; a file named `regression-*` is an input that a fuzz
//! target once found.

use std::collections::BTreeMap;
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;

/// Changed inputs per corpus: some seconds in a debug build.
const ROUNDS: u64 = 2_000;

/// A client begins and its handshake comes to its end: two hellos, the key exchange, an answer, the rest.
fn connected(how: u8) -> Vec<u8> {
    let number = how % CLIENTS;
    let carry = [3, 20 | number];
    let mut script = vec![2, how];
    script.extend(carry.repeat(8));
    script.extend([6, 1]);
    script.extend(carry.repeat(8));
    script
}

fn said(number: u8) -> Vec<u8> {
    vec![7, number, 3, 20 | number]
}

fn server_seeds() -> BTreeMap<String, Vec<u8>> {
    let restart = vec![7, 32];
    let seeds: [(&str, Vec<Vec<u8>>); 8] = [
        ("ccm8-with-id", vec![vec![0], connected(1), said(1), said(1)]),
        ("without-id", vec![vec![4], connected(0x22), said(2)]),
        ("wrong-key", vec![vec![0], connected(0x11), said(1)]),
        ("moved", vec![vec![1], connected(2), vec![7, 22], said(2), vec![7, 0x3e], said(2)]),
        ("restart-of-the-server", vec![vec![2], connected(3), said(3), restart, said(3)]),
        ("restart-of-the-device", vec![vec![0], connected(0x20), said(0), connected(0x20), said(0)]),
        ("resumed", vec![vec![0], connected(1), vec![7, 29], connected(0x41), said(1)]),
        (
            "lost-and-changed",
            vec![vec![0], vec![2, 1, 3, 1, 3, 9, 20, 1, 7, 0x31, 5, 40, 3, 21], connected(1)],
        ),
    ];
    seeds.into_iter().map(|(name, parts)| (format!("{name}.bin"), parts.concat())).collect()
}

fn datagram_seeds() -> BTreeMap<String, Vec<u8>> {
    let mut seeds = BTreeMap::new();
    let settings = Settings { connection_id: Some(vec![1, 2]), ..Settings::new("a", KEY) };
    let mut client = Client::connect(settings.clone(), Instant::now(), random(1));
    seeds.insert("hello.bin".to_owned(), client.poll_transmit().unwrap_or_default());
    let mut exchange = Vec::new();
    record::write(&mut exchange, 22, (0, 2), &[], &crate::inbox::message(16, 2, b"\x00\x01a"));
    record::write(&mut exchange, 20, (0, 3), &[], &[1]);
    record::write(&mut exchange, 25, (1, 0), &[1, 2, 3, 4], &[0; 40]);
    seeds.insert("key-exchange.bin".to_owned(), exchange);
    seeds
}

type Seeds = fn() -> BTreeMap<String, Vec<u8>>;
type Law = fn(&[u8]);
const CORPORA: [(&str, Seeds, Law); 2] =
    [("dtls_server", server_seeds, check_server), ("dtls_datagram", datagram_seeds, check_datagram)];

fn folder(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target)
}

#[test]
fn the_corpora_keep_the_laws_and_so_do_changed_ones() {
    for (target, seeds, check) in CORPORA {
        let folder = folder(target);
        if std::env::var_os("WRITE_CORPUS").is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            for (name, bytes) in seeds() {
                std::fs::write(folder.join(name), bytes).unwrap();
            }
        }
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&folder).unwrap() {
            files.push(std::fs::read(entry.unwrap().path()).unwrap());
        }
        assert!(files.len() >= seeds().len(), "{target} has no corpus");
        files.iter().for_each(|bytes| check(bytes));
        let mut rng = fastrand::Rng::with_seed(20_261_121);
        for _ in 0..ROUNDS {
            let mut bytes = files[rng.usize(..files.len())].clone();
            for _ in 0..rng.usize(1..6) {
                let at = rng.usize(..=bytes.len());
                let to = (at + rng.usize(..9)).min(bytes.len());
                match rng.u8(..4) {
                    0 => drop(bytes.drain(at..to)),
                    1 => drop(bytes.splice(at..at, bytes[at..to].to_vec())),
                    2 => bytes.insert(at, rng.u8(..)),
                    _ => drop(bytes.splice(at..to, [rng.u8(..), rng.u8(..)])),
                }
            }
            check(&bytes);
        }
    }
}

#[test]
fn the_seeds_reach_what_they_are_about() {
    let mut data = 0;
    for script in server_seeds().values() {
        let mut world = World::new(script[0]);
        let mut steps = Script { bytes: &script[1..] };
        while !steps.bytes.is_empty() {
            world.step(&mut steps);
            world.look();
        }
        data += world.came.len();
    }
    assert!(data >= 9, "{data} records came through");
}

proptest! {
    #[test]
    fn any_datagram_keeps_the_laws(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        check_datagram(&bytes);
    }

    #[test]
    fn any_bytes_are_a_script_that_keeps_the_laws(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        check_server(&bytes);
    }

    #[test]
    fn sensible_scripts_keep_the_laws(
        settings in any::<u8>(),
        steps in prop::collection::vec(
            prop_oneof![
                any::<u8>().prop_map(connected),
                any::<(u8, u8)>().prop_map(|(kind, how)| vec![2 + kind % 6, how, how]),
                (0..4u8).prop_map(said),
            ],
            0..20,
        ),
    ) {
        check_server(&[&[settings], &steps.concat()[..]].concat());
    }
}

//! Which credential a handshake has proven, and what is known of those that prove nothing. Everything is handed over here, without
//! a socket. Not here: handshakes themselves (`dtls`).

use dtls::SessionId;

use super::*;
use crate::carrier::Caller;

/// The bridge, and whoever speaks to it.
struct Line {
    now: Instant,
    world: World,
    bridge: carrier::Secure,
    endpoint: Endpoint<SessionId>,
}

impl Line {
    async fn new() -> Self {
        let world = World::new().await;
        world.api.replace(settings());
        enrol(&world, 1).await;
        let now = Instant::now();
        let made_of = Associations { node: 7, seed: [2; 32], saved: None, key: None };
        let bridge = carrier::Secure::new(now, world.api.clone(), made_of);
        let endpoint = Endpoint::new(Config::default(), now, random::numbers([3; 32]));
        Self { now, world, bridge, endpoint }
    }

    /// Hands datagrams to the bridge, and its own to the device.
    fn exchange(&mut self, device: &mut Client, from: SocketAddr, datagrams: &[Vec<u8>]) {
        for datagram in datagrams {
            self.bridge.take(self.now, &mut self.endpoint, from, datagram);
        }
        self.bridge.settle(self.now, &mut self.endpoint);
        while let Some((_, datagram)) = self.bridge.poll_transmit() {
            device.handle_datagram(self.now, &datagram);
        }
    }

    /// A device whose key has been looked up, and its Finished, which it holds back.
    async fn looked_up(&mut self, seed: u8, from: SocketAddr) -> (Client, Vec<u8>) {
        let mut device = Client::connect(Offer::new("identity", KEY), self.now, random::bytes([seed; 32]));
        // Hello, and hello with the cookie.
        for _ in 0..2 {
            let datagrams = leaving(&mut device);
            self.exchange(&mut device, from, &datagrams);
        }
        let mut datagrams = leaving(&mut device);
        let finished = datagrams.pop().unwrap();
        self.exchange(&mut device, from, &datagrams);
        timeout(BOUND, self.bridge.answered()).await.unwrap();
        (device, finished)
    }
}

fn leaving(device: &mut Client) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| device.poll_transmit()).collect()
}

fn port(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

#[tokio::test]
async fn a_handshake_proves_the_key_that_it_was_begun_with() {
    for replaced in [false, true] {
        let mut line = Line::new().await;
        let (mut thief, finished) = line.looked_up(9, port(5000)).await;
        if replaced {
            let digest = TokenDigest::of_psk_identity(b"identity");
            assert!(Credentials::remove(&*line.world.store, &digest).await.unwrap());
            enrol(&line.world, 2).await;
            // Its new key is looked up in between.
            line.looked_up(10, port(5001)).await;
        }
        line.exchange(&mut thief, port(5000), &[finished]);
        assert!(thief.is_connected());
        let session = line.bridge.only_session();
        let caller = timeout(BOUND, line.bridge.caller(&session)).await.unwrap();
        assert_eq!(caller == Caller::Revoked, replaced, "{caller:?}");
    }
}

#[tokio::test]
async fn handshakes_that_fail_leave_nothing() {
    let mut line = Line::new().await;
    for round in 0..20 {
        let (mut device, _) = line.looked_up(round, port(5000)).await;
        assert!(line.bridge.proving() <= 2);
        // It breaks off: a fatal alert, in the clear.
        let alert = [21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 2, 80].to_vec();
        line.exchange(&mut device, port(5000), &[alert]);
        assert_eq!(line.bridge.proving(), 0);
    }
}

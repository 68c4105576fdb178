//! Our packets read by an independent implementation, its packets read by us, and anything at all.

use bytes::BytesMut;
use proptest::prelude::*;
use rumqttc::mqttbytes::v4;
use rumqttc::v5::mqttbytes::v5;

use super::*;
use crate::config::{Credentials, Protocol, Secret};
use crate::dialect::{Origin, Publication};

const MAX: usize = 1 << 20;

fn publication(payload: Vec<u8>, retain: bool) -> Publication<'static> {
    Publication {
        topic: "devices/d1/telemetry".into(),
        payload,
        retain,
        content_type: "application/json",
        correlation: b"\x01\x02",
        origin: Some(Origin { id: [b'1'; 32], source: "ttn", integration: "farm" }),
    }
}

fn bytes(write: impl FnOnce(&mut Vec<u8>)) -> BytesMut {
    let mut out = Vec::new();
    write(&mut out);
    BytesMut::from(&out[..])
}

fn read_v4(mut buffer: BytesMut) -> v4::Packet {
    let packet = v4::Packet::read(&mut buffer, MAX).unwrap();
    assert!(buffer.is_empty());
    packet
}

fn read_v5(mut buffer: BytesMut) -> v5::Packet {
    let packet = v5::Packet::read(&mut buffer, Some(MAX as u32)).unwrap();
    assert!(buffer.is_empty());
    packet
}

#[test]
fn connect_says_who_and_what_if_lost() {
    let will = publication(b"{}".to_vec(), true);
    let credentials = Credentials { user: "u".into(), password: Secret::new("p") };
    let connect = |protocol| Connect {
        protocol,
        client_id: "b1-0",
        keep_alive_seconds: 30,
        credentials: Some(&credentials),
        will: Some(&will),
        max_packet: 1000,
        session: Session::Clean,
    };
    let v4::Packet::Connect(old) = read_v4(bytes(|out| super::connect(out, &connect(Protocol::V311)))) else {
        panic!("no CONNECT")
    };
    assert_eq!((old.client_id.as_str(), old.keep_alive, old.clean_session), ("b1-0", 30, true));
    let (login, last_will) = (old.login.unwrap(), old.last_will.unwrap());
    assert_eq!((login.username.as_str(), login.password.as_str()), ("u", "p"));
    assert_eq!((last_will.topic.as_str(), last_will.retain), ("devices/d1/telemetry", true));
    assert_eq!(last_will.qos, rumqttc::QoS::AtLeastOnce);

    let v5::Packet::Connect(new, will, login) =
        read_v5(bytes(|out| super::connect(out, &connect(Protocol::V5))))
    else {
        panic!("no CONNECT")
    };
    assert_eq!((new.client_id.as_str(), new.keep_alive, new.clean_start), ("b1-0", 30, true));
    assert_eq!(new.properties.unwrap().max_packet_size, Some(1000));
    assert_eq!((&will.unwrap().message[..], login.unwrap().password.as_str()), (&b"{}"[..], "p"));
    let bare = Connect { credentials: None, will: None, ..connect(Protocol::V311) };
    let v4::Packet::Connect(bare) = read_v4(bytes(|out| super::connect(out, &bare))) else {
        panic!("no CONNECT")
    };
    assert!(bare.login.is_none() && bare.last_will.is_none());
}

#[test]
fn connack_grants_and_refuses() {
    let properties = v5::ConnAckProperties {
        receive_max: Some(20),
        max_packet_size: Some(4096),
        server_keep_alive: Some(7),
        retain_available: Some(0),
        reason_string: Some("welcome".into()),
        user_properties: vec![("a".into(), "b".into())],
        assigned_client_identifier: Some("x".into()),
        session_expiry_interval: Some(9),
        max_qos: None,
        topic_alias_max: Some(10),
        wildcard_subscription_available: Some(1),
        subscription_identifiers_available: Some(1),
        shared_subscription_available: Some(1),
        response_information: None,
        server_reference: None,
        authentication_method: None,
        authentication_data: None,
    };
    let packet = v5::ConnAck {
        session_present: false,
        code: v5::ConnectReturnCode::Success,
        properties: Some(properties),
    };
    let mut buffer = BytesMut::new();
    packet.write(&mut buffer).unwrap();
    let Ok(Some(Incoming::ConnAck(connack))) = next_packet(&mut buffer, Protocol::V5, MAX) else {
        panic!("no CONNACK")
    };
    let want = ConnAck {
        code: 0,
        reason: Some("welcome".into()),
        receive_maximum: Some(20),
        maximum_packet: Some(4096),
        takes_qos1: true,
        takes_retained: false,
        keep_alive: Some(7),
        session_present: false,
    };
    assert_eq!(connack, want);
    assert_eq!(connect_refusal(&connack, Protocol::V5), None);

    let mut buffer = BytesMut::from(&[0x20, 2, 0, 5][..]);
    let Ok(Some(Incoming::ConnAck(refused))) = next_packet(&mut buffer, Protocol::V311, MAX) else {
        panic!("no CONNACK")
    };
    let why = connect_refusal(&refused, Protocol::V311).unwrap();
    assert!(why.contains("not authorised"), "{why}");
    let only_qos0 = ConnAck { takes_qos1: false, ..want };
    assert!(connect_refusal(&only_qos0, Protocol::V5).is_some());
}

#[test]
fn answers_and_ends() {
    let mut buffer = BytesMut::from(
        &[
            0x40, 2, 0, 7, // success, short form
            0x40, 3, 0, 8, 0x97, // quota
            0x40, 4, 0, 9, 0x10, 0, // no subscribers
            0xD0, 0, // PINGRESP
            0xE0, 2, 0x8E, 0, // session taken over
            0x40, 4, 0, // not complete
        ][..],
    );
    let mut next = || next_packet(&mut buffer, Protocol::V5, MAX).unwrap();
    assert_eq!(next(), Some(Incoming::PubAck(7, 0)));
    assert_eq!(next(), Some(Incoming::PubAck(8, 0x97)));
    assert_eq!(next(), Some(Incoming::PubAck(9, 0x10)));
    assert_eq!(next(), Some(Incoming::Other));
    assert_eq!(next(), Some(Incoming::Disconnect(0x8E, None)));
    assert_eq!(next(), None);
    assert!(disconnect_reason(0x8E, None).contains("same client id"));
    assert!(publish_answer(0x10).is_ok());
}

#[test]
fn a_subscriber_keeps_its_session_and_acknowledges() {
    let connect = |protocol| Connect {
        protocol,
        client_id: "b1-commands",
        keep_alive_seconds: 30,
        credentials: None,
        will: None,
        max_packet: 1000,
        session: Session::Kept(600),
    };
    let v4::Packet::Connect(old) = read_v4(bytes(|out| super::connect(out, &connect(Protocol::V311)))) else {
        panic!("no CONNECT")
    };
    assert!(!old.clean_session);
    let v5::Packet::Connect(new, ..) = read_v5(bytes(|out| super::connect(out, &connect(Protocol::V5))))
    else {
        panic!("no CONNECT")
    };
    assert!(!new.clean_start);
    assert_eq!(new.properties.unwrap().session_expiry_interval, Some(600));

    let v4::Packet::Subscribe(old) =
        read_v4(bytes(|out| subscribe(out, Protocol::V311, 1, "a/+/b", Kept::Never)))
    else {
        panic!("no SUBSCRIBE")
    };
    assert_eq!((old.pkid, old.filters[0].path.as_str()), (1, "a/+/b"));
    let v5::Packet::Subscribe(new) =
        read_v5(bytes(|out| subscribe(out, Protocol::V5, 1, "a/+/b", Kept::Never)))
    else {
        panic!("no SUBSCRIBE")
    };
    assert_eq!(new.filters[0].retain_forward_rule, v5::RetainForwardRule::Never);
    let v4::Packet::PubAck(ack) = read_v4(bytes(|out| puback(out, 77))) else { panic!("no PUBACK") };
    assert_eq!(ack.pkid, 77);
    let v5::Packet::PubAck(ack) = read_v5(bytes(|out| puback(out, 77))) else { panic!("no PUBACK") };
    assert_eq!(ack.pkid, 77);
}

#[test]
fn what_is_received_is_read_whole() {
    let mut publish =
        v5::Publish::new("devices/d1/commands/open", rumqttc::v5::mqttbytes::QoS::AtLeastOnce, "{}", None);
    publish.pkid = 9;
    publish.dup = true;
    publish.properties = Some(v5::PublishProperties {
        response_topic: Some("answers".into()),
        correlation_data: Some(bytes::Bytes::from_static(&[1, 2])),
        user_properties: vec![("a".into(), "b".into())],
        ..v5::PublishProperties::default()
    });
    let mut buffer = BytesMut::new();
    publish.write(&mut buffer).unwrap();
    buffer.extend([0x90, 4, 0, 1, 0, 0x87]);
    let want = Received {
        topic: "devices/d1/commands/open".into(),
        payload: b"{}".to_vec(),
        packet_id: Some(9),
        duplicate: true,
        retained: false,
        response_topic: Some("answers".into()),
        correlation: vec![1, 2],
    };
    assert_eq!(next_packet(&mut buffer, Protocol::V5, MAX), Ok(Some(Incoming::Publish(want))));
    assert_eq!(next_packet(&mut buffer, Protocol::V5, MAX), Ok(Some(Incoming::SubAck(1, 0x87))));

    let mut buffer = BytesMut::from(&[0x31, 5, 0, 1, b't', b'4', b'2', 0x90, 3, 0, 1, 1][..]);
    let Ok(Some(Incoming::Publish(old))) = next_packet(&mut buffer, Protocol::V311, MAX) else {
        panic!("no PUBLISH")
    };
    assert_eq!(
        (old.topic.as_str(), &old.payload[..], old.packet_id, old.retained),
        ("t", &b"42"[..], None, true)
    );
    assert_eq!(next_packet(&mut buffer, Protocol::V311, MAX), Ok(Some(Incoming::SubAck(1, 1))));
}

#[test]
fn what_is_not_mqtt_ends_the_connection() {
    for (malformed, why) in [
        (&[0x40, 0xFF, 0xFF, 0xFF, 0xFF, 1][..], "no end"),
        (&[0x40, 1, 0], "before its end"),
        (b"HTTP/1.1 400 Bad Request\r\n", "over the limit"),
        (&[0x10, 0], "never sends"),
        (&[0x34, 5, 0, 1, b't', 0, 1], "not asked for"),
        (&[0x32, 5, 0, 1, 0xFF, 0, 1], "not UTF-8"),
    ] {
        let error = next_packet(&mut BytesMut::from(malformed), Protocol::V5, 80).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
}

proptest! {
    #[test]
    fn publishes_are_read_as_they_were_meant(
        id in 1..=u16::MAX,
        payload in prop::collection::vec(any::<u8>(), 0..20_000),
        retain: bool,
    ) {
        let publication = publication(payload.clone(), retain);
        let v4::Packet::Publish(old) =
            read_v4(bytes(|out| publish(out, Protocol::V311, id, &publication)))
        else { panic!("no PUBLISH") };
        prop_assert_eq!((old.pkid, &old.payload[..], old.retain), (id, &payload[..], retain));
        prop_assert_eq!((old.topic.as_str(), old.qos), ("devices/d1/telemetry", rumqttc::QoS::AtLeastOnce));
        let v5::Packet::Publish(new) = read_v5(bytes(|out| publish(out, Protocol::V5, id, &publication)))
        else { panic!("no PUBLISH") };
        prop_assert_eq!((new.pkid, &new.payload[..], new.retain), (id, &payload[..], retain));
        let properties = new.properties.unwrap();
        prop_assert_eq!(properties.correlation_data.as_deref(), Some(&[1, 2][..]));
        prop_assert_eq!(properties.content_type.as_deref(), Some("application/json"));
        let id = "1".repeat(32);
        let want = [("id", id.as_str()), ("source", "ttn"), ("integration", "farm")];
        prop_assert_eq!(properties.user_properties, want.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn any_bytes_are_a_packet_an_error_or_not_enough(
        bytes in prop::collection::vec(any::<u8>(), 0..64),
        v5: bool,
    ) {
        let protocol = if v5 { Protocol::V5 } else { Protocol::V311 };
        let mut buffer = BytesMut::from(&bytes[..]);
        while let Ok(Some(_)) = next_packet(&mut buffer, protocol, MAX) {}
    }
}

//! The floor: a bare UDP socket that publishes each datagram, awaits its PUBACK and echoes it. Not here: MQTT.

use std::sync::Arc;

use tokio::net::UdpSocket;

use crate::floor::Publisher;

/// Serves for ever.
pub(crate) async fn run(port: u16, mqtt: u16) {
    let publisher = Publisher::connect(mqtt);
    let socket = Arc::new(UdpSocket::bind(crate::address(port)).await.unwrap());
    let mut buffer = vec![0; 65_536];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
        let datagram = bytes::Bytes::copy_from_slice(&buffer[..length]);
        let (publisher, socket) = (publisher.clone(), socket.clone());
        tokio::spawn(async move {
            publisher.publish(datagram.clone()).await;
            socket.send_to(&datagram, from).await.unwrap();
        });
    }
}

//! When to ask the broker whether it is still there, and when to take it for gone. Time is an argument.

use std::time::{Duration, Instant};

/// Watches one connection. A period of zero watches nothing, as in MQTT.
#[derive(Debug)]
pub(crate) struct KeepAlive {
    period: Duration,
    sent: Instant,
    heard: Instant,
    asked: bool,
}

/// What is due.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Nothing before then; none for never.
    At(Option<Instant>),
    /// A PINGREQ.
    Ping,
    /// Nothing was heard for one and a half periods.
    Gone,
}

impl KeepAlive {
    pub(crate) fn new(period: Duration, now: Instant) -> Self {
        Self { period, sent: now, heard: now, asked: false }
    }

    /// Something was written.
    pub(crate) fn sent(&mut self, now: Instant) {
        self.sent = now;
    }

    /// Something was read.
    pub(crate) fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.asked = false;
    }

    /// What is due now. A `Ping` counts as sent.
    pub(crate) fn due(&mut self, now: Instant) -> Due {
        if self.period.is_zero() {
            return Due::At(None);
        }
        let gone_at = self.heard + self.period + self.period / 2;
        if now >= gone_at {
            return Due::Gone;
        }
        // The broker must hear from us within a period (section 3.1.2.10), and we want to hear from it.
        let ask_at = if self.asked { self.sent } else { self.sent.min(self.heard) } + self.period;
        if now >= ask_at {
            self.asked = true;
            self.sent = now;
            return Due::Ping;
        }
        Due::At(Some(ask_at.min(gone_at)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(30);

    #[test]
    fn asks_after_a_quiet_period_and_gives_up_half_a_period_later() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut alive = KeepAlive::new(PERIOD, start);
        assert_eq!(alive.due(at(0)), Due::At(Some(at(30))));
        alive.sent(at(20));
        assert_eq!(alive.due(at(29)), Due::At(Some(at(30))), "it has not been heard since");
        assert_eq!(alive.due(at(30)), Due::Ping);
        assert_eq!(alive.due(at(31)), Due::At(Some(at(45))));
        alive.heard(at(40));
        assert_eq!(alive.due(at(45)), Due::At(Some(at(60))));
        assert_eq!(alive.due(at(60)), Due::Ping);
        assert_eq!(alive.due(at(85)), Due::Gone);
    }

    #[test]
    fn a_period_of_zero_is_for_ever() {
        let start = Instant::now();
        let mut alive = KeepAlive::new(Duration::ZERO, start);
        assert_eq!(alive.due(start + Duration::from_secs(1_000_000)), Due::At(None));
    }
}

//! The data types of Cayenne LPP: LPP 1.0, and the types that ElectronicCats' library, ChirpStack and The Things Stack
//! added (reference page "webhooks", section 5.2). Not here: frames.

/// How the bytes of a value are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// One number.
    Number(Part),
    /// Several numbers, each with its name.
    Object(&'static [(&'static str, Part)]),
    /// A line on the map, of a length of its own.
    Polyline,
}

/// A big-endian number of a fixed width; the value is the integer divided by `divisor`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    /// 1 to 4.
    pub(super) bytes: usize,
    pub(super) signed: bool,
    /// A power of ten, or 2.
    pub(super) divisor: u32,
}

/// A data type.
#[derive(Debug)]
pub(super) struct Kind {
    /// The byte after the channel; the number of the IPSO object less 3200.
    pub(super) code: u8,
    /// As The Things Stack writes it, before `_CHANNEL`.
    pub(super) name: &'static str,
    /// SenML symbol where there is one.
    pub(super) unit: Option<&'static str>,
    pub(super) shape: Shape,
}

/// The type of this code.
pub(super) fn by_code(code: u8) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.code == code)
}

/// The type of this name.
pub(super) fn by_name(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == name)
}

impl Part {
    /// The smallest and the largest integer.
    pub(super) fn range(self) -> (i64, i64) {
        let bits = self.bytes * 8;
        if self.signed { (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) } else { (0, (1 << bits) - 1) }
    }
}

const fn unsigned(bytes: usize, divisor: u32) -> Part {
    Part { bytes, signed: false, divisor }
}

const fn signed(bytes: usize, divisor: u32) -> Part {
    Part { bytes, signed: true, divisor }
}

const fn kind(code: u8, name: &'static str, part: Part, unit: Option<&'static str>) -> Kind {
    Kind { code, name, unit, shape: Shape::Number(part) }
}

const fn object(
    code: u8,
    name: &'static str,
    parts: &'static [(&'static str, Part)],
    unit: Option<&'static str>,
) -> Kind {
    Kind { code, name, unit, shape: Shape::Object(parts) }
}

/// Every type.
pub(super) static KINDS: &[Kind] = &[
    kind(0, "digital_in", unsigned(1, 1), None),
    kind(1, "digital_out", unsigned(1, 1), None),
    kind(2, "analog_in", signed(2, 100), None),
    kind(3, "analog_out", signed(2, 100), None),
    kind(100, "generic", unsigned(4, 1), None),
    kind(101, "luminosity", unsigned(2, 1), Some("lx")),
    kind(102, "presence", unsigned(1, 1), None),
    kind(103, "temperature", signed(2, 10), Some("Cel")),
    kind(104, "relative_humidity", unsigned(1, 2), Some("%RH")),
    object(
        113,
        "accelerometer",
        &[("x", signed(2, 1000)), ("y", signed(2, 1000)), ("z", signed(2, 1000))],
        Some("g"),
    ),
    // Unsigned by the specification; The Things Stack reads it signed, which differs above 3276.7 hPa alone.
    kind(115, "barometric_pressure", unsigned(2, 10), Some("hPa")),
    kind(116, "voltage", unsigned(2, 100), Some("V")),
    kind(117, "current", unsigned(2, 1000), Some("A")),
    kind(118, "frequency", unsigned(4, 1), Some("Hz")),
    kind(120, "percentage", unsigned(1, 1), Some("%")),
    kind(121, "altitude", signed(2, 1), Some("m")),
    kind(125, "concentration", unsigned(2, 1), Some("ppm")),
    kind(128, "power", unsigned(2, 1), Some("W")),
    kind(130, "distance", unsigned(4, 1000), Some("m")),
    kind(131, "energy", unsigned(4, 1000), Some("kWh")),
    kind(132, "direction", unsigned(2, 1), Some("deg")),
    kind(133, "unixtime", unsigned(4, 1), Some("s")),
    object(
        134,
        "gyrometer",
        &[("x", signed(2, 100)), ("y", signed(2, 100)), ("z", signed(2, 100))],
        Some("deg/s"),
    ),
    object(135, "colour", &[("r", unsigned(1, 1)), ("g", unsigned(1, 1)), ("b", unsigned(1, 1))], None),
    object(
        136,
        "gps",
        &[("latitude", signed(3, 10_000)), ("longitude", signed(3, 10_000)), ("altitude", signed(3, 100))],
        None,
    ),
    kind(142, "switch", unsigned(1, 1), None),
    Kind { code: 240, name: "polyline", unit: None, shape: Shape::Polyline },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_names_are_unique_and_parts_are_sane() {
        for (index, kind) in KINDS.iter().enumerate() {
            assert!(std::ptr::eq(by_code(kind.code).unwrap(), &KINDS[index]), "{}", kind.code);
            assert!(std::ptr::eq(by_name(kind.name).unwrap(), &KINDS[index]), "{}", kind.name);
            let parts: &[(&str, Part)] = match &kind.shape {
                Shape::Number(part) => &[("", *part)],
                Shape::Object(parts) => parts,
                Shape::Polyline => &[],
            };
            for (_, part) in parts {
                assert!(
                    (1..=4).contains(&part.bytes) && [1, 2, 10, 100, 1000, 10_000].contains(&part.divisor)
                );
            }
        }
    }
}

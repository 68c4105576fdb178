//! The polyline of ElectronicCats' CayenneLPP library (type 240): a first point and steps from it. Not here: writing
//! one, for which the library has to choose a precision.

use serde_json::{Value, json};

/// Size, precision, and two coordinates of three bytes.
const HEAD: usize = 8;

/// The polyline at the start of `bytes`, and what follows it: its first byte says how long it is, itself included. None
/// when it is cut off or has no length.
pub(super) fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let size = usize::from(*bytes.first()?);
    (size > 0).then(|| bytes.split_at_checked(size)).flatten()
}

/// A list of `{latitude, longitude}` in degrees: the first point as two signed 24-bit integers, then a byte for each
/// step, its lower half signed for the latitude and its upper half for the longitude. None when the precision is not
/// one of the library's, or the head is not whole.
pub(super) fn decode(line: &[u8]) -> Option<Value> {
    let (head, steps) = line.split_at_checked(HEAD)?;
    let factor = factor(head[1])?;
    let coordinate =
        |at: usize| i64::from(i32::from_be_bytes([head[at], head[at + 1], head[at + 2], 0]) >> 8) * factor;
    let (mut latitude, mut longitude) = (coordinate(2), coordinate(5));
    let mut points = vec![point(latitude, longitude)];
    for step in steps {
        latitude += i64::from((*step << 4).cast_signed() >> 4) * factor;
        longitude += i64::from(step.cast_signed() >> 4) * factor;
        points.push(point(latitude, longitude));
    }
    Some(points.into())
}

/// How many times 0.0001 degrees a unit is.
fn factor(code: u8) -> Option<i64> {
    match code {
        1..=199 => Some(code.into()),
        227..=239 => {
            let steps = u32::from(code - 227);
            Some([1, 2, 5][(steps % 3) as usize] * 10_i64.pow(steps / 3))
        }
        _ => None,
    }
}

fn point(latitude: i64, longitude: i64) -> Value {
    json!({"latitude": latitude as f64 / 10_000.0, "longitude": longitude as f64 / 10_000.0})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_add_up() {
        // 13.0001, 12.0001 at 0.0001 degrees; then +1 and +1; then -8 and +7.
        let line = [10, 227, 0x01, 0xfb, 0xd1, 0x01, 0xd4, 0xc1, 0x11, 0x78];
        assert_eq!(
            decode(&line),
            Some(json!([
                {"latitude": 13.0001, "longitude": 12.0001},
                {"latitude": 13.0002, "longitude": 12.0002},
                {"latitude": 12.9994, "longitude": 12.0009}
            ]))
        );
        let west = [8, 236, 0xff, 0xff, 0xff, 0xff, 0xfc, 0x00];
        assert_eq!(decode(&west), Some(json!([{"latitude": -0.1, "longitude": -102.4}])));
    }

    #[test]
    fn precisions_of_the_library() {
        assert_eq!([227, 228, 229, 230, 238, 239].map(factor), [1, 2, 5, 10, 5000, 10_000].map(Some));
        assert_eq!([0, 200, 226, 240, 255].map(factor), [None; 5]);
    }

    #[test]
    fn a_length_of_nothing_or_beyond_the_end_is_none() {
        assert_eq!(split(&[]), None);
        assert_eq!(split(&[0, 1]), None);
        assert_eq!(split(&[3, 1]), None);
        assert_eq!(split(&[2, 1, 7]), Some((&[2, 1][..], &[7][..])));
        assert_eq!(decode(&[3, 227, 0]), None);
    }
}

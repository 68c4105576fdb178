//! The shapes in which vectors are published: the device repository's (`uplinkDecoder: {fileName, examples}`), a list of
//! `examples` with their kind beside the script's name, and the lists of payloads for Cayenne LPP and for Sigfox's custom
//! payload grammar. Not here: running them.

use bridge_core::Timestamp;
use serde_json::{Map, Value, json};

use super::{Example, Expected, Subject};
use crate::js::Function;

/// The parts of a device repository's codec file.
const PARTS: [(&str, Function); 3] = [
    ("uplinkDecoder", Function::DecodeUplink),
    ("downlinkEncoder", Function::EncodeDownlink),
    ("downlinkDecoder", Function::DecodeDownlink),
];
/// The kinds in a list of examples.
const KINDS: [(&str, Function); 3] = [
    ("uplinkDecode", Function::DecodeUplink),
    ("downlinkEncode", Function::EncodeDownlink),
    ("downlinkDecode", Function::DecodeDownlink),
];

/// The examples of a document; none when it holds something else.
///
/// # Errors
/// When it holds examples and one cannot be understood: a sentence for its author.
pub fn read(document: &Value) -> Result<Option<Vec<Example>>, String> {
    match document {
        Value::Object(object) if PARTS.iter().any(|(part, _)| object.contains_key(*part)) => {
            parts(object).map(Some)
        }
        Value::Object(object) => match object.get("examples") {
            Some(Value::Array(examples)) if examples.iter().any(|one| kind_of(one).is_some()) => {
                let file = script_of(object);
                number(examples, |one| kinds(one, &file)).map(Some)
            }
            _ => Ok(None),
        },
        Value::Array(vectors) if all_have(vectors, &["hex", "direction", "expected"]) => {
            number(vectors, cayenne).map(Some)
        }
        Value::Array(vectors) if all_have(vectors, &["data", "format", "expected"]) => {
            number(vectors, grammar).map(Some)
        }
        _ => Ok(None),
    }
}

fn all_have(vectors: &[Value], keys: &[&str]) -> bool {
    !vectors.is_empty() && vectors.iter().all(|vector| keys.iter().all(|key| vector.get(key).is_some()))
}

/// Reads each, and says which one could not be read.
fn number(
    examples: &[Value],
    read: impl Fn(&Value) -> Result<Example, String>,
) -> Result<Vec<Example>, String> {
    let numbered = examples.iter().enumerate().map(|(index, one)| {
        let mut example = read(one).map_err(|why| format!("example {}: {why}", index + 1))?;
        let description = one["description"].as_str().unwrap_or_default().trim();
        let blank = if description.is_empty() { "" } else { " " };
        example.title = format!("{} {}{blank}{description}", example.title, index + 1);
        Ok(example)
    });
    numbered.collect()
}

fn parts(object: &Map<String, Value>) -> Result<Vec<Example>, String> {
    let mut all = Vec::new();
    for (part, function) in PARTS {
        let Some(described) = object.get(part) else { continue };
        let file = described["fileName"].as_str().map(str::to_owned);
        match &described["examples"] {
            Value::Null => {}
            Value::Array(examples) => {
                let read = number(examples, |one| script_example(one, function, &file));
                all.extend(read.map_err(|why| format!("{part}: {why}"))?);
            }
            _ => return Err(format!("{part}: `examples` is not a list")),
        }
    }
    Ok(all)
}

fn kind_of(example: &Value) -> Option<&Value> {
    example.get("kind").or_else(|| example.get("type"))
}

fn kinds(example: &Value, file: &Option<String>) -> Result<Example, String> {
    let kind = kind_of(example).and_then(Value::as_str);
    let function = KINDS.iter().find(|(name, _)| kind == Some(name)).map(|(_, function)| *function);
    let function = function.ok_or("its kind is not uplinkDecode, downlinkEncode or downlinkDecode")?;
    script_example(example, function, file)
}

/// The script beside which a list of examples stands.
fn script_of(object: &Map<String, Value>) -> Option<String> {
    let named = ["fileName", "codec_file", "codec"];
    let places = [Some(object), object.get("source").and_then(Value::as_object)];
    let mut all = places.into_iter().flatten().flat_map(|place| named.map(|name| place.get(name)));
    all.find_map(|name| name?.as_str()).map(str::to_owned)
}

fn script_example(one: &Value, function: Function, file: &Option<String>) -> Result<Example, String> {
    let (input, encodes) = (&one["input"], function == Function::EncodeDownlink);
    if !input.is_object() {
        return Err("there is no `input`".into());
    }
    let data = input.get("data").filter(|_| encodes);
    if encodes && data.is_none() {
        return Err("there is no `input.data`".into());
    }
    let output = match &one["output"] {
        Value::Object(output) => masked(output)?,
        _ => return Err("there is no `output`".into()),
    };
    Ok(Example {
        title: function.name().to_owned(),
        subject: Subject::Script(file.clone()),
        function,
        bytes: if encodes { Vec::new() } else { payload(input)? },
        port: port(input)?,
        received_at: time(input)?,
        data: data.cloned(),
        expected: Expected::Output {
            output,
            normalized: one.get("normalizedOutput").filter(|it| it.is_object()).cloned(),
        },
    })
}

fn cayenne(vector: &Value) -> Result<Example, String> {
    let (function, title) = match vector["direction"].as_str() {
        Some("up") => (Function::DecodeUplink, "Cayenne LPP uplink"),
        Some("down") => (Function::DecodeDownlink, "Cayenne LPP downlink"),
        _ => return Err("`direction` is neither \"up\" nor \"down\"".into()),
    };
    let expected = match &vector["expected"] {
        Value::String(_) => Expected::Complaint,
        Value::Array(values) => {
            let fields: Result<Map<_, _>, String> = values
                .iter()
                .map(|one| {
                    let channel = one["channel"].as_u64().ok_or("a value has no `channel`")?;
                    let name = one["name"].as_str().unwrap_or("value");
                    Ok((format!("{name}_{channel}"), one["value"].clone()))
                })
                .collect();
            of_data(fields?)
        }
        _ => return Err("`expected` is neither a list of values nor a text".into()),
    };
    Ok(native(title, Subject::Cayenne, function, hex(&vector["hex"])?, expected))
}

fn grammar(vector: &Value) -> Result<Example, String> {
    let format = vector["format"].as_str().ok_or("`format` is not a text")?;
    let expected = match &vector["expected"] {
        Value::String(_) => Expected::Complaint,
        Value::Object(fields) => of_data(fields.clone()),
        _ => return Err("`expected` is neither an object nor a text".into()),
    };
    let subject = Subject::Grammar(format.to_owned());
    Ok(native("Sigfox grammar", subject, Function::DecodeUplink, hex(&vector["data"])?, expected))
}

fn of_data(data: Map<String, Value>) -> Expected {
    let output = Map::from_iter([("data".to_owned(), Value::Object(data))]);
    Expected::Output { output: output.into(), normalized: None }
}

fn native(title: &str, subject: Subject, function: Function, bytes: Vec<u8>, expected: Expected) -> Example {
    let title = title.to_owned();
    Example { title, subject, function, bytes, port: None, received_at: None, data: None, expected }
}

/// `bytes`, a list of numbers or hexadecimal digits, else `hex`.
fn payload(input: &Value) -> Result<Vec<u8>, String> {
    match &input["bytes"] {
        Value::Array(bytes) => list(bytes),
        digits @ Value::String(_) => hex(digits),
        Value::Null => hex(&input["hex"]),
        _ => Err("`bytes` is neither a list nor a text".into()),
    }
}

/// Some vectors have signed bytes; as Java writes them.
fn list(bytes: &[Value]) -> Result<Vec<u8>, String> {
    let byte = |value: &Value| {
        let number = value.as_i64().filter(|number| (-256..=255).contains(number));
        // Masked, it fits.
        number.map(|number| (number & 0xFF) as u8).ok_or_else(|| format!("{value} is not a byte"))
    };
    bytes.iter().map(byte).collect()
}

fn hex(value: &Value) -> Result<Vec<u8>, String> {
    let no_payload = || "the payload is neither a list of bytes nor hexadecimal digits".to_owned();
    let digits = value.as_str().ok_or_else(no_payload)?.trim();
    let nibbles: Option<Vec<u8>> = digits
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect();
    let nibbles = nibbles.filter(|nibbles| nibbles.len().is_multiple_of(2)).ok_or_else(no_payload)?;
    Ok(nibbles.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

fn port(input: &Value) -> Result<Option<u8>, String> {
    match &input["fPort"] {
        Value::Null => Ok(None),
        port => match port.as_u64().and_then(|port| u8::try_from(port).ok()) {
            Some(port) => Ok(Some(port)),
            None => Err("`fPort` is not a whole number from 0 to 255".into()),
        },
    }
}

fn time(input: &Value) -> Result<Option<Timestamp>, String> {
    match &input["recvTime"] {
        Value::Null => Ok(None),
        time => match time.as_str().and_then(Timestamp::parse_rfc3339) {
            Some(time) => Ok(Some(time)),
            None => Err("`recvTime` is not RFC 3339".into()),
        },
    }
}

fn masked(output: &Map<String, Value>) -> Result<Value, String> {
    let mut output = output.clone();
    if let Some(Value::Array(bytes)) = output.get("bytes") {
        let bytes = list(bytes).map_err(|why| format!("in the output, {why}"))?;
        output.insert("bytes".into(), json!(bytes));
    }
    Ok(output.into())
}

//! An OpenAPI document becomes one HTML page that needs nothing else: no script, no other file. Not here: serving it, and
//! parts of OpenAPI that the bridge's own document does not use.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// Renders the page; `style` stands in it as it is.
pub(super) fn render(document: &Value, style: &str) -> String {
    let info = &document["info"];
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>{title}</title>\
         <style>{style}</style></head><body>\n<h1>{title}</h1>\n<p>{description}</p>\n\
         <p>As a document for tools: <a href=\"openapi.json\">openapi.json</a> (OpenAPI {version}).</p>\n",
        title = escape(text(&info["title"])),
        description = prose(text(&info["description"])),
        version = escape(text(&document["openapi"])),
    );
    contents(&mut page, document);
    for tag in list(&document["tags"]) {
        let name = text(&tag["name"]);
        push(&mut page, &format!("<h2>{}</h2>\n<p>{}</p>\n", escape(name), prose(text(&tag["description"]))));
        for (path, method, operation) in operations(document) {
            if list(&operation["tags"]).iter().any(|tag| tag == name) {
                section(&mut page, document, path, method, operation);
            }
        }
    }
    push(&mut page, "<h2>Secrets</h2>\n<table>\n");
    for (_, scheme) in members(&document["components"]["securitySchemes"]) {
        push(
            &mut page,
            &format!(
                "<tr><td><code>{}</code></td><td>{}</td></tr>\n",
                escape(&credentials(scheme)),
                prose(text(&scheme["description"]))
            ),
        );
    }
    push(&mut page, "</table>\n<h2>Schemas</h2>\n");
    for (name, schema) in members(&document["components"]["schemas"]) {
        let name = escape(name);
        push(&mut page, &format!("<h3 id=\"schema-{name}\">{name}</h3>\n{}\n", json(schema)));
    }
    push(&mut page, "</body></html>\n");
    page
}

fn contents(page: &mut String, document: &Value) {
    push(page, "<ul>\n");
    for (path, method, operation) in operations(document) {
        let line = format!(
            "<li><a href=\"#{}\"><code>{} {}</code></a> {}</li>\n",
            escape(text(&operation["operationId"])),
            method.to_uppercase(),
            escape(path),
            prose(text(&operation["summary"]))
        );
        push(page, &line);
    }
    push(page, "</ul>\n");
}

fn section(page: &mut String, document: &Value, path: &str, method: &str, operation: &Value) {
    let heading = format!(
        "<h3 id=\"{}\"><b>{}</b> {}</h3>\n<p>{}. {}</p>\n",
        escape(text(&operation["operationId"])),
        method.to_uppercase(),
        escape(path),
        prose(text(&operation["summary"])),
        prose(text(&operation["description"])),
    );
    push(page, &heading);
    let parameters = parameters(document, path, operation);
    push(page, &format!("<pre>{}</pre>\n", escape(&curl(document, path, method, operation))));
    if !parameters.is_empty() {
        push(page, "<table>\n<tr><th>Parameter</th><th>In</th><th></th><th></th></tr>\n");
        for parameter in parameters {
            let row = format!(
                "<tr><td><code>{}</code></td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
                escape(text(&parameter["name"])),
                escape(text(&parameter["in"])),
                prose(text(&parameter["description"])),
                short(&parameter["schema"]),
            );
            push(page, &row);
        }
        push(page, "</table>\n");
    }
    for (media_type, media) in members(&operation["requestBody"]["content"]) {
        push(
            page,
            &format!("<p>Body <code>{}</code>: {}</p>\n", escape(media_type), short(&media["schema"])),
        );
        examples(page, media);
    }
    push(page, "<table>\n<tr><th>Status</th><th></th><th></th></tr>\n");
    for (status, response) in members(&operation["responses"]) {
        let response = resolve(document, response);
        let bodies: Vec<String> = members(&response["content"])
            .map(|(media_type, media)| {
                format!("<code>{}</code> {}", escape(media_type), short(&media["schema"]))
            })
            .collect();
        let row = format!(
            "<tr><td>{}</td><td>{}</td><td>{}</td></tr>\n",
            escape(status),
            prose(text(&response["description"])),
            bodies.join("<br>")
        );
        push(page, &row);
    }
    push(page, "</table>\n");
    for (_, response) in members(&operation["responses"]) {
        if response.get("$ref").is_none() {
            members(&response["content"]).for_each(|(_, media)| examples(page, media));
        }
    }
}

fn examples(page: &mut String, media: &Value) {
    for (name, example) in members(&media["examples"]) {
        let title = example["summary"].as_str().unwrap_or(name);
        push(
            page,
            &format!("<details><summary>{}</summary>{}</details>\n", escape(title), json(&example["value"])),
        );
    }
}

/// A request as a command line, with the first way to prove who is asking and the first example.
fn curl(document: &Value, path: &str, method: &str, operation: &Value) -> String {
    let mut address = path.to_owned();
    for parameter in parameters(document, path, operation) {
        if let Some(example) = parameter["example"].as_str() {
            address = address.replace(&format!("{{{}}}", text(&parameter["name"])), example);
        }
    }
    let mut line = match method {
        "get" => "curl".to_owned(),
        method => format!("curl -X {}", method.to_uppercase()),
    };
    let scheme =
        operation["security"].get(0).and_then(Value::as_object).and_then(|first| first.keys().next());
    if let Some(name) = scheme {
        let scheme = &document["components"]["securitySchemes"][name];
        match text(&scheme["in"]) {
            "query" => {
                address += &format!("?{}", credentials(scheme));
            }
            _ => line += &format!(" -H '{}'", credentials(scheme)),
        }
    }
    let example = members(&operation["requestBody"]["content"]).next().and_then(|(media_type, media)| {
        members(&media["examples"]).next().map(|(_, example)| (media_type, &example["value"]))
    });
    if let Some((media_type, example)) = example {
        line += &format!(" -H 'Content-Type: {media_type}' \\\n     -d '{example}' \\\n    ");
    }
    format!("{line} \"$BRIDGE{address}\"")
}

/// What a request carries by this scheme.
fn credentials(scheme: &Value) -> String {
    let name = text(&scheme["name"]);
    match (text(&scheme["scheme"]), text(&scheme["in"])) {
        ("bearer", _) => "Authorization: Bearer TOKEN".into(),
        ("basic", _) => "Authorization: Basic BASE64(NAME:TOKEN)".into(),
        ("HMAC-SHA256", _) => {
            "Authorization: HMAC-SHA256 keyId=ID, ts=…, nonce=…, body=…, signature=…".into()
        }
        (_, "query") => format!("{name}=SECRET"),
        _ if text(&scheme["type"]) == "mutualTLS" => "a client certificate".into(),
        _ => format!("{name}: SECRET"),
    }
}

/// Those of the path, then those of the operation.
fn parameters<'d>(document: &'d Value, path: &str, operation: &'d Value) -> Vec<&'d Value> {
    let of_path = list(&document["paths"][path]["parameters"]);
    of_path.iter().chain(list(&operation["parameters"])).map(|value| resolve(document, value)).collect()
}

fn operations(document: &Value) -> impl Iterator<Item = (&str, &str, &Value)> {
    members(&document["paths"]).flat_map(|(path, item)| {
        members(item)
            .filter(|(name, _)| *name != "parameters")
            .map(move |(method, operation)| (path, method, operation))
    })
}

/// What a local reference points to, or the value itself.
fn resolve<'d>(document: &'d Value, value: &'d Value) -> &'d Value {
    let target = value["$ref"].as_str().and_then(|reference| document.pointer(reference.strip_prefix('#')?));
    target.unwrap_or(value)
}

/// A schema in a line, when it is a reference or only a type.
fn short(schema: &Value) -> String {
    match (schema["$ref"].as_str(), schema.get("type")) {
        (Some(reference), _) => link(reference),
        (None, Some(Value::String(kind))) if kind == "array" => {
            format!("array of {}", short(&schema["items"]))
        }
        (None, Some(Value::String(kind))) => escape(kind),
        _ => prose(text(&schema["description"])),
    }
}

/// Indented, with references as links.
fn json(value: &Value) -> String {
    let mut out = String::from("<pre>");
    for line in format!("{value:#}").lines() {
        match line.split_once("\"$ref\": \"") {
            Some((before, reference)) => {
                let reference = reference.trim_end_matches([',', '"']);
                push(&mut out, &format!("{}{}\n", escape(before), link(reference)));
            }
            None => push(&mut out, &format!("{}\n", escape(line))),
        }
    }
    out + "</pre>"
}

fn link(reference: &str) -> String {
    let name = escape(reference.rsplit('/').next().unwrap_or(reference));
    format!("<a href=\"#schema-{name}\">{name}</a>")
}

/// Text with `code` in backticks.
fn prose(text: &str) -> String {
    let mut out = String::new();
    for (index, part) in text.split('`').enumerate() {
        let part = escape(part);
        let _ = match index % 2 {
            0 => write!(out, "{part}"),
            _ => write!(out, "<code>{part}</code>"),
        };
    }
    out
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn push(page: &mut String, text: &str) {
    page.push_str(text);
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn members(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter).map(|(name, value)| (name.as_str(), value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_described_is_shown_and_what_looks_like_html_is_text() {
        let page = render(
            &json!({
                "openapi": "3.1.1", "info": { "title": "a<b", "description": "see `x>y`" },
                "tags": [{ "name": "t" }],
                "paths": { "/d/{id}": {
                    "parameters": [{ "name": "id", "in": "path", "example": "pump-1" }],
                    "put": {
                        "operationId": "op", "tags": ["t"], "security": [{ "s": [] }],
                        "requestBody": { "content": { "application/json": {
                            "schema": { "$ref": "#/components/schemas/S" }, "examples": { "e": { "value": { "a": "<i>" } } }
                        } } },
                        "responses": { "204": { "description": "Done" } }
                    }
                } },
                "components": {
                    "securitySchemes": { "s": { "type": "http", "scheme": "bearer" } },
                    "schemas": { "S": { "type": "object" } }
                }
            }),
            "p { }",
        );
        for wanted in [
            "<title>a&lt;b</title>",
            "<code>x&gt;y</code>",
            "curl -X PUT -H 'Authorization: Bearer TOKEN'",
            "&quot;$BRIDGE/d/pump-1&quot;",
            "<a href=\"#schema-S\">S</a>",
            "id=\"schema-S\"",
            "<td>204</td><td>Done</td>",
        ] {
            assert!(page.contains(wanted), "{wanted} is missing in {page}");
        }
        assert!(!page.contains("<i>"));
    }
}

//! Holds a request against GitHub's own description (`fixtures/github/openapi-excerpt.json`): path, query and
//! body, each with no more than what is described.

use std::sync::LazyLock;

use porter::demo::standin::Request;
use serde_json::{Map, Value, json};

static DESCRIPTION: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../fixtures/github/openapi-excerpt.json"))
        .expect("GitHub's description")
});

/// What is wrong with `request`: nothing, when GitHub describes it.
pub fn problems(request: &Request) -> Vec<String> {
    let Some((template, path)) = path(&request.path) else { return vec!["an unknown path".to_owned()] };
    let Some(operation) = path.get(request.method.to_ascii_lowercase()) else {
        return vec![format!("an unknown method of {template}")];
    };
    let mut problems = Vec::new();
    let names = template.split('/').zip(request.path.split('/'));
    for (name, text) in names.filter_map(|(part, text)| Some((part.strip_prefix('{')?, text))) {
        let name = name.trim_end_matches('}');
        match parameter(operation, "path", name) {
            Some(known) => fit(known, name, text, &mut problems),
            None => problems.push(format!("`{name}` is not described")),
        }
    }
    for (name, text) in url::form_urlencoded::parse(request.query.as_bytes()) {
        match parameter(operation, "query", &name) {
            Some(known) => fit(known, &name, &text, &mut problems),
            None => problems.push(format!("an unknown query parameter `{name}`")),
        }
    }
    body(operation, request.body.as_ref(), &mut problems);
    problems
}

/// The operation's name in GitHub's documentation, e.g. `issues/create-comment`.
pub fn operation(request: &Request) -> Option<&'static str> {
    path(&request.path)?.1.get(request.method.to_ascii_lowercase())?["operationId"].as_str()
}

/// The described path that fits best: of two, the one with more words of its own.
fn path(path: &str) -> Option<(&'static str, &'static Value)> {
    let parts: Vec<&str> = path.split('/').collect();
    let fits = |template: &str| {
        let words: Vec<&str> = template.split('/').collect();
        // A file's path keeps its slashes; it is the last of its route.
        let long = template.ends_with("{path}") && parts.len() >= words.len();
        (parts.len() == words.len() || long)
            && words
                .iter()
                .zip(&parts)
                .all(|(word, part)| if word.starts_with('{') { !part.is_empty() } else { word == part })
    };
    let paths = DESCRIPTION["paths"].as_object()?;
    let fitting = paths.iter().filter(|(template, _)| fits(template));
    let own_words = |template: &str| template.split('/').filter(|word| !word.starts_with('{')).count();
    let best = fitting.max_by_key(|(template, _)| own_words(template))?;
    Some((best.0.as_str(), best.1))
}

fn parameter(operation: &'static Value, place: &str, name: &str) -> Option<&'static Value> {
    let parameters = operation["parameters"].as_array()?;
    parameters.iter().find(|known| known["in"] == place && known["name"] == *name)
}

/// Text in a path or query is of the described type when it can be read as one.
fn fit(parameter: &Value, name: &str, text: &str, problems: &mut Vec<String>) {
    let schema = &parameter["schema"];
    let read = match schema["type"].as_str() {
        Some("integer" | "boolean") => serde_json::from_str(text).unwrap_or_else(|_| json!(text)),
        _ => json!(text),
    };
    value(schema, &read, name, problems);
}

fn body(operation: &Value, sent: Option<&Value>, problems: &mut Vec<String>) {
    // The stand-in reads an absent body as `{}`.
    let sent = sent.filter(|sent| **sent != json!({}));
    match (operation.pointer("/requestBody/content/application~1json/schema"), sent) {
        (Some(schema), Some(sent)) => value(schema, sent, "body", problems),
        (Some(_), None) if operation["requestBody"]["required"] == true => {
            problems.push("no body".to_owned());
        }
        (None, Some(_)) => problems.push("a body where none belongs".to_owned()),
        _ => {}
    }
}

fn value(schema: &Value, seen: &Value, place: &str, problems: &mut Vec<String>) {
    if seen.is_null() && schema["nullable"] == true {
        return;
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let fits = |choice: &Value| {
            let mut found = Vec::new();
            value(choice, seen, place, &mut found);
            found.is_empty()
        };
        if !choices.iter().any(fits) {
            problems.push(format!("{place} is {seen}, which is none of {choices:?}"));
        }
        return;
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(seen)
    {
        problems.push(format!("{place} is {seen}, which is not one of {}", schema["enum"]));
    }
    let right_type = match schema["type"].as_str() {
        Some("string") => seen.is_string(),
        Some("boolean") => seen.is_boolean(),
        Some("integer") => seen.is_i64() || seen.is_u64(),
        Some("array") => seen.is_array(),
        Some("object") => seen.is_object(),
        _ => true,
    };
    if !right_type {
        problems.push(format!("{place} is {seen}, not of type {}", schema["type"]));
        return;
    }
    if schema["format"] == "date-time"
        && chrono::DateTime::parse_from_rfc3339(seen.as_str().unwrap_or_default()).is_err()
    {
        problems.push(format!("{place} is {seen}, not an instant"));
    }
    let items = seen.as_array().map(Vec::as_slice).unwrap_or_default();
    if schema["minItems"].as_u64().is_some_and(|least| (items.len() as u64) < least) {
        problems.push(format!("{place} has {} items, fewer than {}", items.len(), schema["minItems"]));
    }
    for (number, item) in items.iter().enumerate() {
        value(&schema["items"], item, &format!("{place}[{number}]"), problems);
    }
    for (name, item) in seen.as_object().into_iter().flat_map(Map::iter) {
        let place = format!("{place}.{name}");
        match schema["properties"].get(name).or(schema.get("additionalProperties")) {
            Some(schema) => value(schema, item, &place, problems),
            None => problems.push(format!("{place} is unknown")),
        }
    }
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if seen.get(name).is_none() {
            problems.push(format!("{place}.{name} is missing"));
        }
    }
}

mod tests {
    use super::*;

    fn of(method: &str, path: &str, query: &str, body: Option<Value>) -> Vec<String> {
        let instant = chrono::DateTime::UNIX_EPOCH;
        problems(&Request {
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            body,
            status: None,
            at: instant,
            elapsed: std::time::Duration::ZERO,
        })
    }

    #[test]
    fn what_github_describes_passes() {
        let new = json!({"title": "t", "body": "b", "head": "h", "base": "main", "draft": true});
        assert_eq!(of("POST", "/repos/a/b/pulls", "", Some(new)), [""; 0]);
        assert_eq!(of("GET", "/repos/a/b/pulls", "state=all&head=a%3Ab&per_page=100", None), [""; 0]);
        assert_eq!(of("GET", "/repos/a/b/contents/docs/deep/AGENTS.md", "ref=main", None), [""; 0]);
        let labels = json!({"labels": ["porter:task"]});
        assert_eq!(of("POST", "/repos/a/b/issues/1/labels", "", Some(labels)), [""; 0]);
        assert_eq!(of("POST", "/app/hook/deliveries/7/attempts", "", Some(json!({}))), [""; 0]);
    }

    #[test]
    fn what_github_does_not_describe_is_named() {
        let seen = [
            of("GET", "/repos/a/b/nothing", "", None),
            of("PUT", "/repos/a/b/pulls", "", None),
            of("GET", "/repos/a/b/pulls", "stat=all", None),
            of("GET", "/repos/a/b/pulls", "state=every", None),
            of("GET", "/repos/a/b/issues/x", "", None),
            of("POST", "/repos/a/b/pulls", "", Some(json!({"base": "main", "head": 7, "labels": []}))),
            of("POST", "/repos/a/b/issues/1/comments", "", Some(json!({}))),
            of("POST", "/repos/a/b/issues/comments/1/reactions", "", Some(json!({"content": "thumbs"}))),
            of("POST", "/repos/a/b/issues/1/labels", "", Some(json!({"labels": [7]}))),
            of("GET", "/repos/a/b/issues/1/comments", "since=yesterday", None),
            of("DELETE", "/installation/token", "", Some(json!({"token": "x"}))),
        ];
        let unnoticed: Vec<usize> =
            seen.iter().enumerate().filter(|(_, problems)| problems.is_empty()).map(|(n, _)| n).collect();
        assert_eq!(unnoticed, [0; 0], "of {seen:#?}");
        assert_eq!(seen[5].len(), 2, "each of them: {:?}", seen[5]);
    }
}

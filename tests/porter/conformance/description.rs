//! Checks a request against GitHub's API description (`fixtures/github/openapi-excerpt.json`): path, query and
//! body, which may contain only what is described.

use std::sync::LazyLock;

use serde_json::{Value, json};
use standin::Request;

use crate::openapi::Description;

static DESCRIPTION: LazyLock<Description> =
    LazyLock::new(|| Description::read(include_str!("../../fixtures/github/openapi-excerpt.json")));

/// Returns the deviations of `request` from the description; empty if it conforms.
pub fn problems(request: &Request) -> Vec<String> {
    let Some((template, path)) = DESCRIPTION.path(&request.path) else {
        return vec!["an unknown path".to_owned()];
    };
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

/// Returns the operation's id in GitHub's documentation, e.g. `issues/create-comment`.
pub fn operation(request: &Request) -> Option<&'static str> {
    DESCRIPTION.path(&request.path)?.1.get(request.method.to_ascii_lowercase())?["operationId"].as_str()
}

fn parameter(operation: &'static Value, place: &str, name: &str) -> Option<&'static Value> {
    let parameters = operation["parameters"].as_array()?;
    parameters.iter().find(|known| known["in"] == place && known["name"] == *name)
}

/// Checks text from a path or query against the schema, after converting it to the described type if possible.
fn fit(parameter: &Value, name: &str, text: &str, problems: &mut Vec<String>) {
    let schema = &parameter["schema"];
    let read = match schema["type"].as_str() {
        Some("integer" | "boolean") => serde_json::from_str(text).unwrap_or_else(|_| json!(text)),
        _ => json!(text),
    };
    DESCRIPTION.check(schema, &read, name, problems);
}

fn body(operation: &Value, sent: Option<&Value>, problems: &mut Vec<String>) {
    // The stand-in represents an absent body as `{}`.
    let sent = sent.filter(|sent| **sent != json!({}));
    match (operation.pointer("/requestBody/content/application~1json/schema"), sent) {
        (Some(schema), Some(sent)) => DESCRIPTION.check(schema, sent, "body", problems),
        (Some(_), None) if operation["requestBody"]["required"] == true => {
            problems.push("no body".to_owned());
        }
        (None, Some(_)) => problems.push("an unexpected body".to_owned()),
        _ => {}
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
    fn a_described_request_conforms() {
        let new = json!({"title": "t", "body": "b", "head": "h", "base": "main", "draft": true});
        assert_eq!(of("POST", "/repos/a/b/pulls", "", Some(new)), [""; 0]);
        assert_eq!(of("GET", "/repos/a/b/pulls", "state=all&head=a%3Ab&per_page=100", None), [""; 0]);
        assert_eq!(of("GET", "/repos/a/b/contents/docs/deep/AGENTS.md", "ref=main", None), [""; 0]);
        let labels = json!({"labels": ["porter:task"]});
        assert_eq!(of("POST", "/repos/a/b/issues/1/labels", "", Some(labels)), [""; 0]);
        assert_eq!(of("POST", "/app/hook/deliveries/7/attempts", "", Some(json!({}))), [""; 0]);
    }

    #[test]
    fn every_deviation_from_the_description_is_reported() {
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
        assert_eq!(unnoticed, [0; 0], "expected a problem of each request, seen {seen:#?}");
        assert_eq!(seen[5].len(), 2, "expected both problems, seen {:?}", seen[5]);
    }
}

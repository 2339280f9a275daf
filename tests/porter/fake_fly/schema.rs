//! Validates a request against Fly's own description of its API.

use std::sync::LazyLock;

use serde_json::Value;

use super::Recorded;
use crate::openapi::Description;

static DESCRIPTION: LazyLock<Description> =
    LazyLock::new(|| Description::read(include_str!("../../fixtures/fly/machines-openapi.json")));

/// Returns the violations in `request`; the list is empty when the request is valid.
pub(super) fn problems(request: &Recorded) -> Vec<String> {
    let Some((_, path)) = DESCRIPTION.path(&request.path) else { return vec!["an unknown path".to_owned()] };
    let Some(operation) = path.get(request.method.as_str().to_ascii_lowercase()) else {
        return vec!["an unknown method".to_owned()];
    };
    let mut problems = Vec::new();
    query(operation, &request.query, &mut problems);
    match operation.pointer("/requestBody/content/application~1json/schema") {
        Some(schema) if !request.body.is_null() => {
            DESCRIPTION.check(schema, &request.body, "body", &mut problems);
        }
        Some(_) if operation["requestBody"]["required"] == true => problems.push("no body".to_owned()),
        None if !request.body.is_null() => problems.push("a body where none belongs".to_owned()),
        _ => {}
    }
    problems
}

fn query(operation: &Value, query: &[(String, String)], problems: &mut Vec<String>) {
    let none = Vec::new();
    let known: Vec<&Value> = operation["parameters"]
        .as_array()
        .unwrap_or(&none)
        .iter()
        .filter(|parameter| parameter["in"] == "query")
        .collect();
    for (name, text) in query {
        let fits =
            |parameter: &&&Value| match parameter["name"].as_str().and_then(|name| name.split_once('{')) {
                Some((prefix, _)) => name.len() > prefix.len() && name.starts_with(prefix),
                None => parameter["name"] == **name,
            };
        let Some(parameter) = known.iter().find(fits) else {
            problems.push(format!("an unknown query parameter `{name}`"));
            continue;
        };
        let well_formed = match parameter["schema"]["type"].as_str() {
            Some("boolean") => matches!(text.as_str(), "true" | "false"),
            Some("integer") => text.parse::<i64>().is_ok(),
            _ => true,
        };
        if !well_formed {
            problems.push(format!("`{name}={text}` is not of type {}", parameter["schema"]["type"]));
        }
    }
}

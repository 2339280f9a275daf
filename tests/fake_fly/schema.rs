//! Holds a request against Fly's own description of its API.

use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::Recorded;

static DESCRIPTION: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../fixtures/fly/machines-openapi.json")).expect("Fly's description")
});

/// What is wrong with `request`: nothing, when Fly describes it.
pub(super) fn problems(request: &Recorded) -> Vec<String> {
    let Some(path) = path(&request.path) else { return vec!["an unknown path".to_owned()] };
    let Some(operation) = path.get(request.method.as_str().to_ascii_lowercase()) else {
        return vec!["an unknown method".to_owned()];
    };
    let mut problems = Vec::new();
    query(operation, &request.query, &mut problems);
    match operation.pointer("/requestBody/content/application~1json/schema") {
        Some(schema) if !request.body.is_null() => value(schema, &request.body, "body", &mut problems),
        Some(_) if operation["requestBody"]["required"] == true => problems.push("no body".to_owned()),
        None if !request.body.is_null() => problems.push("a body where none belongs".to_owned()),
        _ => {}
    }
    problems
}

fn path(path: &str) -> Option<&'static Value> {
    let matches = |template: &str| {
        let (template, path): (Vec<&str>, Vec<&str>) =
            (template.split('/').collect(), path.split('/').collect());
        template.len() == path.len()
            && template
                .iter()
                .zip(&path)
                .all(|(part, text)| if part.starts_with('{') { !text.is_empty() } else { part == text })
    };
    let paths = DESCRIPTION["paths"].as_object()?;
    paths.iter().find(|(template, _)| matches(template)).map(|(_, path)| path)
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

fn value(schema: &Value, seen: &Value, place: &str, problems: &mut Vec<String>) {
    if let Some(name) = schema["$ref"].as_str() {
        let target =
            DESCRIPTION.pointer(name.trim_start_matches('#')).expect("a reference that leads somewhere");
        return value(target, seen, place, problems);
    }
    for part in schema["allOf"].as_array().into_iter().flatten() {
        value(part, seen, place, problems);
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
    for (number, item) in seen.as_array().into_iter().flatten().enumerate() {
        value(&schema["items"], item, &format!("{place}[{number}]"), problems);
    }
    for (name, item) in seen.as_object().into_iter().flat_map(Map::iter) {
        let place = format!("{place}.{name}");
        if let Some(schema) = schema["properties"].get(name).or(schema.get("additionalProperties")) {
            value(schema, item, &place, problems);
        } else if schema.get("allOf").is_none() {
            problems.push(format!("{place} is unknown"));
        }
    }
}

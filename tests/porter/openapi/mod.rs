//! Reads an API's own description (OpenAPI): which path a request means, and whether a value is what a schema says,
//! with no more than what is described. For the models of Fly and GitHub, which say what belongs in a request.

use serde_json::{Map, Value};

/// An API as its maker describes it.
pub struct Description(Value);

impl Description {
    /// Reads a description in JSON.
    pub fn read(text: &str) -> Self {
        Self(serde_json::from_str(text).expect("a description in JSON"))
    }

    /// The described path that fits best, and how it is written there: of two, the one with more words of its own.
    pub fn path(&self, path: &str) -> Option<(&str, &Value)> {
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
        let paths = self.0["paths"].as_object()?;
        let fitting = paths.iter().filter(|(template, _)| fits(template));
        let own_words = |template: &str| template.split('/').filter(|word| !word.starts_with('{')).count();
        let best = fitting.max_by_key(|(template, _)| own_words(template))?;
        Some((best.0.as_str(), best.1))
    }

    /// Adds to `problems` what keeps `seen`, which stands at `place`, from being what `schema` describes.
    pub fn check(&self, schema: &Value, seen: &Value, place: &str, problems: &mut Vec<String>) {
        if let Some(name) = schema["$ref"].as_str() {
            let target = self.0.pointer(name.trim_start_matches('#'));
            return self.check(target.expect("a reference that leads somewhere"), seen, place, problems);
        }
        if seen.is_null() && schema["nullable"] == true {
            return;
        }
        for part in schema["allOf"].as_array().into_iter().flatten() {
            self.check(part, seen, place, problems);
        }
        if let Some(choices) = schema["oneOf"].as_array() {
            let fits = |choice: &Value| {
                let mut found = Vec::new();
                self.check(choice, seen, place, &mut found);
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
        if !is_of_type(schema, seen) {
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
            self.check(&schema["items"], item, &format!("{place}[{number}]"), problems);
        }
        for (name, item) in seen.as_object().into_iter().flat_map(Map::iter) {
            let place = format!("{place}.{name}");
            if let Some(schema) = schema["properties"].get(name).or(schema.get("additionalProperties")) {
                self.check(schema, item, &place, problems);
            } else if schema.get("allOf").is_none() {
                problems.push(format!("{place} is unknown"));
            }
        }
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if seen.get(name).is_none() {
                problems.push(format!("{place}.{name} is missing"));
            }
        }
    }
}

fn is_of_type(schema: &Value, seen: &Value) -> bool {
    match schema["type"].as_str() {
        Some("string") => seen.is_string(),
        Some("boolean") => seen.is_boolean(),
        Some("integer") => seen.is_i64() || seen.is_u64(),
        Some("array") => seen.is_array(),
        Some("object") => seen.is_object(),
        _ => true,
    }
}

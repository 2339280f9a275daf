//! Compares docs/project-mds/main-spec.md with the code: every section that is cited exists, and what its tables
//! mark as `built` is what the sources hold. Reads text only; no rule here knows more of Rust than it needs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::{report, root};

const SPEC: &str = "docs/project-mds/main-spec.md";

/// Where the specification may be cited.
const CITING: &[&str] = &["README.md", "src", "crates", "tests", "worker-image", "docs", "benches"];

/// What stands before the number of a section. Not in one piece, as this file is read, too.
const MARK: &str = concat!("main-spec", " §");

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// A row of a table whose last column says whether the thing is built.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    /// From 1.
    line: usize,
    cells: Vec<String>,
    built: bool,
}

impl Row {
    /// The code spans of its first cell.
    fn names(&self) -> impl Iterator<Item = &str> {
        self.cells[0].split('`').skip(1).step_by(2)
    }
}

/// The specification, by section.
struct Spec {
    sections: BTreeMap<u32, Vec<(usize, String)>>,
}

impl Spec {
    fn load() -> Self {
        Self::read(&read(SPEC))
    }

    fn read(text: &str) -> Self {
        let mut sections: BTreeMap<u32, Vec<(usize, String)>> = BTreeMap::new();
        let mut current = None;
        for (index, line) in text.lines().enumerate() {
            if let Some(heading) = line.strip_prefix("## ") {
                current = heading.split_once(". ").and_then(|(number, _)| number.parse().ok());
            }
            if let Some(number) = current {
                sections.entry(number).or_default().push((index + 1, line.to_owned()));
            }
        }
        Self { sections }
    }

    /// The rows, with a state, of the section's tables whose first column is called `first`.
    fn rows(&self, section: u32, first: &str) -> Vec<Row> {
        let mut rows = Vec::new();
        let mut inside = false;
        for (line, text) in &self.sections[&section] {
            let cells = cells(text);
            match (cells.first(), cells.last()) {
                (None, _) | (_, None) => inside = false,
                (Some(name), Some(last)) if last == "state" => inside = name == first,
                (Some(_), Some(last)) if inside && (last == "built" || last == "planned") => {
                    let built = last == "built";
                    rows.push(Row { line: *line, cells, built });
                }
                _ => {}
            }
        }
        assert!(!rows.is_empty(), "{SPEC}: §{section} has no table `{first} … state`");
        rows
    }

    /// The names in the first column of the rows that are marked `built`.
    fn built(&self, section: u32, first: &str) -> BTreeSet<String> {
        let rows = self.rows(section, first);
        let built = rows.iter().filter(|row| row.built);
        built.flat_map(|row| row.names().map(str::to_owned).collect::<Vec<_>>()).collect()
    }
}

/// The cells of a table's row; nothing for another line. `\|` is part of a cell.
fn cells(line: &str) -> Vec<String> {
    let Some(row) = line.strip_prefix('|').and_then(|rest| rest.trim_end().strip_suffix('|')) else {
        return Vec::new();
    };
    let row = row.replace("\\|", "\u{0}");
    row.split('|').map(|cell| cell.trim().replace('\u{0}', "|")).collect()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path} cannot be read: {error}"))
}

/// Files below `path`, relative to the workspace.
fn files(path: &str) -> Vec<String> {
    let place = root().join(path);
    if !place.is_dir() {
        return vec![path.to_owned()];
    }
    let mut names: Vec<String> = fs::read_dir(&place)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names.iter().flat_map(|name| files(&format!("{path}/{name}"))).collect()
}

/// The text of a source file before its tests.
fn product(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap()
}

/// What stands between `from` and the next `to`.
fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let start =
        text.find(from).unwrap_or_else(|| panic!("there is no {from:?}; correct tests/architecture/spec.rs"));
    let rest = &text[start + from.len()..];
    &rest[..rest.find(to).unwrap_or(rest.len())]
}

/// The string literals of `text`, in order.
fn literals(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut letters = text.chars();
    while letters.by_ref().any(|letter| letter == '"') {
        let mut literal = String::new();
        while let Some(letter) = letters.next().filter(|letter| *letter != '"') {
            literal.push(if letter == '\\' { letters.next().unwrap_or('\\') } else { letter });
        }
        found.push(literal);
    }
    found
}

fn camel_case(snake: &str) -> String {
    let mut parts = snake.split('_');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |name, part| {
        let (head, tail) = part.split_at(part.len().min(1));
        name + &head.to_uppercase() + tail
    })
}

fn kebab_case(camel: &str) -> String {
    let mut name = String::new();
    for letter in camel.chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('-');
        }
        name.extend(letter.to_lowercase());
    }
    name
}

/// Where what the code has and what the specification marks as built differ; `what` names one such thing.
fn differences(what: &str, place: &str, code: &BTreeSet<String>, spec: &BTreeSet<String>) -> Vec<String> {
    let missing = code.difference(spec).map(|name| {
        format!("{place}: the {what} `{name}` is in the code and not marked `built`; describe it in {SPEC}")
    });
    let invented = spec.difference(code).map(|name| {
        format!("{place}: the {what} `{name}` is marked `built` and not in the code; mark it `planned`")
    });
    missing.chain(invented).collect()
}

/// The sections that a line cites: `main-spec §4, §5`. None where the number is missing.
fn cited(line: &str) -> Vec<Option<u32>> {
    let mut found = Vec::new();
    for (at, mark) in line.match_indices(MARK) {
        let mut rest = &line[at + mark.len()..];
        loop {
            let digits = rest.len() - rest.trim_start_matches(|letter: char| letter.is_ascii_digit()).len();
            found.push(rest[..digits].parse().ok());
            match rest[digits..].strip_prefix(", §") {
                Some(next) => rest = next,
                None => break,
            }
        }
    }
    found
}

fn citation_violations(path: &str, text: &str, spec: &Spec) -> Vec<String> {
    let lines = text.lines().enumerate();
    let cites =
        lines.flat_map(|(index, line)| cited(line).into_iter().map(move |section| (index + 1, section)));
    let wrong =
        cites.filter(|(_, section)| section.is_none_or(|number| !spec.sections.contains_key(&number)));
    let number =
        |section: Option<u32>| section.map_or("without a number".to_owned(), |number| number.to_string());
    wrong
        .map(|(line, section)| {
            format!("{path}:{line}: cites section {} of {SPEC}; there is none", number(section))
        })
        .collect()
}

/// `METHOD /path` of every route in the text of a source file, `{id}` written as `:id`.
fn routes(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for rest in product(text).split(".route(").skip(1) {
        let call = &rest[..closing(rest)];
        let path = literals(call).into_iter().next().expect("a route's path is a literal");
        let path = path.replace('{', ":").replace('}', "");
        for method in METHODS {
            let mut calls = call.match_indices(method);
            let is_call = |(at, _): (usize, &str)| {
                let (before, after) = (&call[..at], &call[at + method.len()..]);
                after.starts_with('(') && before.ends_with([' ', '.', ':'])
            };
            if calls.any(is_call) {
                found.insert(format!("{} {path}", method.to_uppercase()));
            }
        }
    }
    found
}

/// Where the parenthesis closes that was opened before the text.
fn closing(text: &str) -> usize {
    let mut depth = 0;
    for (at, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' if depth == 0 => return at,
            ')' => depth -= 1,
            _ => {}
        }
    }
    text.len()
}

/// The names of the subcommands of an enum that derives `clap::Subcommand`.
fn subcommands(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut own_name = None;
    for line in between(text, "enum Command {\n", "\n}").lines() {
        let Some(item) = line.strip_prefix("    ") else { continue };
        if let Some(attribute) = item.strip_prefix("#[command(name = ") {
            own_name = literals(attribute).into_iter().next();
        } else if item.starts_with(char::is_uppercase) {
            let variant = item.split(|letter: char| !letter.is_alphanumeric()).next().unwrap();
            found.insert(own_name.take().unwrap_or_else(|| kebab_case(variant)));
        }
    }
    found
}

/// Name, need and default of every variable in the text of the table of variables.
fn variables(text: &str) -> Vec<(String, &'static str, Option<String>)> {
    let constructors =
        [("required(", "yes"), ("for_github(", "app"), ("with_default(", "no"), ("optional(", "no")];
    let table = between(text, "pub const VARIABLES: &[Variable] = &[", "\n];");
    let mut found = Vec::new();
    for (at, indent) in table.match_indices("\n    ") {
        let entry = &table[at + indent.len()..];
        let Some((constructor, need)) = constructors.iter().find(|(name, _)| entry.starts_with(name)) else {
            continue;
        };
        let mut arguments = literals(&entry[constructor.len()..]).into_iter();
        let name = arguments.next().unwrap();
        let default = (*constructor == "with_default(").then(|| arguments.next().unwrap());
        found.push((name, *need, default));
    }
    found
}

#[test]
fn the_specification_has_fifteen_sections_and_every_citation_names_one() {
    let spec = Spec::load();
    assert_eq!(spec.sections.keys().copied().collect::<Vec<_>>(), (1..=15).collect::<Vec<_>>());
    let mut violations = Vec::new();
    for path in CITING.iter().flat_map(|place| files(place)) {
        if let Ok(text) = fs::read_to_string(root().join(&path)) {
            violations.extend(citation_violations(&path, &text, &spec));
        }
    }
    report(&violations);
}

#[test]
fn the_specification_names_every_subcommand() {
    let code = subcommands(&read("src/arguments.rs"));
    let spec = Spec::load().built(2, "command");
    let spec = spec.iter().filter_map(|call| call.split(' ').nth(1)).map(str::to_owned).collect();
    report(&differences("subcommand", "src/arguments.rs", &code, &spec));
}

#[test]
fn the_specification_names_every_variable_with_its_default() {
    let place = "src/config/variables.rs";
    let code = variables(&read(place));
    let spec = Spec::load();
    let rows = spec.rows(3, "variable");
    let names = code.iter().map(|(name, ..)| name.clone()).collect();
    let mut violations = differences("variable", place, &names, &spec.built(3, "variable"));
    for (name, need, default) in &code {
        let default = default.as_ref().map(|default| format!("`{default}`")).unwrap_or_default();
        for row in rows.iter().filter(|row| row.built && row.names().any(|found| found == name)) {
            if (row.cells[1].as_str(), &row.cells[2]) != (*need, &default) {
                let line = row.line;
                violations.push(format!(
                    "{SPEC}:{line}: `{name}` is required: {need}, by default: {default:?}, and not {:?}",
                    &row.cells[1..3]
                ));
            }
        }
    }
    report(&violations);
}

#[test]
fn the_specification_names_every_route() {
    let sources = files("src/web");
    let code: BTreeSet<String> = sources.iter().flat_map(|path| routes(&read(path))).collect();
    let spec = Spec::load();
    let tables = [(6, "call"), (7, "call"), (8, "call"), (13, "page")];
    let spec = tables.iter().flat_map(|(section, first)| spec.built(*section, first)).collect();
    report(&differences("route", "src/web", &code, &spec));
}

#[test]
fn the_specification_names_every_field_of_a_task() {
    let place = "src/web/tasks/json.rs";
    let text = read(place);
    let lines = between(&text, "pub struct TaskJson {", "\n}").lines();
    let fields = lines.filter_map(|line| line.trim_start().strip_prefix("pub ")?.split(':').next());
    let code = fields.map(camel_case).collect();
    report(&differences("field", place, &code, &Spec::load().built(6, "field")));
}

#[test]
fn the_specification_names_every_variable_of_the_worker() {
    let place = "crates/domain/src/assignment.rs";
    let text = read(place);
    let puts = product(&text).split("put(\"").skip(1);
    let code = puts.filter_map(|rest| rest.split('"').next()).map(str::to_owned).collect();
    report(&differences("worker's variable", place, &code, &Spec::load().built(7, "variable")));
}

#[test]
fn the_specification_names_every_table() {
    let spec = Spec::load().built(9, "table");
    let mut violations = Vec::new();
    for path in files("migrations") {
        for rest in read(&path).split("CREATE TABLE ").skip(1) {
            let rest = rest.trim_start_matches("IF NOT EXISTS ");
            let name = rest.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next().unwrap();
            // A migration that rebuilds a table makes it under this prefix first.
            if !spec.contains(name.trim_start_matches("new_")) {
                violations
                    .push(format!("{path}: the table `{name}` is not marked `built`; describe it in {SPEC}"));
            }
        }
    }
    report(&violations);
}

#[test]
fn the_specification_names_every_reason_of_a_refusal() {
    let place = "crates/domain/src/comment/refusal.rs";
    let text = read(place);
    let spec = read(SPEC);
    let reasons = literals(between(&text, "pub fn reason(&self)", "\n    }\n"));
    assert!(reasons.len() > 5, "{place}: only {reasons:?} were found");
    let unknown = reasons.iter().filter(|reason| !spec.contains(&format!("`{reason}`")));
    report(&unknown.map(|reason| format!("{place}: {SPEC} does not name `{reason}`")).collect::<Vec<_>>());
}

#[test]
fn rows_with_a_state_are_read_from_the_tables_of_a_section() {
    let spec = Spec::read(
        "## 1. A\n\n| call | answer | state |\n|---|---|---|\n| `GET /a` | `x \\| y` | built |\n\
         | `GET /b`, `GET /c` | | planned |\n\n| call | answer |\n|---|---|\n| `GET /d` | built |\n## 2. B\n",
    );
    let rows = spec.rows(1, "call");
    let seen: Vec<_> =
        rows.iter().map(|row| (row.line, row.names().collect::<Vec<_>>(), row.built)).collect();
    assert_eq!(seen, [(5, vec!["GET /a"], true), (6, vec!["GET /b", "GET /c"], false)]);
    assert_eq!(rows[0].cells[1], "`x | y`");
    assert_eq!(spec.built(1, "call"), BTreeSet::from(["GET /a".to_owned()]));
}

#[test]
fn a_citation_of_a_section_that_is_not_there_is_found() {
    let spec = Spec::read("## 1. A\n## 2. B\n");
    let text = "// main+spec §1, §2\n// main+spec §1, §3\n// main+spec §x\n".replace('+', "-");
    let seen = citation_violations("src/a.rs", &text, &spec);
    let places: Vec<_> = seen.iter().map(|violation| violation.split(": ").next().unwrap()).collect();
    assert_eq!(places, ["src/a.rs:2", "src/a.rs:3"], "{seen:#?}");
}

#[test]
fn routes_commands_and_variables_are_read_from_source_text() {
    let text = "r().route(\"/a/{id}\", get(x::y).post(z))\n.route(\n  \"/b\", post(widget))\n\
                #[cfg(test)]\nmod tests { .route(\"/t\", get(x)) }";
    assert_eq!(routes(text), ["GET /a/:id", "POST /a/:id", "POST /b"].map(str::to_owned).into());
    let text = "enum Command {\n    /// One.\n    Serve,\n    #[command(name = \"import-d1\", x = y())]\n    \
                ImportD1 {\n        /// A.\n        file: PathBuf,\n    },\n    MockAgent(X),\n}\n";
    assert_eq!(subcommands(text), ["serve", "import-d1", "mock-agent"].map(str::to_owned).into());
    let text = "pub const VARIABLES: &[Variable] = &[\n    required(\"A\", \"x\", \"y\"),\n    with_default(\n        \
                \"B\",\n        \"1\",\n        \"x\",\n    ),\n    optional(\"C\", \"with_default(\"),\n];\n";
    let (a, b, c) = ("A".to_owned(), "B".to_owned(), "C".to_owned());
    assert_eq!(variables(text), [(a, "yes", None), (b, "no", Some("1".to_owned())), (c, "no", None)]);
}

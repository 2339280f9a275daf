//! Reads Rust source just well enough for the rules: blanks out comments and literals, tells test code from
//! the rest, and finds which modules and crates a file names. Line numbers are kept throughout.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// One file of the workspace.
pub struct Source {
    /// Relative to the workspace, with `/`.
    pub path: String,
    /// Its module path in its package: `src/web/tasks.rs` is `["web", "tasks"]`, `src/lib.rs` is empty.
    pub module: Vec<String>,
    /// As written.
    pub text: String,
    /// Without comments and literals, each character replaced by a blank.
    pub code: String,
    /// The same, without test code.
    pub product: String,
    /// How many lines the test code has.
    test_lines: usize,
}

/// A name found in a file.
#[derive(Debug, PartialEq, Eq)]
pub struct Mention {
    pub name: String,
    /// From 1.
    pub line: usize,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        let code = without_comments_and_literals(text);
        let (product, test_lines) = without_tests(&code);
        Self {
            path: path.to_owned(),
            module: module_of(path),
            text: text.to_owned(),
            code,
            product,
            test_lines,
        }
    }

    /// The crate it belongs to, or the module of the root package; `main`, `lib` and `arguments` are their own.
    pub fn room(&self) -> &str {
        if let Some(rest) = self.path.strip_prefix("crates/") {
            return rest.split('/').next().unwrap();
        }
        let file = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        self.module.first().map_or(file, String::as_str)
    }

    /// Lines of product code and of test code, blank lines and comments included.
    pub fn lines(&self) -> (usize, usize) {
        (self.text.lines().count() - self.test_lines, self.test_lines)
    }

    /// Every module of the package's root that product code names: `crate::x`, `porter::x`, `super::…::x`,
    /// alone or in braces.
    pub fn modules_named(&self) -> Vec<Mention> {
        let mut found = Vec::new();
        for (at, head) in path_heads(&self.product) {
            let mut base = match head {
                "crate" | "porter" => Vec::new(),
                "super" => self.module[..self.module.len().saturating_sub(1)].to_vec(),
                _ => continue,
            };
            let mut rest = &self.product[at + head.len() + 2..];
            while let Some(outer) = rest.trim_start().strip_prefix("super::") {
                base.pop();
                rest = outer;
            }
            let line = line_of(&self.product, at);
            match base.first() {
                Some(own) => found.push(Mention { name: own.clone(), line }),
                None => {
                    let names = first_names(rest);
                    found.extend(names.into_iter().map(|name| Mention { name: name.to_owned(), line }));
                }
            }
        }
        found
    }

    /// Every path head in product code that is one of `crates`, and no module which this file declares.
    pub fn crates_named(&self, crates: &BTreeSet<String>) -> Vec<Mention> {
        let heads = path_heads(&self.product).into_iter();
        let named = heads.filter(|(at, head)| {
            let is_own =
                !self.product[..*at].ends_with("::") && self.product.contains(&format!("mod {head};"));
            crates.contains(*head) && !is_own
        });
        named.map(|(at, head)| Mention { name: head.to_owned(), line: line_of(&self.product, at) }).collect()
    }

    /// The names of its test functions.
    pub fn tests(&self) -> Vec<&str> {
        let mut names = Vec::new();
        let mut is_test = false;
        for line in self.code.lines().map(str::trim) {
            is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
            if let Some((_, rest)) = line.split_once("fn ") {
                if is_test {
                    names.push(word(rest));
                }
                is_test = false;
            }
        }
        names
    }

    /// The modules this file declares as `#[cfg(test)] mod name;`.
    fn test_modules(&self) -> Vec<String> {
        let marks = self.code.match_indices("#[cfg(test)]");
        let after = marks.map(|(at, mark)| self.code[at + mark.len()..].trim_start());
        let names = after.filter_map(|rest| rest.strip_prefix("mod ").map(|rest| (word(rest), rest)));
        names
            .filter(|(name, rest)| rest[name.len()..].trim_start().starts_with(';'))
            .map(|(name, _)| name.to_owned())
            .collect()
    }
}

/// Every Rust file under `root/folder`, by path; what a parent declares for tests only counts as test code.
pub fn load(root: &Path, folder: &str) -> Vec<Source> {
    let mut paths = Vec::new();
    collect(&root.join(folder), &mut paths);
    paths.sort();
    let mut sources: Vec<Source> = paths
        .iter()
        .map(|path| {
            let relative = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
            Source::new(&relative, &fs::read_to_string(path).unwrap())
        })
        .collect();
    let for_tests: Vec<Vec<String>> = sources
        .iter()
        .flat_map(|source| {
            let names = source.test_modules().into_iter();
            names.map(|name| source.module.iter().cloned().chain([name]).collect())
        })
        .collect();
    for source in &mut sources {
        if for_tests.iter().any(|module| source.module.starts_with(module)) {
            source.product = blank(&source.code);
            source.test_lines = source.text.lines().count();
        }
    }
    sources
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

fn module_of(path: &str) -> Vec<String> {
    let path = path.split_once("src/").map_or(path, |(_, path)| path);
    let path = path.trim_end_matches(".rs").trim_end_matches("/mod");
    match path {
        "lib" | "main" | "arguments" => Vec::new(),
        path => path.split('/').map(str::to_owned).collect(),
    }
}

/// The identifier a text begins with.
fn word(text: &str) -> &str {
    let end = text.find(|letter: char| !(letter.is_alphanumeric() || letter == '_')).unwrap_or(text.len());
    &text[..end]
}

fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// The first segment of every path `a::b`, with where it begins.
fn path_heads(code: &str) -> Vec<(usize, &str)> {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
    code.match_indices("::")
        .filter_map(|(end, _)| {
            let start = code[..end].rfind(|letter| !is_part(letter)).map_or(0, |at| at + 1);
            let before = code[..start].trim_end();
            let outer = before.strip_suffix("::");
            let is_inner =
                outer.is_some_and(|outer| outer.ends_with(|letter| is_part(letter) || letter == '>'));
            (start < end && !is_inner).then(|| (start, &code[start..end]))
        })
        .collect()
}

/// What a path goes on with: one name, or the first name of each entry in braces.
fn first_names(rest: &str) -> Vec<&str> {
    let rest = rest.trim_start();
    let Some(inside) = rest.strip_prefix('{') else {
        return vec![word(rest)];
    };
    let mut depth = 0;
    let mut names = vec![word(inside.trim_start())];
    for (at, letter) in inside.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(word(inside[at + 1..].trim_start())),
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// The same text with a blank for every character but line breaks.
fn blank(text: &str) -> String {
    text.chars().map(|letter| if letter == '\n' { '\n' } else { ' ' }).collect()
}

/// Blanks out every item that stands behind `#[cfg(test)]`, and counts their lines.
fn without_tests(code: &str) -> (String, usize) {
    let mut lines = 0;
    let mut kept = String::new();
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]") {
        kept.push_str(&rest[..at]);
        let end = at + item_length(&rest[at..]);
        kept.push_str(&blank(&rest[at..end]));
        lines += rest[at..end].lines().count();
        rest = &rest[end..];
    }
    (kept + rest, lines)
}

/// Where the item at the text's beginning ends: at its `;`, or at the brace that closes its first one.
fn item_length(text: &str) -> usize {
    let mut depth = 0;
    for (at, letter) in text.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 1 => return at + 1,
            '}' => depth -= 1,
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn without_comments_and_literals(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = skipped_length(rest, code.chars().next_back());
        if skipped > 0 {
            code.push_str(&blank(&rest[..skipped]));
            rest = &rest[skipped..];
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    code
}

/// How long the comment or literal at the text's beginning is; 0 when there is none.
fn skipped_length(text: &str, before: Option<char>) -> usize {
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if text.starts_with("/*") {
        return text.find("*/").map_or(text.len(), |end| end + 2);
    }
    if let Some(inside) = text.strip_prefix('"') {
        return 1 + quoted_length(inside, '"');
    }
    let in_word = before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_');
    if let Some(raw) = text.strip_prefix('r').filter(|_| !in_word || before == Some('b')) {
        let marks = raw.len() - raw.trim_start_matches('#').len();
        if raw[marks..].starts_with('"') {
            let close = format!("\"{}", "#".repeat(marks));
            let inside = &raw[marks + 1..];
            return text.len() - inside.len()
                + inside.find(&close).map_or(inside.len(), |end| end + close.len());
        }
    }
    // A character, not a lifetime: 'x' or '\…'.
    if let Some(inside) = text.strip_prefix('\'') {
        let mut letters = inside.chars();
        let (first, second) = (letters.next(), letters.next());
        if first == Some('\\') || second == Some('\'') {
            return 1 + quoted_length(inside, '\'');
        }
    }
    0
}

/// The length up to and with the closing quote; a backslash protects what follows it.
fn quoted_length(text: &str, quote: char) -> usize {
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        if letter == '\\' {
            letters.next();
        } else if letter == quote {
            return at + 1;
        }
    }
    text.len()
}

//! Reads what a server answers to a push: whether to try again, and which files it does not accept.

use super::super::export::remarks::readable;

/// What to do about a push that did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The branch is not where it was: somebody else pushed.
    Moved,
    /// The server looked at it and does not accept it.
    Refused,
    /// The server does not accept the token, perhaps not yet.
    NotAccepted,
    /// The server or the connection failed.
    Failed,
}

/// Signs that the server itself failed, whatever it calls that.
const FAILURES: [&str; 6] = [
    "Internal Server Error",
    "internal server error",
    "fatal error in commit_refs",
    "(failed to update ref)",
    "(internal error)",
    "Service Unavailable",
];

/// Signs of a token that is not accepted (401, 403, and what git says when it would ask for another).
const NOT_ACCEPTED: [&str; 5] =
    ["error: 401", "error: 403", "Authentication failed", "could not read Username", "Bad credentials"];

/// Reads git's text about a push.
pub fn verdict(text: &str) -> Verdict {
    let any = |signs: &[&str]| signs.iter().any(|sign| text.contains(sign));
    if text.contains("stale info") {
        Verdict::Moved
    } else if any(&FAILURES) {
        Verdict::Failed
    } else if any(&["[remote rejected]", "[rejected]"]) {
        Verdict::Refused
    } else if any(&NOT_ACCEPTED) {
        Verdict::NotAccepted
    } else if any(&["error: 404", "not found"]) {
        Verdict::Refused
    } else {
        Verdict::Failed
    }
}

/// The server's own lines, without blank ones.
pub fn remote_lines(text: &str) -> Vec<&str> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("remote:"));
    lines.map(str::trim).filter(|line| !line.is_empty()).collect()
}

/// The server's reason in a few lines.
pub fn reason(text: &str) -> String {
    let lines = remote_lines(text);
    let errors: Vec<&str> = lines
        .iter()
        .filter_map(|line| line.trim_start_matches(['-', '—', ' ']).strip_prefix("error:"))
        .map(str::trim)
        .collect();
    // A rejected ref has a short reason of its own, in parentheses.
    let rejected = text.lines().filter(|line| line.contains("rejected]"));
    let rejected = rejected.filter_map(|line| line.rsplit_once('(')?.1.strip_suffix(')'));
    let rejected: Vec<&str> = rejected.filter(|reason| !reason.ends_with("hook declined")).collect();
    let chosen = [errors, rejected, lines].into_iter().find(|lines| !lines.is_empty()).unwrap_or_default();
    let text = chosen[..chosen.len().min(3)].join(" ");
    let end = text.floor_char_boundary(600);
    if text.is_empty() {
        "it did not say why".to_owned()
    } else {
        text[..end].trim_end_matches('.').to_owned()
    }
}

/// A changed file, for [`named_paths`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Where it is.
    pub path: Vec<u8>,
    /// Its object.
    pub id: String,
    /// How large it is, in bytes.
    pub size: u64,
}

/// Which of the changed files the server's text is about: those that it names, by path, by object, or by
/// a folder around them; else those that its subject points to.
pub fn named_paths(text: &str, changed: &[Changed]) -> Vec<Vec<u8>> {
    let server = remote_lines(text).join("\n") + "\n" + text;
    let choose = |chosen: &dyn Fn(&Changed) -> bool| -> Vec<Vec<u8>> {
        changed.iter().filter(|file| chosen(file)).map(|file| file.path.clone()).collect()
    };
    let by_name = choose(&|file| {
        names(&server, &readable(&file.path)) || (!file.id.is_empty() && server.contains(&file.id))
    });
    if !by_name.is_empty() {
        return by_name;
    }
    let by_folder = choose(&|file| {
        let path = readable(&file.path);
        path.char_indices().filter(|(_, c)| *c == '/').any(|(end, _)| names(&server, &path[..=end]))
    });
    if !by_folder.is_empty() {
        return by_folder;
    }
    let lower = server.to_lowercase();
    if lower.contains("workflow") {
        return choose(&|file| file.path.starts_with(b".github/workflows/"));
    }
    let about_size = ["gh001", "large file", "too large", "file size", "size limit", "exceeds"];
    if about_size.iter().any(|sign| lower.contains(sign)) {
        let largest = changed.iter().max_by_key(|file| file.size);
        return largest.map(|file| file.path.clone()).into_iter().collect();
    }
    Vec::new()
}

/// Whether `text` holds `path` as a whole, and not as a part of another path.
fn names(text: &str, path: &str) -> bool {
    let of_a_path = |c: char| c.is_alphanumeric() || "_-/".contains(c);
    text.match_indices(path).any(|(start, _)| {
        let before = text[..start].chars().next_back();
        let mut after = text[start + path.len()..].chars();
        let next = after.next();
        let ends = path.ends_with('/')
            || match next {
                Some('.') => !after.next().is_some_and(of_a_path),
                next => !next.is_some_and(of_a_path),
            };
        !before.is_some_and(|c| of_a_path(c) || c == '.') && ends
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(paths: &[&str]) -> Vec<Changed> {
        let file = |(n, path): (usize, &&str)| Changed {
            path: path.as_bytes().to_vec(),
            id: format!("{n:040}"),
            size: n as u64,
        };
        paths.iter().enumerate().map(file).collect()
    }

    fn named(text: &str, paths: &[&str]) -> Vec<String> {
        let found = named_paths(text, &changed(paths));
        found.into_iter().map(|path| String::from_utf8(path).unwrap()).collect()
    }

    #[test]
    fn a_server_that_failed_is_told_from_one_that_refuses() {
        let rejected = " ! [remote rejected] x -> porter/x (pre-receive hook declined)";
        for (text, expected) in [
            (format!("remote: Internal Server Error\n{rejected}"), Verdict::Failed),
            (format!("remote: error: GH001: too large\n{rejected}"), Verdict::Refused),
            (
                "fatal: unable to access 'https://x/': The requested URL returned error: 403".to_owned(),
                Verdict::NotAccepted,
            ),
            ("error: RPC failed; curl 56 Recv failure: Connection reset by peer".to_owned(), Verdict::Failed),
            (
                "fatal: unable to access 'https://x/': The requested URL returned error: 502".to_owned(),
                Verdict::Failed,
            ),
            (" ! [rejected] x -> porter/x (stale info)".to_owned(), Verdict::Moved),
        ] {
            assert_eq!(verdict(&text), expected, "{text}");
        }
    }

    #[test]
    fn the_files_that_the_server_means_are_found_in_its_text() {
        let files = [".env", "README.md", ".github/workflows/ci.yml", "data.bin", "a/.env"];
        for (text, expected) in [
            ("remote:     path: .env:1", vec![".env"]),
            (
                "remote: refusing to allow a GitHub App to create or update workflow `.github/workflows/ci.yml` without `workflows` permission",
                vec![".github/workflows/ci.yml"],
            ),
            ("remote: changes below .github/workflows/ are refused", vec![".github/workflows/ci.yml"]),
            ("remote: no permission for a workflow", vec![".github/workflows/ci.yml"]),
            (
                "remote: error: File data.bin is 104.90 MB; this exceeds GitHub's file size limit of 100.00 MB",
                vec!["data.bin"],
            ),
            ("remote: object 0000000000000000000000000000000000000001: bad", vec!["README.md"]),
            ("remote: a file is too large", vec!["a/.env"]),
            ("remote: commits must have verified signatures", vec![]),
        ] {
            assert_eq!(named(text, &files), expected, "{text}");
        }
    }

    #[test]
    fn the_reason_is_the_servers_error_without_the_rest() {
        let text =
            "remote: \nremote: - error: GH013: Repository rule violations found.\nremote: \nremote: more\n";
        assert_eq!(reason(text), "GH013: Repository rule violations found");
        assert_eq!(remote_lines(text).len(), 2);
        assert_eq!(
            reason(" ! [remote rejected] x -> y (shallow update not allowed)"),
            "shallow update not allowed"
        );
        assert_eq!(reason("fatal: x"), "it did not say why");
    }
}

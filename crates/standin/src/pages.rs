//! HTML pages: a repository, an issue with its comments, a pull request with its diff.
//!
//! The pages load nothing from other servers. Texts are rendered by `markdown.rs` or escaped.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Html;

use super::git::Entry;
use super::state::{Issue, Repository};
use super::strict::Reject;
use super::{Shared, StandIn, markdown};

const STYLE: &str = include_str!("pages.css");

type Page = Result<Html<String>, Reject>;

/// `GET /{owner}/{repo}`
pub(super) async fn repository(
    State(shared): State<Arc<Shared>>,
    Path((owner, name)): Path<(String, String)>,
) -> Page {
    let repository = find(&shared, &owner, &name)?;
    let mut body = format!("<h1>{}</h1><ul class=list>", escape(&repository.full_name()));
    for issue in repository.issues.values().rev() {
        let path = if issue.pull.is_some() { "pull" } else { "issues" };
        let link = format!("/{owner}/{name}/{path}/{}", issue.number);
        let _ = write!(
            body,
            "<li>{}<a href=\"{}\">{}</a> #{}",
            badge(issue),
            escape(&link),
            escape(&issue.title),
            issue.number
        );
    }
    body.push_str("</ul>");
    Ok(layout(&repository.full_name(), &body))
}

/// `GET /{owner}/{repo}/issues/{number}` and `…/pull/{number}`
pub(super) async fn issue(
    State(shared): State<Arc<Shared>>,
    Path((owner, name, number)): Path<(String, String, u64)>,
) -> Page {
    let repository = find(&shared, &owner, &name)?;
    let issue = repository.issues.get(&number).ok_or_else(Reject::not_found)?;
    let full_name = repository.full_name();
    let mut body = format!(
        "<p class=crumb><a href=\"/{0}\">{0}</a></p><h1>{1} <span class=number>#{number}</span></h1><p>{2}",
        escape(&full_name),
        escape(&issue.title),
        badge(issue),
    );
    if let Some(pull) = &issue.pull {
        let _ = write!(body, "<code>{}</code> into <code>{}</code> ", escape(&pull.head), escape(&pull.base));
    }
    for label in &issue.labels {
        let _ = write!(body, "<span class=label>{}</span> ", escape(label));
    }
    body.push_str("</p>");
    entry(&mut body, &issue.author, "", issue.body.as_deref().unwrap_or_default());
    for comment in &issue.comments {
        let anchor = format!("issuecomment-{}", comment.id);
        entry(&mut body, &comment.author, &anchor, &comment.body);
        let reactions: Vec<_> = comment.reactions.iter().map(|r| symbol(&r.content)).collect();
        if !reactions.is_empty() {
            let _ = write!(body, "<p class=reactions>{}</p>", escape(&reactions.join(" ")));
        }
    }
    if issue.pull.is_some() {
        let diff = StandIn::diff_of(&repository.git, issue).await?;
        let _ = write!(body, "<h2>Changes</h2><pre class=diff>{}</pre>", colour(&diff));
    }
    Ok(layout(&format!("{} · {full_name}#{number}", issue.title), &body))
}

/// `GET /{owner}/{repo}/tree/{branch}`
pub(super) async fn tree(
    State(shared): State<Arc<Shared>>,
    Path((owner, name, branch)): Path<(String, String, String)>,
) -> Page {
    let repository = find(&shared, &owner, &name)?;
    let sha = repository.git.find_branch(&branch).await?.ok_or_else(Reject::not_found)?;
    let full_name = escape(&repository.full_name());
    let mut body = format!(
        "<p class=crumb><a href=\"/{full_name}\">{full_name}</a></p><h1>{}</h1>\
         <p>at <a href=\"/{full_name}/commit/{sha}\"><code>{}</code></a></p><ul class=list>",
        escape(&branch),
        &sha[..sha.len().min(12)],
    );
    if let Some(Entry::Folder(children)) = repository.git.find_entry(&sha, "").await? {
        for (kind, _, path) in children {
            let slash = if kind == "tree" { "/" } else { "" };
            let _ = write!(body, "<li><code>{}{slash}</code>", escape(&path));
        }
    }
    body.push_str("</ul>");
    Ok(layout(&format!("{branch} · {}", repository.full_name()), &body))
}

/// `GET /{owner}/{repo}/commit/{sha}`
pub(super) async fn commit(
    State(shared): State<Arc<Shared>>,
    Path((owner, name, sha)): Path<(String, String, String)>,
) -> Page {
    let repository = find(&shared, &owner, &name)?;
    let sha = repository.git.find_commit(&sha).await?.ok_or_else(Reject::not_found)?;
    let commits = repository.git.commits(&sha, Some(1)).await?;
    let commit = commits.first().ok_or_else(Reject::not_found)?;
    let full_name = escape(&repository.full_name());
    let mut body = format!(
        "<p class=crumb><a href=\"/{full_name}\">{full_name}</a></p><h1><code>{}</code></h1>",
        &sha[..sha.len().min(12)]
    );
    entry(&mut body, &commit.author, "", &commit.message);
    if let Some(parent) = commit.parents.first() {
        let diff = repository.git.diff(parent, &sha).await?;
        let _ = write!(body, "<pre class=diff>{}</pre>", colour(&diff));
    }
    Ok(layout(&format!("{} · {}", &sha[..sha.len().min(12)], repository.full_name()), &body))
}

fn find(shared: &Shared, owner: &str, name: &str) -> Result<Repository, Reject> {
    let missing = || Reject::new(StatusCode::NOT_FOUND, "There is no such repository.");
    shared.state().find_repository(owner, name).cloned().ok_or_else(missing)
}

fn layout(title: &str, body: &str) -> Html<String> {
    let title = escape(title);
    Html(format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>{title}</title><style>{STYLE}</style><main>{body}</main>\
         <footer>GitHub stand-in on this machine</footer></html>"
    ))
}

fn badge(issue: &Issue) -> &'static str {
    match (&issue.pull, issue.open) {
        (_, false) => "<span class=\"badge closed\">Closed</span> ",
        (Some(pull), true) if pull.draft => "<span class=\"badge draft\">Draft</span> ",
        _ => "<span class=\"badge open\">Open</span> ",
    }
}

fn entry(page: &mut String, author: &str, anchor: &str, text: &str) {
    let _ = write!(
        page,
        "<section class=entry id=\"{anchor}\"><header>{}</header><div class=text>{}</div></section>",
        escape(author),
        markdown::render(text),
    );
}

fn symbol(reaction: &str) -> &str {
    match reaction {
        "+1" => "👍",
        "-1" => "👎",
        "laugh" => "😄",
        "confused" => "😕",
        "heart" => "❤️",
        "hooray" => "🎉",
        "rocket" => "🚀",
        "eyes" => "👀",
        other => other,
    }
}

fn colour(diff: &str) -> String {
    let mut shown = String::new();
    for line in diff.lines() {
        let class = match line.as_bytes() {
            [b'+', ..] if !line.starts_with("+++") => "added",
            [b'-', ..] if !line.starts_with("---") => "removed",
            [b'@', ..] => "place",
            [b'd', ..] => "file",
            _ => "same",
        };
        let _ = writeln!(shown, "<span class={class}>{}</span>", escape(line));
    }
    shown
}

/// Escapes a text for HTML.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_escaped_in_texts_and_diffs() {
        assert_eq!(escape("<b a='1'>\"&"), "&lt;b a=&#39;1&#39;&gt;&quot;&amp;");
        assert_eq!(colour("+a<b"), "<span class=added>+a&lt;b</span>\n");
    }
}

//! Renders the Markdown of comments as HTML for the stand-in's pages, without active content.
//!
//! HTML of the source is escaped, except for a list of tags without attributes.

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use super::pages::escape;

/// HTML tags that are kept if they have no attributes.
const HARMLESS: [&str; 10] = [
    "<details>",
    "</details>",
    "<summary>",
    "</summary>",
    "<sub>",
    "</sub>",
    "<kbd>",
    "</kbd>",
    "<br>",
    "<hr>",
];

/// Renders a text as HTML.
pub(super) fn render(text: &str) -> String {
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    let mut page = String::new();
    let mut in_head = false;
    // The parser emits a block of HTML line by line; an HTML comment can span lines.
    let mut block = String::new();
    for event in Parser::new_ext(text, options) {
        match event {
            Event::Html(line) => block.push_str(&line),
            Event::End(TagEnd::HtmlBlock) => page.push_str(&harmless(&std::mem::take(&mut block))),
            Event::Start(tag) => {
                in_head |= matches!(tag, Tag::TableHead);
                page.push_str(&open(&tag, in_head));
            }
            Event::End(tag) => {
                page.push_str(close(&tag, in_head));
                in_head &= tag != TagEnd::TableHead;
            }
            Event::Text(text) => page.push_str(&escape(&text)),
            Event::Code(code) => page.push_str(&format!("<code>{}</code>", escape(&code))),
            Event::InlineHtml(html) => page.push_str(&harmless(&html)),
            // GitHub renders a line break in a comment as a line break.
            Event::SoftBreak | Event::HardBreak => page.push_str("<br>\n"),
            Event::Rule => page.push_str("<hr>"),
            Event::TaskListMarker(done) => page.push_str(if done { "☑ " } else { "☐ " }),
            Event::FootnoteReference(_) | Event::InlineMath(_) | Event::DisplayMath(_) => {}
        }
    }
    page
}

/// Removes HTML comments, keeps allowed tags, and escapes the rest.
fn harmless(html: &str) -> String {
    let mut shown = String::new();
    let mut rest = html;
    while let Some(start) = rest.find('<') {
        shown.push_str(&escape(&rest[..start]));
        rest = &rest[start..];
        if let Some(comment) = rest.strip_prefix("<!--") {
            rest = comment.split_once("-->").map_or("", |(_, after)| after);
        } else if let Some(tag) = HARMLESS.iter().find(|tag| rest.starts_with(*tag)) {
            shown.push_str(tag);
            rest = &rest[tag.len()..];
        } else {
            shown.push_str("&lt;");
            rest = &rest[1..];
        }
    }
    shown + &escape(rest)
}

fn open(tag: &Tag<'_>, in_head: bool) -> String {
    match tag {
        Tag::Link { dest_url, .. } => format!("<a href=\"{}\">", escape(address(dest_url))),
        // An image would be fetched from another server: its alternative text is shown instead.
        Tag::Image { dest_url, .. } => format!("<a href=\"{}\">🖼 ", escape(address(dest_url))),
        Tag::Paragraph => "<p>".to_owned(),
        Tag::Heading { level, .. } => format!("<{}>", heading(*level)),
        Tag::BlockQuote(_) => "<blockquote>".to_owned(),
        Tag::CodeBlock(_) => "<pre><code>".to_owned(),
        Tag::List(Some(first)) => format!("<ol start={first}>"),
        Tag::List(None) => "<ul>".to_owned(),
        Tag::Item => "<li>".to_owned(),
        Tag::Table(_) => "<table>".to_owned(),
        Tag::TableHead | Tag::TableRow => "<tr>".to_owned(),
        Tag::TableCell => if in_head { "<th>" } else { "<td>" }.to_owned(),
        Tag::Emphasis => "<em>".to_owned(),
        Tag::Strong => "<strong>".to_owned(),
        Tag::Strikethrough => "<del>".to_owned(),
        _ => String::new(),
    }
}

fn close(tag: &TagEnd, in_head: bool) -> &'static str {
    match tag {
        TagEnd::Link | TagEnd::Image => "</a>",
        TagEnd::Paragraph => "</p>",
        TagEnd::Heading(HeadingLevel::H1 | HeadingLevel::H2) => "</h3>",
        TagEnd::Heading(_) => "</h4>",
        TagEnd::BlockQuote(_) => "</blockquote>",
        TagEnd::CodeBlock => "</code></pre>",
        TagEnd::List(true) => "</ol>",
        TagEnd::List(false) => "</ul>",
        TagEnd::Item => "</li>",
        TagEnd::Table => "</table>",
        TagEnd::TableHead | TagEnd::TableRow => "</tr>",
        TagEnd::TableCell if in_head => "</th>",
        TagEnd::TableCell => "</td>",
        TagEnd::Emphasis => "</em>",
        TagEnd::Strong => "</strong>",
        TagEnd::Strikethrough => "</del>",
        _ => "",
    }
}

/// The headings of a comment are one level below those of the page.
fn heading(level: HeadingLevel) -> &'static str {
    if matches!(level, HeadingLevel::H1 | HeadingLevel::H2) { "h3" } else { "h4" }
}

/// Links with a scheme other than HTTP are removed, such as `javascript:`.
fn address(url: &str) -> &str {
    let allowed = ["https://", "http://", "/", "#"].iter().any(|start| url.starts_with(start));
    if allowed { url } else { "#" }
}

#[cfg(test)]
mod tests {
    use super::render;

    #[test]
    fn the_markdown_of_comments_is_rendered() {
        let text =
            "**Done** in `main`\nsee [it](https://x.test/?a=1&b=2)\n\n| a | b |\n|---|---|\n| 1 | 2 |\n";
        assert_eq!(
            render(text),
            "<p><strong>Done</strong> in <code>main</code><br>\nsee <a href=\"https://x.test/?a=1&amp;b=2\">it</a></p>\
             <table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table>"
        );
        let list = "<ul><li>a</li><li>b</li></ul>";
        assert_eq!(render("- a\n- b"), list);
    }

    #[test]
    fn active_content_is_removed_or_escaped() {
        for (text, expected) in [
            ("<script>x()</script>", "&lt;script&gt;x()&lt;/script&gt;"),
            ("a <img src=x onerror=y> b", "<p>a &lt;img src=x onerror=y&gt; b</p>"),
            ("[x](javascript:y)", "<p><a href=\"#\">x</a></p>"),
            ("<!-- porter:{\"a\":1} -->", ""),
            ("<!-- one\ntwo -->", ""),
            ("<details><summary>More</summary>", "<details><summary>More</summary>"),
            ("<details open ontoggle=x>", "&lt;details open ontoggle=x&gt;"),
            ("```\n</code><b>\n```", "<pre><code>&lt;/code&gt;&lt;b&gt;\n</code></pre>"),
        ] {
            assert_eq!(render(text).trim(), expected, "of {text:?}");
        }
    }
}

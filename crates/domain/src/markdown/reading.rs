//! Determines which parts of a Markdown source are text, code, quotes, raw HTML or comments.

use std::ops::Range;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

/// The options of GitHub's Markdown that affect what is text. Footnotes are disabled because they hide nothing.
const OPTIONS: Options = Options::ENABLE_GFM
    .union(Options::ENABLE_TABLES)
    .union(Options::ENABLE_STRIKETHROUGH)
    .union(Options::ENABLE_TASKLISTS);

/// HTML elements whose contents are code, quoted or hidden, like the corresponding Markdown.
const QUOTING_ELEMENTS: [&str; 7] = ["blockquote", "code", "pre", "script", "style", "textarea", "tt"];

/// The kind of a range of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Visible text by the author.
    Text,
    /// Code, a quote or raw HTML: displayed, but not the author's statement.
    Literal,
    /// An HTML comment, which is not displayed.
    Comment,
}

/// Calls `see` for every piece of `source`. Text pieces are in order; a literal piece may contain smaller ones;
/// a comment is reported when its end is known. The time is linear in the length.
pub fn walk(source: &str, mut see: impl FnMut(Piece, Range<usize>)) {
    let mut html = Html::default();
    let mut outside = Vec::new(); // which elements were open where each quote began
    let mut code_block = false;
    for (event, range) in Parser::new_ext(source, OPTIONS).into_offset_iter() {
        let said = outside.is_empty() && !code_block;
        match event {
            Event::Start(Tag::BlockQuote(_)) => {
                outside.push(html.open);
                see(Piece::Literal, range);
            }
            Event::End(TagEnd::BlockQuote(_)) => html.open = outside.pop().unwrap_or_default(),
            Event::Start(Tag::CodeBlock(_)) => {
                code_block = true;
                see(Piece::Literal, range);
            }
            Event::End(TagEnd::CodeBlock) => code_block = false,
            Event::Start(Tag::HtmlBlock) => {
                see(Piece::Literal, range.clone());
                html.read(source, range, |piece, range| {
                    if said || piece == Piece::Comment {
                        see(piece, range);
                    }
                });
            }
            Event::InlineHtml(_) => {
                see(Piece::Literal, range.clone());
                html.read(source, range, |piece, range| {
                    if piece == Piece::Comment {
                        see(piece, range);
                    }
                });
            }
            Event::Code(_) => see(Piece::Literal, range),
            Event::Text(_) if said && html.shows() => see(Piece::Text, range),
            _ => {}
        }
    }
    if let Some(start) = html.comment {
        see(Piece::Comment, start..source.len());
    }
}

/// The elements that raw HTML has opened. Browsers parse the whole page, so this state continues across Markdown
/// blocks: a paragraph after `<blockquote>` and a blank line is quoted.
#[derive(Default)]
struct Html {
    /// The start of an open comment.
    comment: Option<usize>,
    /// The number of open elements for each of [`QUOTING_ELEMENTS`].
    open: [u32; QUOTING_ELEMENTS.len()],
}

impl Html {
    fn shows(&self) -> bool {
        self.comment.is_none() && self.open.iter().all(|&count| count == 0)
    }

    /// Reads the raw HTML at `range`.
    fn read(&mut self, source: &str, range: Range<usize>, mut see: impl FnMut(Piece, Range<usize>)) {
        let html = &source[..range.end];
        let mut at = range.start;
        while at < html.len() {
            if let Some(start) = self.comment {
                let Some(end) = html[at..].find("-->") else { return };
                at += end + "-->".len();
                self.comment = None;
                see(Piece::Comment, start..at);
                continue;
            }
            let tag = html[at..].find('<').map_or(html.len(), |found| at + found);
            if at < tag && self.shows() {
                see(Piece::Text, at..tag);
            }
            if html[tag..].starts_with("<!--") {
                self.comment = Some(tag);
                at = tag + "<!".len(); // `<!-->` is a whole comment: its dashes close it
            } else {
                at = self.read_tag(html, tag);
            }
        }
    }

    /// Reads the tag at `start`, if there is one, and returns the position at which to continue.
    fn read_tag(&mut self, html: &str, start: usize) -> usize {
        let Some(inside) = html.get(start + 1..) else { return html.len() };
        let closing = inside.starts_with('/');
        let name = inside.trim_start_matches('/');
        let name = &name[..name.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(name.len())];
        if name.is_empty() && !inside.starts_with(['!', '?']) {
            return start + 1;
        }
        if let Some(index) = QUOTING_ELEMENTS.iter().position(|known| known.eq_ignore_ascii_case(name)) {
            let count = &mut self.open[index];
            *count = if closing { count.saturating_sub(1) } else { *count + 1 };
        }
        let mut quote = None;
        for (offset, byte) in inside.bytes().enumerate() {
            match (quote, byte) {
                (None, b'>') => return start + 1 + offset + 1,
                (None, b'"' | b'\'') => quote = Some(byte),
                (Some(open), _) if open == byte => quote = None,
                _ => {}
            }
        }
        html.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(source: &str, wanted: Piece) -> Vec<&str> {
        let mut found = Vec::new();
        walk(source, |piece, range| {
            if piece == wanted {
                found.push(&source[range]);
            }
        });
        found
    }

    #[test]
    fn an_html_comment_can_span_markdown_blocks() {
        let source = "a\n\n<div><!--\n\nhidden\n\n<p>--></p></div>\n\nb";
        assert_eq!(pieces(source, Piece::Comment), ["<!--\n\nhidden\n\n<p>-->"]);
        assert_eq!(pieces(source, Piece::Text), ["a", "\n", "b"]);
    }

    #[test]
    fn a_comment_end_in_a_paragraph_does_not_close_an_html_comment() {
        // GitHub renders this `-->` as `--&gt;`, so the comment continues.
        assert_eq!(pieces("<div><!--\n\n--> a", Piece::Comment), ["<!--\n\n--> a"]);
    }

    #[test]
    fn an_unclosed_html_comment_hides_the_rest() {
        assert_eq!(pieces("a\n\n<!-- b\n\nc", Piece::Comment), ["<!-- b\n\nc"]);
    }

    #[test]
    fn html_comments_in_code_are_code() {
        assert_eq!(pieces("`<!-- a -->`\n\n```\n<!-- b -->\n```", Piece::Comment), Vec::<&str>::new());
    }

    #[test]
    fn the_shortest_comments_end_where_they_begin() {
        assert_eq!(pieces("<!-->\nseen", Piece::Comment), ["<!-->"]);
        assert_eq!(pieces("<!--->\nseen", Piece::Comment), ["<!--->"]);
    }

    #[test]
    fn an_element_that_quotes_holds_the_blocks_inside_it() {
        assert_eq!(pieces("<blockquote>\n\na\n\n</blockquote>\n\nb", Piece::Text), ["\n", "b"]);
        assert_eq!(pieces("<pre>\na\n</pre>\nb", Piece::Text), ["\n", "b"]);
    }

    #[test]
    fn an_element_left_open_in_a_quote_ends_with_the_quote() {
        assert_eq!(pieces("> use <pre>\n\nb", Piece::Text), ["b"]);
    }
}

//! Quotes untrusted Markdown, such as an agent's summary, in a comment or pull request. Paragraphs, lists,
//! emphasis and code, which summaries use, keep their form. Links become text followed by their address as code,
//! headings become bold, and HTML and all other elements become plain text.
//!
//! The source is parsed and written again rather than edited, so that an element that is not written cannot have
//! an effect.

use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd};

use super::writing::{code, fence, plain, shorten};
use crate::text::clean;

/// The maximum depth of lists and quotes; deeper ones are written at this depth.
const MAX_DEPTH: usize = 4;

/// Returns at most `max` characters of `text` as a quote. The result has at most `6 * max` characters.
pub fn quote(text: &str, max: usize) -> String {
    let text = shorten(clean(text).trim(), max);
    let mut quote = Quote { room: 2 * max, ..Quote::default() };
    for event in Parser::new_ext(&text, Options::empty()) {
        quote.add(event);
    }
    quote.end_line();
    quote.lines.join("\n")
}

/// An element that contains the current text.
enum Level {
    Quote,
    Item {
        marker: String,
        /// Whether the marker is written; the text that follows is indented.
        written: bool,
    },
}

#[derive(Default)]
struct Quote<'a> {
    lines: Vec<String>,
    /// The number of characters that may still be written. At zero, whole lines are omitted.
    room: usize,
    levels: Vec<Level>,
    /// The number of the next item for each open list; `None` for bullets.
    lists: Vec<Option<u64>>,
    /// The current line, ready to be written.
    line: String,
    /// The next text of the line, before escaping. It is collected because a word may arrive in parts.
    text: String,
    strong: usize,
    emphasis: usize,
    links: Vec<CowStr<'a>>,
    code_block: Option<String>,
}

impl<'a> Quote<'a> {
    fn add(&mut self, event: Event<'a>) {
        match event {
            Event::Text(text) => match &mut self.code_block {
                Some(block) => block.push_str(&text),
                None => self.text.push_str(&text),
            },
            Event::InlineHtml(text) => self.text.push_str(&text.replace('\n', " ")),
            Event::Html(text) => {
                for line in text.lines() {
                    self.text.push_str(line);
                    self.end_line();
                }
            }
            Event::Code(text) => {
                self.settle();
                self.push(&code(&text, usize::MAX));
            }
            Event::SoftBreak | Event::HardBreak => self.end_line(),
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            _ => {}
        }
    }

    fn start(&mut self, tag: Tag<'a>) {
        match tag {
            Tag::Paragraph | Tag::HtmlBlock => self.begin_block(),
            Tag::Heading { .. } => {
                self.begin_block();
                self.strong += 1;
                self.line.push_str("**");
            }
            Tag::CodeBlock(_) => {
                self.begin_block();
                self.code_block = Some(String::new());
            }
            Tag::BlockQuote(_) => {
                self.begin_block();
                self.levels.push(Level::Quote);
            }
            Tag::List(first) => {
                self.end_line();
                if self.lists.is_empty() {
                    self.begin_block();
                }
                self.lists.push(first);
            }
            Tag::Item => {
                let marker = match self.lists.last_mut() {
                    Some(Some(number)) => {
                        let marker = format!("{number}. ");
                        *number += 1;
                        marker
                    }
                    _ => "- ".to_owned(),
                };
                self.levels.push(Level::Item { marker, written: false });
            }
            Tag::Strong => {
                self.strong += 1;
                self.mark(self.strong == 1, "**");
            }
            Tag::Emphasis => {
                self.emphasis += 1;
                self.mark(self.emphasis == 1, "*");
            }
            Tag::Link { dest_url, .. } => self.links.push(dest_url),
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Paragraph | TagEnd::HtmlBlock => self.end_line(),
            TagEnd::Heading(_) => {
                self.mark_end(self.strong == 1, "**");
                self.strong -= 1;
                self.end_line();
            }
            TagEnd::CodeBlock => {
                let block = self.code_block.take().unwrap_or_default();
                let fence = fence(&block);
                let opened = self.room > 0;
                self.write(&format!("{fence}text"));
                block.lines().for_each(|line| self.write(line));
                if opened {
                    self.room += 1; // an open fence is closed, full or not
                    self.write(&fence);
                }
            }
            TagEnd::BlockQuote(_) | TagEnd::Item => {
                self.end_line();
                self.levels.pop();
            }
            TagEnd::List(_) => {
                self.lists.pop();
            }
            TagEnd::Strong => {
                self.mark_end(self.strong == 1, "**");
                self.strong -= 1;
            }
            TagEnd::Emphasis => {
                self.mark_end(self.emphasis == 1, "*");
                self.emphasis -= 1;
            }
            TagEnd::Link => {
                let address = self.links.pop().unwrap_or(CowStr::Borrowed(""));
                if !address.is_empty() && !self.text.contains(&*address) {
                    self.text.push_str(&format!(" ({address})"));
                }
            }
            _ => {}
        }
    }

    /// Opens emphasis unless it is already open.
    fn mark(&mut self, outermost: bool, sign: &str) {
        if outermost {
            self.settle();
            self.line.push_str(sign);
        }
    }

    /// Closes emphasis, and removes it when it is empty.
    fn mark_end(&mut self, outermost: bool, sign: &str) {
        if outermost {
            self.settle();
            match self.line.strip_suffix(sign) {
                Some(before) => self.line.truncate(before.len()),
                None => self.line.push_str(sign),
            }
        }
    }

    /// Escapes the collected text and appends it to the line.
    fn settle(&mut self) {
        let text = std::mem::take(&mut self.text);
        self.push(&plain(&text, self.line.is_empty()));
    }

    /// Appends a piece, and separates adjacent pieces of code, which would otherwise merge.
    fn push(&mut self, piece: &str) {
        if self.line.ends_with('`') && piece.starts_with('`') {
            self.line.push(' ');
        }
        self.line.push_str(piece);
    }

    fn end_line(&mut self) {
        self.settle();
        let line = std::mem::take(&mut self.line);
        if !line.trim().is_empty() {
            self.write(line.trim_end());
        }
    }

    /// Ends the previous block. A blank line separates the blocks unless a new item starts.
    fn begin_block(&mut self) {
        self.end_line();
        let fresh = matches!(self.levels.last(), Some(Level::Item { written: false, .. }));
        if !fresh && self.lines.last().is_some_and(|last| !last.trim_end_matches(['>', ' ']).is_empty()) {
            self.write("");
        }
    }

    /// Writes one line after the markers of the quotes and items that contain it.
    fn write(&mut self, line: &str) {
        if self.room == 0 {
            return;
        }
        let mut out = "> ".to_owned();
        for level in self.levels.iter_mut().take(MAX_DEPTH) {
            match level {
                Level::Quote => out.push_str("> "),
                Level::Item { marker, written } if *written || line.is_empty() => {
                    out.push_str(&" ".repeat(marker.len()));
                }
                Level::Item { marker, written } => {
                    out.push_str(marker);
                    *written = true;
                }
            }
        }
        out.push_str(line);
        out.truncate(out.trim_end().len());
        self.room = self.room.saturating_sub(out.chars().count() + 1);
        self.lines.push(out);
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use proptest::prelude::*;
    use pulldown_cmark::TextMergeStream;

    use super::super::writing::acts_on_github;
    use super::*;

    #[test]
    fn a_summary_keeps_its_form() {
        let text = "## What changed\n\nFixed **the `session` check** in *one* place:\n\n1. `login.rs`: trim first\n   - and a test\n2. docs\n\n\
                    ```rust\nlet a = b;\n\nlet c = d;\n```\n- [x] see [the docs](https://example.com/a?b=c)\n\n> quoted\n\nDone.";
        assert_snapshot!(quote(text, 1_000), @r#"
        > **What changed**
        >
        > Fixed **the `session` check** in *one* place:
        >
        > 1. `login.rs`: trim first
        >    - and a test
        > 2. docs
        >
        > ```text
        > let a = b;
        >
        > let c = d;
        > ```
        >
        > - \[x\] see the docs (`https://example.com/a?b=c`)
        >
        > > quoted
        >
        > Done.
        "#);
    }

    #[test]
    fn words_that_github_would_interpret_become_code() {
        let text = "Closes #5, closes o/r#6 and &#71;H-7; cc @octocat (see https://evil.example/x) or [www.evil](/a)";
        assert_snapshot!(quote(text, 1_000), @"> Closes `#5`, closes `o/r#6` and `GH-7`; cc `@octocat` (see `https://evil.example/x`) or `www.evil` (/a)");
    }

    #[test]
    fn a_word_in_several_parts_is_escaped_as_one_word() {
        assert_snapshot!(quote("&#64;ada &#35;5 \\#6 [#](x)7 ![@](y)bob h\\ttps://a.b", 1_000), @r#"> `@ada` `#5` `#6` # (x)7 `@bob` `h\ttps://a.b`"#);
    }

    #[test]
    fn characters_that_markdown_would_interpret_are_escaped() {
        let text = "a < b <b>c</b> ![i](j) $x$ ~~y~~ |z|\n\n<details open>\n<img src=x>\n\n1\\. x\n\\- y\n\\===\n[^1]: z";
        assert_snapshot!(quote(text, 1_000), @r#"
        > a \< b \<b\>c\</b\> i \$x\$ \~\~y\~\~ \|z\|
        >
        > \<details open\>
        > \<img src=x\>
        >
        > 1\. x
        > \- y
        > \===
        > \[^1\]: z
        "#);
    }

    #[test]
    fn depth_and_length_are_bounded() {
        for text in [
            "- ".repeat(5_000) + "a",
            "> ".repeat(5_000),
            "- - - - a\n".to_owned() + &"b\n".repeat(5_000),
            "`".repeat(5_000),
            "- ```\n".to_owned() + &"  x\n".repeat(3_000),
            "*@".repeat(3_000),
        ] {
            let length = quote(&text, 4_000).chars().count();
            assert!(length <= 24_000, "{length} for {:?}…", &text[..20]);
        }
    }

    proptest! {
        #[test]
        fn quoted_text_stays_in_one_quote_and_has_no_effect(
            text in r"([ \n]|[@#<>!\[\]()`*_~|&;$=+:./0-9-]|www\.|https://|<!--|-->|&#64;|&#35;|```|\n- |\n> |\n1\. |\[a\]\(b\)|a|é|\t|\r|    ){0,60}",
            max in 1usize..400,
        ) {
            let markdown = quote(&text, max);
            let page = format!("{markdown}\n\nend");
            let mut depth = 0;
            let mut code_block = false;
            let mut outside = Vec::new();
            let options = Options::ENABLE_GFM | Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS | Options::ENABLE_FOOTNOTES | Options::ENABLE_MATH;
            for event in TextMergeStream::new(Parser::new_ext(&page, options)) {
                match event {
                    Event::Start(Tag::CodeBlock(_)) => { code_block = true; depth += 1; }
                    Event::End(TagEnd::CodeBlock) => { code_block = false; depth -= 1; }
                    Event::Start(Tag::BlockQuote(None) | Tag::Paragraph | Tag::List(_) | Tag::Item | Tag::Strong | Tag::Emphasis) => depth += 1,
                    Event::End(_) => depth -= 1,
                    Event::Code(_) | Event::SoftBreak => {}
                    Event::Text(text) if depth == 1 => outside.push(text.to_string()),
                    Event::Text(text) => prop_assert!(code_block || !text.split_whitespace().any(acts_on_github), "{:?} in {:?}", text, markdown),
                    other => prop_assert!(false, "{other:?} in {markdown:?}"),
                }
            }
            prop_assert_eq!(outside, ["end"], "{:?}", markdown);
            prop_assert!(markdown.chars().count() <= 6 * max + 20, "{} > 6 * {}: {:?}", markdown.chars().count(), max, markdown);
        }
    }
}

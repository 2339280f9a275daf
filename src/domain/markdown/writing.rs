//! Foreign text inside ours. Whatever comes out of here is shown as it is: it notifies nobody, refers to
//! nothing, loads nothing, opens or closes no element, and ends no line it should not.
//!
//! GitHub looks for mentions, references and addresses in the *rendered* text, so backslashes do not stop
//! them; only code does. Hence the one rule of [`quote`]: a word that GitHub would act on becomes code,
//! every other sign that Markdown would act on gets a backslash.

use crate::domain::prompt::clean;

/// The first `max` characters, with `…` when that is not all.
fn shorten(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        Some((cut, _)) => format!("{}…", text[..cut].trim_end()),
        None => text.to_owned(),
    }
}

/// One cleaned line: runs of blanks and line ends become one space.
pub fn line(text: &str, max: usize) -> String {
    shorten(&clean(text).split_whitespace().collect::<Vec<_>>().join(" "), max)
}

/// `text` as inline code, on one line, at most `max` characters of it.
pub fn code(text: &str, max: usize) -> String {
    let text = line(text, max);
    let ticks = "`".repeat(longest_run(&text, '`') + 1);
    let space = if text.is_empty() || text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{ticks}{space}{text}{space}{ticks}")
}

/// `text` as a block of code, at most `max` characters of it; its lines stay as they are.
pub fn block(text: &str, max: usize) -> String {
    let text = shorten(clean(text).trim_matches('\n'), max);
    let fence = fence(&text);
    format!("{fence}text\n{text}\n{fence}")
}

/// A fence that no line of `text` can close: longer than every run of backticks in it.
pub fn fence(text: &str) -> String {
    "`".repeat(longest_run(text, '`').max(2) + 1)
}

/// `text` as a quote of plain paragraphs, at most `max` characters of it.
pub fn quote(text: &str, max: usize) -> String {
    let text = shorten(clean(text).trim(), max);
    let mut lines = Vec::new();
    for line in text.lines() {
        let line = plain(line);
        if !(line.is_empty() && lines.last().is_some_and(|last| last == ">")) {
            lines.push(if line.is_empty() { ">".to_owned() } else { format!("> {line}") });
        }
    }
    lines.join("\n")
}

/// A login as a mention; something that cannot be a login as code.
pub fn mention(login: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if !login.is_empty() && login.len() <= 100 && login.chars().all(plain) {
        format!("@{login}")
    } else {
        code(login, 100)
    }
}

fn longest_run(text: &str, wanted: char) -> usize {
    let mut longest = 0;
    let mut run = 0;
    for c in text.chars() {
        run = if c == wanted { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    longest
}

/// One line of text that means nothing to Markdown or GitHub. Indentation is kept, as no-break spaces.
fn plain(line: &str) -> String {
    let line = line.trim_end();
    let text = line.trim_start();
    let mut out = "\u{a0}".repeat(line.chars().count() - text.chars().count());
    for (index, word) in text.split_whitespace().enumerate() {
        if index > 0 {
            out.push(' ');
        }
        if acts_on_github(word) {
            out.push_str(&code(word, usize::MAX));
            continue;
        }
        let digits = word.bytes().take_while(u8::is_ascii_digit).count();
        for (at, c) in word.char_indices() {
            let begins_a_block = index == 0
                && ((at == 0 && "#+-=:".contains(c)) || (at > 0 && at == digits && (c == '.' || c == ')')));
            if begins_a_block || "\\`*_[]<>&!~|$".contains(c) {
                out.push('\\');
            }
            out.push(c);
        }
    }
    out
}

/// Whether GitHub would make a mention, a reference or a link of the word.
fn acts_on_github(word: &str) -> bool {
    let lower = word.to_ascii_lowercase();
    let digit_after = |sign: &str| {
        lower
            .match_indices(sign)
            .any(|(at, _)| lower[at + sign.len()..].starts_with(|c: char| c.is_ascii_digit()))
    };
    word.contains('@')
        || digit_after("#")
        || digit_after("gh-")
        || lower.contains("://")
        || lower.contains("www.")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use pulldown_cmark::{Event, Options, Parser, Tag};

    use super::*;

    #[test]
    fn what_github_would_act_on_becomes_code() {
        let text =
            "Closes #5, closes o/r#6 and GH-7; cc @octocat, see https://evil.example/x or www.evil.example";
        assert_eq!(
            quote(text, 500),
            "> Closes `#5,` closes `o/r#6` and `GH-7;` cc `@octocat,` see `https://evil.example/x` or `www.evil.example`"
        );
    }

    #[test]
    fn what_markdown_would_act_on_gets_a_backslash() {
        let text = "# Done\n- **a** `b` <b>c</b> ![i](j)\n1. x\n===\n<!-- porter:{} -->\n    code";
        assert_eq!(
            quote(&format!("x\n{text}"), 500),
            "> x\n> \\# Done\n> \\- \\*\\*a\\*\\* \\`b\\` \\<b\\>c\\</b\\> \\!\\[i\\](j)\n> 1\\. x\n> \\===\n>\n> \
             \u{a0}\u{a0}\u{a0}\u{a0}code"
        );
    }

    #[test]
    fn a_fence_is_longer_than_any_inside() {
        assert_eq!(block("a\n````\nb", 100), "`````text\na\n````\nb\n`````");
    }

    #[test]
    fn code_with_backticks_stays_code() {
        assert_eq!(code("a `b`", 100), "`` a `b` ``");
    }

    #[test]
    fn only_a_login_is_mentioned() {
        assert_eq!(mention("octo-cat"), "@octo-cat");
        assert_eq!(mention("a b"), "`a b`");
    }

    proptest! {
        #[test]
        fn a_quote_holds_nothing_but_text_and_code(text in r"([ \n]|[@#<>!\[\]()`*_~|&;$=+:./0-9-]|www\.|https://|<!--|-->|a|é|\t|\r|    ){0,60}") {
            let markdown = quote(&text, 10_000);
            let mut depth = 0;
            for event in Parser::new_ext(&format!("{markdown}\n\nend"), Options::ENABLE_GFM | Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH) {
                match event {
                    Event::Start(Tag::BlockQuote(None)) => depth += 1,
                    Event::Start(Tag::Paragraph) | Event::End(_) | Event::Code(_) | Event::SoftBreak => {}
                    Event::Text(text) => prop_assert!(!text.split_whitespace().any(acts_on_github), "{:?}", text),
                    other => prop_assert!(false, "{other:?} in {markdown:?}"),
                }
            }
            prop_assert!(depth <= 1, "{markdown:?}");
        }

        #[test]
        fn code_is_one_code_span(text in r"[a`\n \\@<]{0,20}") {
            let markdown = format!("x {} y", code(&text, 100));
            let spans = Parser::new(&markdown).filter(|event| matches!(event, Event::Code(_))).count();
            prop_assert_eq!(spans, 1, "{:?}", markdown);
        }
    }
}
